// All clusters as cards, and the curve along which they are regrouped.

import { makeAddressUpdater } from "./address.js";
import { getOnce, query } from "./api.js";
import { SORTS, arrange, card } from "./cards.js";
import { curvePanel } from "./curve.js";
import { announce, choices, count, counted, h } from "./dom.js";
import { TREE, groupingName } from "./links.js";
import { missing } from "./missing.js";

const ADDRESS_DELAY = 250; // ms: browsers limit how often an address may change
const FIRST_CARDS = 60; // drawn before the rest, so that the view appears at once

export async function show(parameters, { facts: run }) {
  const updateAddress = makeAddressUpdater();
  const own = run.groupings[0];
  const levels = run.tree?.has_rows ? run.tree.finest : 0;
  const state = {
    level: clampLevel(Number(parameters.level), levels),
    grouping: run.groupings.some((each) => each.name === parameters.grouping) ? parameters.grouping : own.name,
    sort: parameters.sort in SORTS ? parameters.sort : "size",
    filter: parameters.filter ?? "",
  };
  const tree = levels ? getOnce("tree") : null;
  tree?.catch(() => {}); // draw() reports it
  const cards = h("div", { class: "cards" });
  const drawn = new Map(); // cards by grouping and number
  const number = h("output", null, "");
  const kind = h("span", { class: "quiet" });
  const title = h("h1");
  const summary = h("span", { class: "count", role: "status" });

  async function loadClusters() {
    const { level } = state;
    if (level === null) return (await getOnce("clusters", { grouping: state.grouping })).cards;
    return (await tree).nodes.filter((node) => node.coarsest <= level && level <= node.finest);
  }

  let turn = 0;
  async function draw() {
    const mine = ++turn;
    const all = await loadClusters();
    if (mine !== turn) return;
    const grouping = state.level === null ? state.grouping : TREE;
    const arranged = arrange(all, state.sort, state.filter);
    const elements = arranged.map((cluster) => {
      const name = `${grouping} ${cluster.id}`;
      if (!drawn.has(name)) drawn.set(name, card(cluster, grouping === own.name ? null : grouping));
      return drawn.get(name);
    });
    setChildren(cards, elements.slice(0, FIRST_CARDS));
    if (elements.length > FIRST_CARDS) requestAnimationFrame(() => mine === turn && setChildren(cards, elements));
    if (!elements.length) cards.replaceChildren(h("p", { class: "empty" }, "No caption contains these words."));
    const nonempty = all.filter((cluster) => cluster.size).length;
    title.textContent = `${counted(run.rows, "image")} in ${counted(nonempty, "cluster")}`;
    number.textContent = count(nonempty);
    kind.textContent = state.level === null ? `clusters, ${groupingName(state.grouping)}` : "clusters, hierarchy";
    summary.textContent = `${counted(elements.length, "cluster")} shown`;
    panel.set(state.level ?? run.groupings.find((each) => each.name === state.grouping).k);
    groupings.set(state.level === null ? state.grouping : null);
  }

  let timer = 0;
  function redraw() {
    draw().catch((error) => cards.replaceChildren(h("p", { class: "empty", role: "alert" }, error.message)));
    clearTimeout(timer);
    timer = setTimeout(() => {
      const { level, sort, filter } = state;
      const grouping = state.grouping === own.name ? null : state.grouping;
      updateAddress(`./${query({ level, grouping, sort: sort === "size" ? null : sort, filter })}`);
      announce(`${number.textContent} clusters`);
    }, ADDRESS_DELAY);
  }

  /** @param {number | null} level */
  function move(level) {
    if (level === state.level) return;
    state.level = level;
    redraw();
  }

  /** @param {1 | -1} by */
  const step = (by) => {
    if (levels) move(clampLevel((state.level ?? own.k) + by, levels));
  };
  const panel = curvePanel({ curve: run.curve, tree: run.tree, own: own.k }, state.level, move);
  const groupings = choices("Clusters of this run", run.groupings.map((each) => [each.name, groupingName(each.name)]), null, (name) => {
    Object.assign(state, { grouping: name, level: null });
    redraw();
  });
  const root = h("div", null,
    title,
    h("p", { class: "lead" }, lead(run)),
    h("div", { class: "overview" },
      h("aside", { "aria-label": "Number of clusters" }, h("div", { class: "sticky" }, h("section", { class: "panel" },
        h("div", { class: "row-between" },
          h("p", { class: "level" }, number, kind),
          levels ? h("div", { class: "steps" },
            h("button", { class: "icon-button", type: "button", "aria-label": "One cluster fewer", on: { click: () => step(-1) } }, "−"),
            h("button", { class: "icon-button", type: "button", "aria-label": "One cluster more", on: { click: () => step(1) } }, "+")) : null),
        run.curve.length || levels ? panel.root : null,
        groupings.root,
        hint(run, levels)), missing(run))),
      h("section", { "aria-label": "Clusters" },
        h("div", { class: "tools" },
          h("label", { class: "field" }, "Caption contains", h("input", { type: "search", value: state.filter, placeholder: "any words", on: { input: (event) => { state.filter = event.target.value; redraw(); } } })),
          h("label", { class: "field" }, "Sort by", h("select", { on: { change: (event) => { state.sort = event.target.value; redraw(); } } },
            Object.entries(SORTS).map(([name, [words]]) => h("option", { value: name, selected: name === state.sort }, words)))),
          summary),
        cards)));
  await draw();
  return {
    title: `${own.k} clusters`,
    root,
    /** @param {KeyboardEvent} event */
    onKey(event) {
      if (event.key !== "[" && event.key !== "]") return false;
      step(event.key === "[" ? -1 : 1);
      return true;
    },
  };
}

/**
 * A level of a hierarchy of so many; null without a hierarchy or for anything that is no level.
 *
 * @param {number} level
 * @param {number} levels
 */
const clampLevel = (level, levels) => (levels && Number.isFinite(level) && level >= 1 ? Math.min(levels, Math.round(level)) : null);

/**
 * Makes elements the children of a parent, and leaves those in place that are there already.
 *
 * @param {Element} parent
 * @param {Element[]} elements
 */
function setChildren(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, place) => {
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
  });
}

function lead(run) {
  const skipped = run.seen - run.embedded;
  const embedded = `Embedded with ${run.model}${skipped ? `, ${count(skipped)} of ${count(run.seen)} skipped` : ""}.`;
  return run.verdict ? `${embedded} ${run.verdict}.` : embedded;
}

/** How to use the curve, and what it shows. */
function hint(run, levels) {
  const codingLength = h("abbr", { title: "How many nats (1.44 bits) it takes to write down all images with one code for each cluster. The scale starts at the shortest." }, "coding length");
  const reading = run.curve.length || levels ? ["Lower is better: the curve is the ", codingLength, " by number of clusters. The dotted line is this run’s own number."] : null;
  const use = levels ? "Drag along the curve for fewer or more clusters, cut from the hierarchy. " : "Start cpp-pipe serve without --no-make to regroup the clusters along the curve. ";
  return h("p", { class: "hint" }, use, reading);
}
