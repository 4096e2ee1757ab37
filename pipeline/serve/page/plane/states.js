// What points look like on the plane, however they are drawn.

/** Of a point: left out by a filter, out of focus, as usual, or selected. Later ones are drawn above. */
export const STATES = { filtered: 0, unfocused: 1, usual: 2, selected: 3 };

export const ALPHAS = [0.13, 0.4, 0.88, 1]; // by state
export const SIZES = [0.7, 1, 1, 1.7];
export const RING = 7; // pixels of a selected point, at least

/**
 * Colours before and after a change (4 bytes a point), states, the points sorted by state, and where
 * each state starts among them. `draw` shows what there was when `update` was called.
 *
 * @typedef {{before: Uint8Array, after: Uint8Array, states: Uint8Array, order: Uint32Array, starts: Uint32Array}} Paint
 * @typedef {{update: () => void, draw: (camera: import("./camera.js").Camera, look: Look) => void, release: () => void}} PointLayer
 * @typedef {{size: number, ratio: number, share: number, detail: number, ink: number[]}} Look `size` in pixels of CSS; `share` of the change from before to after; `detail` is the share of points that are drawn
 */

/**
 * How many of the points in a state are drawn: all that are selected, and of the others a share.
 *
 * @param {Paint} paint
 * @param {number} state
 * @param {number} detail
 */
export function countDrawn({ starts }, state, detail) {
  const count = starts[state + 1] - starts[state];
  return state === STATES.selected ? count : Math.ceil(count * detail);
}

/**
 * Sorts the points by state. Within a state, the first of them lie all over the plane.
 *
 * @param {Paint} paint
 */
export function sortByState({ states, order, starts }) {
  const n = states.length;
  starts.fill(0);
  for (let point = 0; point < n; point += 1) starts[states[point] + 1] += 1;
  for (let state = 1; state < starts.length; state += 1) starts[state] += starts[state - 1];
  const next = starts.slice();
  const stride = strideOf(n);
  for (let step = 0, point = 0; step < n; step += 1, point = (point + stride) % n) {
    order[next[states[point]]] = point;
    next[states[point]] += 1;
  }
}

/**
 * A step through n points that visits each once.
 *
 * @param {number} n
 */
function strideOf(n) {
  /**
   * @param {number} a
   * @param {number} b
   * @returns {number}
   */
  const divisor = (a, b) => (b ? divisor(b, a % b) : a);
  let stride = Math.max(1, Math.round(n * 0.618));
  while (divisor(stride, n) > 1) stride += 1;
  return stride;
}
