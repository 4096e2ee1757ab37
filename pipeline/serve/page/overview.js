// All clusters as cards, and the curve along which they are regrouped.

import { keeper } from "./address.js";
import { once, query } from "./api.js";
import { SORTS, arrange, card } from "./cards.js";
import { curvePanel } from "./curve.js";
import { choices, count, counted, h, percent, tell } from "./dom.js";
import { TREE, groupingName } from "./links.js";

const WAIT = 250; // ms until an address follows the handle: browsers count changes of it
const AT_ONCE = 60; // cards that are drawn before the rest, so that the first are there at once

export async function show(parameters, { facts }) {
  const keep = keeper();
  const own = facts.groupings[0];
  const levels = facts.tree?.has_rows ? facts.tree.finest : 0;
  const state = {
    level: clamp(Number(parameters.level), levels),
    grouping: facts.groupings.some((one) => one.name === parameters.grouping) ? parameters.grouping : own.name,
    sort: parameters.sort in SORTS ? parameters.sort : "size",
    filter: parameters.filter ?? "",
  };
  const nodes = levels ? once("tree") : null;
  nodes?.catch(() => {}); // told where it is used
  const cards = h("div", { class: "cards" });
  const drawn = new Map(); // cards that were drawn, by grouping and number
  const number = h("output", null, "");
  const named = h("span", { class: "quiet" });
  const title = h("h1");
  const summary = h("span", { class: "count", role: "status" });

  async function clusters() {
    if (state.level === null) return (await once("clusters", { grouping: state.grouping })).cards;
    return (await nodes).nodes.filter((one) => one.coarsest <= state.level && state.level <= one.finest);
  }

  let turn = 0;
  async function draw() {
    const mine = ++turn;
    const all = await clusters();
    if (mine !== turn) return;
    const grouping = state.level === null ? state.grouping : TREE;
    const found = arrange(all, state.sort, state.filter);
    const elements = (some) => some.map((one) => {
      const name = `${grouping} ${one.id}`;
      if (!drawn.has(name)) drawn.set(name, card(one, grouping === own.name ? null : grouping));
      return drawn.get(name);
    });
    place(cards, elements(found.slice(0, AT_ONCE)));
    if (found.length > AT_ONCE) requestAnimationFrame(() => mine === turn && place(cards, elements(found)));
    if (!found.length) cards.replaceChildren(h("p", { class: "empty" }, "No caption holds these words."));
    const there = all.filter((one) => one.size).length;
    title.textContent = `${counted(facts.rows, "picture")} in ${counted(there, "cluster")}`;
    number.textContent = count(there);
    named.textContent = state.level === null ? `clusters, ${groupingName(state.grouping)}` : "clusters, hierarchy";
    summary.textContent = `${counted(found.length, "cluster")} ${found.length === 1 ? "is" : "are"} shown`;
    panel.set(state.level ?? facts.groupings.find((one) => one.name === state.grouping).k);
    groupings.set(state.level === null ? state.grouping : null);
  }

  let timer = null;
  function changed() {
    draw().catch((error) => cards.replaceChildren(h("p", { class: "empty", role: "alert" }, error.message)));
    clearTimeout(timer);
    timer = setTimeout(() => {
      const { level, sort, filter } = state;
      const grouping = state.grouping === own.name ? null : state.grouping;
      keep(`./${query({ level, grouping, sort: sort === "size" ? null : sort, filter })}`);
      tell(`${number.textContent} clusters`);
    }, WAIT);
  }

  function move(level) {
    if (level === state.level) return;
    state.level = level;
    changed();
  }

  const step = (by) => {
    if (levels) move(clamp((state.level ?? own.k) + by, levels));
  };
  const panel = curvePanel({ curve: facts.curve, tree: facts.tree, own: own.k }, state.level, move);
  const groupings = choices("What the run has", facts.groupings.map((one) => [one.name, groupingName(one.name)]), null, (name) => {
    Object.assign(state, { grouping: name, level: null });
    changed();
  });
  const root = h("div", null,
    title,
    h("p", { class: "lead" }, lead(facts)),
    h("div", { class: "overview" },
      h("aside", { "aria-label": "How many clusters" }, h("div", { class: "sticky" }, h("section", { class: "panel" },
        h("div", { class: "row-between" },
          h("p", { class: "level" }, number, named),
          levels ? h("div", { class: "steps" },
            h("button", { class: "icon-button", type: "button", "aria-label": "One cluster fewer", on: { click: () => step(-1) } }, "−"),
            h("button", { class: "icon-button", type: "button", "aria-label": "One cluster more", on: { click: () => step(1) } }, "+")) : null),
        facts.curve.length || levels ? panel.root : null,
        groupings.root,
        h("p", { class: "hint" }, hint(facts, levels))), absent(facts))),
      h("section", { "aria-label": "Clusters" },
        h("div", { class: "tools" },
          h("label", { class: "field" }, "Captions with", h("input", { type: "search", value: state.filter, placeholder: "all", on: { input: (event) => { state.filter = event.target.value; changed(); } } })),
          h("label", { class: "field" }, "First the", h("select", { on: { change: (event) => { state.sort = event.target.value; changed(); } } },
            Object.entries(SORTS).map(([name, [words]]) => h("option", { value: name, selected: name === state.sort }, words)))),
          summary),
        cards)));
  await draw();
  return {
    title: `${own.k} clusters`,
    root,
    onKey(event) {
      if (event.key !== "[" && event.key !== "]") return false;
      step(event.key === "[" ? -1 : 1);
      return true;
    },
  };
}

const clamp = (level, most) => (most && Number.isFinite(level) && level >= 1 ? Math.min(most, Math.round(level)) : null);

/** Puts elements in order, and leaves alone those that are in their place. */
function place(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  });
}

function lead(facts) {
  const lost = facts.seen - facts.embedded;
  const skipped = lost ? `, ${count(lost)} of ${count(facts.seen)} skipped` : "";
  const chosen = facts.curve.find((one) => one.chosen);
  const votes = chosen?.votes ? ` (${percent(chosen.votes)} of resampled curves agree)` : "";
  const isShortest = chosen && chosen.nats <= Math.min(...facts.curve.map((one) => one.nats));
  const why = isShortest ? `The code is the shortest with ${chosen.k} clusters${votes}.` : `select-k chose ${chosen?.k} clusters.`;
  return `Embedded with ${facts.model}${skipped}.${chosen ? ` ${why}` : ""}`;
}

function hint(facts, levels) {
  if (!levels) return "Where there is a hierarchy, the clusters can be regrouped along the curve.";
  return "Drag along the curve: the cards are regrouped by the hierarchy, whose levels are nested. Nats above the shortest code, by the number of clusters; dotted is this run's own number.";
}

function absent(facts) {
  if (!facts.absent.length) return null;
  return h("section", { class: "panel" },
    h("h2", null, "Not made yet"),
    facts.absent.map((one) => h("p", { class: "quiet" }, h("code", null, one.command), ` adds ${one.what}.`)));
}
