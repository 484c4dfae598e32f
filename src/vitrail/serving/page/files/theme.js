// Runs before anything is drawn: the theme that was chosen, so that a dark page never begins light.
"use strict";
try {
  const kept = localStorage.getItem("vitrail-theme");
  if (kept) document.documentElement.dataset.theme = kept;
} catch { /* no storage */ }
