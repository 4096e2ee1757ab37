// Elements made from values. Text goes in as text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Attributes, and three special names: `on` (listeners by event), `style` and `dataset`. A value of
 * undefined, null or false leaves an attribute out; true sets it without a value.
 *
 * @typedef {Record<string, any> & {on?: Record<string, (event: any) => void>}} Properties
 */

/**
 * @template {HTMLElement | SVGElement} T
 * @param {T} element
 * @param {Properties | null | undefined} properties
 * @param {any[]} children
 */
function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "style") {
      for (const [property, setting] of Object.entries(value)) element.style.setProperty(property, setting);
    } else if (name === "dataset") {
      Object.assign(element.dataset, value);
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * An HTML element: h("a", {class: "button", href: "run"}, "The run").
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties | null} [properties]
 * @param {...any} children
 */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/**
 * An SVG element.
 *
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Properties | null} [properties]
 * @param {...any} children
 */
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/**
 * The element of index.html with an id.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`index.html has no ${kind.name} with the id ${id}`);
  return element;
}

const whole = new Intl.NumberFormat("en-US");

/**
 * 4,114
 *
 * @param {number} value
 */
export const count = (value) => whole.format(value);

/**
 * "1 image", "4,114 images"
 *
 * @param {number} value
 * @param {string} noun
 */
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/**
 * 0.97; a zero has no sign.
 *
 * @param {number | null | undefined} value
 */
export const decimal = (value, places = 2) => (value === null || value === undefined ? "–" : value.toFixed(places).replace(/^-(?=[0.]*$)/, ""));

/**
 * 97%; a zero has no sign.
 *
 * @param {number | null | undefined} value
 */
export const percent = (value, places = 0) => (value === null || value === undefined ? "–" : `${decimal(100 * value, places)}%`);

/**
 * 19.1 kB
 *
 * @param {number} value
 */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}

/**
 * A moment as 2026-11-29 08:15 UTC; any other text stays as it is.
 *
 * @param {string} text
 */
export function day(text) {
  const moment = new Date(text);
  return Number.isNaN(moment.valueOf()) ? text : `${moment.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/**
 * Reports a change to users of a screen reader.
 *
 * @param {string} text
 */
export function announce(text) {
  byId("announcement", HTMLElement).textContent = text;
}

/**
 * Buttons of which at most one is pressed; `set` presses another, `note` adds a text to one.
 *
 * @template {string} T
 * @param {string} label
 * @param {[T, string][]} options
 * @param {T | null} chosen
 * @param {(value: T) => void} choose
 */
export function choices(label, options, chosen, choose) {
  const buttons = options.map(([value, text]) => h("button", { type: "button", on: { click: () => { set(value); choose(value); } } }, text));
  /** @param {T | null} value */
  function set(value) {
    options.forEach(([option], place) => buttons[place].setAttribute("aria-pressed", String(option === value)));
  }
  /**
   * @param {T} value
   * @param {string} text
   */
  function note(value, text) {
    const button = buttons[options.findIndex(([option]) => option === value)];
    button.querySelector(".number")?.remove();
    if (text) button.append(h("span", { class: "number" }, ` ${text}`));
  }
  set(chosen);
  return { root: h("div", { class: "choices", role: "group", "aria-label": label }, buttons), set, note };
}

/**
 * A box that says why something cannot be shown.
 *
 * @param {string} title
 * @param {string} detail
 */
export const trouble = (title, detail) => h("div", { class: "trouble", role: "alert" }, h("h2", null, title), h("p", null, detail));
