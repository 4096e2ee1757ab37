// Clusters in brief: in one line, their captions, and the orders they can have.

import { commandLine } from "./api.js";
import { counted, h, percent } from "./dom.js";
import { cardName, clusterLink } from "./links.js";
import { image } from "./tiles.js";

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
 * @param {{caption: string, score: number, is_given?: boolean}[]} names
 * @param {{flags: string, absent: {what: string, command: string}[]}} run
 */
export function captions(names, run) {
  if (!names.length) {
    const absent = run.absent.find((absence) => absence.what === "captions");
    return h("p", { class: "quiet" }, "No captions yet: run ", h("code", null, absent?.command ?? commandLine(run, "caption")), ".");
  }
  const highest = Math.max(...names.map((name) => (name.is_given ? 0 : name.score)), 1e-9);
  return h("ol", { class: "bars" }, names.map((name) => (name.is_given ? h("li", null, h("span", { class: "word" }, name.caption), h("span", { class: "quiet" }, "as named")) : shareBar(name.caption, name.score / highest, name.score))));
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

/**
 * An entry of a list of facts.
 *
 * @param {string} name
 * @param {string} value
 */
export const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));

/**
 * Orders of clusters, as the server knows them.
 *
 * @type {Record<string, string>}
 */
export const SORTS = { size: "largest", sure: "most confident", doubt: "least confident", far: "most outliers", name: "name" };
