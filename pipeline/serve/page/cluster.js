// One cluster: its pictures by confidence, its words, and what is around it.

import { keeper } from "./address.js";
import { Failed, get, once, query } from "./api.js";
import { captions, mini } from "./cards.js";
import { figure, histogram, singularValues } from "./charts.js";
import { choices, count, decimal, h, percent } from "./dom.js";
import { endless } from "./grid.js";
import { TREE, cardName, clusterLink, groupingName } from "./links.js";
import { tile } from "./tiles.js";

const SMALL = window.matchMedia("(max-width: 70rem)");

export async function show(parameters, { facts }) {
  const keep = keeper();
  const grouping = parameters.grouping ?? facts.groupings[0].name;
  if (!/^\d{1,9}$/.test(parameters.cluster ?? "")) throw new Failed(404, "the address names no cluster by its number");
  const number = Number(parameters.cluster);
  const found = await once(`clusters/${number}`, { grouping });
  const others = grouping === TREE ? (await once("tree")).nodes : (await once("clusters", { grouping })).cards;
  const { card } = found;
  const name = cardName(card, grouping);
  let order = parameters.order === "doubtful" ? "doubtful" : "sure";

  const holder = h("div");
  const fill = () => {
    const wanted = order;
    holder.replaceChildren(endless(`Pictures of ${name}`,
      (offset, limit) => get(`clusters/${number}/rows`, { grouping, order: wanted, offset, limit }), (item) => tile(item)));
  };
  fill();
  const pick = choices("Order", [["sure", "Surest first"], ["doubtful", "Most doubtful first"]], order, (chosen) => {
    order = chosen;
    keep(`cluster${query({ ...parameters, order: order === "sure" ? null : order })}`);
    fill();
  });
  const root = h("div", null,
    h("nav", { class: "crumbs", "aria-label": "Where this is" },
      h("a", { href: "./" }, "All clusters"), " › ", where(found, facts, grouping)),
    h("h1", null, name),
    h("dl", { class: "facts" },
      fact("pictures", count(card.size), percent(card.size / facts.rows, 1) + " of all"),
      fact("confidence", decimal(card.confidence), "on average"),
      fact("far from all", count(card.far), ""),
      found.labels.length ? fact("most frequent label", found.labels[0][0], percent(found.labels[0][1] / card.size)) : null),
    h("div", { class: "cluster" },
      h("aside", { "aria-label": "About this cluster" }, panels(found, others, grouping)),
      h("section", { "aria-label": "Pictures" },
        h("div", { class: "row-between" }, h("h2", null, "Pictures"), pick.root), holder)));
  return { title: name, root };
}

const fact = (name, value, beside) => h("div", null, h("dt", null, name), h("dd", null, value, " ", beside ? h("small", null, beside) : null));

function where(found, facts, grouping) {
  if (grouping !== TREE) {
    const asked = facts.groupings.find((one) => one.name === grouping);
    return `cluster ${found.card.id} of ${asked.k}, ${groupingName(grouping)}`;
  }
  const { finest, coarsest } = found.node;
  const level = h("a", { href: `./${query({ level: finest })}` }, `level ${finest}`);
  return h("span", null, `a cluster of the hierarchy from `, level, finest === coarsest ? "" : ` to level ${coarsest}`);
}

function panels(found, others, grouping) {
  const own = grouping === TREE ? TREE : grouping;
  const byId = new Map(others.map((one) => [one.id, one]));
  return [
    panel("Captions", true, captions(found.card.names)),
    panel("How sure", false, figure(histogram(found.histogram, "Histogram of confidence"), "Pictures by confidence: the further right, the clearer the cluster.")),
    found.labels.length > 1 ? panel("Labels", false, labels(found)) : null,
    panel("Like it", false, h("div", { class: "minis" }, found.near.slice(0, 6).map((one) => mini(byId.get(one.id), own, `${percent(one.alike)} alike`))),
      found.near.length ? null : h("p", { class: "quiet" }, "No other cluster is like this one.")),
    relatives(found),
    Object.keys(found.singular_values).length ? panel("Singular values", false, figure(singularValues(found.singular_values),
      `Of ${count(found.sampled)} pictures, over the largest. The sooner a line falls, the smaller the space that the cluster lies in.`,
      h("p", { class: "legend" }, h("span", null, "refined"), h("span", { class: "of-2" }, "CLIP")))) : null,
  ];
}

function panel(title, isOpen, ...content) {
  return h("details", { class: "panel", open: isOpen || !SMALL.matches }, h("summary", null, h("h2", null, title)), content);
}

function labels(found) {
  const most = found.labels[0][1];
  return h("ol", { class: "bars" }, found.labels.map(([label, rows]) => h("li", null,
    h("span", { class: "word" }, label),
    h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${(100 * rows) / most}%` } })),
    h("span", { class: "share" }, percent(rows / found.card.size)))));
}

function relatives(found) {
  if (!found.node) return null;
  const { closest_node: closest, merges_with: sibling, splits_into: halves } = found;
  return panel("Merges and splits", false,
    closest ? h("p", { class: "quiet" }, "By the hierarchy, where ",
      h("a", { href: clusterLink(closest.id, TREE) }, "the closest cluster"), ` shares ${percent(closest.shared)} of the pictures.`) : null,
    sibling ? h("h3", null, `Merges at level ${found.merges_at} with`) : null,
    sibling ? mini(sibling, TREE, `confidence ${decimal(sibling.confidence)}`) : null,
    halves.length ? h("h3", null, `Splits at level ${found.splits_at} into`) : null,
    halves.length ? h("div", { class: "minis" }, halves.map((one) => mini(one, TREE, `confidence ${decimal(one.confidence)}`))) : null,
    halves.length ? null : h("p", { class: "quiet" }, "It is one of the finest clusters: nothing splits it."));
}
