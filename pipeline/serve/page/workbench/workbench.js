// The page Images: one set of images, with its clusters beside it, shown as a grid, a map or a pair.

import { makeAddressUpdater } from "../address.js";
import { RequestError, get, getBytes, getOnce, getRun } from "../api.js";
import { announce, choices, count, counted, h } from "../dom.js";
import { rememberRows } from "../imagelist.js";
import { DECIDED, TREE, cardName, defaultGrouping } from "../links.js";
import { missing } from "../missing.js";
import { colour, treeColours } from "../palette.js";
import { selection } from "../selection.js";
import { makeActions } from "./actions.js";
import { makeCompare } from "./compare.js";
import { decided, loadDecisions, onDecision, undo } from "./decisions.js";
import { makeDial } from "./dial.js";
import { imageGrid } from "./imagegrid.js";
import { makeMap } from "./imagemap.js";
import { makeInspector } from "./inspector.js";
import { openPalette } from "./palette.js";
import { makeShelf } from "./shelf.js";
import { NO_FILTERS, ORDERS, SIZES, addressOf, isFiltered, readState, setQuery } from "./state.js";
import { makeTray } from "./tray.js";

const VIEW_FIELDS = new Set(["view", "pair"]); // which change how the set is shown, and not the set
const DIAL_DELAY = 60; // ms for which the dial rests before the images follow
const ADDRESS_DELAY = 250; // ms: browsers limit how often an address may change

/** @typedef {import("./state.js").State} State */

/** @type {[import("./state.js").Shown, string][]} */
const TABS = [["grid", "Grid"], ["map", "Map"], ["compare", "Compare"]];

/** The address of the map: Images with the map in its middle. */
export const showMap = (parameters, context) => show({ ...parameters, view: "map" }, context);

/** The address of one cluster: Images with only its images, at a level that holds it. */
export async function showCluster(parameters, context) {
  if (!/^\d{1,9}$/.test(parameters.cluster ?? "")) throw new RequestError(404, "the address must name a cluster by its number");
  await getOnce(`clusters/${Number(parameters.cluster)}`, { grouping: parameters.grouping }); // or the reason why not
  const given = { ...parameters, grouping: parameters.grouping ?? context.facts.groupings[0].name, focus: parameters.cluster };
  if (parameters.grouping === TREE) {
    given.level = String((await getOnce("tree")).nodes[Number(parameters.cluster)].finest);
  }
  return show(given, context);
}

