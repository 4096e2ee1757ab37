// The shelf: all clusters of the set in lines, and the filters above them.

import { SORTS } from "../cards.js";
import { count, counted, decimal, h } from "../dom.js";
import { meter, strip } from "../tiles.js";
import { conditionFields } from "./conditions.js";
import { CONFIDENCES, NO_FILTERS, isFiltered } from "./state.js";
import { windowedList } from "./windowed.js";

const LINE = 48; // pixels of a line
const THUMBNAILS = 5;
const THUMBNAIL = 22; // pixels of each
const TYPING = 250; // ms from the last key until the words count

/** @typedef {import("./state.js").State} State */

/**
 * The shelf. `change` gets what is to differ in the state, and `open` the cluster that was chosen.
 *
 * @param {State} state
 * @param {{change: (fields: Partial<State>) => void, open: (cluster: number) => void, nameOf: (cluster: number) => string, colourOf: (cluster: number) => string}} options
 */
export function makeShelf(state, { change, open, nameOf, colourOf }) {
  const summary = h("p", { class: "shelf-summary", role: "status" });
  const lines = h("ul", { class: "shelf-lines", "aria-label": "Clusters" });
  const root = h("aside", { class: "shelf", "aria-label": "Clusters and filters", tabindex: -1 });
  /** @type {number | null} */
  let current = null;
  /** @type {Map<number, any>} */
  let cards = new Map();

  /** @param {{cluster: number, size: number}} shown  a cluster, and its images in the set */
  function line({ cluster, size }) {
    const card = cards.get(cluster);
    const name = nameOf(cluster);
    const isCurrent = cluster === current;
    return h("li", { class: "shelf-line" },
      h("button", { type: "button", "aria-current": isCurrent ? "true" : null, dataset: { cluster },
        "aria-label": `${name}, ${counted(size, "image")}, confidence ${decimal(card?.confidence)}`, on: { click: () => open(cluster) } },
      h("span", { class: "colour", style: { background: colourOf(cluster) } }),
      h("span", { class: "shelf-name" }, name),
      h("span", { class: "number quiet" }, count(size)),
      h("span", { class: "shelf-images", "aria-hidden": "true" }, strip((card?.typical ?? []).slice(0, THUMBNAILS).map((/** @type {{row: number}} */ member) => member.row), THUMBNAIL)),
      meter(card?.confidence ?? null)));
  }

  let timer = 0;
  const words = h("input", { type: "search", value: state.words, placeholder: "Words of a caption", "aria-label": "Only clusters whose caption contains", maxlength: 200, on: { input: () => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ words: words.value.trim() }), TYPING);
  } } });
  const sort = select("Sort clusters by", Object.entries(SORTS), state.sort, (value) => change({ sort: value }));
  const doubt = select("Confidence", Object.entries(CONFIDENCES).map(([name, each]) => [name, each.words]), state.doubt, (value) => change({ doubt: value }));
  const label = select("Label", [["", "any"]], state.label, (value) => change({ label: value }));
  const tag = select("Tag", [["", "any"]], state.tag, (value) => change({ tag: value }));
  const excluded = select("Excluded images", [["", "hidden"], ["show", "shown"], ["only", "only these"]], state.excluded, (value) => change({ excluded: value }));
  const only = select("Only", [["", "all images"], ["copies", "copies of another image"], ["duplicates", "near-duplicates"], ["against-labels", "unlike their cluster’s label"]], state.only, (value) => change({ only: value }));
  const where = h("input", { type: "text", value: state.where, placeholder: "sharpness > 0.2 and width >= 300", "aria-label": "Where", maxlength: 400, autocomplete: "off", on: { change: () => change({ where: where.value.trim() }) } });
  const column = conditionFields((condition) => change({ where: [where.value.trim(), condition].filter(Boolean).join(" and ") }));
  const novel = h("input", { type: "checkbox", checked: state.novel, on: { change: () => change({ novel: novel.checked }) } });
  const novelCount = h("span", { class: "quiet number" });
  const reset = h("button", { type: "button", class: "plain", hidden: true, on: { click: () => change(NO_FILTERS) } }, "show all");
  const filters = h("details", { class: "filters", open: isFiltered({ ...state, words: "" }) },
    h("summary", null, "Filters"),
    h("div", { class: "filter-fields" }, doubt.root, label.root, tag.root, only.root, excluded.root,
      h("label", { class: "field", title: "Conditions on scores (cpp-pipe score) and on columns such as width" }, "Where", where),
      column.root,
      h("label", { class: "check" }, novel, "only outliers ", novelCount)));
  root.append(
    h("div", { class: "shelf-head" }, words, sort.root, filters, h("div", { class: "row-between" }, summary, reset)),
    lines);
  const list = windowedList(root, lines, LINE, line);

  return {
    root,
    /**
     * Shows the clusters of a set.
     *
     * @param {any[]} all
     * @param {any} facts
     * @param {State} now
     * @param {{tags: [string, number][], excluded: number}} decided
     */
    set(all, facts, now, decided) {
      cards = new Map(all.map((card) => [card.id, card]));
      summary.textContent = `${counted(facts.total, "image")} in ${counted(facts.clusters.length, "cluster")}`;
      reset.hidden = !isFiltered(now);
      if (document.activeElement !== words) words.value = now.words;
      if (document.activeElement !== where) where.value = now.where;
      sort.set(now.sort);
      doubt.set(now.doubt);
      only.set(now.only);
      excluded.set(now.excluded);
      excluded.root.hidden = !decided.excluded && !now.excluded;
      label.fill([["", "any"], ...facts.labels.map((/** @type {[string, number]} */ [name, rows]) => [name, `${name} (${count(rows)})`])], now.label);
      label.root.hidden = !facts.labels.length && !now.label;
      tag.fill([["", "any"], ...decided.tags.map(([name, rows]) => [name, `${name} (${count(rows)})`])], now.tag);
      tag.root.hidden = !decided.tags.length && !now.tag;
      novel.checked = now.novel;
      novelCount.textContent = count(facts.novel);
      list.set(facts.clusters.map((/** @type {[number, number]} */ [cluster, size]) => ({ cluster, size })));
    },
    /** @param {number | null} cluster */
    mark(cluster) {
      current = cluster;
      for (const button of lines.querySelectorAll("button[data-cluster]")) {
        if (button instanceof HTMLElement && Number(button.dataset.cluster) === cluster) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      }
    },
    focusWords: () => words.focus(),
    restore: list.update,
  };
}

/**
 * A labelled choice; `fill` gives it other options.
 *
 * @param {string} name
 * @param {string[][]} options
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
function select(name, options, chosen, choose) {
  const field = h("select", { "aria-label": name, on: { change: () => choose(field.value) } });
  /**
   * @param {string[][]} given
   * @param {string} value
   */
  function fill(given, value) {
    const known = given.some(([each]) => each === value) ? given : [...given, [value, value]];
    field.replaceChildren(...known.map(([each, text]) => h("option", { value: each }, text)));
    field.value = value;
  }
  fill(options, chosen);
  return { root: h("label", { class: "field" }, name, field), fill, set: (/** @type {string} */ value) => { field.value = value; } };
}
