// What the page Images shows, as it stands in the address: one set of images, and how it is shown.

import { query } from "../api.js";
import { SORTS } from "../cards.js";
import { defaultGrouping } from "../links.js";

/** @typedef {"grid" | "map" | "compare"} Shown */
/** @typedef {"S" | "M" | "L" | "XL"} Size */

/**
 * @typedef {object} State
 * @property {string} grouping
 * @property {number | null} level  of the hierarchy, and then no grouping
 * @property {number[]} clusters  only these; all if empty
 * @property {string} words
 * @property {string} label
 * @property {string} tag
 * @property {string} where  conditions on scores and columns, joined by "and"
 * @property {string} doubt  a name of CONFIDENCES
 * @property {boolean} novel
 * @property {string} only
 * @property {string} excluded
 * @property {string} order
 * @property {string} sort
 * @property {Shown} view
 * @property {Size} size
 * @property {number | null} focus  the cluster that is shown in full
 * @property {number[]} pair  the clusters that are compared
 */

/**
 * Ranges of confidence that one can filter by.
 *
 * @type {Record<string, {words: string, min?: number, max?: number}>}
 */
export const CONFIDENCES = {
  "": { words: "any" },
  sure: { words: "0.8 or more", min: 0.8 },
  fair: { words: "0.5 to 0.8", min: 0.5, max: 0.8 },
  low: { words: "0.5 or less", max: 0.5 },
};

/** @type {Record<string, string>} */
export const ORDERS = { clusters: "by cluster", doubtful: "least confident first", novel: "most novel first" };

/** @type {Shown[]} */
const VIEWS = ["grid", "map", "compare"];

/** @type {Size[]} */
export const SIZES = ["S", "M", "L", "XL"];

/**
 * The state in an address; whatever it does not say, or says wrongly, is as for a first visit.
 *
 * @param {Record<string, string>} given
 * @param {any} run
 * @returns {State}
 */
export function readState(given, run) {
  const levels = run.tree?.has_rows ? run.tree.finest : 0;
  const names = run.groupings.map((/** @type {any} */ each) => each.name);
  return {
    grouping: names.includes(given.grouping) ? given.grouping : defaultGrouping(run),
    level: clampLevel(given.level, levels),
    clusters: numbers(given.cluster),
    words: given.words ?? "",
    label: given.label ?? "",
    tag: given.tag ?? "",
    where: given.where ?? "",
    doubt: Object.hasOwn(CONFIDENCES, given.doubt) ? given.doubt : "",
    novel: given.novel === "1",
    only: given.only ?? "",
    excluded: given.excluded ?? "",
    order: Object.hasOwn(ORDERS, given.order) ? given.order : "clusters",
    sort: Object.hasOwn(SORTS, given.sort) ? given.sort : "size",
    view: VIEWS.find((view) => view === given.view) ?? "grid",
    size: SIZES.find((size) => size === given.size) ?? "M",
    focus: numbers(given.focus)[0] ?? null,
    pair: numbers(given.pair).slice(0, 2),
  };
}

/**
 * A level of a hierarchy of so many; null without a hierarchy or for anything that is no level.
 *
 * @param {any} level
 * @param {number} levels
 */
export function clampLevel(level, levels) {
  const wanted = Number(level || Number.NaN);
  return levels && Number.isFinite(wanted) && wanted >= 1 ? Math.min(levels, Math.round(wanted)) : null;
}

/**
 * "3,17" as [3, 17].
 *
 * @param {string | undefined} text
 */
const numbers = (text) => (text ?? "").split(",").filter((each) => /^\d{1,9}$/.test(each)).map(Number);

/**
 * The address of a state.
 *
 * @param {State} state
 * @param {any} run
 */
export function addressOf(state, run) {
  const { level, view, size, order, sort } = state;
  const isDefault = level !== null || state.grouping === defaultGrouping(run);
  return `./${query({
    view: view === "grid" ? null : view,
    level,
    grouping: isDefault ? null : state.grouping,
    cluster: state.clusters.join(","),
    words: state.words,
    label: state.label,
    tag: state.tag,
    where: state.where,
    doubt: state.doubt,
    novel: state.novel ? 1 : null,
    only: state.only,
    excluded: state.excluded,
    order: order === "clusters" ? null : order,
    sort: sort === "size" ? null : sort,
    size: size === "M" ? null : size,
    focus: state.focus,
    pair: view === "compare" ? state.pair.join(",") : null,
  })}`;
}

/**
 * The parameters of the API for the set of images of a state.
 *
 * @param {State} state
 * @returns {Record<string, any>}
 */
export function setQuery(state) {
  const { min, max } = CONFIDENCES[state.doubt];
  return {
    level: state.level,
    grouping: state.level === null ? state.grouping : null,
    cluster: state.clusters,
    words: state.words,
    label: state.label,
    tag: state.tag,
    where: splitConditions(state.where),
    min_confidence: min,
    max_confidence: max,
    novelty_above: state.novel ? 1 : null,
    only: state.only,
    excluded: state.excluded,
    order: state.order,
    sort: state.sort,
  };
}

/**
 * "a > 1 and b = 'x and y'" as its conditions.
 *
 * @param {string} text
 */
export const splitConditions = (text) => text.split(/\s+and\s+(?=(?:[^'"]|'[^']*'|"[^"]*")*$)/i).map((each) => each.trim()).filter(Boolean);

/**
 * Whether the set holds only some of the images.
 *
 * @param {State} state
 */
export const isFiltered = (state) => Boolean(state.clusters.length || state.words || state.label || state.tag || state.where || state.doubt || state.novel || state.only || state.excluded);

/** What shows all images again. */
export const NO_FILTERS = { clusters: [], words: "", label: "", tag: "", where: "", doubt: "", novel: false, only: "", excluded: "" };
