// The list of commands, opened by Ctrl+K.

import { h } from "../dom.js";

/**
 * @typedef {{words: string, key?: string, run: () => void}} Command
 */

/**
 * Opens the list.
 *
 * @param {Command[]} commands
 */
export function openPalette(commands) {
  const field = h("input", { type: "search", "aria-label": "Command", placeholder: "What to do", autocomplete: "off", role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list" });
  const list = h("ul", { class: "palette-list", role: "listbox", id: "palette-list", "aria-label": "Commands" });
  const dialog = h("dialog", { class: "palette", "aria-label": "Commands" }, field, list);
  /** @type {Command[]} */
  let shown = [];
  let place = 0;

  function draw() {
    const words = field.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    shown = commands.filter((command) => words.every((word) => command.words.toLowerCase().includes(word)));
    place = Math.max(0, Math.min(place, shown.length - 1));
    list.replaceChildren(...shown.map((command, index) => h("li", { role: "option", id: `command-${index}`, "aria-selected": String(index === place), on: { click: () => choose(command) } }, command.words, command.key ? h("kbd", null, command.key) : null)));
    if (shown.length) field.setAttribute("aria-activedescendant", `command-${place}`);
    else field.removeAttribute("aria-activedescendant");
    list.children[place]?.scrollIntoView({ block: "nearest" });
  }

  /** @param {Command} command */
  function choose(command) {
    dialog.close();
    command.run();
  }
  field.addEventListener("input", () => { place = 0; draw(); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      place += event.key === "ArrowDown" ? 1 : -1;
      draw();
    } else if (event.key === "Enter" && shown[place]) {
      event.preventDefault();
      choose(shown[place]);
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  draw();
  dialog.showModal();
}
