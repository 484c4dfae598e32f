// What a screen reader hears of an answer while it is written: whole sentences, not every token.

const PAUSE = 1500; // milliseconds between two announcements at least

export class Announcer {
  #place; #texts = new Map(); #timer = 0;

  constructor(place) {
    this.#place = place;
  }

  /** `whole` is the answer of `who` so far; `who` is spoken first where several answer. */
  text(key, who, whole, ended = false) {
    const state = this.#texts.get(key) ?? { heard: 0 };
    this.#texts.set(key, Object.assign(state, { who, whole, ended }));
    this.#timer ||= setTimeout(() => this.#speak(), PAUSE);
    if (ended) this.#speak();
  }

  say(sentence) {
    const line = document.createElement("p");
    line.textContent = sentence;
    this.#place.append(line);
    while (this.#place.childElementCount > 20) this.#place.firstElementChild.remove();
  }

  #speak() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    for (const [key, state] of this.#texts) {
      if (state.whole.length < state.heard) state.heard = 0;
      const rest = state.whole.slice(state.heard);
      const end = state.ended ? rest.length : sentenceEnd(rest);
      if (end) this.say(`${state.who}${state.who ? ": " : ""}${rest.slice(0, end).replace(/[`*#_]+/g, "").trim()}`);
      state.heard += end;
      if (state.ended) this.#texts.delete(key);
    }
  }
}

/** Where the last whole sentence (or line) of a text ends; a very long one is cut between words. */
function sentenceEnd(text) {
  let end = 0;
  for (const found of text.matchAll(/[.!?…:;。！？]["')\]]*\s|\n/g)) end = found.index + found[0].length;
  return end || (text.length > 240 ? text.lastIndexOf(" ") + 1 : 0);
}
