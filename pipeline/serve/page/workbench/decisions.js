// What people decide: read from the server, written to it, undone, and conflicts that are shown.

import { RequestError, commandLine, forgetDecided, get, getRun, loadedGeneration, postJson } from "../api.js";
import { announce, byId, counted, h } from "../dom.js";

/**
 * @typedef {object} Decisions
 * @property {boolean} isEditable
 * @property {number} length  of the log that this page has seen
 * @property {any[]} latest  decisions, the newest first
 * @property {[string, number][]} tags
 * @property {number} excluded
 * @property {number} needsALook
 */

/** @type {Decisions} */
export const decided = { isEditable: false, length: 0, latest: [], tags: [], excluded: 0, needsALook: 0 };

/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * Calls a function after every decision, until the function that it returns is called.
 *
 * @param {() => void} listener
 */
export function onDecision(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

let isRead = false;
let asked = 0; // requests for the decisions, counted
let answered = 0; // the last one of those that were shown

/** Whether decisions were read at all. */
export const isLoaded = () => isRead;

/**
 * The answer in place of a log that cannot be read: the run is shown as it was before, and nothing
 * is decided. The page says why as soon as it looks at the state of the server.
 *
 * @param {unknown} error
 */
function withoutLog(error) {
  if (!(error instanceof RequestError) || ![400, 503].includes(error.status)) throw error;
  return { is_editable: false, length: decided.length, decisions: decided.latest, tags: decided.tags, excluded: decided.excluded, needs_a_look: decided.needsALook };
}

/** Reads what was decided so far; where others decided since the last time, all views follow. */
export async function loadDecisions() {
  const mine = ++asked;
  const answer = await get("edits", { limit: 100 }).catch(withoutLog);
  if (mine < answered) return decided; // a later request was answered before
  answered = mine;
  const isNew = isRead && answer.length !== decided.length;
  isRead = true;
  Object.assign(decided, {
    isEditable: answer.is_editable, length: answer.length, latest: answer.decisions,
    tags: answer.tags, excluded: answer.excluded, needsALook: answer.needs_a_look,
  });
  // Else undo would take back forever what was taken back elsewhere.
  forgetOwn(answer.decisions.filter((/** @type {any} */ each) => each.status === "reverted").map((/** @type {any} */ each) => each.id));
  if (isNew) {
    forgetDecided();
    for (const listener of listeners) listener();
  }
  return decided;
}

/** Reads them again, and lets every view follow. */
export async function followDecisions() {
  forgetDecided();
  await loadDecisions();
}

/** @type {string[]} */
const own = []; // decisions of this page that hold, by id, the last one last

/** The last decision of this page that holds, by id; "" without any. */
export const lastOwn = () => own[own.length - 1] ?? "";

/** @param {string[]} ids  of decisions that no longer hold */
function forgetOwn(ids) {
  own.splice(0, own.length, ...own.filter((id) => !ids.includes(id)));
}

/** @type {Promise<unknown>} */
let turn = Promise.resolve(); // ends when all that was decided so far is recorded, or refused

/**
 * Decides after all that was decided before, so that each decision has seen those before it.
 *
 * @param {() => Promise<boolean>} work
 */
function inTurn(work) {
  const mine = turn.then(work);
  turn = mine.catch(() => {});
  return mine;
}

/** @type {{what: string, recorded: Promise<boolean>} | null} */
let latest = null; // that is not recorded yet

/**
 * The dialog in which a decision was made: it closes once that is recorded, and shows why it is not.
 *
 * @typedef {{close: () => void, refuse: (why: string) => void}} Asked
 */

/** Where there is no dialog, a message says why a decision is not recorded. */
const NO_DIALOG = { close() {}, refuse: (/** @type {string} */ why) => say(why, null) };

/**
 * Records a decision in its turn; says whether it was. The same once more, while it is not recorded,
 * is a double click, and is one decision.
 *
 * @param {string} op
 * @param {{clusters?: number[], rows?: number[], value?: string}} about
 * @param {string} words  what was done, for the message
 * @param {Asked} dialog
 */
export function decide(op, about, words, dialog = NO_DIALOG) {
  const what = JSON.stringify([op, about]);
  if (latest?.what === what) return latest.recorded;
  const recorded = inTurn(async () => {
    const id = await record(op, about, words, undo, dialog);
    if (id) own.push(id);
    return Boolean(id);
  });
  const mine = { what, recorded };
  latest = mine;
  const forget = () => { if (latest === mine) latest = null; };
  mine.recorded.then(forget, forget);
  return mine.recorded;
}

/**
 * Records a decision; resolves to its id, "" where it is not recorded.
 *
 * @param {string} op
 * @param {{clusters?: number[], rows?: number[], value?: string}} about
 * @param {string} words
 * @param {(() => any) | null} takeBack  what the button of the message does
 * @param {Asked} dialog
 * @returns {Promise<string>}
 */
async function record(op, about, words, takeBack, dialog = NO_DIALOG) {
  const body = { op, clusters: about.clusters ?? [], rows: about.rows, value: about.value ?? "", seen: decided.length, generation: loadedGeneration() };
  try {
    const recorded = await postJson("edits", body);
    say(words, takeBack);
    dialog.close(); // before the views follow, so that the focus is where it was
    await followDecisions().catch(() => {}); // it is recorded; the page looks again within seconds
    return recorded.id;
  } catch (error) {
    if (error instanceof RequestError && error.answer.newer?.length) return settle(op, about, words, takeBack, error.answer.newer, dialog);
    dialog.refuse(error.message);
    return "";
  }
}

/** Takes back the last decision that was made in this page. */
export function undo() {
  latest = null; // to decide the same again is meant
  return inTurn(async () => {
    const id = lastOwn();
    if (!id) {
      say(`There is nothing to undo that was decided here; \`${commandLine(await getRun(), "edit undo")}\` takes back any decision.`, null);
      return false;
    }
    const last = decided.latest.find((each) => each.id === id);
    const isDone = Boolean(await record("revert", { value: id }, `Undone${last ? `: ${describe(last)}` : ""}.`, null));
    if (isDone) forgetOwn([id]);
    return isDone;
  });
}

/**
 * A decision in words.
 *
 * @param {any} each
 */
export function describe(each) {
  const images = each.images ? counted(each.images, "image") : "";
  const clusters = each.clusters.length ? `cluster${each.clusters.length > 1 ? "s" : ""} ${each.clusters.join(", ")}` : "";
  const what = [images, clusters].filter(Boolean);
  switch (each.op) {
    case "name": return each.value ? `named ${clusters} “${each.value}”` : `took the name off ${clusters}`;
    case "note": return `noted “${each.value}” on ${what[0]}`;
    case "merge": return `merged ${clusters}`;
    case "split": return `split ${images} off ${clusters}`;
    case "move": return `moved ${images} to ${clusters}`;
    case "tag": return `tagged ${what[0]} “${each.value}”`;
    case "untag": return `took the tag “${each.value}” off ${what[0]}`;
    case "exclude": return `excluded ${what[0]}`;
    case "include": return `included ${what[0]}`;
    default: return "undid a decision";
  }
}

/**
 * Shows what others decided meanwhile, and asks whether the decision still stands.
 *
 * @param {string} op
 * @param {{clusters?: number[], rows?: number[], value?: string}} about
 * @param {string} words
 * @param {(() => any) | null} takeBack
 * @param {any[]} newer
 * @param {Asked} dialog
 * @returns {Promise<string>}
 */
async function settle(op, about, words, takeBack, newer, dialog) {
  await followDecisions();
  const answer = await ask("Somebody decided meanwhile", [
    h("p", null, "Your decision is not recorded yet. Since the page last looked:"),
    h("ul", null, newer.slice(0, 12).map((each) => h("li", null, `${each.by} ${describe(each)}`))),
  ], [["record", "Record mine, too"], ["", "Leave it"]]);
  return answer === "record" ? record(op, about, words, takeBack, dialog) : "";
}

/**
 * A dialog with buttons; resolves to the value of the one that was pressed, "" without any. With
 * `submit` a button with a value does not close it, but calls that.
 *
 * @param {string} title
 * @param {any} content
 * @param {[string, string][]} buttons
 * @param {((dialog: HTMLDialogElement) => void) | null} [submit]
 * @returns {Promise<string>}
 */
export function ask(title, content, buttons, submit = null) {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog", class: "dialog-form" }, h("h2", null, title), content,
      h("div", { class: "buttons" }, buttons.map(([value, text], place) => h("button", { class: place ? "button" : "button main", value, formnovalidate: !value }, text))));
    const dialog = h("dialog", { "aria-label": title }, form);
    form.addEventListener("submit", (event) => {
      if (!submit || event.submitter?.getAttribute("value") === "") return;
      event.preventDefault();
      submit(dialog);
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Asks for a text and saves it; says whether it was saved. What cannot be saved stays in the dialog,
 * beside the reason, until it is changed or given up. `options` are offered.
 *
 * @param {string} title
 * @param {string} label
 * @param {(text: string, dialog: Asked) => Promise<boolean>} save
 * @param {{value?: string, options?: string[], button?: string, isRequired?: boolean}} [given]
 */
export async function askText(title, label, save, { value = "", options = [], button = "Save", isRequired = false } = {}) {
  const id = "ask-options";
  const reason = h("p", { class: "refusal", id: "ask-refusal", role: "alert" });
  const field = h("input", { type: "text", value, maxlength: 200, list: options.length ? id : null, autocomplete: "off", autofocus: true, required: isRequired });
  /** @param {string} why */
  function refuse(why) {
    if (!field.isConnected) return say(why, null); // it was closed meanwhile
    reason.textContent = why;
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", reason.id);
    return field.focus();
  }
  let saved = Promise.resolve(false);
  await ask(title, [h("label", { class: "field" }, label, field), reason, options.length ? h("datalist", { id }, options.map((each) => h("option", { value: each }))) : null], [["ok", button], ["", "Cancel"]], (dialog) => {
    reason.textContent = "";
    saved = save(field.value.trim(), { close: () => dialog.close(), refuse }).catch((error) => { refuse(error.message); return false; });
  });
  return saved;
}

let timer = 0;

/**
 * A message at the foot of the page, with a button to undo.
 *
 * @param {string} words
 * @param {(() => void) | null} takeBack
 */
export function say(words, takeBack) {
  const box = byId("toast", HTMLElement);
  clearTimeout(timer);
  box.replaceChildren(h("span", null, words), takeBack ? h("button", { class: "plain", type: "button", on: { click: () => { box.hidden = true; takeBack(); } } }, "Undo") : "");
  box.hidden = false;
  announce(words);
  timer = setTimeout(() => { box.hidden = true; }, 8000);
}
