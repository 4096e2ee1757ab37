// The buttons of what can be decided about a cluster, a pair of clusters, or an image.

import { getBytes } from "../api.js";
import { count, counted, h } from "../dom.js";
import { selection } from "../selection.js";
import { askText, decide, decided } from "./decisions.js";
import { askCluster } from "./tray.js";

/**
 * @param {{nameOf: (cluster: number) => string, compare: (pair: number[]) => void, canDecide: () => boolean, clusters: () => Promise<[number, string][]>}} options
 *   `canDecide` says whether the clusters that are shown are those that decisions are about, which are `clusters`
 */
export function makeActions({ nameOf, compare, canDecide, clusters }) {
  const button = (/** @type {string} */ text, /** @type {() => any} */ click) => h("button", { class: "button small", type: "button", on: { click } }, text);

  /** @param {number} cluster */
  const name = (cluster) => askText(`Name ${nameOf(cluster)}`, "Name", (value, dialog) => decide("name", { clusters: [cluster], value }, value ? `Named it “${value}”.` : "Took its name off.", dialog), { value: nameOf(cluster) });

  /** @param {number} cluster */
  const note = (cluster) => askText(`Note on ${nameOf(cluster)}`, "Note", (value, dialog) => decide("note", { clusters: [cluster], value }, "Noted.", dialog));

  /**
   * Merges the second cluster into the first.
   *
   * @param {number[]} pair
   */
  const mergePair = (pair) => decide("merge", { clusters: pair }, `Merged ${nameOf(pair[1])} into ${nameOf(pair[0])}.`);

  /**
   * Asks which cluster is merged into one.
   *
   * @param {number} cluster
   */
  async function merge(cluster) {
    const others = (await clusters()).filter(([each]) => each !== cluster);
    const other = await askCluster(`Merge into ${nameOf(cluster)}`, others, { label: "The other cluster", button: "Merge" });
    if (other) await mergePair([cluster, other[0]]);
  }

  /** @param {number} cluster */
  async function splitSelected(cluster) {
    const rows = selection.rows();
    if (await decide("split", { clusters: [cluster], rows }, `Made a new cluster of ${counted(rows.length, "image")}.`)) selection.clear();
  }

  /**
   * Splits the images of a cluster that a node of the hierarchy holds off it.
   *
   * @param {number} cluster
   * @param {string} grouping
   * @param {any} child
   * @param {number} level
   */
  async function splitChild(cluster, grouping, child, level) {
    const [own, others] = (await Promise.all([getBytes("set/rows", { grouping, cluster }), getBytes("set/rows", { level, cluster: child.id })])).map((bytes) => new Int32Array(bytes));
    const inside = new Set(own);
    const rows = [...others].filter((row) => inside.has(row));
    await decide("split", { clusters: [cluster], rows }, `Split ${counted(rows.length, "image")} off.`);
  }

  return {
    /** @param {any} facts  of a cluster, with its grouping */
    cluster(facts) {
      if (!decided.isEditable) return null;
      if (!canDecide()) return h("p", { class: "hint" }, "Decisions are about the clusters of this run: choose them beside the dial.");
      const { id } = facts.card;
      const smaller = [...facts.splits_into].sort((a, b) => a.size - b.size)[0];
      return h("div", { class: "buttons" },
        button("Name", () => name(id)),
        button("Note", () => note(id)),
        facts.near.length ? button("Merge…", () => compare([id, facts.near[0].id])) : null,
        smaller ? button("Split in two", () => splitChild(id, facts.grouping, smaller, facts.splits_at)) : null,
        selection.size ? button("Selected into a new cluster", () => splitSelected(id)) : null,
        button("Exclude all", () => decide("exclude", { clusters: [id] }, `Excluded ${nameOf(id)}.`)));
    },
    /**
     * A cluster of which every image is excluded.
     *
     * @param {any} facts
     * @param {string} words  its name
     * @param {() => void} show  shows its images
     */
    excluded: (facts, words, show) => [
      h("h2", null, words),
      h("p", { class: "quiet" }, facts.card.excluded === 1 ? "Its only image is excluded." : `All its ${count(facts.card.excluded)} images are excluded.`),
      h("div", { class: "buttons" },
        button("Show them", show),
        canDecide() ? button("Include all", () => decide("include", { clusters: [facts.card.id] }, `Included ${words}.`)) : null),
    ],
    /** @param {any} facts */
    image(facts) {
      if (!decided.isEditable) return null;
      return h("div", { class: "buttons" },
        facts.excluded
          ? button("Include", () => decide("include", { rows: [facts.row] }, `Included ${facts.key}.`))
          : button("Exclude", () => decide("exclude", { rows: [facts.row] }, `Excluded ${facts.key}.`)));
    },
    /** @param {number[]} pair */
    pair(pair) {
      if (!canDecide()) return null;
      return h("div", { class: "buttons" },
        button(`Merge both into ${nameOf(pair[0])}`, () => mergePair(pair)),
        button(`Move selected to ${nameOf(pair[0])}`, () => moveSelected(pair[0])),
        button(`Move selected to ${nameOf(pair[1])}`, () => moveSelected(pair[1])));
    },
    name,
    merge,
    mergePair,
  };

  /** @param {number} cluster */
  async function moveSelected(cluster) {
    const rows = selection.rows();
    if (rows.length && await decide("move", { rows, clusters: [cluster] }, `Moved ${counted(rows.length, "image")}.`)) selection.clear();
  }
}
