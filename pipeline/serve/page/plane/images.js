// Small images for the plane: squares of sheets, or single images where few are seen.

import { get, getBytes, imageAddress, query } from "../api.js";

const MAX_SINGLE = 400; // images that are kept, beside the sheets
const FEW_PIXELS = 64; // below which an image is enlarged without smoothing

/**
 * Where the small image of a row is: its place among all squares, or -1.
 *
 * @typedef {{side: number, columns: number, address: (sheet: number) => string, placeOf: (row: number) => number}} Sprites
 */

/**
 * The sheets of small images that `cpp-pipe map` made.
 *
 * @param {number} rows of the run
 * @returns {Promise<Sprites>}
 */
export async function openSprites(rows) {
  const facts = await get("map/sprites");
  const { side, columns, version } = facts;
  /** @type {Map<number, number> | null} */
  let places = null;
  if (facts.rows !== rows) {
    places = new Map();
    const drawn = new Int32Array(await getBytes("map/sprites/rows"));
    drawn.forEach((row, place) => places?.set(row, place));
  }
  return {
    side,
    columns,
    address: (sheet) => `api/map/sprites/${sheet}${query({ v: version })}`,
    placeOf: (row) => (places ? places.get(row) ?? -1 : row),
  };
}

/**
 * Draws images of rows as squares as far as they have arrived, and asks for the others.
 *
 * @param {Sprites | null} sprites
 * @param {() => void} arrived called when there is more to draw
 */
export function makeImageLayer(sprites, arrived) {
  /** @type {Map<string, HTMLImageElement>} */
  const images = new Map(); // by address; the least used first

  /** @param {string} address */
  function load(address) {
    const image = new Image();
    image.decoding = "async";
    image.src = address;
    // One that cannot be read stays without pixels, and is not asked for again.
    image.decode().then(arrived, () => {});
    images.set(address, image);
  }

  /**
   * @param {string} address
   * @param {boolean} mayLoad
   */
  function find(address, mayLoad) {
    const image = images.get(address);
    if (!image) {
      if (mayLoad) load(address);
      return null;
    }
    return image.complete && image.naturalWidth ? image : null;
  }

  /** Forgets single images that were not drawn lately; sheets stay. */
  function forget() {
    if (images.size <= 2 * MAX_SINGLE) return;
    for (const address of [...images.keys()].filter((each) => each.startsWith("api/pictures/")).slice(0, -MAX_SINGLE)) images.delete(address);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} row
   * @param {number} x the left side
   * @param {number} y the upper side
   * @param {number} side
   * @param {{isSharp: boolean, mayLoad: boolean}} how sharp ones are single images
   */
  function draw(context, row, x, y, side, { isSharp, mayLoad }) {
    const single = isSharp ? find(imageAddress(row, 128), mayLoad) : null;
    if (single) {
      const cut = Math.min(single.naturalWidth, single.naturalHeight);
      context.imageSmoothingEnabled = cut >= FEW_PIXELS;
      context.drawImage(single, (single.naturalWidth - cut) / 2, (single.naturalHeight - cut) / 2, cut, cut, x, y, side, side);
      return true;
    }
    const place = sprites ? sprites.placeOf(row) : -1;
    if (!sprites || place < 0) return false;
    const perSheet = sprites.columns ** 2;
    const sheet = find(sprites.address(Math.floor(place / perSheet)), true);
    if (!sheet) return false;
    const number = place % perSheet;
    context.imageSmoothingEnabled = true;
    context.drawImage(sheet, (number % sprites.columns) * sprites.side, Math.floor(number / sprites.columns) * sprites.side, sprites.side, sprites.side, x, y, side, side);
    return true;
  }

  return { draw, forget };
}
