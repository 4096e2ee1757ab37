// A map of all images, coloured by cluster. The wheel zooms, a click shows an image.

import { makeAddressUpdater } from "./address.js";
import { get, getBytes, getOnce, query } from "./api.js";
import { announce, counted, decimal, h, trouble } from "./dom.js";
import { TREE, cardName, clusterLink, groupingName, imageLink } from "./links.js";
import { GREY, colour, steppedScale } from "./palette.js";
import { image } from "./tiles.js";

/** @type {Record<string, string>} */
const METHODS = { tsne: "t-SNE", umap: "UMAP", pca: "PCA" };
const MAX_SVG_POINTS = 20_000; // that a browser without WebGL draws in bearable time

/**
 * Clusters, and for each point the place of its own in that list.
 *
 * @typedef {{of: Int32Array, cards: any[], grouping: string}} Groups
 */

/**
 * Plotly, from its Python package on the server.
 *
 * @returns {Promise<any>}
 */
function loadPlotly() {
  /** @type {any} */
  const global = window;
  if (global.Plotly) return Promise.resolve(global.Plotly);
  return new Promise((resolve, reject) => {
    const script = h("script", { src: "static/plotly.min.js" });
    script.onload = () => resolve(global.Plotly ?? global.moduleName);
    script.onerror = () => reject(new Error("Plotly cannot be loaded from the server: pip install 'cpp-pipe[serve]'"));
    document.head.append(script);
  });
}

const hasWebgl = () => Boolean(document.createElement("canvas").getContext("webgl"));

