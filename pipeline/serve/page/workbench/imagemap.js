// The map: all images in the plane, those of the set in the colours of their clusters.

import { commandLine, get, getBytes, getOnce } from "../api.js";
import { counted, h, trouble } from "../dom.js";
import { DECIDED, TREE } from "../links.js";
import { openSprites } from "../plane/images.js";
import { createPlane } from "../plane/plane.js";
import { selection } from "../selection.js";
import { decided } from "./decisions.js";

/** @typedef {import("./state.js").State} State */

/** @type {Record<string, string>} */
const METHODS = { tsne: "t-SNE", umap: "UMAP", pca: "PCA" };

/**
 * The map; nothing is loaded before it is first shown. `onOpen` gets the row that was clicked.
 *
 * @param {{onOpen: (row: number) => void}} options
 */
export function makeMap({ onOpen }) {
  const root = h("div", { class: "bench-map" });
  /** @type {Promise<{plane: ReturnType<typeof createPlane>, rows: Int32Array}> | null} */
  let opening = null;
  /** @type {Int32Array | null} */
  let leaves = null;
  let turn = 0;

  async function open(run) {
    const [facts, data] = await Promise.all([get("map"), getBytes("map/points")]);
    const sprites = facts.has_sprites ? await openSprites(run.rows) : null;
    const coordinates = new Float32Array(data, 0, 2 * facts.shown);
    const rows = new Int32Array(data, 8 * facts.shown, facts.shown);
    const plane = createPlane({ coordinates, rows, sprites, selection, onOpen, label: `Map of ${counted(facts.shown, "image")}, coloured by cluster` });
    // PCA is linear: it keeps large distances as well as small ones.
    const caution = facts.method === "pca" ? "" : "; distances between groups mean little";
    const sample = facts.shown < run.rows ? `, ${counted(facts.shown, "image")} of them` : "";
    root.replaceChildren(plane.root, h("p", { class: "hint" }, `By ${METHODS[facts.method] ?? facts.method} of the ${facts.space === "features" ? "refined features" : "embeddings"}${sample}. Images close together are similar${caution}. Drag with Shift to select.`));
    return { plane, rows };
  }

  /** @type {Map<string, Promise<Int32Array>>} */
  const ofPoints = new Map(); // the clusters of the points, by grouping and length of the log
  /** @param {string} grouping */
  function ofGrouping(grouping) {
    const name = `${grouping} ${grouping === DECIDED ? decided.length : ""}`;
    const kept = ofPoints.get(name) ?? getBytes("map/clusters", { grouping }).then((bytes) => new Int32Array(bytes));
    ofPoints.clear();
    ofPoints.set(name, kept);
    kept.catch(() => ofPoints.delete(name));
    return kept;
  }

  /**
   * The place among the cards of the cluster of each point.
   *
   * @param {State} state
   * @param {any[]} cards
   */
  async function group(state, cards) {
    const placeOf = new Map(cards.map((card, place) => [card.id, place]));
    if (state.level === null) {
      const clusters = await ofGrouping(state.grouping);
      return clusters.map((cluster) => placeOf.get(cluster) ?? -1);
    }
    const [nodes, ofLeaves] = await Promise.all([getOnce("tree"), leaves ?? getBytes("map/clusters", { grouping: TREE }).then((bytes) => new Int32Array(bytes))]);
    leaves = ofLeaves;
    const placeOfLeaf = new Int32Array(nodes.nodes.length).fill(-1);
    cards.forEach((card, place) => {
      for (const leaf of leavesOf(nodes.nodes, card.id)) placeOfLeaf[leaf] = place;
    });
    return ofLeaves.map((leaf) => placeOfLeaf[leaf]);
  }

  return {
    root,
    /**
     * Shows the clusters of a state, and greys what is not in the set.
     *
     * @param {any} run
     * @param {State} state
     * @param {any[]} cards
     * @param {{nameOf: (cluster: number) => string, colourOf: (cluster: number) => string, visible: Set<number> | null}} options
     */
    async show(run, state, cards, { nameOf, colourOf, visible }) {
      const mine = ++turn;
      if (!run.has_map) {
        root.replaceChildren(trouble("There is no map yet", `Run \`${commandLine(run, "map")}\`, or start the server with \`${commandLine(run, "serve --map")}\`.`));
        return;
      }
      try {
        opening ??= open(run);
        const [{ plane }, of] = await Promise.all([opening, group(state, cards)]);
        if (mine !== turn) return;
        plane.setGroups({
          of, names: cards.map((card) => nameOf(card.id)), colours: cards.map((card) => colourOf(card.id)),
          sizes: cards.map((card) => card.size), typical: cards.map((card) => card.typical[0]?.row ?? null),
        });
        plane.setVisible(visible);
        const place = cards.findIndex((card) => card.id === state.focus);
        plane.focus(place < 0 ? null : place);
      } catch (error) {
        if (mine !== turn) return;
        opening?.then(({ plane }) => plane.destroy(), () => {});
        opening = null;
        root.replaceChildren(trouble("The map cannot be shown", error.message));
      }
    },
    close: () => opening?.then(({ plane }) => plane.destroy(), () => {}),
  };
}

/**
 * The leaves below a node; a tree may be as deep as it has leaves.
 *
 * @param {any[]} nodes
 * @param {number} number
 */
function leavesOf(nodes, number) {
  const [leaves, waiting] = [/** @type {number[]} */ ([]), [number]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { left, right } = nodes[next];
    if (left === null) leaves.push(next);
    else waiting.push(left, right);
  }
  return leaves;
}
