// The items of a set, loaded by pages as they come into sight.

import { get } from "../api.js";

const PAGE = 120; // items of one request
const MAX_PAGES = 60; // in memory

/**
 * The items of a set of images.
 *
 * @param {Record<string, any>} query
 * @param {number} total
 * @param {Int32Array} [rows]  in the order of the set
 */
export function imagePages(query, total, rows = new Int32Array()) {
  /** @type {Map<number, {items: any[] | null, promise: Promise<any[]>}>} */
  const pages = new Map();

  /** @param {number} number */
  function page(number) {
    const kept = pages.get(number);
    if (kept) return kept;
    const promise = get("set/items", { ...query, offset: number * PAGE, limit: Math.min(PAGE, total - number * PAGE) }).then((answer) => answer.items);
    /** @type {{items: any[] | null, promise: Promise<any[]>}} */
    const made = { items: null, promise };
    promise.then((items) => { made.items = items; }, () => pages.delete(number));
    pages.set(number, made);
    for (const oldest of [...pages.keys()].slice(0, -MAX_PAGES)) pages.delete(oldest);
    return made;
  }

  return {
    rows,
    /** @param {number} place */
    find: (place) => pages.get(Math.floor(place / PAGE))?.items?.[place % PAGE] ?? null,
    /** @param {number} place */
    load: async (place) => (await page(Math.floor(place / PAGE)).promise)[place % PAGE] ?? null,
  };
}
