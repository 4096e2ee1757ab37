// Two clusters side by side, each with the images that it might give to the other.

import { get } from "../api.js";
import { count, decimal, h, percent } from "../dom.js";
import { TREE } from "../links.js";
import { selection } from "../selection.js";
import { tile } from "../tiles.js";

/** @typedef {import("./state.js").State} State */

/**
 * The comparison. `actions` makes the buttons of what can be decided about two clusters.
 *
 * @param {{choose: (pair: number[]) => void, actions: (pair: number[], facts: any) => any}} options
 */
export function makeCompare({ choose, actions }) {
  const root = h("div", { class: "scroller compare" });
  let turn = 0;
  /** @type {number[] | null} */
  let compared = null;
  const stop = selection.onChange(() => {
    for (const pick of root.querySelectorAll(".pick")) if (pick instanceof HTMLElement) pick.setAttribute("aria-checked", String(selection.has(Number(pick.dataset.row))));
  });
  return {
    root,
    stop,
    /** The two clusters that are shown, if there are two. */
    pair: () => compared,
    /**
     * @param {State} state
     * @param {any[]} cards
     * @param {(cluster: number) => string} nameOf
     */
    async show(state, cards, nameOf) {
      const mine = ++turn;
      compared = null;
      const held = cards.filter((card) => card.size).sort((a, b) => b.size - a.size);
      if (held.length < 2) {
        root.replaceChildren(h("p", { class: "empty" }, "There are no two clusters to compare here."));
        return;
      }
      const grouping = state.level === null ? state.grouping : TREE;
      let pair;
      try {
        pair = await completePair(state.pair, held, grouping);
      } catch (error) {
        if (mine === turn) root.replaceChildren(h("p", { class: "empty", role: "alert" }, error.message));
        return;
      }
      if (mine !== turn) return;
      compared = pair;
      const pickers = pair.map((cluster, side) => h("select", { "aria-label": side ? "Second cluster" : "First cluster", on: { change: (event) => {
        const wanted = Number(event.target.value);
        choose(side ? [pair[0], wanted] : [wanted, pair[1]]);
      } } }, held.map((card) => h("option", { value: card.id, selected: card.id === cluster, disabled: card.id === pair[1 - side] }, `${nameOf(card.id)} (${count(card.size)})`))));
      root.replaceChildren(h("div", { class: "pair" }, pickers), h("p", { class: "waiting" }, "comparing"));
      try {
        const facts = await get("compare", { grouping, a: pair[0], b: pair[1] });
        if (mine !== turn) return;
        root.replaceChildren(
          h("div", { class: "pair" }, pickers),
          h("p", { class: "quiet" }, `Similarity ${percent(facts.alike)}. ${verdict(facts)}`),
          actions(pair, facts) ?? "",
          h("div", { class: "pair" }, facts.sides.map((/** @type {any} */ side, /** @type {number} */ place) => h("section", { "aria-label": nameOf(pair[place]) },
            h("h2", null, "Typical"), grid(side.typical),
            h("h2", null, `Might be ${nameOf(pair[1 - place])}`),
            side.near.length ? grid(side.near) : h("p", { class: "quiet" }, "No image is nearer to the other cluster.")))));
      } catch (error) {
        if (mine === turn) root.replaceChildren(h("div", { class: "pair" }, pickers), h("p", { class: "empty", role: "alert" }, error.message));
      }
    },
  };
}

/** Two clusters: those asked for, else the largest and the one most similar to it. */
async function completePair(given, held, grouping) {
  const known = given.filter((cluster) => held.some((card) => card.id === cluster));
  const first = known[0] ?? held[0].id;
  if (known.length === 2 && known[0] !== known[1]) return known;
  const { near } = await get(`clusters/${first}`, { grouping });
  const similar = near.map((/** @type {any} */ each) => each.id).find((/** @type {number} */ id) => held.some((card) => card.id === id));
  return [first, similar ?? held.find((card) => card.id !== first).id];
}

/** What the counts say about the two clusters. */
function verdict(facts) {
  const [a, b] = facts.sides.map((/** @type {any} */ side) => side.nearer);
  if (!a && !b && facts.sampled) return "No sampled image is nearer to the middle of the other cluster.";
  if (!a && !b) return "No image is nearer to the middle of the other cluster.";
  const [first, second] = facts.sides.map((/** @type {any} */ side) => (side.sampled === null ? "" : `${count(side.sampled)} sampled images of `));
  return `${count(a)} of ${first}the first and ${count(b)} of ${second}the second are nearer to the middle of the other.`;
}

/** @param {any[]} items */
function grid(items) {
  const list = h("ul", { class: "grid small" }, items.map((item) => {
    const element = tile(item, { isSmall: true, badge: item.margin === null || item.margin === undefined ? null : decimal(item.margin) });
    const pick = h("button", { class: "pick", type: "button", role: "checkbox", "aria-checked": String(selection.has(item.row)), "aria-label": `Select ${item.key}`, dataset: { row: item.row }, on: { click: () => selection.toggle(item.row) } });
    element.classList.add("pickable");
    element.append(pick);
    return element;
  }));
  return list;
}
