// A map of all images, coloured by cluster, with the list of clusters beside it.

import { makeAddressUpdater } from "./address.js";
import { get, getBytes, getOnce, query } from "./api.js";
import { announce, counted, decimal, h, trouble } from "./dom.js";
import { TREE, cardName, clusterLink, groupingName, imageLink } from "./links.js";
import { colour, treeColours } from "./palette.js";
import { openSprites } from "./plane-images.js";
import { createPlane } from "./plane.js";
import { selection } from "./selection.js";
import { image } from "./tiles.js";

/** @type {Record<string, string>} */
const METHODS = { tsne: "t-SNE", umap: "UMAP", pca: "PCA" };

/**
 * Clusters with their colours, and for each point the place of its own in that list.
 *
 * @typedef {{of: Int32Array, cards: any[], colours: string[], grouping: string}} Groups
 */

export async function show(parameters, { facts: run }) {
  if (!run.has_map) return { title: "Map", root: trouble("There is no map yet", "Run `cpp-pipe map`, or start the server with `cpp-pipe serve --map`.") };
  const updateAddress = makeAddressUpdater();
  const [facts, data] = await Promise.all([get("map"), getBytes("map/points")]);
  const sprites = facts.has_sprites ? await openSprites(run.rows) : null;
  const { shown } = facts;
  const coordinates = new Float32Array(data, 0, 2 * shown);
  const rows = new Int32Array(data, 8 * shown, shown);

  const levels = run.tree?.has_rows ? run.tree.finest : 0;
  const state = {
    grouping: run.groupings.some((each) => each.name === parameters.grouping) ? parameters.grouping : run.groupings[0].name,
    level: levels && parameters.level ? Math.max(1, Math.min(levels, Number(parameters.level) || levels)) : null,
    /** @type {number | null} */
    highlighted: null,
  };
  const list = h("ul", { class: "swatches", "aria-label": "Clusters" });
  const opened = h("section", { class: "panel shown", "aria-live": "polite" }, h("p", { class: "quiet" }, "Click an image to see it in full. Drag with Shift to select images."));
  const number = h("span", { class: "quiet" });
  const plane = createPlane({ coordinates, rows, sprites, selection, onOpen: open, label: `Map of ${counted(shown, "image")}, coloured by cluster` });

  /** @type {Int32Array | null} */
  let leaves = null;

  /** @returns {Promise<Groups>} */
  async function loadGroups() {
    const { grouping, level } = state;
    if (level === null) {
      const [clusters, { cards }] = await Promise.all([getBytes("map/clusters", { grouping }), getOnce("clusters", { grouping })]);
      return { of: new Int32Array(clusters), cards, colours: cards.map((_, place) => colour(place)), grouping };
    }
    const ownLeaves = leaves ??= new Int32Array(await getBytes("map/clusters", { grouping: TREE }));
    const { nodes } = await getOnce("tree");
    const colours = treeColours(nodes);
    const cards = nodes.filter((node) => node.coarsest <= level && level <= node.finest);
    const placeOf = new Int32Array(levels);
    cards.forEach((card, place) => leavesOf(nodes, card.id).forEach((leaf) => { placeOf[leaf] = place; }));
    return { of: ownLeaves.map((leaf) => placeOf[leaf]), cards, colours: cards.map((card) => colours[card.id]), grouping: TREE };
  }

  /** @type {Groups} */
  let groups = { of: new Int32Array(), cards: [], colours: [], grouping: state.grouping };
  let turn = 0;

  async function regroup() {
    const mine = ++turn;
    const loaded = await loadGroups();
    if (mine !== turn) return;
    groups = loaded;
    const { of, cards, colours, grouping } = groups;
    const names = cards.map((card) => cardName(card, grouping));
    plane.setGroups({ of, names, colours, sizes: cards.map((card) => card.size), typical: cards.map((card) => card.typical[0]?.row ?? null) });
    const bySize = [...cards.keys()].filter((place) => cards[place].size).sort((a, b) => cards[b].size - cards[a].size);
    list.replaceChildren(...bySize.map((place) => h("li", null,
      h("button", { type: "button", "aria-pressed": "false", on: { click: (event) => highlight(place, event.currentTarget) } },
        h("span", { class: "colour", style: { background: colours[place] } }), h("span", { class: "word" }, names[place]), h("span", { class: "quiet number" }, cards[place].size)))));
    number.textContent = counted(cards.length, "cluster");
    state.highlighted = null;
  }

  /**
   * @param {number} place
   * @param {HTMLElement} button
   */
  function highlight(place, button) {
    state.highlighted = state.highlighted === place ? null : place;
    for (const each of list.querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button && state.highlighted !== null));
    plane.focus(state.highlighted);
    announce(state.highlighted === null ? "all clusters are coloured" : `only ${cardName(groups.cards[place], groups.grouping)} is coloured`);
  }

  /** @param {number} row */
  function open(row) {
    const { of, cards, grouping } = groups;
    const card = cards[of[rows.indexOf(row)]];
    const preview = image(row, 1280, "the image that was clicked");
    opened.replaceChildren(preview, h("p", { class: "waiting" }, "loading"));
    get(`images/${row}`).then((found) => {
      preview.alt = found.key;
      opened.replaceChildren(
        h("a", { href: imageLink(found), "aria-label": `Open ${found.key}` }, preview),
        h("p", null, h("a", { href: imageLink(found) }, found.key)),
        h("p", { class: "quiet" }, "in ", h("a", { href: clusterLink(card.id, grouping) }, cardName(card, grouping)), `, confidence ${decimal(found.places[0].confidence)}`));
    }, (error) => opened.replaceChildren(preview, h("p", { class: "quiet" }, error.message)));
  }

  const keepState = () => updateAddress(`map${query({ level: state.level, grouping: state.level === null && state.grouping !== run.groupings[0].name ? state.grouping : null })}`);
  const slider = h("input", {
    type: "range", min: 1, max: levels, value: state.level ?? Math.min(levels, run.groupings[0].k), "aria-label": "Level of the hierarchy",
    on: { input: () => { state.level = Number(slider.value); choice.value = TREE; regroup(); keepState(); } },
  });
  const choice = h("select", { "aria-label": "Colour by", on: { change: () => {
    if (choice.value === TREE) state.level = Number(slider.value);
    else Object.assign(state, { grouping: choice.value, level: null });
    regroup();
    keepState();
  } } }, run.groupings.map((each) => h("option", { value: each.name, selected: state.level === null && each.name === state.grouping }, groupingName(each.name))),
  levels ? h("option", { value: TREE, selected: state.level !== null }, "hierarchy") : null);

  const count = h("span");
  const selected = h("section", { class: "panel", hidden: true }, h("div", { class: "row-between" }, count, h("button", { class: "button", type: "button", on: { click: () => selection.clear() } }, "Clear")));
  selection.onChange(showSelection);
  function showSelection() {
    count.textContent = `${counted(selection.size, "image")} selected`;
    selected.hidden = !selection.size;
  }
  showSelection();

  const sample = shown < run.rows ? ` (a sample of ${counted(shown, "point")} is shown)` : "";
  const vectors = facts.space === "features" ? "refined features" : "CLIP embeddings";
  // PCA is linear: it keeps large distances as well as small ones.
  const caution = facts.method === "pca" ? "" : "; distances between groups mean little";
  const root = h("div", null,
    h("h1", null, "Map"),
    h("p", { class: "lead" }, `${counted(run.rows, "image")}${sample}, placed by ${METHODS[facts.method] ?? facts.method} of the ${vectors}. Images close together are similar${caution}.`),
    h("div", { class: "map" },
      h("div", { class: "map-frame" }, plane.root),
      h("aside", { "aria-label": "About the map" },
        opened, selected,
        h("section", { class: "panel" }, h("div", { class: "row-between" }, choice, number), levels ? slider : null, list))));
  await regroup();
  return { title: "Map", root };
}

/**
 * The leaves below a node.
 *
 * @returns {number[]}
 */
function leavesOf(nodes, number) {
  const { left, right } = nodes[number];
  return left === null ? [number] : [...leavesOf(nodes, left), ...leavesOf(nodes, right)];
}
