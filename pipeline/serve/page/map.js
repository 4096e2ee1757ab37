// The plane of all pictures, coloured by cluster: zoomed by wheel, a click shows the picture.

import { keeper } from "./address.js";
import { get, once, query } from "./api.js";
import { counted, decimal, h, tell, trouble } from "./dom.js";
import { TREE, cardName, clusterLink, groupingName, imageLink } from "./links.js";
import { image } from "./tiles.js";
import { NONE, colour, scaleOf } from "./palette.js";

const METHODS = { tsne: "t-SNE", umap: "UMAP" };
const DRAWN_WITHOUT_GPU = 20_000; // points that SVG draws in a bearable time

async function numbers(path, parameters = {}) {
  const answer = await fetch(`api/${path}${query(parameters)}`);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.arrayBuffer();
}

/** The drawing library, out of its Python package on the server. */
function library() {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  return new Promise((resolve, reject) => {
    const script = h("script", { src: "static/plotly.min.js" });
    script.onload = () => resolve(window.Plotly ?? window.moduleName);
    script.onerror = () => reject(new Error("the drawing library cannot be loaded: is plotly installed?"));
    document.head.append(script);
  });
}

function hasGpuDrawing() {
  return Boolean(document.createElement("canvas").getContext("webgl"));
}

export async function show(parameters, { facts }) {
  if (!facts.has_map) return { title: "Map", root: trouble("There is no map yet", "`cpp-pipe map` makes it; `cpp-pipe serve --map` does so first.") };
  const replace = keeper();
  const [told, data, plotly] = await Promise.all([get("map"), numbers("map/points"), library()]);
  let shown = told.shown;
  if (!hasGpuDrawing()) shown = Math.min(shown, DRAWN_WITHOUT_GPU);
  const places = new Float32Array(data, 0, 2 * told.shown);
  const rows = new Int32Array(data, 8 * told.shown, told.shown);
  const x = new Float32Array(shown);
  const y = new Float32Array(shown);
  for (let i = 0; i < shown; i += 1) [x[i], y[i]] = [places[2 * i], places[2 * i + 1]];

  const levels = facts.tree?.has_rows ? facts.tree.finest : 0;
  const state = {
    grouping: facts.groupings.some((one) => one.name === parameters.grouping) ? parameters.grouping : facts.groupings[0].name,
    level: levels && parameters.level ? Math.max(1, Math.min(levels, Number(parameters.level) || levels)) : null,
    only: null,
  };
  const plot = h("div", { role: "img", "aria-label": `Map of ${counted(shown, "picture")}, coloured by cluster` });
  const list = h("ul", { class: "swatches", "aria-label": "Clusters" });
  const picked = h("section", { class: "panel shown", "aria-live": "polite" }, h("p", { class: "quiet" }, "Click a point to see its picture."));
  const number = h("span", { class: "quiet" });

  async function groups() {
    if (state.level === null) {
      const [codes, { cards }] = await Promise.all([numbers("map/clusters", { grouping: state.grouping }), once("clusters", { grouping: state.grouping })]);
      return { of: new Int32Array(codes), cards, grouping: state.grouping };
    }
    leaves ??= new Int32Array(await numbers("map/clusters", { grouping: TREE }));
    const cards = (await once("tree")).nodes.filter((one) => one.coarsest <= state.level && state.level <= one.finest);
    const { nodes } = await once("tree");
    const groupOf = new Int32Array(levels);
    cards.forEach((card, place) => under(nodes, card.id).forEach((leaf) => { groupOf[leaf] = place; }));
    return { of: leaves.map((leaf) => groupOf[leaf]), cards, grouping: TREE };
  }
  let leaves = null;
  let current = null;
  let turn = 0;

  async function colourAgain() {
    const mine = ++turn;
    const found = await groups();
    if (mine !== turn) return;
    current = found;
    const colours = found.cards.map((_, place) => colour(place));
    list.replaceChildren(...[...found.cards.keys()].sort((a, b) => found.cards[b].size - found.cards[a].size).filter((place) => found.cards[place].size).map((place) => h("li", null,
      h("button", { type: "button", "aria-pressed": "false", on: { click: (event) => highlight(place, event.currentTarget) } },
        h("span", { class: "colour", style: { background: colours[place] } }), h("span", { class: "word" }, cardName(found.cards[place], found.grouping)), h("span", { class: "quiet number" }, found.cards[place].size)))));
    number.textContent = counted(found.cards.length, "cluster");
    state.only = null;
    if (isDrawn) paint(colours);
    return colours;
  }

  function paint(colours) {
    const marker = { color: current.of.subarray(0, shown), cmin: -0.5, cmax: colours.length - 0.5, colorscale: scaleOf(colours) };
    plotly.restyle(plot, Object.fromEntries(Object.entries(marker).map(([name, value]) => [`marker.${name}`, [value]])), [0]);
  }

  function highlight(place, button) {
    state.only = state.only === place ? null : place;
    for (const one of list.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === button && state.only !== null));
    paint(current.cards.map((_, other) => (state.only === null || other === state.only ? colour(other) : NONE)));
    tell(state.only === null ? "all clusters are coloured" : `${cardName(current.cards[place], current.grouping)} alone is coloured`);
  }

  function pick(point) {
    const row = rows[point];
    const place = current.of[point];
    const card = current.cards[place];
    const preview = image(row, 1280, "the picture of the point");
    picked.replaceChildren(preview, h("p", { class: "waiting" }, "looking"));
    get(`images/${row}`).then((found) => {
      preview.alt = found.key;
      picked.replaceChildren(
        h("a", { href: imageLink(found), "aria-label": `Open ${found.key}` }, preview),
        h("p", null, h("a", { href: imageLink(found) }, found.key)),
        h("p", { class: "quiet" }, "in ", h("a", { href: clusterLink(current.grouping === TREE ? card.id : place, current.grouping) }, cardName(card, current.grouping)), `, confidence ${decimal(found.places[0].confidence)}`));
    }, (error) => picked.replaceChildren(preview, h("p", { class: "quiet" }, error.message)));
  }

  let isDrawn = false;
  async function draw() {
    const colours = await colourAgain();
    const size = shown > 50_000 ? 2.5 : shown > 5_000 ? 4 : 6;
    const axis = { visible: false, zeroline: false };
    const trace = {
      type: hasGpuDrawing() ? "scattergl" : "scatter", mode: "markers", x, y, hoverinfo: "none",
      marker: { size, opacity: 0.85, color: current.of.subarray(0, shown), cmin: -0.5, cmax: colours.length - 0.5, colorscale: scaleOf(colours), line: { width: 0 } },
    };
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, dragmode: "pan", hovermode: "closest", showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    };
    await plotly.newPlot(plot, [trace], layout, { scrollZoom: true, displayModeBar: false, responsive: true, doubleClick: "reset" });
    isDrawn = true;
    plot.on("plotly_click", ({ points }) => pick(points[0].pointIndex));
    hovering(plot, (point) => ({ row: rows[point], name: cardName(current.cards[current.of[point]], current.grouping) }));
    plot.dataset.drawn = String(shown);
  }

  function zoom(by) {
    const { xaxis, yaxis } = plot._fullLayout ?? plot.layout;
    const around = ([from, to]) => {
      const middle = (from + to) / 2;
      return [middle + (from - middle) * by, middle + (to - middle) * by];
    };
    plotly.relayout(plot, { "xaxis.range": around(xaxis.range), "yaxis.range": around(yaxis.range) });
  }

  const slider = levels ? h("input", {
    type: "range", min: 1, max: levels, value: state.level ?? Math.min(levels, facts.groupings[0].k), "aria-label": "Level of the hierarchy",
    on: { input: (event) => { state.level = Number(event.target.value); choose.value = TREE; colourAgain(); keep(); } },
  }) : null;
  const choose = h("select", { "aria-label": "Coloured by", on: { change: () => {
    if (choose.value === TREE) state.level = Number(slider.value);
    else Object.assign(state, { grouping: choose.value, level: null });
    colourAgain();
    keep();
  } } }, facts.groupings.map((one) => h("option", { value: one.name, selected: state.level === null && one.name === state.grouping }, groupingName(one.name))),
  levels ? h("option", { value: TREE, selected: state.level !== null }, "hierarchy") : null);
  const keep = () => replace(`map${query({ level: state.level, grouping: state.level === null && state.grouping !== facts.groupings[0].name ? state.grouping : null })}`);

  const less = shown < facts.rows ? `, ${counted(shown, "point")} of them` : "";
  const root = h("div", null,
    h("h1", null, "Map"),
    h("p", { class: "lead" }, `${counted(facts.rows, "picture")}${less}, by ${METHODS[told.method] ?? told.method} of the ${told.space === "features" ? "refined features" : "CLIP embeddings"}. Near points are alike; how far apart groups lie means little.`),
    h("div", { class: "map" },
      h("div", { class: "plot" }, plot, h("div", { class: "plot-tools" },
        h("button", { class: "icon-button", type: "button", "aria-label": "Closer", on: { click: () => zoom(0.6) } }, "+"),
        h("button", { class: "icon-button", type: "button", "aria-label": "Farther", on: { click: () => zoom(1 / 0.6) } }, "−"),
        h("button", { class: "icon-button", type: "button", "aria-label": "All of it", on: { click: () => plotly.relayout(plot, { "xaxis.autorange": true, "yaxis.autorange": true }) } }, "⤢"))),
      h("aside", { "aria-label": "About the map" },
        picked,
        h("section", { class: "panel" }, h("div", { class: "row-between" }, choose, number), slider, list))));
  return { title: "Map", root, shown: () => draw().catch((error) => plot.replaceWith(trouble("The map cannot be drawn", error.message))) };
}

/** The leaves under a node. */
function under(nodes, number) {
  const { left, right } = nodes[number];
  return left === null ? [number] : [...under(nodes, left), ...under(nodes, right)];
}

/** A small picture beside the pointer. */
function hovering(plot, tell) {
  const box = h("div", { class: "hover", hidden: true, "aria-hidden": "true" });
  plot.parentElement.append(box);
  plot.on("plotly_hover", ({ points, event }) => {
    const { row, name } = tell(points[0].pointIndex);
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
