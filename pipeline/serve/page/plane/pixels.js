// Points drawn pixel by pixel on a canvas: without a GPU that is several times as fast as WebGL.

import { ALPHAS, RING, SIZES, STATES, countDrawn } from "./states.js";

const GREY = [150, 152, 158]; // of points out of focus
const EDGE = 3; // pixels of the ring around a selected point, on both sides together

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} coordinates
 * @param {import("./states.js").Paint} paint
 * @returns {import("./states.js").PointLayer}
 */
export function drawnByPixel(canvas, coordinates, paint) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser draws nothing: it has neither WebGL nor a canvas");
  const colours = new Uint32Array(paint.states.length); // as the bytes of a pixel
  let mixedShare = NaN;
  let image = context.createImageData(1, 1);
  let pixels = new Uint32Array(image.data.buffer);

  /** @param {number} share */
  function mix(share) {
    const { before, after, states } = paint;
    for (let point = 0, at = 0; point < states.length; point += 1, at += 4) {
      const state = states[point];
      const red = before[at] + (after[at] - before[at]) * share;
      const green = before[at + 1] + (after[at + 1] - before[at + 1]) * share;
      const blue = before[at + 2] + (after[at + 2] - before[at + 2]) * share;
      colours[point] = state === STATES.unfocused ? packed(GREY[0], GREY[1], GREY[2], ALPHAS[state]) : packed(red, green, blue, ALPHAS[state]);
    }
    mixedShare = share;
  }

  return {
    update() {
      mixedShare = NaN;
    },
    draw(camera, { size, ratio, share, detail, ink }) {
      const { width, height } = canvas;
      if (image.width !== width || image.height !== height) {
        image = context.createImageData(width, height);
        pixels = new Uint32Array(image.data.buffer);
      }
      if (share !== mixedShare) mix(share);
      pixels.fill(0);
      const [scale, left, top] = [camera.scale * ratio, camera.screenX(0) * ratio, camera.screenY(0) * ratio];
      const dark = packed(ink[0], ink[1], ink[2], 1);

      /**
       * @param {number} state
       * @param {number} diameter
       * @param {number | null} fixed a colour for all of them
       */
      function drawState(state, diameter, fixed) {
        const disc = discOf(diameter, width);
        const edge = Math.ceil(diameter / 2) + 1;
        const first = paint.starts[state];
        const end = first + countDrawn(paint, state, detail);
        for (let place = first; place < end; place += 1) {
          const point = paint.order[place];
          const x = (left + coordinates[2 * point] * scale) | 0;
          const y = (top - coordinates[2 * point + 1] * scale) | 0;
          if (x < edge || y < edge || x >= width - edge || y >= height - edge) continue;
          const middle = y * width + x;
          const colour = fixed ?? colours[point];
          for (let part = 0; part < disc.length; part += 1) pixels[middle + disc[part]] = colour;
        }
      }
      for (let state = 0; state < ALPHAS.length; state += 1) {
        const diameter = Math.max(1, Math.round(size * SIZES[state] * ratio));
        if (state !== STATES.selected) drawState(state, diameter, null);
        else {
          drawState(state, Math.max(RING * ratio, diameter) + EDGE * ratio, dark);
          drawState(state, Math.max(RING * ratio, diameter), null);
        }
      }
      context.putImageData(image, 0, 0);
    },
    release() {},
  };
}

/**
 * A colour as the bytes of a pixel, which begin with red.
 *
 * @param {number} red
 * @param {number} green
 * @param {number} blue
 * @param {number} alpha
 */
const packed = (red, green, blue, alpha) => ((Math.round(255 * alpha) << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/**
 * The pixels of a disc, as distances from its middle in an image of a width.
 *
 * @param {number} diameter
 * @param {number} width
 */
function discOf(diameter, width) {
  const places = [];
  const low = -Math.floor((diameter - 1) / 2);
  const middle = low + (diameter - 1) / 2;
  for (let y = low; y < low + diameter; y += 1) {
    for (let x = low; x < low + diameter; x += 1) {
      if ((x - middle) ** 2 + (y - middle) ** 2 <= (diameter / 2) ** 2 + 0.1) places.push(y * width + x);
    }
  }
  return Int32Array.from(places);
}
