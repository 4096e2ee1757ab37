// Clusters in brief: as cards, in one line, and their captions.

import { count, counted, decimal, h, percent } from "./dom.js";
import { cardName, clusterLink } from "./links.js";
import { image, meter } from "./tiles.js";

const TYPICAL = 9; // one large image, eight small ones
const DOUBTFUL = 8;

/**
 * A card: typical members, a strip of the least confident ones, captions and figures.
 *
 * @param {any} cluster
 * @param {string | null} grouping
 */
export function card(cluster, grouping) {
  const name = cardName(cluster, grouping);
  const others = cluster.names.slice(1, 4).map((each) => each.caption).join(" · ");
  const typical = cluster.typical.slice(0, TYPICAL);
  const doubtful = cluster.doubtful.slice(0, DOUBTFUL);
  const label = `${name}, ${counted(cluster.size, "image")}, confidence ${decimal(cluster.confidence)}`;
  return h("a", { class: "card", href: clusterLink(cluster.id, grouping), "aria-label": label, dataset: { cluster: cluster.id } },
    h("span", { class: "mosaic", "aria-hidden": "true" }, typical.map((member, place) => image(member.row, place ? 128 : 256, "", { width: 80, height: 80 }))),
    h("span", { class: "doubtful", "aria-hidden": "true", title: "least confident" }, doubtful.map((member) => image(member.row, 128, "", { width: 40, height: 40 }))),
    h("span", { class: "card-text" },
      h("span", null,
        h("span", { class: "card-title" }, name), " ",
        h("span", { class: "card-others" }, others)),
      h("span", { class: "card-facts" },
        h("span", { class: "number" }, count(cluster.size)), meter(cluster.confidence), decimal(cluster.confidence))));
}

/**
 * A cluster in one line, with a word on how it relates to the one that is shown.
 *
 * @param {any} cluster
 * @param {string} grouping
 * @param {string} relation
 */
export function mini(cluster, grouping, relation) {
  return h("a", { class: "mini", href: clusterLink(cluster.id, grouping) },
    h("span", { class: "mosaic", "aria-hidden": "true" }, cluster.typical.slice(0, 4).map((member) => image(member.row, 128, "", { width: 48, height: 48 }))),
    h("span", null,
      h("span", { class: "mini-name" }, cardName(cluster, grouping)),
      h("br"),
      h("span", { class: "mini-facts" }, `${counted(cluster.size, "image")} · ${relation}`)));
}

/**
 * Captions with their share of votes.
 *
 * @param {{caption: string, score: number}[]} names
 */
export function captions(names) {
  if (!names.length) return h("p", { class: "quiet" }, "No captions yet: run ", h("code", null, "cpp-pipe caption"), ".");
  const highest = Math.max(...names.map((name) => name.score), 1e-9);
  return h("ol", { class: "bars" }, names.map((name) => shareBar(name.caption, name.score / highest, name.score)));
}

/**
 * An item of a list of bars: a label, a bar of a length from 0 to 1, and a share.
 *
 * @param {any} label
 * @param {number} length
 * @param {number} share
 */
export const shareBar = (label, length, share) => h("li", null,
  h("span", { class: "word" }, label),
  h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${100 * length}%` } })),
  h("span", { class: "share" }, percent(share)));

/** @type {Record<string, [string, (a: any, b: any) => number]>} */
export const SORTS = {
  size: ["largest", (a, b) => b.size - a.size],
  sure: ["most confident", (a, b) => (b.confidence ?? -1) - (a.confidence ?? -1)],
  doubt: ["least confident", (a, b) => (a.confidence ?? 2) - (b.confidence ?? 2)],
  far: ["most outliers", (a, b) => b.far / Math.max(1, b.size) - a.far / Math.max(1, a.size)],
  name: ["name", (a, b) => (a.names[0]?.caption ?? "\uffff").localeCompare(b.names[0]?.caption ?? "\uffff")],
};

/**
 * The non-empty clusters whose captions contain a text, in an order; equal ones by number.
 *
 * @param {any[]} cards
 * @param {string} sort
 * @param {string} text
 */
export function arrange(cards, sort, text) {
  const words = text.trim().toLowerCase();
  const matches = (cluster) => String(cluster.id) === words || cluster.names.some((name) => name.caption.toLowerCase().includes(words));
  const [, compare] = SORTS[sort] ?? SORTS.size;
  return cards.filter((cluster) => cluster.size && (!words || matches(cluster))).sort((a, b) => compare(a, b) || a.id - b.id);
}
