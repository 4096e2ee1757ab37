// Light, dark, or as the system has it; the choice stays in this browser.

import { s } from "./dom.js";

const NAME = "cpp-pipe-theme";
const NEXT = { system: "light", light: "dark", dark: "system" };
const WORDS = { system: "as the system", light: "light", dark: "dark" };
const PATHS = {
  system: "M3 5h18v11H3z M8 20h8 M12 16v4",
  light: "M12 7.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9z M12 1.5v2.5 M12 20v2.5 M1.5 12h2.5 M20 12h2.5 M4.6 4.6l1.8 1.8 M17.6 17.6l1.8 1.8 M4.6 19.4l1.8-1.8 M17.6 6.4l1.8-1.8",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
};

function stored() {
  try {
    const found = localStorage.getItem(NAME);
    return found in NEXT ? found : "system";
  } catch {
    return "system"; // where storage is turned off
  }
}

function apply(theme, button) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.setAttribute("aria-label", `Theme: ${WORDS[theme]}`);
  button.title = `Theme: ${WORDS[theme]}`;
  button.replaceChildren(s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" },
    s("path", { d: PATHS[theme], fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" })));
  window.dispatchEvent(new Event("themechange"));
}

export function setUpTheme(button) {
  let theme = stored();
  apply(theme, button);
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(NAME, theme);
    } catch {
      // It holds until the page is left.
    }
    apply(theme, button);
  });
}

/** A colour of the theme as it is now. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
