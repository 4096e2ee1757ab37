// One cluster: its images by confidence, its captions, and related clusters.

import { makeAddressUpdater } from "./address.js";
import { RequestError, get, getOnce, query } from "./api.js";
import { captions, mini, shareBar } from "./cards.js";
import { figure, histogram, singularValues } from "./charts.js";
import { choices, count, decimal, h, percent } from "./dom.js";
import { growingGrid } from "./grid.js";
import { TREE, cardName, clusterLink, groupingName } from "./links.js";
import { tile } from "./tiles.js";

const SMALL = window.matchMedia("(max-width: 70rem)");
const MAX_SIMILAR = 6;

/** @typedef {"sure" | "doubtful"} Order */

/** @type {[Order, string][]} */
const ORDERS = [["sure", "Most confident first"], ["doubtful", "Least confident first"]];

export async function show(parameters, { facts: run }) {
  const updateAddress = makeAddressUpdater();
  const grouping = parameters.grouping ?? run.groupings[0].name;
  if (!/^\d{1,9}$/.test(parameters.cluster ?? "")) throw new RequestError(404, "the address must name a cluster by its number");
  const number = Number(parameters.cluster);
  const facts = await getOnce(`clusters/${number}`, { grouping });
  const others = grouping === TREE ? (await getOnce("tree")).nodes : (await getOnce("clusters", { grouping })).cards;
  const { card } = facts;
  const name = cardName(card, grouping);
  /** @type {Order} */
  let order = parameters.order === "doubtful" ? "doubtful" : "sure";

  const holder = h("div");
  const fill = () => {
    const shown = order;
    holder.replaceChildren(growingGrid(`Images of ${name}`,
      (offset, limit) => get(`clusters/${number}/rows`, { grouping, order: shown, offset, limit }), (item) => tile(item)));
  };
  fill();
  const orders = choices("Order", ORDERS, order, (chosen) => {
    order = chosen;
    updateAddress(`cluster${query({ ...parameters, order: order === "sure" ? null : order })}`);
    fill();
  });
  const root = h("div", null,
    h("nav", { class: "crumbs", "aria-label": "Breadcrumbs" },
      h("a", { href: "./" }, "All clusters"), " › ", position(facts, run, grouping)),
    h("h1", null, name),
    h("dl", { class: "facts" },
      fact("images", count(card.size), `${percent(card.size / run.rows, 1)} of all`),
      fact("confidence", decimal(card.confidence), "on average"),
      fact("outliers", count(card.far), "", "Images with a novelty above 1: far from all that the clusters were fitted on."),
      facts.labels.length ? fact("most frequent label", facts.labels[0][0], percent(facts.labels[0][1] / card.size)) : null),
    h("div", { class: "cluster" },
      h("aside", { "aria-label": "About this cluster" }, panels(facts, others, grouping)),
      h("section", { "aria-label": "Images" },
        h("div", { class: "row-between" }, h("h2", null, "Images"), orders.root), holder)));
  return { title: name, root };
}

/**
 * @param {string} name
 * @param {string} value
 * @param {string} unit
 * @param {string | null} [title]
 */
const fact = (name, value, unit, title = null) => h("div", { title }, h("dt", null, name), h("dd", null, value, " ", unit ? h("small", null, unit) : null));

/** Where the cluster is among the others: its number, or its levels of the hierarchy. */
function position(facts, run, grouping) {
  if (grouping !== TREE) {
    const { k } = run.groupings.find((each) => each.name === grouping);
    return `cluster ${facts.card.id} of ${k}, ${groupingName(grouping)}`;
  }
  const { finest, coarsest } = facts.node;
  const level = h("a", { href: `./${query({ level: finest })}` }, `level ${finest}`);
  return h("span", null, "hierarchy, ", level, finest === coarsest ? "" : ` to level ${coarsest}`);
}

function panels(facts, others, grouping) {
  const byId = new Map(others.map((card) => [card.id, card]));
  const similar = facts.near.slice(0, MAX_SIMILAR).map((near) => mini(byId.get(near.id), grouping, `${percent(near.alike)} similar`));
  return [
    panel("Captions", true, captions(facts.card.names)),
    panel("Confidence", false, figure(histogram(facts.histogram, "Histogram of confidence"), "Images by confidence: the further right, the clearer the cluster.")),
    facts.labels.length > 1 ? panel("Labels", false, labels(facts)) : null,
    panel("Similar clusters", false, h("div", { class: "minis" }, similar), similar.length ? null : h("p", { class: "quiet" }, "No other cluster is similar.")),
    relatives(facts),
    Object.keys(facts.singular_values).length ? panel("Singular values", false, figure(singularValues(facts.singular_values),
      `Singular values of ${count(facts.sampled)} images, divided by the largest. The sooner a line falls, the fewer directions the images vary in.`,
      h("p", { class: "legend" }, h("span", null, "refined"), h("span", { class: "of-2" }, "CLIP")))) : null,
  ];
}

/**
 * A panel that can be closed; in a narrow window only some are open at first.
 *
 * @param {string} title
 * @param {boolean} isOpen
 * @param {...any} content
 */
function panel(title, isOpen, ...content) {
  return h("details", { class: "panel", open: isOpen || !SMALL.matches }, h("summary", null, h("h2", null, title)), content);
}

function labels(facts) {
  const highest = facts.labels[0][1];
  return h("ol", { class: "bars" }, facts.labels.map(([label, rows]) => shareBar(label, rows / highest, rows / facts.card.size)));
}

/** What the node is merged with and splits into. */
function relatives(facts) {
  if (!facts.node) return null;
  const { closest_node: closest, merges_with: sibling, splits_into: children } = facts;
  return panel("Merges and splits", false,
    closest ? h("p", { class: "quiet" }, "For ",
      h("a", { href: clusterLink(closest.id, TREE) }, "the closest cluster of the hierarchy"), `, which shares ${percent(closest.shared)} of the images.`) : null,
    sibling ? h("h3", null, `Merges at level ${facts.merges_at} with`) : null,
    sibling ? mini(sibling, TREE, `confidence ${decimal(sibling.confidence)}`) : null,
    children.length ? h("h3", null, `Splits at level ${facts.splits_at} into`) : null,
    children.length ? h("div", { class: "minis" }, children.map((child) => mini(child, TREE, `confidence ${decimal(child.confidence)}`))) : null,
    children.length ? null : h("p", { class: "quiet" }, "It is at the finest level: it does not split."));
}
