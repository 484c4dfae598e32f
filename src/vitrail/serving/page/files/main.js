// The page: what it holds, what is under way, and what keys and buttons do.
import { Announcer } from "./announcing.js";
import { Answers } from "./answers.js";
import { Columns, keptColumns } from "./columns.js";
import { Composer } from "./composer.js";
import { addRound, addVersion, begin, newColumn, path, ROOT, settle, siblings, versionShown } from "./conversation.js";
import { element, find } from "./elements.js";
import { History } from "./history.js";
import { stillOffered } from "./methods.js";
import { tell } from "./notices.js";
import { Album } from "./pictures.js";
import { Runs } from "./runs.js";
import { capital, Refusal, Server } from "./server.js";
import { openStore } from "./store.js";

const scroller = find("#conversation");
const server = new Server();
const announcer = new Announcer(find("#heard"));
const others = "BroadcastChannel" in window ? new BroadcastChannel("vitrail-conversations") : null;
let limits = null, store, album, answers, columns, history, composer, runs;

class Page {
  models = [];
  #offers = new Map();
  conversation = null;
  limits = () => limits;
  offers = (model) => this.#offers.get(model) ?? [];
  writing = (round, column) => runs.has(round, column);
  get album() { return album; }
  get store() { return store; }
  get busy() { return runs.of(page.conversation.id).length > 0; }

  begin() {
    this.#show(begin(columnsToBeginWith()));
  }

  async open(id) {
    const [under] = runs.of(id);
    const found = under ? under.conversation : await store.read(id);
    if (!found) { tell("This conversation is no longer in this browser."); this.begin(); return; }
    this.#show(under ? found : settle(found));
  }

  #show(conversation) {
    if (this.conversation?.id !== conversation.id && runs.none) {
      album.clear();
      composer.keepPictures();
    }
    this.conversation = conversation;
    this.#requireServed();
    const kept = path(conversation).length > 0;
    if (location.hash.slice(1) !== (kept ? conversation.id : "")) window.history.pushState(null, "", kept ? `#${conversation.id}` : location.pathname);
    showAll();
    history.show();
    scroller.scrollTop = scroller.scrollHeight;
    if (!matchMedia("(pointer: coarse)").matches) composer.field.focus();
  }

  /** The server may be another one by now. */
  async meetAgain() {
    try { await this.learn(); } catch { return; }
    this.#requireServed();
    columns.show();
  }

  /** What the server has and allows. */
  async learn() {
    const [models, allowed] = await Promise.all([server.models(), server.limits()]);
    this.models = models.map((model) => model.id);
    this.#offers = new Map(models.map((model) => [model.id, model.methods]));
    limits = allowed;
  }

  /** Columns whose model is not here any more are answered by one that is, without what it is not offered with. */
  #requireServed() {
    if (!this.models.length) return;
    for (const column of this.conversation.columns) {
      if (!this.models.includes(column.model)) {
        if (path(this.conversation).length) tell(`${column.model} is not served here now; ${this.models[0]} answers instead.`);
        column.model = this.models[0];
      }
      column.methods = stillOffered(column, this.offers(column.model));
    }
  }

  send(text, pictures) {
    const last = path(page.conversation).at(-1);
    return page.#askIn(last?.id ?? ROOT, text, pictures);
  }

  /** An earlier question, put otherwise: it stands beside the one before, with all that followed that one. */
  askAnew(round, text, pictures) {
    const sent = page.#askIn(round.parent, text, pictures);
    if (sent) composer.field.focus();
    return sent;
  }

  #askIn(parent, text, pictures) {
    if (this.busy || !limits) { tell(limits ? "An answer is being written; stop it first." : "The server is not there yet."); return false; }
    const { conversation } = this;
    const fresh = !conversation.rounds.length;
    const round = addRound(conversation, parent, text.trim() ? text : "", pictures.map((picture) => picture.id));
    if (fresh) window.history.replaceState(null, "", `#${conversation.id}`);
    const asked = conversation.columns.map((column) => [column, addVersion(round, column)]);
    keep(conversation, pictures);
    for (const [column, version] of asked) runs.begin(conversation, round, column, version);
    showAll();
    history.show();
    scroller.scrollTop = scroller.scrollHeight;
    return true;
  }

  retry(round, column) {
    const seed = column.seed;
    const version = addVersion(round, { ...column, seed: versionShown(round, column) ? null : seed });
    runs.begin(this.conversation, round, column, version);
    answers.update(round, column);
  }

  resume(round, column) {
    runs.begin(this.conversation, round, column, versionShown(round, column));
    answers.update(round, column);
  }

  chooseVersion(round, column, step) {
    round.answers[column.id].shown += step;
    keep(this.conversation);
    answers.update(round, column);
  }

  chooseRound(round, step) {
    const ways = siblings(this.conversation, round);
    const next = ways[ways.indexOf(round) + step];
    this.conversation.chosen[round.parent] = next.id;
    keep(this.conversation);
    answers.show();
    find(`[data-round="${next.id}"] .${step < 0 ? "earlier" : "later"}:enabled, [data-round="${next.id}"] .turns :enabled`)?.focus();
  }

  stop() {
    runs.stop(page.conversation.id);
  }

  stopFor(id) {
    return runs.stop(id);
  }

  columnsChanged() {
    if (this.conversation.rounds.length) keep(this.conversation);
    showAll();
  }

  async rename(id, title) {
    const conversation = id === this.conversation.id ? this.conversation : await store.read(id);
    Object.assign(conversation, { title, named: true });
    await write(conversation);
  }

  /** The list is another now: here, and in other tabs. */
  async kept(id = "") {
    others?.postMessage(id);
    await history.show();
  }

  async enlarge(id) {
    const dialog = find("#picture"), image = element("img", {});
    await album.show(image, id);
    find("figure", dialog).replaceChildren(image, element("figcaption", {}, image.alt));
    dialog.showModal();
  }
}

