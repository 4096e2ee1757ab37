// Colours for any number of clusters: neighbours by number differ much.

const GOLDEN = 137.508; // degrees: no two of many are near each other
const LIGHT = [46, 58, 68];
const FULL = [70, 62, 58];

/** What is left without a colour. */
export const NONE = "rgb(150, 152, 158)";

export function colour(number) {
  return rgb((number * GOLDEN + 205) % 360, FULL[number % 3] / 100, LIGHT[number % 3] / 100);
}

function rgb(hue, full, light) {
  const reach = full * Math.min(light, 1 - light);
  const part = (shift) => {
    const place = (shift + hue / 30) % 12;
    return Math.round(255 * (light - reach * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
  };
  return `rgb(${part(0)}, ${part(8)}, ${part(4)})`;
}

/** A scale of steps: number i of n lies in the middle of the i-th. */
export function scaleOf(colours) {
  const n = colours.length;
  return colours.flatMap((one, place) => [[place / n, one], [(place + 1) / n, one]]);
}
