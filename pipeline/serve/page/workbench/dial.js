// The dial: the curve of coding lengths as a strip over the images, and the number of clusters.

import { count, counted, h, s } from "../dom.js";
import { groupingName } from "../links.js";

const WIDTH = 1000; // of the drawing, which is stretched to the strip
const HEIGHT = 60;

/** @type {Record<string, number>} */
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };

/**
 * The dial. `move` gets a level of the hierarchy, `choose` the name of a grouping.
 *
 * @param {any} run
 * @param {{move: (level: number) => void, choose: (grouping: string) => void}} options
 */
export function makeDial(run, { move, choose }) {
  const levels = run.tree?.has_rows ? run.tree.finest : 0;
  const own = run.groupings[0].k;
  const largest = Math.max(2, levels, own, ...run.curve.map((/** @type {any} */ point) => point.k));
  /** @param {number} k */
  const share = (k) => Math.log(Math.max(1, k)) / Math.log(largest);
  const number = h("output", { class: "dial-number" }, "");
  const kind = h("span", { class: "quiet" });
  const handle = h("span", { class: "dial-handle" });
  const strip = h("div", { class: "dial-strip" }, drawing(run, levels, share), marks(run, own, levels).map(({ k, words }) => h("span", { class: "dial-mark", style: { left: `${100 * share(k)}%` } }, h("span", null, words))));
  let current = own;

  /** @param {number} level */
  const moveTo = (level) => {
    const wanted = Math.max(1, Math.min(levels, Math.round(level)));
    if (wanted !== current || kind.textContent !== "hierarchy") move(wanted);
  };
  if (levels) {
    const slider = h("div", { class: "dial-slider", role: "slider", tabindex: 0, "aria-label": "Number of clusters", "aria-valuemin": 1, "aria-valuemax": levels }, handle);
    /** @param {PointerEvent} event */
    const follow = (event) => {
      const box = slider.getBoundingClientRect();
      moveTo(Math.exp(Math.log(largest) * ((event.clientX - box.left) / box.width)));
    };
    slider.addEventListener("pointerdown", (event) => {
      slider.setPointerCapture(event.pointerId);
      follow(event);
    });
    slider.addEventListener("pointermove", (event) => {
      if (slider.hasPointerCapture(event.pointerId)) follow(event);
    });
    slider.addEventListener("keydown", (event) => {
      if (!(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      moveTo(current + STEPS[event.key]);
    });
    strip.append(slider);
  }
  const step = (/** @type {number} */ by, /** @type {string} */ label, /** @type {string} */ sign) => h("button", { class: "icon-button", type: "button", "aria-label": label, on: { click: () => moveTo(current + by) } }, sign);
  const groupings = h("select", { "aria-label": "Clusters", on: { change: () => (groupings.value ? choose(groupings.value) : moveTo(current)) } });
  /** @param {{name: string}[]} all */
  const fill = (all) => groupings.replaceChildren(
    ...all.map((each) => h("option", { value: each.name }, groupingName(each.name))),
    levels ? h("option", { value: "" }, "hierarchy") : "");
  fill(run.groupings);
  const root = h("section", { class: "dial", "aria-label": "Number of clusters" },
    h("div", { class: "dial-level" }, number, kind, levels ? [step(-1, "One cluster fewer", "−"), step(1, "One cluster more", "+")] : null, groupings),
    run.curve.length || levels ? strip : null,
    run.verdict ? h("p", { class: "dial-why quiet" }, `${run.verdict}.`) : null);
  return {
    root,
    fill,
    /**
     * @param {number} k
     * @param {string | null} grouping  null for a level of the hierarchy
     */
    set(k, grouping) {
      current = k;
      number.textContent = count(k);
      kind.textContent = grouping === null ? "hierarchy" : k === 1 ? "cluster" : "clusters";
      groupings.value = grouping ?? "";
      handle.style.left = `${100 * share(k)}%`;
      const slider = handle.parentElement;
      slider?.setAttribute("aria-valuenow", String(k));
      slider?.setAttribute("aria-valuetext", counted(k, "cluster"));
    },
    /** @param {number} by */
    step: (by) => { if (levels) moveTo(current + by); },
  };
}

/** What is marked on the strip; numbers that are equal share a mark. */
function marks(run, own, levels) {
  const shortest = run.curve.reduce((/** @type {any} */ best, /** @type {any} */ point) => (!best || point.nats < best.nats ? point : best), null);
  const chosen = run.curve.find((/** @type {any} */ point) => point.chosen);
  /** @type {[number | undefined, string][]} */
  const wanted = [
    [shortest?.k, "shortest code"],
    [chosen && chosen.k !== shortest?.k ? chosen.k : undefined, "BIC"],
    [own, "this run"],
    [!run.curve.length && levels ? run.tree.shortest : undefined, "shortest code"],
  ];
  /** @type {Map<number, string[]>} */
  const names = new Map();
  for (const [k, words] of wanted) if (k) names.set(k, [...(names.get(k) ?? []), words]);
  return [...names].map(([k, words]) => ({ k, words: `${words.join(", ")} ${count(k)}` }));
}

/** The curve of the run, else that of the hierarchy, lower is better. */
function drawing(run, levels, share) {
  /** @type {[number, number][]} */
  const points = run.curve.length ? run.curve.map((/** @type {any} */ point) => [point.k, point.nats]) : levels ? run.tree.nats.map((/** @type {number} */ nats, /** @type {number} */ place) => [place + 1, nats]) : [];
  if (points.length < 2) return null;
  const nats = points.map(([, value]) => value);
  const [low, high] = [Math.min(...nats), Math.max(...nats)];
  const path = points.map(([k, value]) => `${(WIDTH * share(k)).toFixed(1)},${(HEIGHT - 4 - ((HEIGHT - 8) * (value - low)) / (high - low || 1)).toFixed(1)}`).join(" ");
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `Coding length for ${points[0][0]} to ${points[points.length - 1][0]} clusters: lower is better` },
    s("polyline", { class: "line line-1", points: path, "vector-effect": "non-scaling-stroke" }));
}