const page = new Page();

function columnsToBeginWith() {
  const like = page.conversation?.columns ?? keptColumns();
  return like.length ? like : [newColumn(page.models[0] ?? "")];
}

function showAll() {
  const { conversation } = page;
  document.title = conversation.title ? `${conversation.title} · vitrail` : "vitrail";
  document.body.classList.toggle("empty", !conversation.rounds.length);
  columns.show();
  answers.show();
  composer.busy = page.busy;
}

// --- seen soon, kept soon

const waiting = new Set();

function soon(run) {
  if (!waiting.size) setTimeout(draw, 50);
  waiting.add(run);
}

function draw() {
  const bottom = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60; // whoever reads further up stays there
  for (const { round, column } of waiting) answers.update(round, column);
  waiting.clear();
  if (bottom) scroller.scrollTop = scroller.scrollHeight;
}

function changed(run) {
  keepSoon(run.conversation);
  if (run.conversation !== page.conversation) return;
  composer.busy = page.busy;
  soon(run);
}

function ended({ conversation, round, column, version }) {
  keep(conversation);
  if (version.state === "failed") page.meetAgain();
  if (conversation !== page.conversation) return;
  answers.update(round, column);
  composer.busy = page.busy;
}

const unkept = new Map();

function keepSoon(conversation) {
  if (!unkept.has(conversation)) unkept.set(conversation, setTimeout(() => keep(conversation), 1000));
}

function keep(conversation, pictures = []) {
  clearTimeout(unkept.get(conversation));
  unkept.delete(conversation);
  conversation.changed = Date.now();
  return write(conversation, pictures);
}

async function write(conversation, pictures = []) {
  try {
    await store.write(conversation, pictures);
    await page.kept(conversation.id);
  } catch (error) {
    tell(`This browser could not keep the conversation (${error?.message ?? "no room"}); export it, or delete others.`);
  }
}

// --- the server

async function meet() {
  for (let wait = 1; ; wait = Math.min(10, wait * 2)) {
    try {
      await page.learn();
      find("#unreached").hidden = true;
      find("#forget-key").hidden = !server.key;
      return;
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) { await askForKey(server.key ? error.message : ""); wait = 1; continue; }
      const reason = error instanceof Refusal ? capital(error.message) : "The server cannot be reached";
      find("#unreached").hidden = false;
      find("#unreached").textContent = `${reason}. Trying again …`;
      await new Promise((resolve) => { setTimeout(resolve, wait * 1000); });
    }
  }
}

function askForKey(problem = "") {
  const dialog = find("#key"), field = find("input", dialog), said = find(".problem", dialog);
  said.textContent = problem ? capital(problem) : "";
  said.hidden = !problem;
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    find("form", dialog).onsubmit = (event) => {
      event.preventDefault();
      if (!field.value) return;
      server.useKey(field.value);
      find("#forget-key").hidden = false;
      field.value = "";
      dialog.close();
      resolve();
    };
  });
}

// --- what is dropped and pressed

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!hasFiles(event) || find("dialog[open]")) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!hasFiles(event) || !composer) return;
  event.preventDefault();
  if (!find("dialog[open]") && limits) composer.add([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => { if (!event.defaultPrevented && !event.target.closest("textarea, input, dialog")) composer?.paste(event); });

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || find("dialog[open]")) return;
  if (history.covers) history.toggle(false);
  else if (answers.editing) answers.stopEditing();
  else page.stop();
});
addEventListener("hashchange", () => { const id = location.hash.slice(1); if (id !== page.conversation.id) { if (id) page.open(id); else page.begin(); } });
addEventListener("pagehide", () => { for (const conversation of unkept.keys()) keep(conversation); });

function themes() {
  const order = ["auto", "light", "dark"], root = document.documentElement, button = find("#theme");
  const show = () => { find("span", button).textContent = root.dataset.theme || "auto"; };
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(root.dataset.theme || "auto") + 1) % order.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    try { if (next === "auto") localStorage.removeItem("vitrail-theme"); else localStorage.setItem("vitrail-theme", next); } catch { /* not kept */ }
    show();
  });
  show();
}

function leaveKey() {
  server.useKey("");
  location.reload();
}

async function start() {
  themes();
  store = await openStore();
  album = new Album(store);
  runs = new Runs({ server, album, announcer, limits: page.limits, changed, ended, refusedKey: askForKey });
  answers = new Answers(find("#rounds"), page);
  columns = new Columns(find("#columns"), page);
  history = new History(page);
  composer = new Composer({ id: "question", label: "Ask something; drop or paste pictures", word: "Send", limits: page.limits, album, send: page.send, stop: page.stop });
  find("#foot").prepend(composer.form);
  find("#new").addEventListener("click", () => { if (history.covers) history.toggle(false); page.begin(); composer.field.focus(); });
  find("#forget-key").addEventListener("click", leaveKey);
  for (const dialog of document.querySelectorAll("dialog[data-light]")) dialog.addEventListener("click", (event) => { if (event.target === dialog || event.target.closest(".close")) dialog.close(); });
  if (!store.keeps) tell("This browser keeps nothing for this page: conversations are gone when it is closed.");
  await meet();
  const id = location.hash.slice(1);
  if (id && await store.read(id)) await page.open(id); else page.begin();
  if (others) others.onmessage = async ({ data }) => {
    if (data === page.conversation.id && !page.busy && !answers.editing) { const found = await store.read(data); if (found) { page.conversation = settle(found); showAll(); } }
    history.show();
  };
  document.body.dataset.ready = "";
}

start();
