// What stays where it was when the set of a grid changes: the images in sight, and the focus.

/** @typedef {{cluster: number, start: number, size: number, top: number, height: number}} Section */
/** @typedef {{sections: Section[], rows: Int32Array}} Shown */

/**
 * The place of an image after a change: its own, or where it went to another cluster, that of the
 * image that took its place in the one that it left.
 *
 * @param {number} place
 * @param {Shown} before
 * @param {Shown} after
 */
export function placeAfter(place, before, after) {
  const from = before.sections.find((section) => place >= section.start && place < section.start + section.size);
  const to = after.sections.find((section) => section.cluster === from?.cluster);
  if (!from || !to) return Math.min(place, Math.max(0, after.rows.length - 1));
  const inside = after.rows.subarray(to.start, to.start + to.size).indexOf(before.rows[place]);
  return to.start + (inside < 0 ? Math.min(place - from.start, to.size - 1) : inside);
}

/**
 * Where to scroll to after a change, so that a cluster that was in sight is at the same height: the
 * one that has the focus, else the first that is still there.
 *
 * @param {number} offset
 * @param {number} height  in sight
 * @param {Section[]} before
 * @param {Section[]} after
 * @param {number | null} focus
 */
export function offsetAfter(offset, height, before, after, focus) {
  const inSight = before.filter((section) => section.top < offset + height && section.top + section.height > offset);
  const wanted = [...inSight.filter((section) => section.cluster === focus), ...inSight];
  for (const section of wanted) {
    const now = after.find((other) => other.cluster === section.cluster);
    // Of a section that has become short the end stays in sight, too.
    if (now) return Math.max(0, now.top + Math.min(offset - section.top, Math.max(0, now.height - height / 2)));
  }
  return offset;
}
