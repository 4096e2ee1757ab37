// Addresses of views, and names of what they show.

import { query } from "./api.js";

export const TREE = "tree";

/** A cluster of a grouping; the run's own where none is named. */
export const clusterLink = (cluster, grouping) => `cluster${query({ grouping, cluster })}`;

/** An image, by what stays the same when rows are added. */
export const imageLink = (item) => `image${query({ shard: item.shard, key: item.key })}`;

/** An image by its row: of what comes without a key. */
export const rowLink = (row) => `image${query({ row })}`;

export const searchLink = (parameters) => `search${query(parameters)}`;

/** What a cluster is called. */
export function cardName(card, grouping) {
  if (card.names.length) return card.names[0].caption;
  return grouping === TREE ? `Node ${card.id}` : `Cluster ${card.id}`;
}

/** "k-100" in words. */
export const groupingName = (name) => (name === TREE ? "hierarchy" : `k = ${name.slice(2)}`);
