// Making a condition by choosing: a column, and its range or one of its values.

import { getOnce } from "../api.js";
import { count, h } from "../dom.js";

/** @typedef {{name: string, rows: number, smallest: number | null, largest: number | null, values: [string, number][] | null}} Column */

const UNWRITABLE = /[<>=!'"]|\sand\s/i; // names with these would be read as something else
const LONGEST = 200; // characters of a condition

/**
 * A text as the value of a condition, or null where it cannot be written.
 *
 * @param {string} text
 */
function quote(text) {
  if (!text.includes("'")) return `'${text}'`;
  return text.includes('"') ? null : `"${text}"`;
}

/**
 * Fields that make a condition; `add` gets it as text.
 *
 * @param {(condition: string) => void} add
 */
export function conditionFields(add) {
  const fields = h("div", { class: "condition" });
  const chosen = h("select", { "aria-label": "Filter by a column", on: { change: () => show(), focus: load, pointerenter: load } }, h("option", { value: "" }, "choose"));
  /** @type {Map<string, Column>} */
  let columns = new Map();
  let isAsked = false;

  async function load() {
    if (isAsked) return;
    isAsked = true;
    try {
      const { columns: found } = await getOnce("columns");
      columns = new Map(found.filter((/** @type {Column} */ column) => !UNWRITABLE.test(column.name)).map((/** @type {Column} */ column) => [column.name, column]));
      chosen.replaceChildren(h("option", { value: "" }, columns.size ? "choose" : "no columns"), ...[...columns.keys()].map((name) => h("option", { value: name }, name)));
    } catch (error) {
      isAsked = false; // to be asked again
      fields.replaceChildren(h("p", { class: "hint", role: "alert" }, error.message));
    }
  }

  function show() {
    const column = columns.get(chosen.value);
    if (!column) fields.replaceChildren();
    else if (column.values) fields.replaceChildren(ofTexts(column, column.values));
    else fields.replaceChildren(...ofNumbers(column));
  }

  /** @param {string[]} conditions */
  function done(conditions) {
    if (!conditions.length) return;
    chosen.value = "";
    fields.replaceChildren();
    add(conditions.join(" and "));
  }

  /**
   * @param {Column} column
   * @param {[string, number][]} values
   */
  function ofTexts(column, values) {
    const value = h("select", { "aria-label": `Value of ${column.name}`, on: { change: () => done([`${column.name} = ${value.value}`]) } },
      h("option", { value: "" }, "choose"),
      values.map(([text, rows]) => {
        const written = quote(text);
        return written === null || column.name.length + written.length + 3 > LONGEST ? null : h("option", { value: written }, `${text} (${count(rows)})`);
      }));
    return value;
  }

  /** @param {Column} column */
  function ofNumbers({ name, smallest, largest }) {
    const [least, most] = [smallest, largest].map((end, place) => h("input", { type: "number", step: "any", placeholder: String(Number((end ?? 0).toPrecision(4))), "aria-label": `${place ? "Largest" : "Smallest"} ${name}`, on: { keydown: (/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter") apply(); } } }));
    const apply = () => done([least.value && `${name} >= ${least.value}`, most.value && `${name} <= ${most.value}`].filter(Boolean));
    return [least, h("span", { "aria-hidden": "true" }, "–"), most, h("button", { type: "button", class: "button small", on: { click: apply } }, "Add")];
  }

  return { root: h("div", null, h("label", { class: "field" }, "Column", chosen), fields) };
}
