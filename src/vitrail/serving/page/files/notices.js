// Short sentences to the person: one at a time, seen and heard, some with a way back.
import { element, find } from "./elements.js";

let timer = 0;

/** Says a sentence; `undo`, where there is one, is offered for twelve seconds. */
export function tell(sentence, undo = null, word = "Undo") {
  const place = find("#notice");
  clearTimeout(timer);
  const hide = () => { place.replaceChildren(); };
  const act = () => { hide(); undo(); };
  place.replaceChildren(element("div", { class: "notice" }, element("span", {}, sentence), undo && element("button", { type: "button", class: "small", onclick: act }, word)));
  timer = setTimeout(hide, undo ? 12_000 : 6_000);
}
