// Methods of inference: switches for what the server offers, and what each of them did, under the answer.
import { element, number } from "./elements.js";

// An offer, as /v1/models lists it: { name, about, changes, combines_with: [name], in_turn, always }.
// What was done: { methods: { name: trace }, pictures: [id of each picture that was sent] }. A trace comes from the
// server or from a file, so nothing of its form is taken for granted here.

const WIDE = 160; // cells of a heat map's canvas, from left to right
const MOST = { cells: 8192, views: 256, cards: 32 };

/** Of a column's methods those that its model is offered with. */
export const stillOffered = (column, offers) => (column.methods ?? []).filter((name) => offers.some((offer) => offer.name === name && !offer.always));

/** Switches for what is offered, put into `place`; gives a function that says which are on. */
export function switches(place, offers, chosen) {
  const rows = offers.map((offer, at) => {
    const why = element("span", { class: "why" });
    const field = element("input", { type: "checkbox", role: "switch", "aria-describedby": `about-method-${at}`, onclick: (event) => { if (field.ariaDisabled === "true") event.preventDefault(); }, onchange: () => refresh() });
    field.checked = offer.always || chosen.includes(offer.name);
    const turn = offer.in_turn ? " Such answers are made one after the other." : "";
    const node = element("div", { class: "switch" },
      element("label", {}, field, element("span", {}, offer.name)),
      element("small", { id: `about-method-${at}` }, `${offer.about}.${turn} `, why));
    return { offer, field, why, node };
  });
  const refresh = () => {
    for (const { offer, field, why } of rows) {
      const other = rows.find((row) => row.offer !== offer && row.field.checked && !offer.combines_with.includes(row.offer.name));
      const reason = offer.always ? "Always on here." : !field.checked && other ? `Not together with ${other.offer.name}: both choose ${offer.changes}.` : "";
      if (why.textContent !== reason) why.textContent = reason;
      field.ariaDisabled = String(Boolean(reason));
    }
  };
  refresh();
  place.replaceChildren(...rows.map((row) => row.node));
  return () => rows.filter((row) => row.field.checked && !row.offer.always).map((row) => row.offer.name);
}

/** What the methods did to a question. page: { album, enlarge(id) }. */
export function account(did, page) {
  const entries = Object.entries(did.methods);
  return element("details", { class: "did", open: true },
    element("summary", {}, `What the ${entries.length === 1 ? "method" : "methods"} did: ${entries.map(([name]) => name).join(", ")}`),
    ...entries.map(([name, trace]) => element("section", { class: "method", "aria-label": name }, element("h4", {}, name), ...parts(trace ?? {}, did.pictures, page))));
}

function parts(trace, pictures, page) {
  const shown = [];
  const { box, picture, size, views, cuts, layers, memories, evidence, candidates, found, left_out, demonstrations, too_long, ...rest } = trace;
  if (isBox(box) && isBox([0, 0, ...(size ?? [])])) shown.push(...crop(box, size, pictures, picture, page));
  if (Array.isArray(cuts)) shown.push(...kept(cuts, Array.isArray(views) ? views.filter(isView).slice(0, MOST.views) : [], layers, pictures, page));
  for (const some of [memories, evidence]) if (Array.isArray(some)) shown.push(cards(some.filter((one) => typeof one?.name === "string")));
  if (Number.isFinite(candidates)) shown.push(line(`Chosen from ${number(candidates)} pictures of the memory.`));
  if (Number.isFinite(found)) shown.push(line(`${number(found)} were found; the first are shown.`));
  if (Array.isArray(left_out)) shown.push(line(`Left out, for want of room: ${left_out.join(", ")}.`));
  if (Number.isFinite(left_out)) shown.push(line(`${number(left_out)} more views are not shown.`));
  if (Number.isFinite(demonstrations)) shown.push(line(`${number(demonstrations)} ${demonstrations === 1 ? "demonstration was" : "demonstrations were"} read apart.`));
  if (Number.isFinite(too_long)) shown.push(line("What it did is too long to be told."));
  if (Object.keys(rest).length) shown.push(element("pre", { tabindex: 0 }, JSON.stringify(rest, null, 1)));
  return shown.length ? shown : [line("It had nothing to do here.")];
}

const line = (text) => element("p", {}, text);
const isBox = (box) => Array.isArray(box) && box.length === 4 && box.every(Number.isFinite) && box[2] > box[0] && box[3] > box[1];
const isView = (view) => isBox(view?.box) && Array.isArray(view.seen) && view.seen.length <= MOST.cells && view.seen.length === view.rows * view.cols && view.seen.every(Number.isFinite);
const ordinal = (picture, pictures) => pictures.length > 1 ? ` of picture ${picture + 1}` : "";

