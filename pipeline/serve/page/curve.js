// The curve of coding lengths, and the handle that moves along it.

import { count, h, s } from "./dom.js";
import { path, scale, steps, text } from "./charts.js";

const WIDTH = 360;
const HEIGHT = 230;
const LEFT = 44;
const RIGHT = WIDTH - 8;
const TOP = 10;
const BOTTOM = HEIGHT - 26;

const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });

/**
 * A curve with a slider below it. `move(level)` is called while the handle moves; without a
 * hierarchy nothing can be moved, and the curve is a picture.
 */
export function curvePanel({ curve, tree, own }, level, move) {
  const levels = tree?.has_rows ? tree.finest : 0;
  const most = Math.max(levels, ...curve.map((one) => one.k), 2);
  const x = (k) => scale(0, Math.log(most), LEFT, RIGHT)(Math.log(Math.max(1, k)));
  const lengths = [...curve.map((one) => one.high ?? one.nats), ...curve.map((one) => one.nats), ...(levels ? tree.nats : [])];
  const least = Math.min(...curve.map((one) => one.low ?? one.nats), ...(levels ? tree.nats : []));
  const y = scale(least, Math.max(...lengths), BOTTOM - 4, TOP);
  const chosen = curve.find((one) => one.chosen);

  const drawn = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": describe(curve, chosen, own) },
    shades(curve, x).map(([from, to]) => s("rect", { class: "as-good", x: from, width: to - from, y: TOP, height: BOTTOM - TOP })),
    s("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: BOTTOM, y2: BOTTOM }),
    steps(1, most).map((k) => [text(x(k), HEIGHT - 9, count(k))]),
    heights(least, Math.max(...lengths)).map((nats) => [
      s("line", { class: "gridline", x1: LEFT, x2: RIGHT, y1: y(nats + least), y2: y(nats + least) }),
      text(LEFT - 6, y(nats + least) + 4, short.format(nats), "end"),
    ]),
    band(curve, x, y),
    levels ? s("path", { class: "line thin line-2", d: path(tree.nats.map((nats, place) => [x(place + 1), y(nats)])) }) : null,
    curve.length ? s("path", { class: "line line-1", d: path(curve.map((one) => [x(one.k), y(one.nats)])) }) : null,
    own ? s("line", { class: "mark", x1: x(own), x2: x(own), y1: TOP, y2: BOTTOM }) : null,
    chosen ? s("circle", { class: "dot", cx: x(chosen.k), cy: y(chosen.nats), r: 6 }) : null);

  const legend = h("p", { class: "legend" },
    curve.length ? h("span", null, "clusters by themselves") : null,
    levels ? h("span", { class: "of-2" }, "levels of the hierarchy") : null,
    chosen ? h("span", { class: "of-dot" }, `chosen: ${chosen.k}`) : null,
    curve.filter((one) => one.as_good).length > 1 ? h("span", { class: "of-shade" }, "as good") : null);
  const plot = h("div", { class: "plot-area" }, drawn);
  const root = h("figure", { class: "figure curve" }, plot, legend);
  if (!levels) return { root, set() {} };
  const slider = handle(levels, move, (k) => x(k) / WIDTH, (place) => Math.exp(((place * WIDTH - LEFT) / (RIGHT - LEFT)) * Math.log(most)));
  plot.append(slider.root);
  slider.set(level ?? own);
  return { root, set: slider.set };
}

const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };

/** What moves along the curve, by pointer and by keys: as wide as the plot, so that it is easy to take. */
function handle(most, move, placeOf, levelAt) {
  const bar = h("span", { class: "handle" });
  const root = h("div", { class: "slider", role: "slider", tabindex: 0, "aria-label": "Number of clusters", "aria-valuemin": 1, "aria-valuemax": most }, bar);
  let now = most;
  const to = (level) => move(Math.max(1, Math.min(most, Math.round(level))));
  const follow = (event) => {
    const box = root.getBoundingClientRect();
    to(levelAt((event.clientX - box.left) / box.width));
  };
  root.addEventListener("pointerdown", (event) => {
    root.setPointerCapture(event.pointerId);
    follow(event);
  });
  root.addEventListener("pointermove", (event) => {
    if (root.hasPointerCapture(event.pointerId)) follow(event);
  });
  root.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    to(now + KEYS[event.key]);
  });
  return {
    root,
    set(level) {
      now = level;
      bar.style.left = `${100 * placeOf(level)}%`;
      root.setAttribute("aria-valuenow", level);
      root.setAttribute("aria-valuetext", `${level} clusters`);
    },
  };
}

function band(curve, x, y) {
  const there = curve.filter((one) => one.low !== null && one.high !== null);
  if (!there.length) return null;
  const upper = there.map((one) => [x(one.k), y(one.high)]);
  const lower = there.map((one) => [x(one.k), y(one.low)]).reverse();
  return s("path", { class: "band", d: `${path([...upper, ...lower])}Z` });
}

/** From where to where the curve is as good as at its lowest. */
function shades(curve, x) {
  const found = [];
  curve.forEach((one, place) => {
    if (!one.as_good) return;
    const from = place ? (x(curve[place - 1].k) + x(one.k)) / 2 : x(one.k) - 3;
    const to = curve[place + 1] ? (x(curve[place + 1].k) + x(one.k)) / 2 : x(one.k) + 3;
    if (found.length && Math.abs(found.at(-1)[1] - from) < 0.01) found.at(-1)[1] = to;
    else found.push([from, to]);
  });
  return curve.filter((one) => one.as_good).length > 1 ? found : [];
}

/** Round heights above the least. */
function heights(least, most) {
  const rough = (most - least) / 3 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  return [0, 1, 2, 3].map((one) => one * step).filter((one) => one <= most - least);
}

function describe(curve, chosen, own) {
  const ks = curve.map((one) => one.k);
  const shortest = chosen ? `Coding length for k from ${Math.min(...ks)} to ${Math.max(...ks)}; ${chosen.k} is chosen.` : "Coding lengths of the levels of the hierarchy.";
  return `${shortest}${own ? ` This run has ${own} clusters.` : ""}`;
}
