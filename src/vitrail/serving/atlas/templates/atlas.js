"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// The theme: as the system says, until a person chooses.
const theme = document.querySelector(".theme");
if (theme) {
  const order = ["auto", "light", "dark"];
  const root = document.documentElement;
  const show = () => { theme.querySelector("span").textContent = root.dataset.theme || "auto"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const next = order[(order.indexOf(root.dataset.theme || "auto") + 1) % order.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    try { if (next === "auto") localStorage.removeItem("vitrail-theme"); else localStorage.setItem("vitrail-theme", next); } catch { /* not kept */ }
    show();
  });
  show();
}

// The window: one stop for Tab; arrow keys go to the nearest pane in their direction.
const panes = all(".pane");
if (panes.length) {
  // Not the drawing itself: Chromium makes an SVG that listens for focus a stop for Tab.
  const rose = panes[0].closest(".rose");
  const ring = rose.querySelector(".ring");
  const caption = document.getElementById("caption");
  const place = new Map(panes.map((pane) => [pane, { x: +pane.dataset.x, y: +pane.dataset.y }]));
  let pointer = "";
  const show = (pane, ringed = true) => {
    if (ringed) ring.setAttribute("d", pane.firstElementChild.getAttribute("d"));
    // Panes of the same seam are outlined: the sector can be seen, whatever its colour.
    for (const other of panes) other.classList.toggle("kin", ringed && other.dataset.seam === pane.dataset.seam);
    const row = document.getElementById(`paper-${pane.dataset.id}`);
    caption.hidden = false;
    caption.querySelector(".t").textContent = row.querySelector("h3").textContent;
    caption.querySelector(".m").textContent = all(".meta > span", row).map((part) => part.textContent.trim()).join(" · ");
    caption.querySelector(".c").textContent = row.querySelector(".changes").textContent;
  };
  const rove = (pane) => { for (const other of panes) other.setAttribute("tabindex", other === pane ? "0" : "-1"); };
  const towards = (from, dx, dy) => {
    const here = place.get(from);
    let best = null, least = Infinity;
    for (const pane of panes) {
      const there = place.get(pane);
      const along = (there.x - here.x) * dx + (there.y - here.y) * dy;
      const aside = Math.abs((there.x - here.x) * dy - (there.y - here.y) * dx);
      if (pane === from || along <= 4 || aside > along * 2) continue;
      const cost = along + 2 * aside;
      if (cost < least) { least = cost; best = pane; }
    }
    return best;
  };
  const keys = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  rove(panes[0]);
  rose.addEventListener("keydown", (event) => {
    const pane = event.target.closest(".pane");
    if (!pane || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = keys[event.key] ? towards(pane, ...keys[event.key]) : { Home: panes[0], End: panes[panes.length - 1] }[event.key];
    if (keys[event.key] || next) event.preventDefault();
    if (next) { rove(next); next.focus(); }
  });
  rose.addEventListener("focusin", (event) => { const pane = event.target.closest(".pane"); if (pane) { rove(pane); show(pane); } });
  const plain = () => { ring.setAttribute("d", ""); for (const pane of panes) pane.classList.remove("kin"); };
  rose.addEventListener("focusout", plain);
  rose.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !rose.contains(document.activeElement)) plain(); });
  rose.addEventListener("pointerover", (event) => { const pane = event.target.closest(".pane"); if (pane && event.pointerType === "mouse") show(pane); });
  rose.addEventListener("pointerdown", (event) => { pointer = event.pointerType; }, true);
  // A finger cannot hover: the first tap tells what the pane is, the second opens it.
  let told = null;
  rose.addEventListener("click", (event) => {
    const pane = event.target.closest(".pane");
    if (!pane || pointer !== "touch") return;
    if (told !== pane) { event.preventDefault(); told = pane; show(pane); }
  });
  show(panes.find((pane) => pane.classList.contains("built")) || panes[0], false);
}

// Search and filters, over the list and the window.
const form = document.querySelector(".filters");
if (form) {
  const rows = all(".papers > li");
  const texts = new Map(rows.map((row) => [row, `${row.dataset.text} ${row.textContent.toLowerCase()}`]));
  const none = document.querySelector(".none");
  const output = form.querySelector("output");
  const update = () => {
    const words = form.querySelector("[data-search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = all("[data-filter]", form).filter((field) => field.value);
    const off = new Set();
    for (const row of rows) {
      const fits = wanted.every((field) => row.dataset[field.dataset.filter].split(" ").includes(field.value));
      row.hidden = !(fits && words.every((word) => texts.get(row).includes(word)));
      if (row.hidden) off.add(row.dataset.id);
    }
    for (const pane of panes) pane.classList.toggle("off", off.has(pane.dataset.id));
    document.querySelector(".rose").classList.toggle("filtered", off.size > 0);
    output.textContent = `${rows.length - off.size} of ${rows.length} papers`;
    none.hidden = off.size < rows.length;
  };
  form.hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  document.querySelector("[data-clear]").addEventListener("click", () => { form.reset(); form.querySelector("[data-search]").focus(); });
  update();
}

for (const button of all(".copy")) {
  const text = button.closest("figure").querySelector("pre").textContent;
  button.hidden = false;
  button.setAttribute("aria-label", `Copy: ${button.parentElement.firstChild.textContent.trim()}`);
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Select the text and copy it"; }
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
}
