// Pictures and tiles: small ones with sharp pixels, and a word where one is gone.

import { picture } from "./api.js";
import { decimal, h } from "./dom.js";
import { imageLink } from "./links.js";

const FEW = 64; // pixels below which a picture is drawn with its pixels seen

/** A picture of a row; `alt` is empty where the text beside it says all. */
export function image(row, size, alt, properties = {}) {
  const made = h("img", { src: picture(row, size), alt, loading: "lazy", decoding: "async", ...properties });
  made.addEventListener("load", () => made.classList.toggle("pixels", made.naturalWidth < FEW), { once: true });
  made.addEventListener("error", () => {
    made.replaceWith(h("span", { class: "gone", role: "img", "aria-label": `${alt || "a picture"}: cannot be read` }, "cannot be read"));
  }, { once: true });
  return made;
}

/** Confidence below which a bar is drawn as doubt. */
export const DOUBT = 0.5;

export function meter(value, what = "confidence") {
  const share = Math.max(0, Math.min(1, value ?? 0));
  return h("span", { class: share < DOUBT ? "meter low" : "meter", role: "img", "aria-label": `${what} ${decimal(value)}` },
    h("span", { style: { width: `${100 * share}%` } }));
}

/** A tile of a row in a grid. `badge` stands in its corner; `name` below it. */
export function tile(item, { badge = null, isOther = false, name = null, size = 256 } = {}) {
  const told = [item.key, badge, item.confidence === undefined ? null : `confidence ${decimal(item.confidence)}`, isOther ? "of another cluster" : null];
  const share = Math.max(0, Math.min(1, item.confidence ?? 0));
  const link = h("a", { class: isOther ? "tile other" : "tile", href: imageLink(item), dataset: { row: item.row } },
    image(item.row, size, told.filter(Boolean).join(", "), { width: 160, height: 160 }),
    badge ? h("span", { class: "badge", "aria-hidden": "true" }, badge) : null,
    h("span", { class: "tile-text", "aria-hidden": "true" }, h("span", { class: "key" }, item.key), item.confidence === undefined ? null : decimal(item.confidence)),
    item.confidence === undefined ? null : h("span", { class: share < DOUBT ? "bar low" : "bar", "aria-hidden": "true" }, h("span", { style: { width: `${100 * share}%` } })));
  return h("li", null, link, name ? h("span", { class: "tile-name" }, name) : null);
}
