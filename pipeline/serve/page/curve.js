// The curve of coding lengths, and a slider along it.

import { count, h, s } from "./dom.js";
import { logTicks, path, scale, text } from "./charts.js";

const WIDTH = 360;
const HEIGHT = 230;
const LEFT = 44;
const RIGHT = WIDTH - 8;
const TOP = 10;
const BOTTOM = HEIGHT - 26;

const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });

/** @typedef {(value: number) => number} Scale */

/**
 * The curve with a slider over it, which calls `move(level)`. Without a hierarchy there is no
 * slider.
 *
 * @param {{curve: any[], tree: any, own: number}} facts
 * @param {number | null} level
 * @param {(level: number) => void} move
 */
export function curvePanel({ curve, tree, own }, level, move) {
  const levels = tree?.has_rows ? tree.finest : 0;
  const largest = Math.max(levels, ...curve.map((point) => point.k), 2);
  /** @type {Scale} */
  const x = (k) => scale(0, Math.log(largest), LEFT, RIGHT)(Math.log(Math.max(1, k)));
  const treeNats = levels ? tree.nats : [];
  const highest = Math.max(...curve.map((point) => Math.max(point.high ?? point.nats, point.nats)), ...treeNats);
  const lowest = Math.min(...curve.map((point) => point.low ?? point.nats), ...treeNats);
  const y = scale(lowest, highest, BOTTOM - 4, TOP);
  const chosen = curve.find((point) => point.chosen);

  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": describe(curve, chosen, own) },
    goodRanges(curve, x).map(([from, to]) => s("rect", { class: "as-good", x: from, width: to - from, y: TOP, height: BOTTOM - TOP })),
    s("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: BOTTOM, y2: BOTTOM }),
    logTicks(1, largest).map((k) => [text(x(k), HEIGHT - 9, count(k))]),
    excessTicks(highest - lowest).map((nats) => [
      s("line", { class: "gridline", x1: LEFT, x2: RIGHT, y1: y(nats + lowest), y2: y(nats + lowest) }),
      text(LEFT - 6, y(nats + lowest) + 4, short.format(nats), "end"),
    ]),
    band(curve, x, y),
    levels ? s("path", { class: "line thin line-2", d: path(treeNats.map((nats, place) => [x(place + 1), y(nats)])) }) : null,
    curve.length ? s("path", { class: "line line-1", d: path(curve.map((point) => [x(point.k), y(point.nats)])) }) : null,
    own ? s("line", { class: "mark", x1: x(own), x2: x(own), y1: TOP, y2: BOTTOM }) : null,
    chosen ? s("circle", { class: "dot", cx: x(chosen.k), cy: y(chosen.nats), r: 6 }) : null);

  const legend = h("p", { class: "legend" },
    curve.length ? h("span", { title: "Clusters found separately for each number." }, "flat clusters") : null,
    levels ? h("span", { class: "of-2", title: "Nested clusters: each level merges two of the next finer one." }, "levels of the hierarchy") : null,
    chosen ? h("span", { class: "of-dot" }, `chosen: ${chosen.k}`) : null,
    curve.filter((point) => point.as_good).length > 1 ? h("span", { class: "of-shade" }, "equally good") : null);
  const plot = h("div", { class: "plot-area" }, drawing);
  const root = h("figure", { class: "figure curve" }, plot, legend);
  if (!levels) return { root, set() {} };
  const slider = makeSlider(levels, move, (k) => x(k) / WIDTH, (share) => Math.exp(((share * WIDTH - LEFT) / (RIGHT - LEFT)) * Math.log(largest)));
  plot.append(slider.root);
  slider.set(level ?? own);
  return { root, set: slider.set };
}

/** @type {Record<string, number>} */
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };

/**
 * A slider for pointer and keys, as wide as the plot so that it is easy to grab.
 *
 * @param {number} finest
 * @param {(level: number) => void} move
 * @param {Scale} shareOf  of the width, for a level
 * @param {Scale} levelAt  a share of the width
 */
function makeSlider(finest, move, shareOf, levelAt) {
  const bar = h("span", { class: "handle" });
  const root = h("div", { class: "slider", role: "slider", tabindex: 0, "aria-label": "Number of clusters", "aria-valuemin": 1, "aria-valuemax": finest }, bar);
  let current = finest;
  /** @param {number} level */
  const moveTo = (level) => move(Math.max(1, Math.min(finest, Math.round(level))));
  /** @param {PointerEvent} event */
  const follow = (event) => {
    const box = root.getBoundingClientRect();
    moveTo(levelAt((event.clientX - box.left) / box.width));
  };
  root.addEventListener("pointerdown", (event) => {
    root.setPointerCapture(event.pointerId);
    follow(event);
  });
  root.addEventListener("pointermove", (event) => {
    if (root.hasPointerCapture(event.pointerId)) follow(event);
  });
  root.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    moveTo(current + STEPS[event.key]);
  });
  return {
    root,
    /** @param {number} level */
    set(level) {
      current = level;
      bar.style.left = `${100 * shareOf(level)}%`;
      root.setAttribute("aria-valuenow", String(level));
      root.setAttribute("aria-valuetext", `${level} clusters`);
    },
  };
}

/** The band between the lowest and the highest resampled curve. */
function band(curve, x, y) {
  const points = curve.filter((point) => point.low !== null && point.high !== null);
  if (!points.length) return null;
  const upper = points.map((point) => [x(point.k), y(point.high)]);
  const lower = points.map((point) => [x(point.k), y(point.low)]).reverse();
  return s("path", { class: "band", d: `${path([...upper, ...lower])}Z` });
}

/**
 * The ranges of x in which the curve is as good as at its lowest point; none if that is one point.
 *
 * @returns {[from: number, to: number][]}
 */
function goodRanges(curve, x) {
  if (curve.filter((point) => point.as_good).length < 2) return [];
  /** @type {[from: number, to: number][]} */
  const ranges = [];
  curve.forEach((point, place) => {
    if (!point.as_good) return;
    const from = place ? (x(curve[place - 1].k) + x(point.k)) / 2 : x(point.k) - 3;
    const to = curve[place + 1] ? (x(curve[place + 1].k) + x(point.k)) / 2 : x(point.k) + 3;
    const last = ranges[ranges.length - 1];
    if (last && Math.abs(last[1] - from) < 0.01) last[1] = to;
    else ranges.push([from, to]);
  });
  return ranges;
}

/**
 * Up to four round numbers from 0 to a range.
 *
 * @param {number} range
 */
function excessTicks(range) {
  const rough = range / 3 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((digit) => digit * power >= rough) ?? 10) * power;
  return [0, 1, 2, 3].map((factor) => factor * step).filter((nats) => nats <= range);
}

function describe(curve, chosen, own) {
  const ks = curve.map((point) => point.k);
  const claim = chosen ? `Coding length for ${Math.min(...ks)} to ${Math.max(...ks)} clusters; ${chosen.k} is chosen.` : "Coding lengths of the levels of the hierarchy.";
  return own ? `${claim} This run has ${own} clusters.` : claim;
}