export async function show(parameters, { facts: run }) {
  if (!run.has_map) return { title: "Map", root: trouble("There is no map yet", "Run `cpp-pipe map`, or start the server with `cpp-pipe serve --map`.") };
  const updateAddress = makeAddressUpdater();
  const [facts, data, plotly] = await Promise.all([get("map"), getBytes("map/points"), loadPlotly()]);
  const shown = hasWebgl() ? facts.shown : Math.min(facts.shown, MAX_SVG_POINTS);
  const coordinates = new Float32Array(data, 0, 2 * facts.shown);
  const rows = new Int32Array(data, 8 * facts.shown, facts.shown);
  const x = new Float32Array(shown);
  const y = new Float32Array(shown);
  for (let point = 0; point < shown; point += 1) [x[point], y[point]] = [coordinates[2 * point], coordinates[2 * point + 1]];

  const levels = run.tree?.has_rows ? run.tree.finest : 0;
  const state = {
    grouping: run.groupings.some((each) => each.name === parameters.grouping) ? parameters.grouping : run.groupings[0].name,
    level: levels && parameters.level ? Math.max(1, Math.min(levels, Number(parameters.level) || levels)) : null,
    /** @type {number | null} */
    highlighted: null,
  };
  /** @type {any} */
  const plot = h("div", { role: "img", "aria-label": `Map of ${counted(shown, "image")}, coloured by cluster` });
  const list = h("ul", { class: "swatches", "aria-label": "Clusters" });
  const selection = h("section", { class: "panel shown", "aria-live": "polite" }, h("p", { class: "quiet" }, "Click a point to see its image."));
  const number = h("span", { class: "quiet" });

  /** @type {Int32Array | null} */
  let leaves = null;

  /** @returns {Promise<Groups>} */
  async function loadGroups() {
    const { grouping, level } = state;
    if (level === null) {
      const [clusters, { cards }] = await Promise.all([getBytes("map/clusters", { grouping }), getOnce("clusters", { grouping })]);
      return { of: new Int32Array(clusters), cards, grouping };
    }
    const ownLeaves = leaves ??= new Int32Array(await getBytes("map/clusters", { grouping: TREE }));
    const { nodes } = await getOnce("tree");
    const cards = nodes.filter((node) => node.coarsest <= level && level <= node.finest);
    const placeOf = new Int32Array(levels);
    cards.forEach((card, place) => leavesOf(nodes, card.id).forEach((leaf) => { placeOf[leaf] = place; }));
    return { of: ownLeaves.map((leaf) => placeOf[leaf]), cards, grouping: TREE };
  }

  /** @type {Groups} */
  let groups = { of: new Int32Array(), cards: [], grouping: state.grouping };
  let isDrawn = false;
  let turn = 0;

  async function regroup() {
    const mine = ++turn;
    const loaded = await loadGroups();
    if (mine !== turn) return;
    groups = loaded;
    const { cards, grouping } = groups;
    const bySize = [...cards.keys()].filter((place) => cards[place].size).sort((a, b) => cards[b].size - cards[a].size);
    list.replaceChildren(...bySize.map((place) => h("li", null,
      h("button", { type: "button", "aria-pressed": "false", on: { click: (event) => highlight(place, event.currentTarget) } },
        h("span", { class: "colour", style: { background: colour(place) } }), h("span", { class: "word" }, cardName(cards[place], grouping)), h("span", { class: "quiet number" }, cards[place].size)))));
    number.textContent = counted(cards.length, "cluster");
    state.highlighted = null;
    if (isDrawn) paint();
  }

  /** The colour of each point, as Plotly takes it. */
  function marker() {
    const { highlighted } = state;
    const colours = groups.cards.map((_, place) => (highlighted === null || place === highlighted ? colour(place) : GREY));
    return { color: groups.of.subarray(0, shown), cmin: -0.5, cmax: colours.length - 0.5, colorscale: steppedScale(colours) };
  }

  function paint() {
    plotly.restyle(plot, Object.fromEntries(Object.entries(marker()).map(([name, value]) => [`marker.${name}`, [value]])), [0]);
  }

  /**
   * @param {number} place
   * @param {HTMLElement} button
   */
  function highlight(place, button) {
    state.highlighted = state.highlighted === place ? null : place;
    for (const each of list.querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button && state.highlighted !== null));
    paint();
    announce(state.highlighted === null ? "all clusters are coloured" : `only ${cardName(groups.cards[place], groups.grouping)} is coloured`);
  }

  /** @param {number} point */
  function select(point) {
    const { of, cards, grouping } = groups;
    const card = cards[of[point]];
    const preview = image(rows[point], 1280, "the image of the selected point");
    selection.replaceChildren(preview, h("p", { class: "waiting" }, "loading"));
    get(`images/${rows[point]}`).then((selected) => {
      preview.alt = selected.key;
      selection.replaceChildren(
        h("a", { href: imageLink(selected), "aria-label": `Open ${selected.key}` }, preview),
        h("p", null, h("a", { href: imageLink(selected) }, selected.key)),
        h("p", { class: "quiet" }, "in ", h("a", { href: clusterLink(card.id, grouping) }, cardName(card, grouping)), `, confidence ${decimal(selected.places[0].confidence)}`));
    }, (error) => selection.replaceChildren(preview, h("p", { class: "quiet" }, error.message)));
  }

  async function draw() {
    await regroup();
    const size = shown > 50_000 ? 2.5 : shown > 5_000 ? 4 : 6;
    const axis = { visible: false, zeroline: false };
    const trace = { type: hasWebgl() ? "scattergl" : "scatter", mode: "markers", x, y, hoverinfo: "none", marker: { size, opacity: 0.85, line: { width: 0 }, ...marker() } };
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, dragmode: "pan", hovermode: "closest", showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    };
    await plotly.newPlot(plot, [trace], layout, { scrollZoom: true, displayModeBar: false, responsive: true, doubleClick: "reset" });
    isDrawn = true;
    plot.on("plotly_click", ({ points }) => select(points[0].pointIndex));
    showPreviews(plot, (point) => ({ row: rows[point], name: cardName(groups.cards[groups.of[point]], groups.grouping) }));
    plot.dataset.drawn = String(shown);
  }

  /** @param {number} factor */
  function zoom(factor) {
    const { xaxis, yaxis } = plot._fullLayout ?? plot.layout;
    const scaled = ([from, to]) => {
      const middle = (from + to) / 2;
      return [middle + (from - middle) * factor, middle + (to - middle) * factor];
    };
    plotly.relayout(plot, { "xaxis.range": scaled(xaxis.range), "yaxis.range": scaled(yaxis.range) });
  }
  const showAll = () => plotly.relayout(plot, { "xaxis.autorange": true, "yaxis.autorange": true });

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

  const sample = shown < run.rows ? ` (a sample of ${counted(shown, "point")} is shown)` : "";
  const vectors = facts.space === "features" ? "refined features" : "CLIP embeddings";
  // PCA is linear: it keeps large distances as well as small ones.
  const caution = facts.method === "pca" ? "" : "; distances between groups mean little";
  const root = h("div", null,
    h("h1", null, "Map"),
    h("p", { class: "lead" }, `${counted(run.rows, "image")}${sample}, placed by ${METHODS[facts.method] ?? facts.method} of the ${vectors}. Points close together are similar images${caution}.`),
    h("div", { class: "map" },
      h("div", { class: "plot" }, plot, h("div", { class: "plot-tools" }, tool("Zoom in", "+", () => zoom(0.6)), tool("Zoom out", "−", () => zoom(1 / 0.6)), tool("Show all", "⤢", showAll))),
      h("aside", { "aria-label": "About the map" },
        selection,
        h("section", { class: "panel" }, h("div", { class: "row-between" }, choice, number), levels ? slider : null, list))));
  return { title: "Map", root, shown: () => draw().catch((error) => plot.replaceWith(trouble("The map cannot be drawn", error.message))) };
}

/**
 * @param {string} label
 * @param {string} icon
 * @param {() => void} click
 */
const tool = (label, icon, click) => h("button", { class: "icon-button", type: "button", "aria-label": label, title: label, on: { click } }, icon);

/**
 * The leaves below a node.
 *
 * @returns {number[]}
 */
function leavesOf(nodes, number) {
  const { left, right } = nodes[number];
  return left === null ? [number] : [...leavesOf(nodes, left), ...leavesOf(nodes, right)];
}

/**
 * Shows a small image beside the pointer.
 *
 * @param {any} plot
 * @param {(point: number) => {row: number, name: string}} describe
 */
function showPreviews(plot, describe) {
  const box = h("div", { class: "hover", hidden: true, "aria-hidden": "true" });
  plot.parentElement.append(box);
  plot.on("plotly_hover", ({ points, event }) => {
    const { row, name } = describe(points[0].pointIndex);
    const frame = plot.parentElement.getBoundingClientRect();
    box.replaceChildren(image(row, 128, "", { loading: "eager" }), h("span", null, name));
    const left = event.clientX - frame.left;
    const top = event.clientY - frame.top;
    box.style.left = `${Math.max(4, Math.min(frame.width - 124, left + 14))}px`;
    box.style.top = `${Math.max(4, Math.min(frame.height - 150, top + 14))}px`;
    box.hidden = false;
  });
  plot.on("plotly_unhover", () => { box.hidden = true; });
}
