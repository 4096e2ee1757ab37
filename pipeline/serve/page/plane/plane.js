// A plane of many images: points coloured by group from afar, the images themselves from near.
// It shows any set of groups, and shares the selection of images with all other views.

import { announce, counted, h } from "../dom.js";
import { GREY } from "../palette.js";
import { Camera, boundsOf } from "./camera.js";
import { KEY_ZOOM, listen } from "./gestures.js";
import { makeImageLayer } from "./images.js";
import { indexPoints, isInside } from "./index.js";
import { makeLabels, middlesOf } from "./labels.js";
import { makePointLayer } from "./points.js";
import { STATES, sortByState } from "./states.js";
import { image } from "../tiles.js";

const MAX_IMAGES = 1_500; // that are drawn at once from sheets
const MAX_SINGLE = 200; // that are requested one by one
const MIN_SIDE = 13; // pixels of an image
const MAX_SIDE = 104;
const SHARP_FROM = 40; // pixels from which a square of a sheet looks blurred
const BLEND_MS = 200;
const STILL_MS = 150; // after which a plane that was moved is still
const SLOW_MS = 40; // of a frame in motion, above which fewer points are drawn
const FAST_MS = 20;
const PAUSE_MS = 1_000; // between frames of two motions
const LEAST_DRAWN = 20_000; // points
const PICK = 14; // pixels from a point within which the pointer finds it

/**
 * Groups of points; `of` is the group of each point, or -1.
 *
 * @typedef {{of: Int32Array, names: string[], colours: string[], sizes: number[], typical: (number | null)[]}} PlaneGroups
 */

/**
 * @param {object} options
 * @param {Float32Array} options.coordinates x and y of each point
 * @param {Int32Array} options.rows the row of each point
 * @param {import("./images.js").Sprites | null} options.sprites small images, if there are any
 * @param {typeof import("../selection.js").selection} options.selection
 * @param {(row: number) => void} options.onOpen
 * @param {(row: number | null) => void} [options.onHover]
 * @param {string} [options.label]
 */
