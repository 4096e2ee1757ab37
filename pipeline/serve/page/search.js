// Search by words, by an image of one's own, or by a row.

import { makeAddressUpdater } from "./address.js";
import { get, getOnce } from "./api.js";
import { announce, choices, counted, decimal, h } from "./dom.js";
import { fixedGrid } from "./grid.js";
import { DECIDED, cardName, decidedIn, defaultGrouping, searchLink } from "./links.js";
import { image, tile } from "./tiles.js";
import { findUpload, keepUpload, searchUpload } from "./upload.js";

const HITS = 60;
const SUGGESTIONS = 12;
const MAX_SHOWN = 6; // images that are searched for
const PATIENCE = 600; // ms until the page says what the search waits for
const FILTERS = ["not_text", "cluster", "min_confidence"]; // parameters of the address beside the query

/** @type {["features" | "embeddings", string][]} */
const SPACES = [["features", "Refined"], ["embeddings", "Embeddings"]];

/** @typedef {import("./upload.js").Upload} Upload */

export async function show(parameters, { facts: run, go }) {
  const updateAddress = makeAddressUpdater();
  const upload = findUpload(parameters);
  const filters = pickFilters(parameters);
  const asked = { ...filters, ...(decidedIn(run) ? { grouping: DECIDED } : {}) };
  const state = { space: parameters.space ?? "features" };
  const results = h("section", { class: "results", "aria-label": "Results", "aria-busy": "false" });
  const input = h("input", { type: "search", name: "text", "aria-label": "Words to search for", placeholder: "a red car", value: parameters.text ?? "", maxlength: 1000, autocomplete: "off", enterkeyhint: "search" });
  const chooser = h("input", { type: "file", accept: "image/*", class: "hidden", id: "image-file", on: { change: (event) => event.target.files.length && go(keepUpload(event.target.files[0])) } });
  const form = h("form", { class: "ask", on: { submit: (event) => {
    event.preventDefault();
    const { row, rows, vector, picture } = parameters;
    const text = input.value.trim();
    const query = text ? { text } : { row, rows, vector, picture };
    if (Object.values(query).some((value) => value !== undefined)) go(searchLink({ ...query, ...pickFilters(Object.fromEntries(new FormData(form))) }));
  } } }, input, h("button", { class: "button main" }, "Search"), await filterFields(parameters, run));

  let turn = 0;
  let stopWaiting = () => {};
  async function search() {
    const mine = ++turn;
    results.setAttribute("aria-busy", "true");
    stopWaiting(); // for the answer of an earlier search
    stopWaiting = showWaiting(results);
    try {
      const answer = await request(parameters, upload, state.space, asked);
      if (mine !== turn) return;
      if (upload && !Object.keys(filters).length) updateAddress(searchLink({ vector: answer.vector, space: answer.space }));
      results.replaceChildren(...hitList(Object.keys(filters).length ? { ...answer, chance: null } : answer).filter((part) => part !== null));
      announce(`${counted(answer.hits.length, "image")} found`);
    } catch (error) {
      if (mine !== turn) return;
      results.replaceChildren(h("div", { class: "trouble", role: "alert" }, h("h2", null, "The search failed"), h("p", null, error.message)));
    } finally {
      if (mine === turn) {
        stopWaiting();
        results.setAttribute("aria-busy", "false");
      }
    }
  }

  const hasQuery = ["text", "row", "rows", "vector"].some((name) => parameters[name] !== undefined) || upload;
  // Words are compared in one space only, and the vector of an address belongs to its own.
  const canSwitch = run.spaces.length > 1 && parameters.text === undefined && filters.not_text === undefined && (upload || parameters.row !== undefined || parameters.rows !== undefined);
  const root = h("div", null,
    h("h1", null, "Search"),
    form,
    h("p", { class: "zone" }, chooser, h("label", { class: "button", for: "image-file", tabindex: 0, on: { keydown: (event) => ["Enter", " "].includes(event.key) && chooser.click() } }, "Choose an image"), "or drop or paste one anywhere on the page. The server does not keep it."),
    hasQuery ? queryImage(parameters, upload) : await suggestions(run),
    canSwitch ? choices("Compare by", SPACES, state.space, (space) => {
      state.space = space;
      search();
    }).root : null,
    results);
  if (hasQuery) search();
  else if (parameters.picture) results.append(h("div", { class: "empty" }, h("p", null, "The page no longer has this image: choose it again.")));
  return { title: parameters.text ? `“${parameters.text}”` : "Search", root, shown: () => hasQuery || input.focus() };
}

/**
 * @param {Record<string, string>} parameters
 * @param {Upload | null} upload
 * @param {string} space
 * @param {Record<string, string>} filters
 */
function request(parameters, upload, space, filters) {
  const { text, row, rows, vector } = parameters;
  const chosenSpace = text === undefined && filters.not_text === undefined ? space : null;
  if (upload) return searchUpload(upload, chosenSpace, HITS, filters);
  return get("search", { text, row, rows: rows?.split(","), vector, space: chosenSpace, n: HITS, ...filters });
}

