// Elements out of values. Text goes in as text: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else if (name === "style") {
      for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    } else if (name === "dataset") {
      Object.assign(element.dataset, value);
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(3).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** An HTML element: h("a", {class: "button", href: "run"}, "The run"). */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** An SVG element. */
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

const whole = new Intl.NumberFormat("en-US");

/** 4,114 */
export const count = (value) => whole.format(value);

/** "1 picture", "4,114 pictures" */
export const counted = (value, what) => `${count(value)} ${what}${value === 1 ? "" : "s"}`;

/** 0.97; a zero has no sign. */
export const decimal = (value, places = 2) => (value === null || value === undefined ? "–" : value.toFixed(places).replace(/^-(?=[0.]*$)/, ""));

/** 97% */
export const percent = (value, places = 0) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(places)}%`);

/** 19.1 kB */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}

/** A moment as people read it; what is no moment stays as it is. */
export function day(text) {
  const moment = new Date(text);
  return Number.isNaN(moment.valueOf()) ? text : moment.toISOString().slice(0, 16).replace("T", " ") + " UTC";
}

/** Tells those who do not see the page what has changed. */
export function tell(text) {
  document.getElementById("said").textContent = text;
}

/** Some buttons of which one is pressed, or none; `set` presses another. */
export function choices(label, options, chosen, choose) {
  const buttons = options.map(([value, text]) => h("button", { type: "button", on: { click: () => { set(value); choose(value); } } }, text));
  function set(value) {
    options.forEach(([one], place) => buttons[place].setAttribute("aria-pressed", String(one === value)));
  }
  set(chosen);
  return { root: h("div", { class: "choices", role: "group", "aria-label": label }, buttons), set };
}

/** Why something cannot be shown. */
export const trouble = (title, detail) => h("div", { class: "trouble", role: "alert" }, h("h2", null, title), h("p", null, detail));
