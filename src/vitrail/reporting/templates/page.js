"use strict";
// Filters: a form's selects and search field show and hide the items of the list with the same name.
for (const form of document.querySelectorAll("[data-filters]")) {
  const name = form.dataset.filters;
  const items = [...document.querySelector(`[data-items="${name}"]`).children];
  const none = document.querySelector(`[data-none="${name}"]`);
  const count = form.querySelector("[data-count]");
  const update = () => {
    const wanted = [...form.querySelectorAll("[data-filter]")].filter((field) => field.value);
    const search = form.querySelector("[data-search]");
    const words = search ? search.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    let shown = 0;
    for (const item of items) {
      const text = words.length ? item.textContent.toLowerCase() : "";
      const fits = wanted.every((field) => item.dataset[field.dataset.filter] === field.value);
      item.hidden = !(fits && words.every((word) => text.includes(word)));
      shown += item.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${items.length} ${count.dataset.noun}`;
    if (none) none.hidden = shown > 0;
  };
  form.hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}
