// Small figures, drawn as SVG.

import { count, h, s } from "./dom.js";

const WIDTH = 360;

/** @typedef {[x: number, y: number]} Point */

/**
 * A linear scale: `from` maps to `first`, `to` to `last`.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} first
 * @param {number} last
 */
export const scale = (from, to, first, last) => /** @param {number} value */ (value) => first + ((last - first) * (value - from)) / (to - from || 1);

/** @param {Point[]} points */
export const path = (points) => points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 */
export const text = (x, y, content, anchor = "middle") => s("text", { x, y, "text-anchor": anchor }, content);

/**
 * A histogram of confidence: rows in equal bins from 0 to 1.
 *
 * @param {number[]} bins
 * @param {string} label
 */
export function histogram(bins, label) {
  const height = 110;
  const highest = Math.max(1, ...bins);
  const x = scale(0, bins.length, 24, WIDTH - 4);
  const y = scale(0, highest, height - 20, 8);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label },
    s("line", { class: "axis", x1: 24, x2: WIDTH - 4, y1: y(0), y2: y(0) }),
    bins.map((rows, place) => s("rect", { class: "bar-fill", x: x(place) + 1, width: Math.max(1, x(1) - x(0) - 2), y: y(rows), height: Math.max(0, y(0) - y(rows)), rx: 2 })),
    [0, 0.5, 1].map((tick) => text(x(tick * bins.length), height - 5, String(tick))));
}

/**
 * Singular values over the largest, on a logarithmic scale: a line for each space.
 *
 * @param {Record<string, number[]>} bySpace
 */
export function singularValues(bySpace) {
  const height = 190;
  const floor = 1e-3;
  const longest = Math.max(2, ...Object.values(bySpace).map((values) => values.length));
  const shown = Math.min(longest, 128);
  const x = scale(1, shown, 36, WIDTH - 6);
  const y = scale(Math.log10(floor), 0, height - 22, 8);
  /** @param {number[]} values */
  const line = (values) => path(values.slice(0, shown).map((value, place) => [x(place + 1), y(Math.log10(Math.max(floor, value)))]));
  const claims = Object.entries(bySpace).map(([space, values]) => `in the ${space}, ${values.filter((value) => value > 0.1).length} of ${values.length} exceed a tenth of the largest`);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Singular values: ${claims.join("; ")}.` },
    [1, 0.1, 0.01, 0.001].map((tick) => [
      s("line", { class: "gridline", x1: 36, x2: WIDTH - 6, y1: y(Math.log10(tick)), y2: y(Math.log10(tick)) }),
      text(30, y(Math.log10(tick)) + 4, String(tick), "end"),
    ]),
    bySpace.embeddings ? s("path", { class: "line line-2", d: line(bySpace.embeddings) }) : null,
    bySpace.features ? s("path", { class: "line line-1", d: line(bySpace.features) }) : null,
    [1, Math.round(shown / 2), shown].map((tick) => text(x(tick), height - 5, count(tick))));
}

/**
 * Accuracy and purity by tenths of confidence.
 *
 * @param {{accuracy: number, purity: number}[]} tenths
 */
export function deciles(tenths) {
  const height = 190;
  const x = scale(0, Math.max(1, tenths.length - 1), 36, WIDTH - 10);
  const y = scale(0, 1, height - 22, 8);
  /** @param {"accuracy" | "purity"} score */
  const line = (score) => path(tenths.map((tenth, place) => [x(place), y(tenth[score])]));
  const [first, last] = [tenths[0], tenths[tenths.length - 1]];
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Accuracy by confidence: ${first.accuracy.toFixed(2)} in the least confident tenth, ${last.accuracy.toFixed(2)} in the most confident.` },
    [0, 0.5, 1].map((tick) => [
      s("line", { class: "gridline", x1: 36, x2: WIDTH - 10, y1: y(tick), y2: y(tick) }),
      text(30, y(tick) + 4, String(tick), "end"),
    ]),
    s("path", { class: "line line-2", d: line("purity") }),
    s("path", { class: "line line-1", d: line("accuracy") }),
    text(x(0), height - 5, "least confident", "start"), text(WIDTH - 10, height - 5, "most confident", "end"));
}

/**
 * A figure with a caption that says how to read it, and a legend.
 *
 * @param {Element} drawing
 * @param {string} caption
 * @param {Element} [legend]
 */
export const figure = (drawing, caption, legend) => h("figure", { class: "figure" }, drawing, legend, h("figcaption", null, caption));
