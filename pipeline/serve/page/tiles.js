// Images and tiles, with a placeholder for an image that cannot be read.

import { imageAddress, stripAddress } from "./api.js";
import { decimal, h } from "./dom.js";
import { imageLink } from "./links.js";

const FEW_PIXELS = 64; // below which an image is enlarged without smoothing
const LOW_CONFIDENCE = 0.5; // below which a bar has the warning colour

/**
 * The image of a row; `alt` is empty if the text beside it says everything.
 *
 * @param {number} row
 * @param {128 | 256 | 1280} size
 * @param {string} alt
 */
export function image(row, size, alt, properties = {}) {
  const element = h("img", { src: imageAddress(row, size), alt, loading: "lazy", decoding: "async", ...properties });
  element.addEventListener("load", () => element.classList.toggle("pixels", element.naturalWidth < FEW_PIXELS), { once: true });
  element.addEventListener("error", () => {
    element.replaceWith(h("span", { class: "gone", role: "img", "aria-label": `${element.alt || "an image"}: cannot be read` }, "cannot be read"));
  }, { once: true });
  return element;
}

/**
 * Small images of some rows side by side, in one file; nothing where none of them can be read.
 *
 * @param {number[]} rows
 * @param {number} side  pixels of each
 */
export function strip(rows, side) {
  if (!rows.length) return null;
  const element = h("img", { src: stripAddress(rows), alt: "", width: side * rows.length, height: side, decoding: "async", fetchpriority: "low" });
  element.addEventListener("error", () => element.remove(), { once: true });
  return element;
}

/** @param {number | null} confidence */
export function meter(confidence) {
  return h("span", { class: isLow(confidence) ? "meter low" : "meter", role: "img", "aria-label": `confidence ${decimal(confidence)}` }, bar(confidence));
}

/** @param {number | null} confidence */
const isLow = (confidence) => (confidence ?? 0) < LOW_CONFIDENCE;

/** @param {number | null} share */
const bar = (share) => h("span", { style: { width: `${100 * Math.max(0, Math.min(1, share ?? 0))}%` } });

/**
 * A tile of a row in a grid, with a badge in its corner and a name below it.
 *
 * @param {any} item
 * @param {{badge?: string | null, isOther?: boolean, name?: string | null, isSmall?: boolean}} [options]
 */
export function tile(item, { badge = null, isOther = false, name = null, isSmall = false } = {}) {
  const { confidence } = item;
  const hasConfidence = confidence !== undefined;
  const alt = [item.key, badge, hasConfidence ? `confidence ${decimal(confidence)}` : null, isOther ? "in another cluster" : null];
  const link = h("a", { class: isOther ? "tile other" : "tile", href: imageLink(item), dataset: { row: item.row } },
    image(item.row, isSmall && window.devicePixelRatio <= 1 ? 128 : 256, alt.filter(Boolean).join(", "), { width: 160, height: 160 }),
    badge ? h("span", { class: "badge", "aria-hidden": "true" }, badge) : null,
    h("span", { class: "tile-text", "aria-hidden": "true" }, h("span", { class: "key" }, item.key), hasConfidence ? decimal(confidence) : null),
    hasConfidence ? h("span", { class: isLow(confidence) ? "bar low" : "bar", "aria-hidden": "true" }, bar(confidence)) : null);
  return h("li", null, link, name ? h("span", { class: "tile-name" }, name) : null);
}
