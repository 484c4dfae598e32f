// Where a question is written and its pictures are gathered: at the foot of the page, and where one is put anew.
import { element, icon, iconButton, number } from "./elements.js";
import { prepared } from "./pictures.js";
import { tell } from "./notices.js";

const fingers = matchMedia("(pointer: coarse)");

export class Composer {
  pictures = []; // records of pictures.js
  #limits; #album; #send; #cancel; #preparing = 0;

  /**
   * label: what is asked for. limits(): what the server takes. send(text, pictures): gives true if they are on their way.
   * stop: what the button does while an answer is written. cancel: where it can be given up.
   */
  constructor({ label, word, limits, album, send, stop = null, cancel = null, id = null }) {
    Object.assign(this, { stop });
    this.#limits = limits; this.#album = album; this.#send = send; this.#cancel = cancel;
    this.field = element("textarea", { id, rows: 1, "aria-label": label, placeholder: label, dir: "auto", enterkeyhint: "enter", oninput: () => this.#grow(), onkeydown: (event) => this.#key(event), onpaste: (event) => this.paste(event) });
    this.list = element("ul", { class: "attached", "aria-label": "Pictures of this question", hidden: true });
    this.files = element("input", { type: "file", accept: "image/*,.tif,.tiff,.ppm", multiple: true, hidden: true, onchange: () => { this.add([...this.files.files]); this.files.value = ""; } });
    this.sendButton = element("button", { type: "submit", class: "primary" }, icon("send"), element("span", {}, word));
    this.stopButton = stop && element("button", { type: "button", class: "primary stop", hidden: true, onclick: stop }, icon("stop"), element("span", {}, "Stop"));
    this.form = element("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      this.list, this.field,
      element("div", { class: "row" }, iconButton("picture", "Add pictures", () => this.files.click()), this.files, element("span", { class: "gap" }),
        cancel && element("button", { type: "button", onclick: cancel }, "Cancel"), this.stopButton, this.sendButton));
  }

  fill(text, pictures) {
    this.field.value = text;
    this.pictures = [...pictures];
    this.#list();
    this.#grow();
  }

  /** Gives its pictures to the album again, which has let go of what it showed. */
  keepPictures() {
    for (const picture of this.pictures) this.#album.add(picture);
    this.#list();
  }

  set busy(busy) {
    const focused = [this.sendButton, this.stopButton].includes(document.activeElement);
    this.stopButton.hidden = !busy;
    this.sendButton.hidden = busy;
    if (focused) (busy ? this.stopButton : this.field).focus();
  }

  async submit() {
    if (this.#preparing) { tell("A picture is still being read; a moment."); return; }
    if (!this.field.value.trim() && !this.pictures.length) { this.field.focus(); return; }
    if (await this.#send(this.field.value, this.pictures)) this.fill("", []);
  }

  /** Takes pictures in; says of each that it cannot take why. */
  async add(files) {
    const problems = [];
    this.#preparing++;
    this.form.setAttribute("aria-busy", "true");
    for (const file of files) {
      try {
        const most = this.#limits().images;
        if (this.pictures.length >= most) { problems.push(`This server takes at most ${number(most)} ${most === 1 ? "picture" : "pictures"}; ${file.name} was left out.`); break; }
        const picture = await prepared(file, this.#limits());
        this.#album.add(picture);
        this.pictures.push(picture);
        this.#list();
        if (picture.note) problems.push(`${picture.name} was ${picture.note}.`);
      } catch (error) { problems.push(error.message); }
    }
    if (!--this.#preparing) this.form.removeAttribute("aria-busy");
    if (problems.length) tell(problems.join(" "));
    else if (files.length) tell(files.length === 1 ? `${files[0].name || "The picture"} is added.` : `${files.length} pictures are added.`);
  }

  /** Pictures on the clipboard are added; a text is pasted as ever. */
  paste(event) {
    const files = [...event.clipboardData.files];
    if (!files.length || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    this.add(files);
  }

  #list() {
    this.list.hidden = !this.pictures.length;
    this.list.replaceChildren(...this.pictures.map((picture) => {
      const image = element("img", { alt: picture.name });
      this.#album.show(image, picture.id);
      const remove = () => {
        const at = this.pictures.indexOf(picture);
        this.pictures.splice(at, 1);
        this.#list();
        (this.list.querySelectorAll("button")[at] ?? this.field).focus();
      };
      return element("li", {}, image, iconButton("close", `Take ${picture.name} away`, remove), picture.note ? element("p", { class: "note" }, picture.note) : null);
    }));
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }

  #key(event) {
    if (event.key === "Escape" && this.#cancel) { event.stopPropagation(); this.#cancel(); return; }
    if (event.key !== "Enter" || event.isComposing || event.shiftKey || event.altKey) return;
    if (fingers.matches && !event.ctrlKey && !event.metaKey) return; // a finger's Enter begins a line, the button sends
    event.preventDefault();
    if (this.stopButton?.hidden !== false) this.submit();
  }
}