export async function show(parameters, { facts, go }) {
  let run = facts; // as it was before decisions were read
  const updateAddress = makeAddressUpdater();
  await loadDecisions();
  run = await getRun();
  const state = readState(parameters, run);
  /** @type {any[]} */
  let cards = [];
  /** @type {Map<number, number>} */
  let placeOf = new Map();
  /** @type {Set<number> | null} */
  let visible = null; // the rows of the set, null for all
  /** @type {any} */
  let images = { total: 0, sections: [], clusters: [], labels: [], confidences: [], novel: 0 };

  const grouping = () => (state.level === null ? state.grouping : TREE);
  const nameOf = (/** @type {number} */ cluster) => {
    const card = cards[placeOf.get(cluster) ?? -1];
    return card ? cardName(card, grouping()) : `Cluster ${cluster}`;
  };
  /** @type {string[] | null} */
  let nodeColours = null; // of the hierarchy, so that colours stay when the level moves
  const colourOf = (/** @type {number} */ cluster) => (state.level === null ? colour(cluster) : nodeColours?.[cluster] ?? colour(cluster));

  const title = h("h1", { class: "bench-title" });
  const body = h("div", { class: "bench-body" });
  const dial = makeDial(run, { move: (level) => change({ level, clusters: [], focus: null }), choose: (name) => change({ grouping: name, level: null, clusters: [], focus: null }) });
  const shelf = makeShelf(state, { change, open: openCluster, nameOf, colourOf });
  const grid = imageGrid({ onFocus: (row) => inspector.showImage(row), nameOf, colourOf, onHeading: openCluster });
  const comparePair = (/** @type {number[]} */ pair) => change({ view: "compare", pair });
  // The numbers of the decided clusters are those of the run's own, and then those of splits.
  const canDecide = () => decided.isEditable && state.level === null && [DECIDED, run.groupings[0].name].includes(state.grouping);
  const targets = () => listTargets(run);
  const actions = makeActions({ nameOf, compare: comparePair, canDecide, clusters: targets });
  const inspector = makeInspector({ actions, openCluster, compare: comparePair, change, first: missing(run) });
  const compare = makeCompare({ choose: (pair) => change({ pair }), actions: (pair) => actions.pair(pair) });
  const map = makeMap({ onOpen: (row) => {
    inspector.showImage(row);
    if (getComputedStyle(inspector.root).display === "none") toggleDrawer(inspector.root);
  } });
  const tray = makeTray(run, { go, clusters: targets });
  const tabs = choices("View", TABS, state.view, (view) => change({ view }));
  const order = h("select", { "aria-label": "Order of images", on: { change: () => change({ order: order.value }) } }, Object.entries(ORDERS).map(([value, words]) => h("option", { value }, words)));
  const sizes = choices("Size of images", SIZES.map((size) => [size, size]), state.size, (size) => change({ size }));
  const drawer = (/** @type {string} */ name, /** @type {HTMLElement} */ panel) => h("button", { class: "button small drawer-button", type: "button", on: { click: () => toggleDrawer(panel) } }, name);
  const look = h("a", { class: "button small look", href: "review?queue=look" });
  function fillLook() {
    look.hidden = !decided.needsALook;
    look.textContent = `${count(decided.needsALook)} ${decided.needsALook === 1 ? "needs" : "need"} a look`;
  }
  fillLook();
  const tools = h("div", { class: "bench-tools" }, tabs.root, order, sizes.root,
    drawer("Clusters", shelf.root), drawer("Details", inspector.root),
    h("a", { class: "button small", href: "review" }, "Review"), look);
  const centre = h("section", { class: "bench-centre", "aria-label": "Images" }, title, tools, body);
  const root = h("div", { class: "bench" }, dial.root, shelf.root, centre, inspector.root, tray.root,
    h("button", { class: "button main drawer-close", type: "button", on: { click: closeDrawers } }, "Close"));

  const panels = [shelf.root, inspector.root];
  /** @type {Element | null} */
  let opener = null; // has the focus again when the drawer is closed

  /** Closes what is open; whether anything was. */
  function closeDrawers() {
    const open = panels.filter((panel) => panel.classList.contains("open"));
    for (const panel of open) panel.classList.remove("open");
    if (open.length && opener instanceof HTMLElement) opener.focus({ preventScroll: true });
    opener = null;
    return open.length > 0;
  }

  /** @param {HTMLElement} panel */
  function toggleDrawer(panel) {
    const isOpen = panel.classList.contains("open");
    const before = document.activeElement;
    closeDrawers();
    if (isOpen) return;
    panel.classList.add("open");
    panel.focus();
    opener = before;
  }

  /** @param {number} cluster */
  function openCluster(cluster) {
    if (shelf.root.classList.contains("open")) closeDrawers();
    state.focus = cluster;
    // Before the grid asks for its images, behind which the facts would wait.
    inspector.showCluster(cluster, state, cards, nameOf);
    if (state.view === "grid" && !grid.showCluster(cluster) && state.order === "clusters" && isFiltered(state)) {
      Object.assign(state, NO_FILTERS);
      keepAddress();
      refresh();
      return;
    }
    shelf.mark(cluster);
    if (state.view === "map") draw();
    keepAddress();
  }

  let timer = 0;
  function keepAddress() {
    clearTimeout(timer);
    timer = setTimeout(() => updateAddress(addressOf(state, run)), ADDRESS_DELAY);
  }

  let levelTimer = 0;
  /** @param {Partial<State>} fields */
  function change(fields) {
    const isSame = Object.entries(fields).every(([name, value]) => String(/** @type {any} */ (state)[name]) === String(value));
    Object.assign(state, fields);
    keepAddress();
    const names = Object.keys(fields);
    if (names.length === 1 && names[0] === "size") grid.resize(state.size);
    else if (!isSame && fields.level) {
      dial.set(fields.level, null);
      clearTimeout(levelTimer);
      levelTimer = setTimeout(refresh, DIAL_DELAY);
    } else if (!isSame && names.every((name) => VIEW_FIELDS.has(name))) draw();
    else if (!isSame) refresh();
  }

  async function loadCards() {
    const { level } = state;
    if (level === null) return (await getOnce("clusters", { grouping: state.grouping })).cards;
    const { nodes } = await getOnce("tree");
    nodeColours ??= treeColours(nodes);
    return nodes.filter((/** @type {any} */ node) => node.coarsest <= level && level <= node.finest);
  }

  let turn = 0;
  /** Loads the set that the state asks for, and shows it; `stays` keeps the place in the grid. */
  async function refresh({ stays = false } = {}) {
    const mine = ++turn;
    const query = setQuery(state);
    try {
      const [loaded, set, rows, all] = await Promise.all([
        loadCards(), get("set", query), getBytes("set/rows", query),
        state.clusters.length ? get("set", { ...query, cluster: [] }) : null,
      ]);
      if (mine !== turn) return;
      [cards, images] = [loaded, set];
      placeOf = new Map(cards.map((card, place) => [card.id, place]));
      grid.set(query, set, new Int32Array(rows), { stays, focus: state.focus });
      visible = set.total < run.rows ? new Set(grid.rows()) : null;
      rememberRows(grid.rows());
      shelf.set(cards, all ?? set, state, decided);
    } catch (error) {
      if (mine !== turn) return;
      title.textContent = failureOf(error);
      // Without its filters a set is shown that could not be; where the server fails, it may work again.
      const isRefused = error instanceof RequestError && error.status >= 400 && error.status < 500;
      const showAll = () => (isFiltered(state) ? change(NO_FILTERS) : refresh());
      body.replaceChildren(h("p", { class: "empty", role: "alert" }, error.message, " ", h("button", { class: "button", type: "button", on: { click: () => (isRefused ? showAll() : refresh()) } }, isRefused ? "Show all images" : "Try again")));
      return;
    }
    title.textContent = `${counted(images.total, "image")} in ${counted(images.clusters.length, "cluster")}`;
    dial.set(state.level ?? cards.filter((card) => card.size).length, state.level === null ? state.grouping : null);
    order.value = state.order;
    sizes.set(state.size);
    await draw({ stays });
    announce(`${count(images.total)} images`);
    if (inspector.row() !== null && stays) inspector.showImage(/** @type {number} */ (inspector.row()));
    else if (state.focus !== null && placeOf.has(state.focus)) {
      shelf.mark(state.focus);
      inspector.showCluster(state.focus, state, cards, nameOf);
    }
  }

  /** Shows the set that is loaded in the view that the state asks for. */
  async function draw({ stays = false } = {}) {
    tabs.set(state.view);
    root.classList.toggle("no-grid", state.view !== "grid");
    if (state.view === "compare") {
      body.replaceChildren(compare.root);
      await compare.show(state, cards, nameOf);
      return;
    }
    if (state.view === "map") {
      body.replaceChildren(map.root);
      await map.show(run, state, cards, { nameOf, colourOf, visible });
      return;
    }
    body.replaceChildren(images.total ? grid.root : h("div", { class: "empty" }, h("p", null, "No image passes the filters."), h("button", { class: "button", type: "button", on: { click: () => change(NO_FILTERS) } }, "Show all images")));
    grid.restore();
    if (state.focus !== null && state.order === "clusters" && !stays) grid.showCluster(state.focus);
  }

  /** Follows a decision: the decided clusters come with the first one, and go with the last. */
  async function follow() {
    if (!root.isConnected) {
      isStale = true; // until it is shown again
      return;
    }
    isStale = false;
    tray.fill();
    fillLook();
    const before = defaultGrouping(run);
    run = await getRun();
    dial.fill(run.groupings);
    const names = run.groupings.map((/** @type {any} */ each) => each.name);
    if (state.grouping === before || !names.includes(state.grouping)) state.grouping = defaultGrouping(run);
    const { cards: all } = await getOnce("clusters", { grouping: state.grouping });
    const numbers = new Set(all.map((/** @type {any} */ card) => card.id));
    if (state.level === null) {
      state.clusters = state.clusters.filter((cluster) => numbers.has(cluster));
      state.pair = state.pair.filter((cluster) => numbers.has(cluster));
      if (state.focus !== null && !numbers.has(state.focus)) state.focus = null;
    }
    await refresh({ stays: true });
  }
  let isStale = false;
  const stop = onDecision(follow);

  /** Merging, of the two clusters that are compared or of the one that has the focus. */
  function mergeCommand() {
    if (!canDecide()) return [];
    const pair = state.view === "compare" ? compare.pair() : null;
    if (pair) return [{ words: `Merge ${nameOf(pair[1])} into ${nameOf(pair[0])}`, run: () => actions.mergePair(pair) }];
    const { focus } = state;
    if (focus === null || cards.filter((card) => card.size).length < 2) return [];
    return [{ words: `Merge another cluster into ${nameOf(focus)}`, run: () => actions.merge(focus) }];
  }

  const commands = () => [
    { words: "Show the grid", run: () => change({ view: "grid" }) },
    { words: "Show the map", run: () => change({ view: "map" }) },
    { words: "Compare two clusters", run: () => change({ view: "compare" }) },
    { words: "Select all images of the set", key: "Ctrl A", run: grid.selectAll },
    { words: "Clear the selection", key: "Esc", run: selection.clear },
    { words: "One cluster fewer", key: "[", run: () => dial.step(-1) },
    { words: "One cluster more", key: "]", run: () => dial.step(1) },
    { words: "Filter clusters by words", key: "F", run: shelf.focusWords },
    { words: "Show all images", run: () => change(NO_FILTERS) },
    { words: "Least confident images first", run: () => change({ order: "doubtful" }) },
    { words: "Most novel images first", run: () => change({ order: "novel" }) },
    { words: "Review images one by one", run: () => go("review") },
    ...(decided.isEditable ? [
      { words: "Tag the selected images", key: "T", run: tray.tag },
      { words: "Exclude the selected images", key: "X", run: tray.exclude },
      { words: "Move the selected images", key: "M", run: tray.move },
      { words: "Undo the last decision", key: "U", run: undo },
      ...(state.focus === null || !canDecide() ? [] : [{ words: "Name the cluster", key: "N", run: () => actions.name(/** @type {number} */ (state.focus)) }]),
      ...mergeCommand(),
    ] : []),
    ...cards.filter((card) => card.size).slice(0, 500).map((card) => ({ words: `Go to ${nameOf(card.id)}`, run: () => openCluster(card.id) })),
  ];

  grid.resize(state.size);
  await refresh();
  return {
    title: "Images",
    root,
    shown: () => grid.restore(),
    restored: () => {
      if (isStale) follow();
      grid.restore();
      shelf.restore();
      rememberRows(grid.rows());
    },
    closed: () => {
      grid.stop();
      map.close();
      compare.stop();
      tray.stop();
      stop();
    },
    /** @param {KeyboardEvent} event */
    onKey(event) {
      if (event.ctrlKey || event.metaKey) {
        if (event.key === "k") openPalette(commands());
        else if (event.key === "a" && state.view === "grid") grid.selectAll();
        else return false;
        event.preventDefault();
        return true;
      }
      switch (event.key) {
        case "[": dial.step(-1); return true;
        case "]": dial.step(1); return true;
        case "f": event.preventDefault(); shelf.focusWords(); return true;
        case "Escape": return escape();
        default: return decided.isEditable && decideBy(event.key.toLowerCase(), event);
      }
    },
  };

  /** Closes a drawer, else clears the selection, else the filters; whether there was any. */
  function escape() {
    if (closeDrawers()) return true;
    if (selection.size) selection.clear();
    else if (isFiltered(state)) change(NO_FILTERS);
    else return false;
    return true;
  }

  /**
   * @param {string} key
   * @param {KeyboardEvent} event
   */
  function decideBy(key, event) {
    /** @type {Record<string, () => any>} */
    const keys = {
      t: () => selection.size && tray.tag(),
      x: () => selection.size && tray.exclude(),
      m: () => selection.size && tray.move(),
      n: () => state.focus !== null && canDecide() && actions.name(state.focus),
      u: undo,
    };
    if (!(key in keys)) return false;
    event.preventDefault();
    keys[key]();
    return true;
  }
}


/**
 * The clusters that images can be moved to, as decided or the run's own.
 *
 * @returns {Promise<[number, string][]>}
 */
async function listTargets(run) {
  const grouping = defaultGrouping(run);
  const { cards } = await getOnce("clusters", { grouping });
  return cards.filter((/** @type {any} */ card) => card.size).map((/** @type {any} */ card) => [card.id, cardName(card, grouping)]);
}

/**
 * What failed, in the words of a heading.
 *
 * @param {any} error
 */
function failureOf(error) {
  if (!(error instanceof RequestError)) return "The images cannot be shown";
  if (error.status === 0) return "The server does not answer";
  if (error.status < 400 || error.status >= 500) return "The server cannot read the images";
  return /^no image\b/.test(error.message) ? "No images" : "These images cannot be found";
}
