// Points sorted into the cells of a grid: which are in a box, and which is nearest.

const POINTS_A_CELL = 2;
const MAX_SIDE = 512;

/**
 * @typedef {object} PointIndex
 * @property {number} spacing the side of the square that a point has for itself, on average, where there are points
 * @property {(left: number, bottom: number, right: number, top: number, accept: (point: number) => boolean | void) => void} visit
 *   calls `accept` with each point of a box, until it returns false
 * @property {(x: number, y: number, radius: number, accepts: (point: number) => boolean) => number} nearest
 *   the nearest accepted point within a radius, or -1
 */

/**
 * @param {Float32Array} coordinates
 * @param {{left: number, right: number, bottom: number, top: number}} bounds
 * @returns {PointIndex}
 */
export function indexPoints(coordinates, bounds) {
  const n = coordinates.length / 2;
  const side = Math.max(1, Math.min(MAX_SIDE, Math.ceil(Math.sqrt(n / POINTS_A_CELL))));
  const perX = side / (bounds.right - bounds.left || 1);
  const perY = side / (bounds.top - bounds.bottom || 1);
  /** @param {number} x */
  const columnOf = (x) => Math.max(0, Math.min(side - 1, Math.floor((x - bounds.left) * perX)));
  /** @param {number} y */
  const lineOf = (y) => Math.max(0, Math.min(side - 1, Math.floor((y - bounds.bottom) * perY)));

  const starts = new Uint32Array(side * side + 1);
  const cells = new Uint32Array(n);
  for (let point = 0; point < n; point += 1) {
    cells[point] = lineOf(coordinates[2 * point + 1]) * side + columnOf(coordinates[2 * point]);
    starts[cells[point] + 1] += 1;
  }
  let filled = 0;
  for (let cell = 0; cell < side * side; cell += 1) {
    if (starts[cell + 1]) filled += 1;
    starts[cell + 1] += starts[cell];
  }
  const next = starts.slice();
  const order = new Uint32Array(n);
  for (let point = 0; point < n; point += 1) {
    order[next[cells[point]]] = point;
    next[cells[point]] += 1;
  }

  /** @type {PointIndex["visit"]} */
  function visit(left, bottom, right, top, accept) {
    const [firstColumn, lastColumn] = [columnOf(left), columnOf(right)];
    const lastLine = lineOf(top);
    for (let line = lineOf(bottom); line <= lastLine; line += 1) {
      const end = starts[line * side + lastColumn + 1];
      for (let place = starts[line * side + firstColumn]; place < end; place += 1) {
        const point = order[place];
        const x = coordinates[2 * point];
        const y = coordinates[2 * point + 1];
        if (x >= left && x <= right && y >= bottom && y <= top && accept(point) === false) return;
      }
    }
  }

  /** @type {PointIndex["nearest"]} */
  function nearest(x, y, radius, accepts) {
    let best = -1;
    let leastSq = radius * radius;
    visit(x - radius, y - radius, x + radius, y + radius, (point) => {
      const distanceSq = (coordinates[2 * point] - x) ** 2 + (coordinates[2 * point + 1] - y) ** 2;
      if (distanceSq > leastSq || !accepts(point)) return;
      best = point;
      leastSq = distanceSq;
    });
    return best;
  }

  return { spacing: Math.sqrt(filled / (perX * perY) / Math.max(1, n)), visit, nearest };
}

/**
 * Whether a place is inside a polygon, which is a list of x and y in turn.
 *
 * @param {number[]} polygon
 * @param {number} x
 * @param {number} y
 */
export function isInside(polygon, x, y) {
  let inside = false;
  for (let here = 0, before = polygon.length - 2; here < polygon.length; before = here, here += 2) {
    const [x1, y1, x2, y2] = [polygon[here], polygon[here + 1], polygon[before], polygon[before + 1]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}
