// The conversation as it is seen: rounds of a question and, side by side, its answers.
import { about, letter, path, siblings, versionShown } from "./conversation.js";
import { Composer } from "./composer.js";
import { copy, element, iconButton, number } from "./elements.js";
import { show } from "./markdown.js";
import { account } from "./methods.js";
import { tell } from "./notices.js";

export const keyOf = (round, column) => `${round.id}/${column.id}`;

export class Answers {
  #place; #page; #cells = new Map(); #editing = null;

  /** page: what main.js offers: conversation, album, limits(), writing(round, column), and what buttons do. */
  constructor(place, page) {
    this.#place = place;
    this.#page = page;
  }

  get editing() {
    return this.#editing !== null;
  }

  /** Everything anew. The scroll stays where it is. */
  show() {
    const rounds = path(this.#page.conversation);
    if (!rounds.some((round) => round.id === this.#editing)) this.#editing = null;
    this.#cells.clear();
    this.#place.replaceChildren(...rounds.map((round, place) => this.#round(round, place, rounds)));
  }

  /** One answer anew, while it is written. */
  update(round, column) {
    const cell = this.#cells.get(keyOf(round, column));
    if (cell) this.#fill(cell, round, column);
  }

  edit(round) {
    this.#editing = round.id;
    this.show();
    const field = this.#place.querySelector(".composer textarea");
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  stopEditing() {
    const id = this.#editing;
    this.#editing = null;
    this.show();
    this.#place.querySelector(`[data-round="${id}"] .edit`)?.focus();
  }

  #round(round, place, rounds) {
    const { conversation } = this.#page;
    const last = place === rounds.length - 1;
    const cells = conversation.columns.map((column) => this.#cell(round, column, last));
    const question = this.#editing === round.id ? this.#form(round) : this.#question(round);
    return element("section", { class: "round", "aria-label": `Question ${place + 1}`, "data-round": round.id },
      question, element("div", { class: "answers", "data-columns": conversation.columns.length }, ...cells));
  }

  #question(round) {
    const page = this.#page;
    const ways = siblings(page.conversation, round);
    const pictures = round.pictures.map((id) => {
      const image = element("img", { alt: "" });
      const note = element("p", { class: "note" });
      page.album.show(image, id);
      page.album.record(id).then((record) => { if (record?.note) note.textContent = `${record.name} was ${record.note}.`; });
      return element("li", {}, element("button", { type: "button", class: "picture", "aria-label": "Show the picture larger", onclick: () => page.enlarge(id) }, image), note);
    });
    return element("div", { class: "you" },
      element("h2", { class: "heard" }, "You asked"),
      pictures.length ? element("ul", { class: "pictures" }, ...pictures) : null,
      round.text.trim() ? element("p", { class: "text", dir: "auto" }, round.text) : null,
      element("div", { class: "foot" },
        turns(ways.indexOf(round), ways.length, "question", (step) => page.chooseRound(round, step)),
        iconButton("copy", "Copy the question", () => copied(round.text, "The question")),
        iconButton("edit", "Edit the question", () => this.edit(round), { class: "icon-button edit" })));
  }

  #form(round) {
    const page = this.#page;
    const composer = new Composer({
      label: "Edit the question", word: "Ask anew", limits: page.limits, album: page.album, cancel: () => this.stopEditing(),
      send: (text, pictures) => { this.#editing = null; return page.askAnew(round, text, pictures); },
    });
    Promise.all(round.pictures.map((id) => page.album.record(id))).then((records) => composer.fill(composer.field.value, [...records.filter(Boolean), ...composer.pictures]));
    composer.field.value = round.text;
    requestAnimationFrame(() => composer.fill(composer.field.value, composer.pictures));
    return composer.form;
  }

  #cell(round, column, last) {
    const { conversation } = this.#page;
    const several = conversation.columns.length > 1;
    const cell = {
      last,
      title: element("h3", { class: several ? "who" : "heard" }),
      said: element("div", { class: "said" }),
      problem: element("p", { class: "problem", hidden: true }),
      did: element("div", { hidden: true }),
      told: null,
      foot: element("div", { class: "foot" }),
    };
    cell.node = element("article", { class: "answer" }, cell.title, cell.said, cell.problem, cell.did, cell.foot);
    this.#cells.set(keyOf(round, column), cell);
    this.#fill(cell, round, column);
    return cell.node;
  }

  #fill(cell, round, column) {
    const { conversation, writing } = this.#page;
    const version = versionShown(round, column);
    const under = writing(round, column);
    const name = conversation.columns.length > 1 ? `Answer ${letter(conversation, column)}` : "Answer";
    const model = version?.asked.model ?? column.model;
    cell.title.replaceChildren(...(conversation.columns.length > 1
      ? [element("span", { class: "letter" }, letter(conversation, column)), element("span", {}, model), element("span", { class: "quiet" }, about(column))]
      : [`${name} of ${model}`]));
    cell.node.setAttribute("aria-label", name);
    cell.node.setAttribute("aria-busy", String(under));
    cell.node.classList.toggle("waiting", under && !version.text && !version.problem);
    show(cell.said, version?.text ?? "");
    const problem = version ? version.problem : "Not asked yet.";
    if (cell.problem.textContent !== problem) cell.problem.textContent = problem;
    cell.problem.hidden = !problem;
    cell.problem.dataset.state = version?.state ?? "none";
    this.#did(cell, version?.did ?? null);
    this.#foot(cell, round, column, version, under, name);
  }

  #did(cell, did) {
    if (cell.told === did) return; // what is folded stays folded
    cell.told = did;
    cell.did.hidden = !did;
    cell.did.replaceChildren(...(did ? [account(did, this.#page)] : []));
  }

  #foot(cell, round, column, version, under, name) {
    const made = JSON.stringify([version?.state, under, round.answers[column.id]?.shown, round.answers[column.id]?.versions.length]);
    if (cell.made === made) return; // buttons stay the same nodes, so that focus stays on them
    cell.made = made;
    const page = this.#page;
    const focused = cell.foot.contains(document.activeElement) ? document.activeElement.className : null;
    const parts = [];
    if (version) parts.push(turns(round.answers[column.id].shown, round.answers[column.id].versions.length, name.toLowerCase(), (step) => page.chooseVersion(round, column, step), under));
    if (version && !under) {
      if (version.text) parts.push(iconButton("copy", `Copy ${name.toLowerCase()}`, () => copied(version.text, name)));
      if (cell.last && version.state !== "done") parts.push(element("button", { type: "button", class: "small resume", onclick: () => page.resume(round, column) }, version.text ? "Go on" : "Try again"));
      if (cell.last && (version.state === "done" || version.text)) parts.push(iconButton("retry", `Another answer${name === "Answer" ? "" : ` ${name.slice(-1)}`}, with a new seed`, () => page.retry(round, column), { class: "icon-button retry" }));
      parts.push(element("span", { class: "facts" }, facts(version)));
    }
    if (!version && cell.last) parts.push(element("button", { type: "button", class: "small", onclick: () => page.retry(round, column) }, `Ask ${letter(page.conversation, column)}`));
    cell.foot.replaceChildren(...parts.filter(Boolean));
    if (focused !== null) (cell.foot.querySelector(`.${focused.split(" ").at(-1)}`) ?? cell.foot.querySelector("button"))?.focus();
  }
}

/** "2 of 3" and the two buttons beside it; nothing where there is one. */
function turns(at, count, what, choose, off = false) {
  if (count < 2) return null;
  return element("span", { class: "turns", role: "group", "aria-label": `Versions of the ${what}` },
    iconButton("left", `Earlier ${what}`, () => choose(-1), { disabled: off || at === 0, class: "icon-button earlier" }),
    element("span", {}, `${at + 1} of ${count}`),
    iconButton("right", `Later ${what}`, () => choose(1), { disabled: off || at === count - 1, class: "icon-button later" }));
}

function facts(version) {
  const words = [];
  if (version.tokens !== null) words.push(`${number(version.tokens)} ${version.tokens === 1 ? "token" : "tokens"}`);
  if (version.seconds !== null) words.push(`${version.seconds.toFixed(1)} s`);
  if (version.asked.temperature !== 0) words.push(`seed ${version.asked.seed}`);
  if (version.asked.methods?.length && !version.did) words.push(`with ${version.asked.methods.join(" and ")}`);
  if (version.state === "stopped") words.push("stopped");
  if (version.reason === "length") words.push("cut off: no more tokens were allowed");
  return words.join(" · ");
}

async function copied(text, what) {
  try { await copy(text); tell(`${what} is copied.`); } catch (error) { tell(`Not copied: ${error.message}.`); }
}
