// The little of Markdown that answers are written in: paragraphs, headings, lists, quotes, code, emphasis. Everything is
// put in as texts; addresses stay texts, pictures are never loaded.
import { copy, element } from "./elements.js";
import { tell } from "./notices.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const QUOTE = /^ {0,3}> ?(.*)$/;

/** The blocks of a text: { kind, lines, … }. */
export function blocks(text) {
  const found = [];
  let open = null;
  const begin = (block) => { found.push(open = block); };
  for (const line of text.split("\n")) {
    if (open?.kind === "code") {
      const mark = line.trim();
      if (mark.startsWith(open.fence) && !mark.replaceAll(open.fence[0], "")) open = null; else open.lines.push(line);
      continue;
    }
    const fence = FENCE.exec(line), heading = HEADING.exec(line), item = ITEM.exec(line), quote = QUOTE.exec(line);
    if (fence) begin({ kind: "code", fence: fence[1], language: fence[2], lines: [] });
    else if (!line.trim()) open = open?.kind === "list" ? Object.assign(open, { gap: true }) : null;
    else if (heading) { begin({ kind: "heading", level: heading[1].length, lines: [heading[2]] }); open = null; }
    else if (item) {
      const ordered = /\d/.test(item[2]);
      if (open?.kind !== "list" || (open.ordered !== ordered && !item[1])) begin({ kind: "list", ordered, start: parseInt(item[2], 10), lines: [] });
      open.lines.push({ depth: Math.min(4, Math.floor(item[1].length / 2)), text: item[3] });
    } else if (quote) {
      if (open?.kind !== "quote") begin({ kind: "quote", lines: [] });
      open.lines.push(quote[1]);
    } else if (open?.kind === "list" && (!open.gap || line.startsWith("  "))) open.lines.at(-1).text += `\n${line.trim()}`;
    else if (open?.kind === "paragraph") open.lines.push(line);
    else begin({ kind: "paragraph", lines: [line] });
    if (open?.kind === "list" && item) open.gap = false;
  }
  return found;
}

/** Shows a text in `place`. Blocks that are there already stay as they are, so a selection in them survives. */
export function show(place, text) {
  const wanted = blocks(text);
  const there = (place.blocks ??= []);
  wanted.forEach((block, at) => {
    const source = JSON.stringify(block);
    if (there[at]?.source === source) return;
    const node = made(block);
    if (there[at]) there[at].node.replaceWith(node); else place.append(node);
    there[at] = { source, node };
  });
  for (const { node } of there.splice(wanted.length)) node.remove();
}

function made(block) {
  if (block.kind === "code") return code(block);
  if (block.kind === "list") return list(block);
  if (block.kind === "heading") return element("p", { class: "heading", role: "heading", "aria-level": Math.min(6, block.level + 3), dir: "auto" }, ...inline(block.lines[0]));
  const name = block.kind === "quote" ? "blockquote" : "p";
  return element(name, { dir: "auto" }, ...inline(block.lines.join("\n")));
}

function code(block) {
  const text = block.lines.join("\n");
  const copied = async () => { try { await copy(text); tell("The code is copied."); } catch (error) { tell(`Not copied: ${error.message}.`); } };
  return element("figure", { class: "code" },
    element("figcaption", {}, element("span", {}, block.language || "code"), element("button", { type: "button", class: "small", "aria-label": "Copy the code", onclick: copied }, "Copy")),
    element("pre", { tabindex: 0, "aria-label": block.language ? `Code, ${block.language}` : "Code", role: "region" }, element("code", {}, text)));
}

function list(block) {
  const top = element(block.ordered ? "ol" : "ul", { dir: "auto", start: block.ordered && block.start !== 1 ? block.start : null });
  const open = [top];
  for (const { depth, text } of block.lines) {
    while (open.length > depth + 1) open.pop();
    while (open.length <= depth && open.at(-1).lastElementChild) {
      const inner = element("ul");
      open.at(-1).lastElementChild.append(inner);
      open.push(inner);
    }
    open.at(-1).append(element("li", {}, ...inline(text)));
  }
  return top;
}

const MARKS = [
  [/(`+)([^`]|[^`].*?[^`])\1(?!`)/s, (found) => element("code", {}, found[2])],
  [/\*\*(?=\S)(.+?\S|\S)\*\*/s, (found) => element("strong", {}, ...inline(found[1]))],
  [/(?<![\w*])\*(?=[^\s*])([^*]*[^\s*])\*(?![\w*])/, (found) => element("em", {}, ...inline(found[1]))],
  [/(?<![\w_])_(?=[^\s_])([^_]*[^\s_])_(?![\w_])/, (found) => element("em", {}, ...inline(found[1]))],
];

const LONGEST = 8000; // a block beyond it stays plain: looking for emphasis takes time that grows with its square

/** Texts and emphasis; line breaks stay. */
function inline(text) {
  const made = [];
  for (let rest = text; rest;) {
    let first = null, make = null;
    for (const [pattern, how] of rest.length > LONGEST ? [] : MARKS) {
      const found = pattern.exec(rest);
      if (found && (!first || found.index < first.index)) { first = found; make = how; }
    }
    const end = first ? first.index : rest.length;
    if (end) made.push(rest.slice(0, end));
    if (!first) break;
    made.push(make(first));
    rest = rest.slice(end + first[0].length);
  }
  return made;
}
