// Clusters at a glance.

import { count, counted, decimal, h, percent } from "./dom.js";
import { cardName, clusterLink } from "./links.js";
import { image, meter } from "./tiles.js";

const TYPICAL = 9; // one large, eight small
const DOUBTFUL = 8;

/** A card of a cluster: typical members, doubtful ones in a strip below, words and figures. */
export function card(one, grouping) {
  const name = cardName(one, grouping);
  const others = one.names.slice(1, 4).map((each) => each.caption).join(" · ");
  const typical = one.typical.slice(0, TYPICAL);
  const doubtful = one.doubtful.slice(0, DOUBTFUL);
  const label = `${name}, ${counted(one.size, "picture")}, confidence ${decimal(one.confidence)}`;
  return h("a", { class: "card", href: clusterLink(one.id, grouping), "aria-label": label, dataset: { cluster: one.id } },
    h("span", { class: "mosaic", "aria-hidden": "true" }, typical.map((member, place) => image(member.row, place ? 128 : 256, "", { width: 80, height: 80 }))),
    h("span", { class: "doubtful", "aria-hidden": "true", title: "the most doubtful" }, doubtful.map((member) => image(member.row, 128, "", { width: 40, height: 40 }))),
    h("span", { class: "card-text" },
      h("span", null,
        h("span", { class: "card-title" }, name), " ",
        h("span", { class: "card-others" }, others)),
      h("span", { class: "card-facts" },
        h("span", { class: "number" }, count(one.size)), meter(one.confidence), decimal(one.confidence))));
}

/** A cluster in one line: where it is beside another one. */
export function mini(one, grouping, beside) {
  return h("a", { class: "mini", href: clusterLink(one.id, grouping) },
    h("span", { class: "mosaic", "aria-hidden": "true" }, one.typical.slice(0, 4).map((member) => image(member.row, 128, "", { width: 48, height: 48 }))),
    h("span", null,
      h("span", { class: "mini-name" }, cardName(one, grouping)),
      h("br"),
      h("span", { class: "mini-facts" }, `${counted(one.size, "picture")} · ${beside}`)));
}

/** Captions with their share of votes. */
export function captions(names) {
  if (!names.length) return h("p", { class: "quiet" }, "No captions yet: ", h("code", null, "cpp-pipe caption"), " adds them.");
  const most = Math.max(...names.map((one) => one.score), 1e-9);
  return h("ol", { class: "bars" }, names.map((one) => h("li", null,
    h("span", { class: "word" }, one.caption),
    h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${(100 * one.score) / most}%` } })),
    h("span", { class: "share" }, percent(one.score)))));
}

export const SORTS = {
  size: ["largest", (a, b) => b.size - a.size],
  sure: ["surest", (a, b) => (b.confidence ?? -1) - (a.confidence ?? -1)],
  doubt: ["most doubtful", (a, b) => (a.confidence ?? 2) - (b.confidence ?? 2)],
  far: ["most far from all", (a, b) => b.far / Math.max(1, b.size) - a.far / Math.max(1, a.size)],
  name: ["by name", (a, b) => (a.names[0]?.caption ?? "\uffff").localeCompare(b.names[0]?.caption ?? "\uffff")],
};

/** Cards that a text is in, in an order; equals by their number. */
export function arrange(cards, sort, text) {
  const wanted = text.trim().toLowerCase();
  const found = wanted ? cards.filter((one) => String(one.id) === wanted || one.names.some((each) => each.caption.toLowerCase().includes(wanted))) : [...cards];
  const [, compare] = SORTS[sort] ?? SORTS.size;
  return found.filter((one) => one.size).sort((a, b) => compare(a, b) || a.id - b.id);
}
