// The selected images: one set for all views, kept for as long as the page is open.

/** @type {Set<number>} */
const rows = new Set();

/** @type {Set<() => void>} */
const listeners = new Set();

let isSilent = false;

function report() {
  if (isSilent) return;
  for (const listener of listeners) listener();
}

/** The selected rows, and what changes them. A row stays selected in whatever view it is shown. */
export const selection = {
  get size() {
    return rows.size;
  },
  /** @param {number} row */
  has: (row) => rows.has(row),
  /** The rows, ascending. */
  rows: () => [...rows].sort((a, b) => a - b),
  /** @param {Iterable<number>} added */
  add(added) {
    for (const row of added) rows.add(row);
    report();
  },
  /** @param {Iterable<number>} removed */
  remove(removed) {
    for (const row of removed) rows.delete(row);
    report();
  },
  /** @param {number} row */
  toggle(row) {
    if (!rows.delete(row)) rows.add(row);
    report();
  },
  /** @param {Iterable<number>} wanted */
  set(wanted) {
    isSilent = true;
    rows.clear();
    selection.add(wanted);
    isSilent = false;
    report();
  },
  clear() {
    if (!rows.size) return;
    rows.clear();
    report();
  },
  /**
   * Calls a function after every change, until the function that it returns is called.
   *
   * @param {() => void} listener
   */
  onChange(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};
