// Names of groups on the plane, each at the middle of its points: the largest first, none over another.

import { h } from "../dom.js";
import { image } from "../tiles.js";

const PIXELS_A_LABEL = 26_000; // of the window, so that a phone shows few
const MAX_LABELS = 28;
const MAX_SAMPLE = 4_001; // points of a group whose median stands for the group's
const HEIGHT = 26;
const IMAGE = 44; // pixels of a typical image, and of its frame
const WIDTH_OF_LETTER = 7.2;
const MAX_WIDTH = 170;
const GAP = 4;
const TOP = 0.97; // share of a group's points that are below its name, where images are drawn

/**
 * The middle of each group, which is the medians of x and of y, and how far up it reaches; NaN for a
 * group without points.
 *
 * @param {Float32Array} coordinates
 * @param {Int32Array} of the group of each point
 * @param {number} k
 * @param {(point: number) => boolean} isSeen
 */
export function middlesOf(coordinates, of, k, isSeen) {
  const sizes = new Uint32Array(k);
  for (let point = 0; point < of.length; point += 1) if (of[point] >= 0 && isSeen(point)) sizes[of[point]] += 1;
  const steps = Array.from(sizes, (size) => Math.max(1, Math.ceil(size / MAX_SAMPLE)));
  const samples = Array.from(sizes, (size, group) => [new Float32Array(Math.ceil(size / steps[group])), new Float32Array(Math.ceil(size / steps[group]))]);
  const seen = new Uint32Array(k);
  for (let point = 0; point < of.length; point += 1) {
    const group = of[point];
    if (group < 0 || !isSeen(point)) continue;
    if (seen[group] % steps[group] === 0) {
      samples[group][0][seen[group] / steps[group]] = coordinates[2 * point];
      samples[group][1][seen[group] / steps[group]] = coordinates[2 * point + 1];
    }
    seen[group] += 1;
  }
  return samples.map(([x, y], group) => {
    x.sort();
    y.sort();
    return { size: sizes[group], x: x[x.length >> 1] ?? NaN, y: y[y.length >> 1] ?? NaN, top: y[Math.floor(TOP * (y.length - 1))] ?? NaN };
  });
}

/**
 * @typedef {{x: number, y: number, top: number, size: number, name: string, colour: string, typical: number | null}} Label
 */

/** Labels, placed again for every view of the plane. */
export function makeLabels() {
  const root = h("div", { class: "plane-labels", "aria-hidden": "true" });
  /** @type {(Label & {width: number, element: HTMLElement | null})[]} */
  let labels = [];
  let drawnX = 0; // where the middle of the plane's window was when labels were placed
  let drawnY = 0;
  let drawnScale = NaN;
  const boxes = new Float32Array(4 * MAX_LABELS); // left, top, right, bottom of those placed

  /** @param {Label[]} wanted */
  function set(wanted) {
    root.replaceChildren();
    drawnScale = NaN;
    labels = wanted.filter((label) => label.size && Number.isFinite(label.x)).sort((a, b) => b.size - a.size)
      .map((label) => ({ ...label, width: Math.min(MAX_WIDTH, 30 + WIDTH_OF_LETTER * label.name.length), element: null }));
  }

  /** @param {Label} label */
  function make(label) {
    const { typical, colour } = label;
    return h("div", { class: "plane-label", style: { "--colour": colour } },
      typical === null ? null : image(typical, 128, "", { loading: "eager", width: IMAGE, height: IMAGE }), h("span", null, label.name));
  }

  /**
   * @param {import("./camera.js").Camera} camera
   * @param {number} side of the images that are drawn; 0 where points are, which get typical images
   * @param {boolean} isStill while the plane is dragged, labels move with it as they are
   */
  function draw(camera, side, isStill) {
    const isDrag = !isStill && camera.scale === drawnScale;
    root.style.transform = isDrag ? `translate(${(drawnX - camera.x) * camera.scale}px, ${(camera.y - drawnY) * camera.scale}px)` : "";
    if (isDrag) return;
    [drawnX, drawnY, drawnScale] = [camera.x, camera.y, camera.scale];
    const hasImages = side === 0;
    const most = Math.max(4, Math.min(MAX_LABELS, Math.floor((camera.width * camera.height) / PIXELS_A_LABEL)));
    root.classList.toggle("bare", !hasImages);
    let placed = 0;
    for (const label of labels) {
      const height = hasImages && label.typical !== null ? IMAGE + HEIGHT : HEIGHT;
      const x = camera.screenX(label.x);
      const middle = camera.screenY(label.y);
      // Above the images, which it would hide, but in view as long as the middle of the group is.
      const y = hasImages || middle < 0 ? middle : Math.max(height / 2 + GAP, camera.screenY(label.top) - (side + height) / 2);
      const [left, top] = [x - label.width / 2 - GAP, y - height / 2 - GAP];
      const [right, bottom] = [x + label.width / 2 + GAP, y + height / 2 + GAP];
      let fits = placed < most && left >= 0 && top >= 0 && right <= camera.width && bottom <= camera.height;
      for (let other = 0; fits && other < 4 * placed; other += 4) {
        fits = right <= boxes[other] || left >= boxes[other + 2] || bottom <= boxes[other + 1] || top >= boxes[other + 3];
      }
      if (!fits) {
        if (label.element) label.element.hidden = true;
        continue;
      }
      boxes.set([left, top, right, bottom], 4 * placed);
      placed += 1;
      if (!label.element) {
        label.element = make(label);
        root.append(label.element);
      }
      label.element.hidden = false;
      label.element.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px) translate(-50%, -50%)`;
    }
  }

  return { root, set, draw };
}
