// Addresses of views, and names of what they show.

import { query } from "./api.js";

/** The grouping whose clusters are nodes of the hierarchy. */
export const TREE = "tree";

/**
 * A cluster of a grouping; by default of the run's own.
 *
 * @param {number} cluster
 * @param {string | null} [grouping]
 */
export const clusterLink = (cluster, grouping) => `cluster${query({ grouping, cluster })}`;

/**
 * An image, by shard and key, which stay the same when rows are added; and by its row, as two parts
 * may hold the same shard and key.
 *
 * @param {{shard: string, key: string, row: number}} item
 */
export const imageLink = (item) => `image${query({ shard: item.shard, key: item.key, row: item.row })}`;

/** @param {Record<string, any>} parameters */
export const searchLink = (parameters) => `search${query(parameters)}`;

/**
 * The name of a cluster: its best caption, or its number.
 *
 * @param {{id: number, names: {caption: string}[]}} card
 * @param {string | null} [grouping]
 */
export function cardName(card, grouping) {
  if (card.names.length) return card.names[0].caption;
  return grouping === TREE ? `Node ${card.id}` : `Cluster ${card.id}`;
}

/** The grouping of the clusters as people decided. */
export const DECIDED = "decided";

/**
 * The grouping for hits and neighbours: as decided, where people decided, else null.
 *
 * @param {{groupings: {name: string}[]}} run
 */
export const decidedIn = (run) => (run.groupings.some((each) => each.name === DECIDED) ? DECIDED : null);

/**
 * The clusters as people decided, where they did, else the run's own.
 *
 * @param {{groupings: {name: string}[]}} run
 */
export const defaultGrouping = (run) => decidedIn(run) ?? run.groupings[0].name;

/**
 * "k-100" as "k = 100".
 *
 * @param {string} name
 */
export const groupingName = (name) => (name === TREE ? "hierarchy" : name === DECIDED ? "as decided" : `k = ${name.slice(2)}`);

/**
 * The cluster of an image in a grouping; where it has none there, in the run's own.
 *
 * @param {{places: {grouping: string, cluster: number, confidence: number, name: string | null}[]}} facts
 * @param {string} grouping
 */
export const placeIn = (facts, grouping) => facts.places.find((each) => each.grouping === grouping) ?? facts.places[0];
