// Which part of a plane is seen: a centre and a scale, kept within bounds.

const MARGIN = 0.93; // of the window that all points take
const MAX_ZOOM = 400; // times the scale at which all points are seen
const MIN_ZOOM = 0.5;

/**
 * The box around points.
 *
 * @param {Float32Array} coordinates x and y of each point
 */
export function boundsOf(coordinates) {
  const bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let place = 0; place < coordinates.length; place += 2) {
    bounds.left = Math.min(bounds.left, coordinates[place]);
    bounds.right = Math.max(bounds.right, coordinates[place]);
    bounds.bottom = Math.min(bounds.bottom, coordinates[place + 1]);
    bounds.top = Math.max(bounds.top, coordinates[place + 1]);
  }
  return coordinates.length ? bounds : { left: -1, right: 1, bottom: -1, top: 1 };
}

/** A view of the plane. Screen coordinates are pixels of CSS from the upper left, with y downward. */
export class Camera {
  /** @param {{left: number, right: number, bottom: number, top: number}} bounds */
  constructor(bounds) {
    this.bounds = bounds;
    this.x = 0;
    this.y = 0;
    this.scale = 1; // pixels of a unit of the plane
    this.width = 0;
    this.height = 0;
    this.isWhole = true;
  }

  /** The scale at which all points are seen. */
  get wholeScale() {
    const { left, right, bottom, top } = this.bounds;
    return MARGIN * Math.min(this.width / (right - left || 1), this.height / (top - bottom || 1));
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  resize(width, height) {
    this.width = width;
    this.height = height;
    if (this.isWhole) this.showAll();
    else this.#confine();
  }

  showAll() {
    const { left, right, bottom, top } = this.bounds;
    this.x = (left + right) / 2;
    this.y = (bottom + top) / 2;
    this.scale = this.wholeScale;
    this.isWhole = true;
  }

  /**
   * Moves what is seen, as a dragged sheet of paper moves.
   *
   * @param {number} right
   * @param {number} down
   */
  drag(right, down) {
    this.x -= right / this.scale;
    this.y += down / this.scale;
    this.#confine();
  }

  /**
   * Zooms; what is seen at a place of the screen stays there.
   *
   * @param {number} factor
   */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [planeX, planeY] = [this.toX(x), this.toY(y)];
    this.scale = Math.max(MIN_ZOOM * this.wholeScale, Math.min(MAX_ZOOM * this.wholeScale, this.scale * factor));
    this.x = planeX - (x - this.width / 2) / this.scale;
    this.y = planeY + (y - this.height / 2) / this.scale;
    this.#confine();
  }

  #confine() {
    const { left, right, bottom, top } = this.bounds;
    this.x = Math.max(left, Math.min(right, this.x));
    this.y = Math.max(bottom, Math.min(top, this.y));
    this.isWhole = false;
  }

  /** @param {number} x */
  toX = (x) => this.x + (x - this.width / 2) / this.scale;

  /** @param {number} y */
  toY = (y) => this.y - (y - this.height / 2) / this.scale;

  /** @param {number} x */
  screenX = (x) => this.width / 2 + (x - this.x) * this.scale;

  /** @param {number} y */
  screenY = (y) => this.height / 2 - (y - this.y) * this.scale;
}
