// The list that an image was opened from, so that arrow keys lead to its neighbours there.

/** @typedef {{row: number, shard: string, key: string}} Item */

/** @type {WeakMap<Element, Item[]>} */
const lists = new WeakMap();

/** @type {{items: Item[], place: number}} */
let current = { items: [], place: -1 };

/**
 * Remembers the items of a grid; the array may grow.
 *
 * @param {Element} list
 * @param {Item[]} items
 */
export const remember = (list, items) => lists.set(list, items);

/**
 * Makes the grid of a clicked link the current list.
 *
 * @param {HTMLElement} link
 */
export function follow(link) {
  const list = link.closest(".grid");
  const items = list && lists.get(list);
  if (!items) return;
  const row = Number(link.dataset.row);
  current = { items, place: items.findIndex((item) => item.row === row) };
}

/**
 * The items around a row in the current list; null if the row is not in it.
 *
 * @param {number} row
 */
export function findNeighbours(row) {
  if (current.items[current.place]?.row !== row) {
    current = { items: current.items, place: current.items.findIndex((item) => item.row === row) };
  }
  const { items, place } = current;
  if (place < 0) return null;
  return { before: items[place - 1] ?? null, after: items[place + 1] ?? null, place, total: items.length };
}
