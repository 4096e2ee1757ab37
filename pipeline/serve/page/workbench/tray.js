// The tray: what can be done with the selected images.

import { commandLine, postJson } from "../api.js";
import { count, counted, h } from "../dom.js";
import { searchLink } from "../links.js";
import { selection } from "../selection.js";
import { ask, askText, decide, decided } from "./decisions.js";

const MAX_EXAMPLES = 200; // images of one search

/**
 * The tray; it is there while images are selected.
 *
 * @param {any} run
 * @param {{go: (link: string) => void, clusters: () => Promise<[number, string][]>}} options  `clusters` are those that images can be moved to
 */
export function makeTray(run, { go, clusters }) {
  const number = h("span", { class: "tray-count", role: "status" });
  const buttons = h("div", { class: "buttons" });
  const root = h("div", { class: "tray", role: "toolbar", "aria-label": "Selected images", hidden: true }, number, buttons);
  const button = (/** @type {string} */ text, /** @type {() => any} */ click) => h("button", { class: "button small", type: "button", on: { click } }, text);
  const rows = () => selection.rows();
  const words = () => counted(selection.size, "image");

  const tag = () => askText("Tag images", "Tag", (value, dialog) => decide("tag", { rows: rows(), value }, `Tagged ${words()} “${value}”.`, dialog), { options: decided.tags.map(([name]) => name), button: "Tag", isRequired: true });
  /** Decides about what is selected now, and lets it go once that is recorded. */
  async function settle(/** @type {string} */ op, /** @type {{clusters?: number[]}} */ about, /** @type {string} */ text) {
    const chosen = rows();
    if (await decide(op, { ...about, rows: chosen }, text)) selection.remove(chosen);
  }
  const exclude = () => settle("exclude", {}, `Excluded ${words()}.`);
  const include = () => decide("include", { rows: rows() }, `Included ${words()}.`);
  async function move() {
    const cluster = await askCluster("Move images", await clusters());
    if (cluster) await settle("move", { clusters: [cluster[0]] }, `Moved ${words()} to ${cluster[1]}.`);
  }

  function update() {
    root.hidden = !selection.size;
    number.textContent = `${count(selection.size)} selected`;
  }
  function fill() {
    buttons.replaceChildren(...[
      decided.isEditable ? [button("Tag", tag), button("Exclude", exclude), button("Include", include), button("Move", move)] : [],
      button("Find similar", () => go(searchLink(similarTo(rows())))),
      button("Export", () => exportKeys(run)),
      button("Clear", () => selection.clear()),
    ].flat());
    update();
  }
  fill();
  return { root, fill, stop: selection.onChange(update), tag, exclude, move };
}

/**
 * The search for images like all of some rows: of many, like some at even distances.
 *
 * @param {number[]} rows
 */
function similarTo(rows) {
  const step = Math.max(1, rows.length / MAX_EXAMPLES);
  const some = rows.filter((_, place) => Math.floor(place / step) !== Math.floor((place - 1) / step)).slice(0, MAX_EXAMPLES);
  return rows.length === 1 ? { row: rows[0] } : { rows: some.join(",") };
}

/**
 * Asks for a cluster by its name; null for none.
 *
 * @param {string} title
 * @param {[number, string][]} clusters
 * @param {{label?: string, button?: string}} [given]
 * @returns {Promise<[number, string] | null>}
 */
export async function askCluster(title, clusters, { label = "To cluster", button = "Move" } = {}) {
  const field = h("select", null, clusters.map(([cluster, name]) => h("option", { value: cluster }, name)));
  const answer = await ask(title, h("label", { class: "field" }, label, field), [["ok", button], ["", "Cancel"]]);
  return answer === "ok" ? clusters.find(([cluster]) => cluster === Number(field.value)) ?? null : null;
}

/** Offers the keys of the selected images as a file, and the commands that take it. */
async function exportKeys(run) {
  const rows = selection.rows();
  const text = await postJson("keys", { rows });
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const commands = ["curate --keys keys.txt --out shards/", "edit tag TAG --keys keys.txt", "edit exclude --keys keys.txt"].map((words) => commandLine(run, words));
  await ask(`Export ${counted(rows.length, "image")}`, [
    h("p", null, h("a", { class: "button", href: address, download: "keys.txt" }, "Save keys.txt")),
    h("p", { class: "quiet" }, "Then copy these images into new shards, or decide about them in a shell:"),
    h("pre", null, commands.join("\n")),
  ], [["", "Close"]]);
  URL.revokeObjectURL(address);
}
