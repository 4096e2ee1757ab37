// Light, dark, or as the system has it; the choice is stored in this browser.

import { s } from "./dom.js";

/** @typedef {"system" | "light" | "dark"} Theme */

const STORAGE_KEY = "cpp-pipe-theme";

/** @type {Record<Theme, Theme>} */
const NEXT = { system: "light", light: "dark", dark: "system" };

const ICONS = {
  system: "M3 5h18v11H3z M8 20h8 M12 16v4",
  light: "M12 7.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9z M12 1.5v2.5 M12 20v2.5 M1.5 12h2.5 M20 12h2.5 M4.6 4.6l1.8 1.8 M17.6 17.6l1.8 1.8 M4.6 19.4l1.8-1.8 M17.6 6.4l1.8-1.8",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
};

/** @returns {Theme} */
function readStored() {
  try {
    const theme = localStorage.getItem(STORAGE_KEY);
    return theme === "light" || theme === "dark" ? theme : "system";
  } catch {
    return "system"; // storage is turned off
  }
}

/**
 * @param {Theme} theme
 * @param {HTMLElement} button
 */
function apply(theme, button) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.setAttribute("aria-label", `Theme: ${theme}`);
  button.title = `Theme: ${theme}`;
  button.replaceChildren(s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" },
    s("path", { d: ICONS[theme], fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" })));
}

/**
 * Applies the stored theme; a click on the button changes it.
 *
 * @param {HTMLElement} button
 */
export function setUpTheme(button) {
  let theme = readStored();
  apply(theme, button);
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(STORAGE_KEY, theme);
    } catch {
      // Storage is turned off: the choice lasts until the page is closed.
    }
    apply(theme, button);
  });
}