function crop(box, size, pictures, picture, page) {
  const [left, top, right, bottom] = box;
  const words = `It looked again at ${number(right - left)} × ${number(bottom - top)} pixels${ordinal(picture, pictures)}, ${number(left)} from the left and ${number(top)} from the top.`;
  return [line(words), over(pictures[picture], page, () => frame(box, size))];
}

/** Everything but the box is dimmed, and the box has an edge that is seen on light and dark. */
function frame([left, top, right, bottom], [width, height]) {
  const inner = { x: left, y: top, width: right - left, height: bottom - top };
  const around = `M0 0H${width}V${height}H0ZM${left} ${top}V${bottom}H${right}V${top}Z`;
  return drawn("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `The crop, from ${left}, ${top} to ${right}, ${bottom}` },
    drawn("path", { d: around, class: "around" }), drawn("rect", { ...inner, class: "edge dark" }), drawn("rect", { ...inner, class: "edge light" }));
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function kept(cuts, views, layers, pictures, page) {
  const steps = cuts.filter((cut) => [cut?.layer, cut?.kept, cut?.of].every(Number.isFinite));
  const words = steps.map(({ layer, kept: left, of }) => `${number(left)} of ${number(of)} from layer ${layer + 1} on`);
  const shown = [line(words.length ? `Visual tokens left: ${words.join(", ")}.` : "All visual tokens stayed.")];
  const numbers = [...new Set(views.map((view) => view.picture))].filter((at) => pictures[at]);
  for (const at of numbers) {
    const mine = views.filter((view) => view.picture === at);
    shown.push(over(pictures[at], page, (ratio) => heat(mine, layers, ratio, `Where visual tokens${ordinal(at, pictures)} stayed`)));
  }
  if (numbers.length) shown.push(element("p", { class: "legend" }, element("span", {}, "left first"), element("span", { class: "ramp", "aria-hidden": "true" }), element("span", {}, `seen by all ${number(layers)} layers`)));
  return shown;
}

const EARLY = [16, 24, 64, 190], LATE = [255, 176, 32, 110];

/** A canvas: each place in the colour of how many layers saw it, in the view that kept it longest. */
function heat(views, layers, ratio, label) {
  const high = Math.max(1, Math.min(4 * WIDE, Math.round(WIDE / ratio)));
  const canvas = element("canvas", { width: WIDE, height: high, role: "img", "aria-label": label });
  const brush = canvas.getContext("2d"), image = brush.createImageData(WIDE, high);
  for (let y = 0; y < high; y++) for (let x = 0; x < WIDE; x++) {
    const share = Math.max(...views.map((view) => shareAt(view, (x + 0.5) / WIDE, (y + 0.5) / high, layers)));
    if (share >= 0) image.data.set(EARLY.map((from, at) => from + (LATE[at] - from) * share), 4 * (y * WIDE + x));
  }
  brush.putImageData(image, 0, 0);
  return canvas;
}

/** The share of layers that saw a place (in fractions of the picture); −1 where the view does not show it. */
function shareAt({ box: [left, top, right, bottom], rows, cols, seen }, x, y, layers) {
  if (x < left || x >= right || y < top || y >= bottom) return -1;
  const row = Math.floor((y - top) / (bottom - top) * rows), col = Math.floor((x - left) / (right - left) * cols);
  return Math.min(1, Math.max(0, seen[row * cols + col] / (layers || 1)));
}

/** A picture that was sent, with something drawn over it; a click shows the picture alone, and larger. */
function over(id, page, drawing) {
  const image = element("img", { alt: "" });
  const place = element("button", { type: "button", class: "over", "aria-label": "Show the picture larger", onclick: () => page.enlarge(id) }, image);
  const figure = element("figure", { hidden: true }, place);
  if (id) page.album.record(id).then((record) => {
    if (!record?.width) return; // this browser does not show it
    const ratio = record.width / record.height;
    figure.style.setProperty("--ratio", ratio);
    figure.append(drawing(ratio));
    figure.hidden = false;
    page.album.show(image, id);
  });
  return figure;
}

function cards(found) {
  if (!found.length) return line("The memory has nothing like it.");
  return element("ul", { class: "memories" }, ...found.slice(0, MOST.cards).map(({ name, picture, ...how }) => element("li", {},
    typeof picture === "string" && /^data:image\/(png|jpeg|webp|gif);base64,/.test(picture) ? element("img", { src: picture, alt: `Picture of ${name}` }) : element("span", { class: "none", "aria-hidden": "true" }),
    element("div", {}, element("strong", { dir: "auto" }, name), element("span", { class: "quiet" }, said(how))))));
}

function said({ by, distance, p_yes }) {
  const words = [by === "name" ? "by its name" : by === "words" ? "by its words" : by === "picture" ? "by its picture" : ""];
  if (by !== "name" && Number.isFinite(distance)) words.push(`distance ${distance.toFixed(2)}`);
  if (Number.isFinite(p_yes)) words.push(`p(yes) ${p_yes.toFixed(2)}`);
  return words.filter(Boolean).join(", ");
}
