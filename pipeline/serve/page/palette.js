// Colours for any number of clusters, so that consecutive numbers differ clearly.

const GOLDEN_ANGLE = 137.508; // degrees: keeps any number of hues apart
const LIGHTNESS = [46, 58, 68];
const SATURATION = [70, 62, 58];

/** The colour of points that are not highlighted. */
export const GREY = "rgb(150, 152, 158)";

/** @param {number} number */
export function colour(number) {
  return rgb((number * GOLDEN_ANGLE + 205) % 360, SATURATION[number % 3] / 100, LIGHTNESS[number % 3] / 100);
}

/** From hue, saturation and lightness, by the formula of CSS. */
function rgb(hue, saturation, lightness) {
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const channel = (shift) => {
    const place = (shift + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
  };
  return `rgb(${channel(0)}, ${channel(8)}, ${channel(4)})`;
}

const LEAST_SHARE = 0.25; // of a node's hues, for the smaller of its children

/**
 * The colours of a hierarchy's nodes, by number. A node has the colour of its larger child, so that
 * colours stay when the level moves; the smaller child has a hue beside it, and another lightness.
 *
 * @param {{left: number | null, right: number | null, size: number}[]} nodes the last is the root
 */
export function treeColours(nodes) {
  /** @type {string[]} */
  const colours = Array(nodes.length).fill(GREY);
  // Not by recursion: a tree may be as deep as it has leaves.
  const waiting = nodes.length ? [{ number: nodes.length - 1, hue: 205, width: 360, step: 0 }] : [];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { number, hue, width, step } = next;
    colours[number] = rgb(hue % 360, SATURATION[step % 3] / 100, LIGHTNESS[step % 3] / 100);
    const { left, right } = nodes[number];
    if (left === null || right === null) continue;
    const [larger, smaller] = nodes[left].size >= nodes[right].size ? [left, right] : [right, left];
    const [a, b] = [Math.sqrt(nodes[larger].size), Math.sqrt(nodes[smaller].size)];
    const share = Math.max(LEAST_SHARE, b / (a + b || 1));
    waiting.push({ number: larger, hue, width: width * (1 - share), step });
    waiting.push({ number: smaller, hue: hue + width * (1 - share), width: width * share, step: step + 1 });
  }
  return colours;
}
