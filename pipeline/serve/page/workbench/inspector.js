// The inspector: the image that has the focus, or a cluster, beside the grid.

import { get, getOnce, getRun, imageAddress } from "../api.js";
import { captions, fact, mini, shareBar } from "../cards.js";
import { figure, histogram, singularValues } from "../charts.js";
import { count, decimal, h, percent } from "../dom.js";
import { DECIDED, TREE, decidedIn, imageLink, placeIn, searchLink } from "../links.js";
import { tile } from "../tiles.js";
import { decided } from "./decisions.js";

const MAX_SIMILAR = 6;
const NEAREST = 8;
const DELAY = 120; // ms for which an image has the focus before it is described

/** @typedef {import("./state.js").State} State */

/**
 * The inspector. `actions` makes the buttons of what can be decided, for a cluster or an image.
 *
 * @param {{actions: {cluster: (facts: any) => any, image: (facts: any) => any, excluded: (facts: any, name: string, show: () => void) => any[]}, openCluster: (cluster: number) => void, compare: (pair: number[]) => void, change: (fields: Partial<State>) => void, first: any}} options
 *   `first` is shown until something is chosen
 */
export function makeInspector({ actions, openCluster, compare, change, first }) {
  const root = h("aside", { class: "inspector", "aria-label": "Details", tabindex: -1 }, h("p", { class: "quiet" }, "Choose a cluster or an image to see its details."), first ?? "");
  let turn = 0;
  let timer = 0;

  /**
   * @param {() => Promise<any[]>} make
   */
  async function fill(make) {
    const mine = ++turn;
    try {
      const content = await make();
      if (mine === turn) root.replaceChildren(...content.filter(Boolean));
    } catch (error) {
      if (mine === turn) root.replaceChildren(h("p", { class: "quiet", role: "alert" }, error.message));
    }
    root.scrollTop = 0;
  }

  /** @type {number | null} */
  let shown = null; // the row of the image that is described
  return {
    root,
    row: () => shown,
    /**
     * @param {number} cluster
     * @param {State} state
     * @param {any[]} cards
     * @param {(cluster: number) => string} nameOf
     */
    showCluster(cluster, state, cards, nameOf) {
      shown = null;
      clearTimeout(timer);
      const grouping = state.level === null ? state.grouping : TREE;
      const isOnly = state.clusters.length === 1 && state.clusters[0] === cluster;
      return fill(async () => {
        const [facts, run] = await Promise.all([getOnce(`clusters/${cluster}`, { grouping }), getRun()]);
        const { card } = facts;
        const byId = new Map(cards.map((each) => [each.id, each]));
        if (!card.size && card.excluded) return actions.excluded({ ...facts, grouping }, nameOf(cluster), () => change({ clusters: [cluster], excluded: "only" }));
        const near = facts.near.filter((/** @type {any} */ each) => byId.has(each.id)).slice(0, MAX_SIMILAR);
        return [
          h("h2", null, nameOf(cluster)),
          h("dl", { class: "facts small" },
            fact("images", count(card.size)),
            fact("confidence", decimal(card.confidence)),
            fact("outliers", count(card.far))),
          h("div", { class: "buttons" },
            h("button", { class: "button small", type: "button", on: { click: () => change({ clusters: isOnly ? [] : [cluster] }) } }, isOnly ? "Show all clusters" : "Only this cluster")),
          actions.cluster({ ...facts, grouping, near }),
          section("Captions", captions(card.names, run), card.names.length ? h("p", { class: "hint" }, "Shares of the votes of its images, not how certain a caption is.") : null),
          facts.labels.length ? section("Labels", h("ol", { class: "bars" }, facts.labels.map((/** @type {[string, number]} */ [label, rows]) => shareBar(label, rows / facts.labels[0][1], rows / card.size)))) : null,
          section("Similar clusters", near.length ? h("ul", { class: "similar" }, near.map((/** @type {any} */ each) => h("li", null,
            h("button", { class: "plain", type: "button", on: { click: () => openCluster(each.id) } }, nameOf(each.id)),
            h("span", { class: "quiet number" }, percent(each.alike)),
            h("button", { class: "plain", type: "button", "aria-label": `Compare with ${nameOf(each.id)}`, on: { click: () => compare([cluster, each.id]) } }, "compare")))) : h("p", { class: "quiet" }, "No other cluster is similar.")),
          facts.splits_into.length ? section(`Splits at level ${facts.splits_at} into`, h("div", { class: "minis" }, facts.splits_into.map((/** @type {any} */ child) => mini(child, TREE, `confidence ${decimal(child.confidence)}`)))) : null,
          facts.merges_with ? section(`Merges at level ${facts.merges_at} with`, mini(facts.merges_with, TREE, `confidence ${decimal(facts.merges_with.confidence)}`)) : null,
          section("Confidence", figure(histogram(facts.histogram, "Histogram of confidence"), "Images by confidence: the further right, the clearer the cluster.")),
          spectra(cluster, grouping),
        ];
      });
    },
    /** @param {number} row */
    showImage(row) {
      shown = row;
      clearTimeout(timer);
      timer = setTimeout(() => fill(async () => {
        const [facts, near] = await Promise.all([get(`images/${row}`), get(`images/${row}/neighbours`, { n: NEAREST, grouping: decided.length ? await getRun().then(decidedIn) : null }).catch(() => ({ hits: [] }))]);
        const place = placeIn(facts, DECIDED);
        return [
          h("a", { class: "inspected", href: imageLink(facts) }, h("img", { src: imageAddress(row, 256), alt: facts.caption || facts.key, class: "fits" })),
          h("h2", null, facts.key),
          h("dl", { class: "facts small" },
            facts.label ? fact("label", facts.label) : null,
            fact("cluster", place.name ?? `cluster ${place.cluster}`),
            fact("confidence", decimal(place.confidence)),
            fact("novelty", decimal(facts.novelty)),
            facts.width ? fact("pixels", `${facts.width} × ${facts.height}`) : null,
            facts.tags?.length ? fact("tags", facts.tags.join(", ")) : null,
            facts.excluded ? fact("excluded", "yes") : null),
          facts.caption ? h("p", { class: "quiet" }, facts.caption) : null,
          h("div", { class: "buttons" }, h("a", { class: "button small", href: imageLink(facts) }, "Open"), h("a", { class: "button small", href: searchLink({ row }) }, "Find similar")),
          actions.image(facts),
          near.hits.length ? section("Most similar", h("ul", { class: "grid small" }, near.hits.map((/** @type {any} */ hit) => tile({ ...hit, confidence: undefined }, { isSmall: true, badge: decimal(hit.similarity), isOther: hit.cluster !== place.cluster })))) : null,
        ];
      }), DELAY);
    },
  };
}

/**
 * The singular values of a cluster, which arrive after all else.
 *
 * @param {number} cluster
 * @param {string} grouping
 */
function spectra(cluster, grouping) {
  const part = h("div", null);
  getOnce(`clusters/${cluster}/spectra`, { grouping }).then((facts) => {
    if (!Object.keys(facts.singular_values).length) return;
    part.replaceChildren(section("Singular values", figure(singularValues(facts.singular_values),
      `Singular values of ${count(facts.sampled)} images, divided by the largest.`, h("p", { class: "legend" }, h("span", null, "refined"), h("span", { class: "of-2" }, "embeddings")))));
  }, (error) => part.replaceChildren(h("p", { class: "quiet", role: "alert" }, error.message)));
  return part;
}

/**
 * @param {string} title
 * @param {...any} content
 */
const section = (title, ...content) => h("section", { class: "inspector-part" }, h("h3", null, title), content);
