// A grid of images that arrow keys move through.

import { h } from "./dom.js";
import { remember } from "./imagelist.js";

/**
 * A grid of items that are all loaded.
 *
 * @param {string} label
 * @param {any[]} items
 * @param {(item: any) => HTMLElement} draw
 */
export function fixedGrid(label, items, draw) {
  const list = h("ul", { class: "grid", "aria-label": label }, items.map(draw));
  remember(list, items);
  return list;
}

/**
 * Moves the focus within the grid that holds it; returns whether it did.
 *
 * @param {KeyboardEvent} event
 */
export function moveFocus(event) {
  const link = event.target;
  if (!(link instanceof HTMLElement) || event.altKey || event.ctrlKey || event.metaKey) return false;
  const list = link.closest(".grid");
  if (!list) return false;
  /** @type {HTMLElement[]} */
  const links = [...list.querySelectorAll("a.tile")].filter((each) => each instanceof HTMLElement);
  const place = links.indexOf(link);
  if (place < 0) return false;
  const target = links[targetOf(event.key, links, place) ?? -1];
  if (!target) return false;
  event.preventDefault();
  target.focus();
  target.scrollIntoView({ block: "nearest" });
  return true;
}

/**
 * The place to which a key moves from a place, if any.
 *
 * @param {string} key
 * @param {HTMLElement[]} links
 * @param {number} place
 */
function targetOf(key, links, place) {
  switch (key) {
    case "ArrowLeft": return place - 1;
    case "ArrowRight": return place + 1;
    case "ArrowUp": return findInNextRow(links, place, -1);
    case "ArrowDown": return findInNextRow(links, place, 1);
    case "Home": return 0;
    case "End": return links.length - 1;
    default: return null;
  }
}

/**
 * The place in the row below (step 1) or above (step -1) that is closest to a place's column.
 *
 * @param {HTMLElement[]} links
 * @param {number} place
 * @param {1 | -1} step
 */
function findInNextRow(links, place, step) {
  const start = links[place].getBoundingClientRect();
  /** @type {number | null} */
  let best = null;
  let bestDistance = Infinity;
  /** @type {number | null} */
  let row = null;
  for (let other = place + step; links[other]; other += step) {
    const box = links[other].getBoundingClientRect();
    if (Math.abs(box.top - start.top) < 4) continue;
    if (row !== null && Math.abs(box.top - row) > 4) break;
    row = box.top;
    const distance = Math.abs(box.left - start.left);
    if (distance < bestDistance) [best, bestDistance] = [other, distance];
  }
  return best;
}
