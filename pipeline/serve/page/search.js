// Search by words, by a picture of one's own, or by a row.

import { keeper } from "./address.js";
import { get, once } from "./api.js";
import { choices, counted, decimal, h, tell } from "./dom.js";
import { fixed } from "./grid.js";
import { find, handed, take } from "./upload.js";
import { cardName, searchLink } from "./links.js";
import { image, tile } from "./tiles.js";

const HITS = 60;
const PATIENCE = 600; // ms until the page says what one waits for
const NARROW = ["not_text", "cluster", "min_confidence"]; // what an address says beside the query

export async function show(parameters, { facts, go }) {
  const keep = keeper();
  const mine = handed(parameters);
  const narrow = narrowing(parameters);
  const state = { space: parameters.space ?? "features" };
  const results = h("section", { class: "results", "aria-label": "Results", "aria-busy": "false" });
  const input = h("input", { type: "search", name: "text", "aria-label": "Words to look for", placeholder: "a red car", value: parameters.text ?? "", maxlength: 1000, autocomplete: "off", enterkeyhint: "search" });
  const chosen = h("input", { type: "file", accept: "image/*", class: "hidden", id: "picture-file", on: { change: (event) => event.target.files.length && go(take(event.target.files[0])) } });
  const form = h("form", { class: "ask", on: { submit: (event) => {
    event.preventDefault();
    const { text: _, row, vector, picture } = parameters;
    const query = input.value.trim() ? { text: input.value.trim() } : { row, vector, picture };
    if (Object.values(query).some((value) => value !== undefined)) go(searchLink({ ...query, ...chosenFilters(form) }));
  } } }, input, h("button", { class: "button main" }, "Search"), await filters(parameters, facts));

  async function ask() {
    results.setAttribute("aria-busy", "true");
    const note = waiting(results);
    try {
      const found = await answer(parameters, mine, state.space, narrow);
      if (mine && !Object.keys(narrow).length) keep(searchLink({ vector: found.vector, space: found.space }));
      results.replaceChildren(...shown(found));
      tell(`${counted(found.hits.length, "picture")} found`);
    } catch (error) {
      results.replaceChildren(h("div", { class: "trouble", role: "alert" }, h("h2", null, "Nothing was found"), h("p", null, error.message)));
    } finally {
      note.stop();
      results.setAttribute("aria-busy", "false");
    }
  }

  const isAsked = ["text", "row", "vector"].some((name) => parameters[name] !== undefined) || mine;
  const canSwitch = isAsked && parameters.text === undefined && (mine || parameters.row !== undefined) && narrow.not_text === undefined && facts.spaces.length > 1;
  const root = h("div", null,
    h("h1", null, "Search"),
    form,
    h("p", { class: "zone" }, chosen, h("label", { class: "button", for: "picture-file", tabindex: 0, on: { keydown: (event) => ["Enter", " "].includes(event.key) && chosen.click() } }, "Choose a picture"), "or drop one anywhere, or paste it. It is looked for, and not kept."),
    isAsked ? asked(parameters, mine) : await suggestions(facts),
    canSwitch ? choices("Space", [["features", "Refined"], ["embeddings", "CLIP"]], state.space, (space) => {
      state.space = space;
      ask();
    }).root : null,
    results);
  if (isAsked) ask();
  else if (parameters.picture) results.append(h("div", { class: "empty" }, h("p", null, "The picture was in a page that is closed: hand it over again.")));
  return { title: parameters.text ? `“${parameters.text}”` : "Search", root, shown: () => isAsked || input.focus() };
}

function answer(parameters, mine, space, narrow) {
  const { text, row, vector } = parameters;
  const where = text === undefined && narrow.not_text === undefined ? space : null; // words are in one space alone
  if (mine) return find(where, HITS, narrow);
  return get("search", { text, row, vector, space: where, n: HITS, ...narrow });
}

const narrowing = (parameters) => Object.fromEntries(NARROW.filter((name) => parameters[name]).map((name) => [name, parameters[name]]));

const chosenFilters = (form) => narrowing(Object.fromEntries(new FormData(form)));

/** What may be found: fields that are kept in the address. */
async function filters(parameters, facts) {
  const { cards } = await once("clusters", { grouping: facts.groupings[0].name });
  const named = [...cards].sort((a, b) => b.size - a.size);
  const cluster = h("select", { name: "cluster" }, h("option", { value: "" }, "any"), named.map((card) => h("option", { value: card.id, selected: String(card.id) === parameters.cluster }, cardName(card))));
  const avoid = h("input", { name: "not_text", type: "text", value: parameters.not_text ?? "", maxlength: 1000, placeholder: "a drawing", autocomplete: "off" });
  const confidence = h("input", { name: "min_confidence", type: "number", min: 0, max: 1, step: "any", value: parameters.min_confidence ?? "", placeholder: "0 to 1" });
  const fields = [["Avoid images like", avoid], ["Only in cluster", cluster], ["At least this confident", confidence]];
  return h("details", { class: "narrow", open: Object.keys(narrowing(parameters)).length > 0 },
    h("summary", null, "Narrow the search"),
    h("div", { class: "fields" }, fields.map(([label, field]) => h("label", null, h("span", null, label), field))));
}

/** Says what one waits for when it takes long: the first query loads the model. */
function waiting(results) {
  const words = h("p", { class: "waiting" }, "looking");
  let isOver = false;
  async function look() {
    if (isOver) return;
    if (!words.isConnected) results.replaceChildren(words);
    try {
      const { model } = await get("state");
      if (model.state === "loading") words.textContent = "The model is being loaded: the first query waits for it, later ones do not.";
    } catch {
      // The answer itself will tell.
    }
    if (!isOver) timer = setTimeout(look, PATIENCE);
  }
  let timer = setTimeout(look, PATIENCE);
  return { stop() { isOver = true; clearTimeout(timer); } };
}

function asked({ text, row, vector }, mine) {
  if (text !== undefined) return null;
  if (mine) return h("div", { class: "asked" }, h("img", { src: mine.address, alt: "the picture that is looked for" }), h("p", { class: "quiet" }, mine.file.name || "a picture that was pasted"));
  if (row !== undefined) return h("div", { class: "asked" }, image(Number(row), 256, "the picture that is looked for"), h("p", { class: "quiet" }, "More like this one"));
  return vector ? h("p", { class: "asked quiet" }, "What is like a picture that somebody handed over.") : null;
}

function shown(found) {
  const took = found.seconds < 0.001 ? "under 1 ms" : `${Math.round(1000 * found.seconds)} ms`;
  const where = found.space === "features" ? "refined features" : "CLIP embeddings";
  return [
    h("div", { class: "row-between" }, h("h2", null, counted(found.hits.length, "picture")), h("p", { class: "quiet number" }, `nearest by cosine among ${where}, ${took}`)),
    fixed("Results", found.hits, (one) => tile(one, { badge: decimal(one.similarity, 3), name: one.name ?? `cluster ${one.cluster}` })),
  ];
}

async function suggestions(facts) {
  if (!facts.has_captions) return null;
  const { cards } = await once("clusters", { grouping: facts.groupings[0].name });
  const words = [...cards].filter((one) => one.names.length).sort((a, b) => b.size - a.size).slice(0, 12).map((one) => cardName(one));
  return h("div", null, h("p", { class: "suggest" }, [...new Set(words)].map((word) => h("a", { href: searchLink({ text: word }) }, word))));
}

