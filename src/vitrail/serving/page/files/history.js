// The conversations that this browser keeps: a list to open, rename, delete, take out and bring in.
import { exported, imported } from "./exchange.js";
import { download, element, find, iconButton } from "./elements.js";
import { tell } from "./notices.js";

const narrow = matchMedia("(max-width: 59.99rem)");

export class History {
  #page; #nav = find("#history"); #button = find("#show-history"); #renaming = null;

  /** page: what main.js offers: store, conversation, open(id), begin(), stopFor(id), changedElsewhere(). */
  constructor(page) {
    this.#page = page;
    this.#button.addEventListener("click", () => this.toggle());
    find(".shade").addEventListener("click", () => this.toggle(false));
    find("#export-all").addEventListener("click", () => this.#export());
    const file = find("#import-file");
    find("#import").addEventListener("click", () => file.click());
    file.addEventListener("change", () => { if (file.files[0]) this.#import(file.files[0]); file.value = ""; });
    narrow.addEventListener("change", () => this.toggle(!narrow.matches));
    this.toggle(!narrow.matches);
  }

  get covers() {
    return narrow.matches && document.body.classList.contains("history-open");
  }

  /** On a narrow screen the list lies over the conversation; on a wide one it stands beside it, and can be put away. */
  toggle(open = narrow.matches ? !this.covers : document.body.classList.contains("history-away")) {
    const covered = narrow.matches && open;
    const had = this.#nav.contains(document.activeElement);
    document.body.classList.toggle("history-open", covered);
    if (!narrow.matches) document.body.classList.toggle("history-away", !open);
    this.#button.setAttribute("aria-expanded", String(open));
    this.#nav.inert = !open;
    find("main").inert = covered;
    if (covered) find("button", this.#nav).focus();
    else if (had) this.#button.focus();
  }

  async show() {
    const heads = await this.#page.store.heads();
    const list = find("ol", this.#nav);
    find(".none", this.#nav).hidden = heads.length > 0;
    find("#export-all").disabled = !heads.length;
    if (this.#renaming) return; // it is shown when the name is there
    const focused = list.contains(document.activeElement) ? [document.activeElement.closest("li").dataset.id, document.activeElement.className] : null;
    list.replaceChildren(...heads.map((head) => this.#one(head)));
    if (focused) list.querySelector(`[data-id="${focused[0]}"] .${focused[1].split(" ").at(-1)}`)?.focus();
  }

  #one(head) {
    const here = head.id === this.#page.conversation.id;
    const day = new Date(head.changed);
    return element("li", { "data-id": head.id, class: here ? "here" : null },
      element("button", { type: "button", class: "open", "aria-current": here ? "page" : null, onclick: () => { this.toggle(!narrow.matches); this.#page.open(head.id); } },
        element("span", { class: "title", dir: "auto" }, head.title), element("time", { datetime: day.toISOString() }, when(day))),
      iconButton("edit", `Rename ${head.title}`, () => this.#rename(head), { class: "icon-button rename" }),
      iconButton("download", `Export ${head.title}`, () => this.#export(head), { class: "icon-button export" }),
      iconButton("delete", `Delete ${head.title}`, () => this.#delete(head), { class: "icon-button delete" }));
  }

  #rename(head) {
    const row = find(`[data-id="${head.id}"]`, this.#nav);
    this.#renaming = head.id;
    const field = element("input", { type: "text", maxlength: 200, "aria-label": "Name of the conversation", value: head.title });
    let done = false;
    const end = async (keep) => {
      if (done) return;
      done = true;
      this.#renaming = null;
      const name = field.value.trim();
      if (keep && name && name !== head.title) await this.#page.rename(head.id, name);
      await this.show();
      find(`[data-id="${head.id}"] .rename`, this.#nav)?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") { event.stopPropagation(); end(false); }
    });
    field.addEventListener("blur", () => end(true));
    row.replaceChildren(field);
    field.select();
    field.focus();
  }

  async #delete(head) {
    const { store } = this.#page;
    const rows = [...this.#nav.querySelectorAll("li")];
    const at = rows.findIndex((row) => row.dataset.id === head.id);
    await this.#page.stopFor(head.id);
    const [conversation, pictures] = [await store.read(head.id), await store.pictures(head.id)];
    await store.remove(head.id);
    if (head.id === this.#page.conversation.id) this.#page.begin();
    await this.#page.kept();
    tell(`“${head.title}” is deleted.`, async () => {
      await store.write(conversation, pictures);
      await this.#page.kept();
      this.#page.open(head.id);
    });
    (this.#nav.querySelectorAll("li .delete")[Math.min(at, rows.length - 2)] ?? find("#new")).focus();
  }

  async #export(head = null) {
    try {
      const ids = head ? [head.id] : (await this.#page.store.heads()).map((one) => one.id);
      const name = head ? head.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "conversation" : "conversations";
      download(`vitrail-${name}.json`, await exported(this.#page.store, ids), "application/json");
    } catch (error) { tell(`Not exported: ${error.message}.`); }
  }

  async #import(file) {
    try {
      const found = imported(await file.text());
      for (const { conversation, pictures } of found) await this.#page.store.write(conversation, pictures);
      await this.#page.kept();
      tell(found.length === 1 ? `“${found[0].conversation.title}” is here.` : `${found.length} conversations are here.`);
    } catch (error) { tell(`${file.name} was not taken in: ${error.message}.`); }
  }
}

function when(day) {
  const today = new Date().toDateString() === day.toDateString();
  return today ? day.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : day.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}
