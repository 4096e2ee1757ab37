// What can be reviewed: sets of images, clusters, or decisions, and how many each holds.

import { get, getOnce, getRun } from "../api.js";
import { defaultGrouping } from "../links.js";
import { decided } from "./decisions.js";

/** The tag of images that were looked at and kept. */
export const REVIEWED = "reviewed";

/**
 * @typedef {object} Kind
 * @property {string} words
 * @property {string} why
 * @property {Record<string, any>} [set]  of images; without it, clusters or decisions
 * @property {"copies" | "duplicates"} [copies]  what the images are, beside the one that is kept
 */

/** @type {Record<string, Kind>} */
export const QUEUES = {
  doubtful: { words: "Doubtful", why: "Images with a confidence of 0.5 or less, the least first.", set: { max_confidence: 0.5, order: "doubtful" } },
  outliers: { words: "Outliers", why: "Images far from all that the clusters were fitted on.", set: { novelty_above: 1, order: "novel" } },
  copies: { words: "Copies", why: "Copies of another image, which is kept.", set: { only: "copies", order: "doubtful" }, copies: "copies" },
  duplicates: { words: "Near-duplicates", why: "Images that are nearly another one, which is kept.", set: { only: "duplicates", order: "doubtful" }, copies: "duplicates" },
  labels: { words: "Against labels", why: "Images whose label is not the most frequent of their cluster.", set: { only: "against-labels", order: "doubtful" } },
  unnamed: { words: "Unnamed", why: "Clusters that nobody has named yet, the largest first." },
  look: { words: "Needs a look", why: "Decisions that are not applied as a whole, or may not fit the current clusters." },
};

/** Whether any image was reviewed and kept: else there is no such tag. */
export const isAnyReviewed = () => decided.tags.some(([tag]) => tag === REVIEWED);

/**
 * Clusters without a name that a person gave, the largest first.
 *
 * @param {any[]} cards
 */
export const unnamed = (cards) => cards.filter((card) => card.size && !card.names[0]?.is_given).sort((a, b) => b.size - a.size);

/**
 * How many a queue holds now; null where nobody has looked for what it holds.
 *
 * @param {string} name
 * @returns {Promise<number | null>}
 */
export async function countQueue(name) {
  const { set, copies } = QUEUES[name];
  const run = await getRun();
  const grouping = defaultGrouping(run);
  if (name === "look") return decided.needsALook;
  if (!set) return unnamed((await getOnce("clusters", { grouping })).cards).length;
  if (copies && !run.copies.includes(copies)) return null;
  const asked = { ...set, grouping };
  const [all, reviewed] = await Promise.all([get("set", asked), isAnyReviewed() ? get("set", { ...asked, tag: REVIEWED }) : null]);
  return all.total - (reviewed?.total ?? 0);
}
