// Who answers: one model, or several side by side, each with settings of its own.
import { about, letter, MOST_COLUMNS, newColumn, SETTINGS } from "./conversation.js";
import { element, find, icon, iconButton, number } from "./elements.js";
import { stillOffered, switches } from "./methods.js";
import { tell } from "./notices.js";

const KEPT = "vitrail-columns";

/** The columns that the last conversation had; new ones begin with them. */
export function keptColumns() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) || "[]");
    return kept.slice(0, MOST_COLUMNS).filter((one) => typeof one?.model === "string" && typeof (one.system ?? "") === "string"
      && Array.isArray(one.methods ?? []) && (one.methods ?? []).every((name) => typeof name === "string")
      && Object.keys(SETTINGS).every((name) => (one[name] ?? null) === null || typeof one[name] === "number"));
  } catch { return []; }
}

export class Columns {
  #place; #page; #dialog = find("#settings"); #column = null; #on = () => [];

  /** page: what main.js offers: conversation, models, offers(model), limits(), columnsChanged(), busy. */
  constructor(place, page) {
    this.#place = place;
    this.#page = page;
    find("form", this.#dialog).addEventListener("submit", (event) => { event.preventDefault(); this.#take(event.target); });
    find(".cancel", this.#dialog).addEventListener("click", () => this.#dialog.close());
  }

  show() {
    const { conversation } = this.#page;
    const several = conversation.columns.length > 1;
    const full = conversation.columns.length >= MOST_COLUMNS;
    this.#place.replaceChildren(
      ...conversation.columns.map((column) => this.#one(column, several)),
      full ? "" : element("button", { type: "button", class: "add", onclick: () => this.#add() }, icon("columns"), element("span", {}, several ? "One more" : "Compare")));
    try { localStorage.setItem(KEPT, JSON.stringify(conversation.columns.map(({ id, ...set }) => set))); } catch { /* not kept */ }
  }

  #one(column, several) {
    const name = several ? ` of ${letter(this.#page.conversation, column)}` : "";
    const words = about(column);
    return element("div", { class: "column", role: "group", "aria-label": several ? `Column ${letter(this.#page.conversation, column)}` : "Who answers" },
      several ? element("span", { class: "letter", "aria-hidden": "true" }, letter(this.#page.conversation, column)) : null,
      this.#model(column, name),
      words ? element("span", { class: "quiet words", title: words }, words) : null,
      iconButton("settings", `Settings${name}`, () => this.open(column)),
      several ? iconButton("close", `Take column ${letter(this.#page.conversation, column)} away`, () => this.#remove(column)) : null);
  }

  #model(column, name) {
    const { models } = this.#page;
    if (models.length < 2) return element("span", { class: "model" }, column.model);
    const chosen = element("select", { class: "model", "aria-label": `Model${name}`, onchange: (event) => { column.model = event.target.value; column.methods = stillOffered(column, this.#page.offers(column.model)); this.#changed(); } },
      ...models.map((model) => element("option", { selected: model === column.model }, model)));
    return chosen;
  }

  #changed() {
    this.#page.columnsChanged();
  }

  #add() {
    const { conversation, models } = this.#page;
    const first = conversation.columns[0];
    const other = models.find((model) => conversation.columns.every((column) => column.model !== model));
    const column = newColumn(other ?? first.model, first);
    conversation.columns.push(column);
    this.#changed();
    if (!other) this.open(column); // two columns of one model differ by their settings
  }

  #remove(column) {
    const { conversation } = this.#page;
    const at = conversation.columns.indexOf(column);
    const name = letter(conversation, column);
    conversation.columns.splice(at, 1);
    this.#changed();
    tell(`Column ${name} is taken away.`, () => {
      if (conversation !== this.#page.conversation || conversation.columns.length >= MOST_COLUMNS) return;
      conversation.columns.splice(at, 0, column);
      this.#changed();
    });
    find("button", this.#place).focus();
  }

  open(column) {
    const { conversation, limits, offers } = this.#page;
    this.#column = column;
    const form = find("form", this.#dialog);
    find("h2", form).textContent = conversation.columns.length > 1 ? `Settings of ${letter(conversation, column)}` : "Settings";
    form.elements.system.value = column.system;
    for (const name of Object.keys(SETTINGS)) form.elements[name].value = column[name] ?? "";
    form.elements.max_tokens.max = limits().max_tokens;
    find(".most", form).textContent = `at most ${number(limits().max_tokens)} here; empty: as many as fit`;
    const offered = offers(column.model);
    find("fieldset", form).hidden = !offered.length;
    this.#on = switches(find(".switches", form), offered, column.methods ?? []);
    this.#dialog.showModal();
  }

  #take(form) {
    for (const name of Object.keys(SETTINGS)) this.#column[name] = form.elements[name].value === "" ? null : form.elements[name].valueAsNumber;
    this.#column.system = form.elements.system.value;
    this.#column.methods = this.#on();
    this.#dialog.close();
    this.#changed();
  }
}
