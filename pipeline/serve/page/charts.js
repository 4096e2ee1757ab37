// Small figures, drawn as SVG out of numbers.

import { count, h, s } from "./dom.js";

const WIDTH = 360;

export const scale = (from, to, first, last) => (value) => first + ((last - first) * (value - from)) / (to - from || 1);

/** Round numbers of a scale of ratios: 1, 2, 5, 10, … */
export function steps(from, to) {
  const found = [];
  for (let power = 1; power <= to; power *= 10) for (const one of [1, 2, 5]) if (one * power >= from && one * power <= to) found.push(one * power);
  return found;
}

export const path = (points) => points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

export const text = (x, y, words, anchor = "middle") => s("text", { x, y, "text-anchor": anchor }, words);

/** A histogram of confidence: rows in equal steps from 0 to 1. */
export function histogram(bins, label) {
  const height = 110;
  const most = Math.max(1, ...bins);
  const x = scale(0, bins.length, 24, WIDTH - 4);
  const y = scale(0, most, height - 20, 8);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label },
    s("line", { class: "axis", x1: 24, x2: WIDTH - 4, y1: y(0), y2: y(0) }),
    bins.map((rows, place) => s("rect", { class: "bar-fill", x: x(place) + 1, width: Math.max(1, x(1) - x(0) - 2), y: y(rows), height: Math.max(0, y(0) - y(rows)), rx: 2 })),
    [0, 0.5, 1].map((one) => text(x(one * bins.length), height - 5, String(one))));
}

/** Singular values over the largest, on a scale of ratios: a line for each space. */
export function singularValues(values) {
  const height = 190;
  const floor = 1e-3;
  const longest = Math.max(2, ...Object.values(values).map((one) => one.length));
  const shown = Math.min(longest, 128);
  const x = scale(1, shown, 36, WIDTH - 6);
  const y = scale(Math.log10(floor), 0, height - 22, 8);
  const line = (one) => path(one.slice(0, shown).map((value, place) => [x(place + 1), y(Math.log10(Math.max(floor, value)))]));
  const told = Object.entries(values).map(([space, one]) => `${one.filter((value) => value > 0.1).length} of ${one.length} directions of the ${space} carry more than a tenth of the strongest`);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Singular values. ${told.join("; ")}.` },
    [1, 0.1, 0.01, 0.001].map((one) => [
      s("line", { class: "gridline", x1: 36, x2: WIDTH - 6, y1: y(Math.log10(one)), y2: y(Math.log10(one)) }),
      text(30, y(Math.log10(one)) + 4, String(one), "end"),
    ]),
    values.embeddings ? s("path", { class: "line line-2", d: line(values.embeddings) }) : null,
    values.features ? s("path", { class: "line line-1", d: line(values.features) }) : null,
    [1, Math.round(shown / 2), shown].map((one) => text(x(one), height - 5, count(one))));
}

/** Accuracy and purity by tenths of confidence. */
export function deciles(rows) {
  const height = 190;
  const x = scale(0, Math.max(1, rows.length - 1), 36, WIDTH - 10);
  const y = scale(0, 1, height - 22, 8);
  const line = (name) => path(rows.map((row, place) => [x(place), y(row[name])]));
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Accuracy by confidence: from ${rows[0].accuracy.toFixed(2)} in the tenth with the least to ${rows.at(-1).accuracy.toFixed(2)} in that with the most.` },
    [0, 0.5, 1].map((one) => [
      s("line", { class: "gridline", x1: 36, x2: WIDTH - 10, y1: y(one), y2: y(one) }),
      text(30, y(one) + 4, String(one), "end"),
    ]),
    s("path", { class: "line line-2", d: line("purity") }),
    s("path", { class: "line line-1", d: line("accuracy") }),
    text(x(0), height - 5, "doubtful", "start"), text(WIDTH - 10, height - 5, "sure", "end"));
}

/** A figure with a sentence on how to read it. */
export const figure = (drawn, caption, ...more) => h("figure", { class: "figure" }, drawn, ...more, h("figcaption", null, caption));