export function createPlane({ coordinates, rows, sprites, selection, onOpen, onHover = () => {}, label = `Map of ${counted(rows.length, "image")}` }) {
  const n = rows.length;
  const paint = { before: new Uint8Array(4 * n), after: new Uint8Array(4 * n), states: new Uint8Array(n), order: new Uint32Array(n), starts: new Uint32Array(5) };
  const bounds = boundsOf(coordinates);
  const camera = new Camera(bounds);
  const index = indexPoints(coordinates, bounds);
  /** @type {PlaneGroups} */
  let groups = { of: new Int32Array(n).fill(-1), names: [], colours: [], sizes: [], typical: [] };
  /** @type {Set<number> | null} */
  let visible = null;
  /** @type {number | null} */
  let focused = null;
  let blendStart = -Infinity;
  let hovered = -1;
  let isLasso = false;
  let isStill = true;
  /** @type {number[]} */
  let polygon = [];
  let frame = 0;
  let stillTimer = 0;
  const seen = new Uint32Array(MAX_IMAGES);
  const look = { size: 3, ratio: 1, share: 1, detail: 1, ink: [0, 0, 0] };
  let detail = 1; // the share of points that are drawn in motion
  let lastFrame = 0;

  const pointCanvas = h("canvas", { class: "plane-layer" });
  const imageCanvas = h("canvas", { class: "plane-layer" });
  const context = imageCanvas.getContext("2d");
  const labels = makeLabels();
  const preview = h("div", { class: "plane-preview", hidden: true, "aria-hidden": "true" });
  const stage = h("div", { class: "plane-stage", role: "img", tabindex: 0, "aria-label": `${label}. Arrow keys move it, + and − zoom, 0 shows all, Enter opens the image in the middle.` },
    pointCanvas, imageCanvas, labels.root, preview);
  const lassoButton = tool("Select with a lasso (or drag with Shift)", "◌", () => setLasso(!isLasso));
  lassoButton.setAttribute("aria-pressed", "false");
  const tools = h("div", { class: "plane-tools" },
    tool("Zoom in", "+", () => { camera.zoom(KEY_ZOOM); moved(); }), tool("Zoom out", "−", () => { camera.zoom(1 / KEY_ZOOM); moved(); }),
    tool("Show all", "⤢", () => { camera.showAll(); moved(); }), lassoButton);
  const root = h("div", { class: "plane", dataset: { points: n } }, stage, tools);

  let points = makePointLayer(pointCanvas, coordinates, paint);
  pointCanvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  pointCanvas.addEventListener("webglcontextrestored", () => {
    points = makePointLayer(pointCanvas, coordinates, paint);
    schedule();
  });
  const images = makeImageLayer(sprites, () => schedule());

  function schedule() {
    frame ||= requestAnimationFrame(draw);
  }

  function moved() {
    isStill = false;
    clearTimeout(stillTimer);
    stillTimer = window.setTimeout(() => {
      isStill = true;
      images.forget();
      schedule();
    }, STILL_MS);
    hover(-1);
    schedule();
  }

  /** Colours of CSS as bytes. @param {string} colour */
  function bytesOf(colour) {
    if (!context) return [150, 152, 158];
    context.fillStyle = colour;
    const hex = parseInt(context.fillStyle.slice(1), 16);
    return [hex >> 16, (hex >> 8) & 255, hex & 255];
  }

  /** @param {PlaneGroups} wanted */
  function setGroups(wanted) {
    const isFirst = !groups.names.length;
    groups = wanted;
    focused = null;
    const colours = wanted.colours.map(bytesOf);
    const grey = bytesOf(GREY);
    paint.before.set(paint.after);
    for (let point = 0; point < n; point += 1) {
      const colour = colours[wanted.of[point]] ?? grey;
      for (let channel = 0; channel < 3; channel += 1) paint.after[4 * point + channel] = colour[channel];
    }
    const isCalm = isFirst || matchMedia("(prefers-reduced-motion: reduce)").matches;
    blendStart = isCalm ? -Infinity : performance.now();
    setLabels();
    restate();
  }

  function setLabels() {
    const middles = middlesOf(coordinates, groups.of, groups.names.length, (point) => !visible || visible.has(rows[point]));
    labels.set(middles.map((middle, group) => ({ ...middle, name: groups.names[group], colour: groups.colours[group], typical: groups.typical[group] ?? null })));
  }

  /** Works out the state of each point, and the order in which points are drawn. */
  function restate() {
    for (let point = 0; point < n; point += 1) {
      let state = STATES.usual;
      if (visible && !visible.has(rows[point])) state = STATES.filtered;
      else if (selection.size && selection.has(rows[point])) state = STATES.selected;
      else if (focused !== null && groups.of[point] !== focused) state = STATES.unfocused;
      paint.states[point] = state;
    }
    sortByState(paint);
    points.update();
    schedule();
  }

  /** @param {number} point */
  const isShown = (point) => paint.states[point] !== STATES.filtered;

  /** The pixels of an image at the present zoom. */
  const sideNow = () => Math.max(MIN_SIDE, Math.min(MAX_SIDE, 0.92 * index.spacing * camera.scale));

  /** Collects the points in view; returns how many, or -1 where they are too many for images. */
  function collect() {
    const most = sprites ? MAX_IMAGES : MAX_SINGLE;
    const reach = sideNow() / 2;
    let count = 0;
    index.visit(camera.toX(-reach), camera.toY(camera.height + reach), camera.toX(camera.width + reach), camera.toY(-reach), (point) => {
      if (!isShown(point)) return true;
      if (count < most) seen[count] = point;
      count += 1;
      return count <= most;
    });
    return count <= most ? count : -1;
  }

  /** @param {number} now */
  function draw(now) {
    frame = 0;
    if (!camera.width || !context) return;
    look.share = Math.max(0, Math.min(1, (now - blendStart) / BLEND_MS));
    const base = n > 50_000 ? 2.4 : n > 5_000 ? 3.6 : 5.5;
    look.size = Math.min(11, base * Math.max(1, (camera.scale / camera.wholeScale) ** 0.35));
    look.detail = isStill ? 1 : detailFor(now - lastFrame);
    lastFrame = now;
    points.draw(camera, look);
    const count = collect();
    // A canvas that is not seen costs a frame nothing.
    imageCanvas.hidden = count <= 0 && !polygon.length;
    if (!imageCanvas.hidden) {
      context.setTransform(look.ratio, 0, 0, look.ratio, 0, 0);
      context.clearRect(0, 0, camera.width, camera.height);
    }
    if (count > 0) drawImages(context, count);
    if (polygon.length) drawLasso(context);
    labels.draw(camera, count < 0 ? 0 : sideNow(), isStill);
    if (look.share < 1) schedule();
    root.dataset.drawn = "";
    if (isStill) Object.assign(root.dataset, { images: Math.max(0, count), camera: `${camera.x} ${camera.y} ${camera.scale}` });
  }

  /**
   * The share of points to draw in motion: fewer where frames take long, as without a GPU.
   *
   * @param {number} elapsed ms since the last frame
   */
  function detailFor(elapsed) {
    if (elapsed > SLOW_MS && elapsed < PAUSE_MS) detail = Math.max(Math.min(1, LEAST_DRAWN / n), detail * 0.6);
    else if (elapsed < FAST_MS) detail = Math.min(1, detail * 1.1);
    return detail;
  }

  /**
   * @param {CanvasRenderingContext2D} canvas
   * @param {number} count
   */
  function drawImages(canvas, count) {
    const side = sideNow();
    const how = { isSharp: count <= MAX_SINGLE && (!sprites || side >= SHARP_FROM), mayLoad: isStill };
    // Selected ones last, so that they lie above the others, and what the pointer is at above all.
    for (let state = STATES.unfocused; state <= STATES.selected; state += 1) {
      for (let place = 0; place < count; place += 1) {
        if (paint.states[seen[place]] === state) drawImage(canvas, seen[place], side, how);
      }
    }
    if (hovered >= 0) drawImage(canvas, hovered, side * 1.15, how);
  }

  /**
   * @param {CanvasRenderingContext2D} canvas
   * @param {number} point
   * @param {number} side
   * @param {{isSharp: boolean, mayLoad: boolean}} how
   */
  function drawImage(canvas, point, side, how) {
    const left = camera.screenX(coordinates[2 * point]) - side / 2;
    const top = camera.screenY(coordinates[2 * point + 1]) - side / 2;
    const isSelected = paint.states[point] === STATES.selected;
    const width = side > 30 ? 2 : 1.5;
    canvas.globalAlpha = paint.states[point] === STATES.unfocused ? 0.28 : 1;
    const isDrawn = images.draw(canvas, rows[point], left, top, side, how);
    canvas.strokeStyle = groups.colours[groups.of[point]] ?? GREY;
    canvas.lineWidth = width;
    if (isDrawn) canvas.strokeRect(left + width / 2, top + width / 2, side - width, side - width);
    if (isSelected) {
      canvas.strokeStyle = `rgb(${look.ink.join()})`;
      canvas.lineWidth = 3;
      canvas.strokeRect(left - 1.5, top - 1.5, side + 3, side + 3);
    }
    canvas.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} canvas */
  function drawLasso(canvas) {
    canvas.beginPath();
    for (let corner = 0; corner < polygon.length; corner += 2) canvas.lineTo(polygon[corner], polygon[corner + 1]);
    canvas.closePath();
    canvas.strokeStyle = `rgb(${look.ink.join()})`;
    canvas.fillStyle = `rgba(${look.ink.join()}, 0.08)`;
    canvas.lineWidth = 1.5;
    canvas.fill();
    canvas.stroke();
  }

  /**
   * The point at a place of the screen, or -1.
   *
   * @param {number} x
   * @param {number} y
   */
  function pick(x, y) {
    const reach = Number(root.dataset.images) > 0 ? Math.max(PICK, 0.6 * sideNow()) : PICK;
    return index.nearest(camera.toX(x), camera.toY(y), reach / camera.scale, isShown);
  }

  /** @param {number} point */
  function hover(point) {
    if (point === hovered) return;
    hovered = point;
    preview.hidden = point < 0;
    onHover(point < 0 ? null : rows[point]);
    schedule();
    if (point < 0) return;
    preview.replaceChildren(image(rows[point], 128, "", { loading: "eager" }), h("span", null, groups.names[groups.of[point]] ?? ""));
    const x = camera.screenX(coordinates[2 * point]);
    const y = camera.screenY(coordinates[2 * point + 1]);
    const gap = 12 + (Number(root.dataset.images) > 0 ? sideNow() / 2 : 0);
    preview.style.left = `${x + gap + 124 < camera.width ? x + gap : Math.max(4, x - gap - 122)}px`;
    preview.style.top = `${Math.max(4, Math.min(camera.height - 152, y + 12))}px`;
  }

  /** @param {boolean} wanted */
  function setLasso(wanted) {
    isLasso = wanted;
    stage.classList.toggle("lasso", wanted);
    lassoButton.setAttribute("aria-pressed", String(wanted));
  }

  /**
   * @param {number[]} drawn
   * @param {boolean} isAdding
   */
  function selectWithin(drawn, isAdding) {
    const [x, y] = [drawn.filter((_, place) => place % 2 === 0), drawn.filter((_, place) => place % 2)];
    /** @type {number[]} */
    const inside = [];
    index.visit(camera.toX(Math.min(...x)), camera.toY(Math.max(...y)), camera.toX(Math.max(...x)), camera.toY(Math.min(...y)), (point) => {
      const isIn = isShown(point) && isInside(drawn, camera.screenX(coordinates[2 * point]), camera.screenY(coordinates[2 * point + 1]));
      if (isIn) inside.push(rows[point]);
    });
    polygon = [];
    setLasso(false);
    if (isAdding) selection.add(inside);
    else selection.set(inside);
    announce(`${counted(selection.size, "image")} selected`);
  }

  listen(stage, camera, {
    moved,
    hover: (x, y) => hover(pick(x, y)),
    leave: () => hover(-1),
    click(x, y, isAdding) {
      const point = pick(x, y);
      if (point < 0) return;
      if (isAdding) selection.toggle(rows[point]);
      else onOpen(rows[point]);
    },
    lasso(drawn) {
      polygon = drawn;
      schedule();
    },
    lassoed: selectWithin,
    isLasso: () => isLasso,
    stopLasso: () => setLasso(false),
    open() {
      const point = index.nearest(camera.x, camera.y, Math.hypot(camera.width, camera.height) / camera.scale, isShown);
      if (point >= 0) onOpen(rows[point]);
    },
  });

  function readInk() {
    look.ink = bytesOf(getComputedStyle(root).getPropertyValue("--ink").trim() || "#000");
    schedule();
  }
  const theme = new MutationObserver(readInk);
  const system = matchMedia("(prefers-color-scheme: dark)");
  let forget = () => {};

  // A view that is left has no size, and gets one again when one comes back to it.
  const size = new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = stage;
    forget();
    forget = () => {};
    theme.disconnect();
    system.removeEventListener("change", readInk);
    if (!width || !height) return;
    look.ratio = Math.min(2, devicePixelRatio);
    for (const canvas of [pointCanvas, imageCanvas]) Object.assign(canvas, { width: Math.round(width * look.ratio), height: Math.round(height * look.ratio) });
    camera.resize(width, height);
    forget = selection.onChange(restate);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    system.addEventListener("change", readInk);
    readInk();
    restate();
    // At once: a canvas whose size was set is empty.
    draw(performance.now());
  });
  size.observe(stage);

  return {
    root,
    setGroups,
    /** Only these rows are shown as usual; null shows all. @param {Set<number> | null} wanted */
    setVisible(wanted) {
      visible = wanted;
      setLabels();
      restate();
    },
    /** Only this group has its colour; null gives all of them theirs. @param {number | null} group */
    focus(group) {
      focused = group;
      restate();
    },
    destroy() {
      size.disconnect();
      theme.disconnect();
      system.removeEventListener("change", readInk);
      forget();
      cancelAnimationFrame(frame);
      clearTimeout(stillTimer);
      points.release();
      root.remove();
    },
  };
}

/**
 * @param {string} label
 * @param {string} icon
 * @param {() => void} click
 */
const tool = (label, icon, click) => h("button", { class: "icon-button", type: "button", "aria-label": label, title: label, on: { click } }, icon);
