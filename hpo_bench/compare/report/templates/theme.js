"use strict";
// Light or dark: the reader's choice if one was made, the system's otherwise. Runs before anything is drawn.
const Theme = (() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  let chosen = null;
  try { chosen = localStorage.getItem("hpo_bench-theme"); } catch { /* a file may have no storage */ }
  let printing = false;
  const current = () => (printing ? "light" : chosen ?? (system.matches ? "dark" : "light"));
  const apply = () => {
    document.documentElement.dataset.theme = current();
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = current() === "dark" ? "Light" : "Dark";
      button.setAttribute("aria-pressed", String(current() === "dark"));
      button.setAttribute("aria-label", `Change to ${button.textContent.toLowerCase()} colours`);
    }
    for (const listener of listeners) listener();
  };
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      chosen = current() === "dark" ? "light" : "dark";
      try { localStorage.setItem("hpo_bench-theme", chosen); } catch { /* then it holds for this visit */ }
      apply();
    });
    apply();
  });
  addEventListener("beforeprint", () => { printing = true; apply(); });
  addEventListener("afterprint", () => { printing = false; apply(); });
  apply();
  return {
    onChange: (listener) => listeners.push(listener),
    colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim(),
  };
})();
