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

/**
 * A stepped colour scale of Plotly: value i of n lies in the middle of step i.
 *
 * @param {string[]} colours
 */
export function steppedScale(colours) {
  const n = colours.length;
  return colours.flatMap((each, place) => [[place / n, each], [(place + 1) / n, each]]);
}