/** The filters among some parameters; empty ones are left out. */
const pickFilters = (parameters) => Object.fromEntries(FILTERS.filter((name) => parameters[name]).map((name) => [name, parameters[name]]));

/** Form fields for the filters, with the values of the address. */
async function filterFields(parameters, run) {
  const { cards } = await getOnce("clusters", { grouping: defaultGrouping(run) });
  const bySize = [...cards].sort((a, b) => b.size - a.size);
  const avoid = h("input", { name: "not_text", type: "text", value: parameters.not_text ?? "", maxlength: 1000, placeholder: "a drawing", autocomplete: "off" });
  const cluster = h("select", { name: "cluster" }, h("option", { value: "" }, "any"), bySize.map((card) => h("option", { value: card.id, selected: String(card.id) === parameters.cluster }, cardName(card))));
  const confidence = h("input", { name: "min_confidence", type: "number", min: 0, max: 1, step: "any", value: parameters.min_confidence ?? "", placeholder: "0 to 1" });
  return h("details", { class: "narrow", open: Object.keys(pickFilters(parameters)).length > 0 },
    h("summary", null, "Narrow the search"),
    h("div", { class: "fields" },
      field("Avoid images like", avoid),
      field("Only images in cluster", cluster),
      field("Only images at least this confident", confidence)));
}

/**
 * @param {string} label
 * @param {HTMLElement} input
 */
const field = (label, input) => h("label", null, h("span", null, label), input);

/**
 * Says what the search waits for if it takes long: the first query loads the model. Returns a
 * function that stops it.
 *
 * @param {HTMLElement} results
 */
function showWaiting(results) {
  const message = h("p", { class: "waiting" }, "searching");
  let isOver = false;
  async function check() {
    if (isOver) return;
    if (!message.isConnected) results.replaceChildren(message);
    try {
      const { model } = await get("state");
      if (model.state === "loading") message.textContent = "Loading the model: only the first query waits for it.";
    } catch {
      // The search itself reports the error.
    }
    if (!isOver) timer = setTimeout(check, PATIENCE);
  }
  let timer = setTimeout(check, PATIENCE);
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/**
 * The image that is searched for.
 *
 * @param {Record<string, string>} parameters
 * @param {Upload | null} upload
 */
function queryImage({ text, row, rows, vector }, upload) {
  const alt = "the image that is searched for";
  if (text !== undefined) return null;
  if (upload) return h("div", { class: "asked" }, h("img", { src: upload.address, alt }), h("p", { class: "quiet" }, upload.file.name || "a pasted image"));
  if (row !== undefined) return h("div", { class: "asked" }, image(Number(row), 256, alt), h("p", { class: "quiet" }, "Images similar to this one"));
  if (rows !== undefined) {
    const some = rows.split(",").filter((each) => /^\d{1,9}$/.test(each)).map(Number);
    return h("div", { class: "asked" }, some.slice(0, MAX_SHOWN).map((each) => image(each, 128, alt)), h("p", { class: "quiet" }, `Images similar to all of ${counted(some.length, "image")}`));
  }
  return vector ? h("p", { class: "asked quiet" }, "Images similar to one that was uploaded") : null;
}

function hitList(answer) {
  const took = answer.seconds < 0.001 ? "under 1 ms" : `${Math.round(1000 * answer.seconds)} ms`;
  const vectors = answer.space === "features" ? "refined features" : "embeddings";
  // Filters and words to avoid change what is found, so that random words are no measure.
  const isChance = answer.chance !== null && answer.hits.length > 0 && answer.hits[0].similarity <= answer.chance;
  return [
    ...answer.notes.map((/** @type {string} */ note) => h("p", { class: "notice", role: "note" }, `${note[0].toUpperCase()}${note.slice(1)}.`)),
    isChance ? h("p", { class: "notice", role: "note" }, `Nothing here is clearly like these words: the best similarity is ${decimal(answer.hits[0].similarity, 3)}, and random words reach ${decimal(answer.chance, 3)}.`) : null,
    h("div", { class: "row-between" }, h("h2", null, counted(answer.hits.length, "image")), h("p", { class: "quiet number" }, `by cosine similarity of ${vectors}, ${took}`)),
    fixedGrid("Results", answer.hits, (hit) => tile(hit, { badge: decimal(hit.similarity, 3), name: hit.name ?? `cluster ${hit.cluster}` })),
  ];
}

/** Captions of the largest clusters, as searches. */
async function suggestions(run) {
  if (!run.has_captions) return null;
  const { cards } = await getOnce("clusters", { grouping: run.groupings[0].name });
  const names = cards.filter((card) => card.names.length).sort((a, b) => b.size - a.size).slice(0, SUGGESTIONS).map((card) => cardName(card));
  return h("div", null, h("p", { class: "suggest" }, [...new Set(names)].map((text) => h("a", { href: searchLink({ text }) }, text))));
}
