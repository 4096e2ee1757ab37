// The list that an image was opened from, so that arrow keys lead to its neighbours there.

/** @type {WeakMap<Element, {row: number}[]>} */
const lists = new WeakMap();

/** @type {ArrayLike<number>} */
let current = [];
let place = -1;

/**
 * Remembers the items of a grid; the array may grow.
 *
 * @param {Element} list
 * @param {{row: number}[]} items
 */
export const remember = (list, items) => lists.set(list, items);

/**
 * Makes the rows of a set the current list.
 *
 * @param {ArrayLike<number>} rows
 */
export function rememberRows(rows) {
  current = rows;
  place = -1;
}

/**
 * Makes the grid of a clicked link the current list.
 *
 * @param {HTMLElement} link
 */
export function follow(link) {
  if (link.dataset.place !== undefined) {
    place = Number(link.dataset.place);
    return;
  }
  const list = link.closest(".grid");
  const items = list && lists.get(list);
  if (items) rememberRows(items.map((item) => item.row));
}

/**
 * The rows around a row in the current list; null if the row is not in it.
 *
 * @param {number} row
 */
export function findNeighbours(row) {
  if (current[place] !== row) place = Array.prototype.indexOf.call(current, row);
  if (place < 0) return null;
  return { before: current[place - 1] ?? null, after: current[place + 1] ?? null, place, total: current.length };
}
