// What all views share: addresses, keys, the theme, images that are dropped or pasted.

import * as docsView from "./docs.js";
import * as imageView from "./image.js";
import * as reviewView from "./workbench/review.js";
import * as runView from "./run.js";
import * as searchView from "./search.js";
import * as workbench from "./workbench/workbench.js";
import { decided, followDecisions, isLoaded, say } from "./workbench/decisions.js";
import { RequestError, get, getRun, loadedGeneration } from "./api.js";
import { announce, byId, h, trouble } from "./dom.js";
import { moveFocus } from "./grid.js";
import { follow } from "./imagelist.js";
import { searchLink } from "./links.js";
import { setUpTheme } from "./theme.js";
import { keepUpload } from "./upload.js";

/**
 * A view: its title and content; what to do once it is shown, shown again, or given up; and whether
 * it handles a key.
 *
 * @typedef {{title?: string, root: HTMLElement, shown?: () => void, restored?: () => void, closed?: () => void, onKey?: (event: KeyboardEvent) => boolean}} View
 */

/**
 * Views by the last part of their address.
 *
 * @type {Record<string, {show: (parameters: any, context: any) => Promise<any>}>}
 */
const VIEWS = { "": workbench, cluster: { show: workbench.showCluster }, review: reviewView, image: imageView, search: searchView, map: { show: workbench.showMap }, run: runView, docs: docsView };
/** @type {Record<string, string>} */
const TABS = { "": "workbench", cluster: "workbench", image: "workbench", map: "workbench" };
const MAX_KEPT_VIEWS = 8;
const POLL_SECONDS = 15;
const PATIENCE = 250; // ms until the page says that a view is loading

const holder = byId("view", HTMLElement);
const base = new URL("./", document.baseURI);
/** @type {Map<string, {view: View, scroll: number, title: string, focus: Element | null}>} */
const kept = new Map(); // views as they were left, by entry of the history
let entry = ""; // of the address that is shown, or loads
let placed = ""; // of the view that is shown
/** @type {View | null} */
let current = null;

/** @param {URL} address */
const viewName = (address) => address.pathname.slice(base.pathname.length).replace(/\/$/, "");

const here = () => new URL(location.href);

function leave() {
  if (!current) return;
  kept.delete(placed);
  kept.set(placed, { view: current, scroll: window.scrollY, title: document.title, focus: document.activeElement });
  for (const oldest of [...kept.keys()].slice(0, -MAX_KEPT_VIEWS)) {
    kept.get(oldest)?.view.closed?.();
    kept.delete(oldest);
  }
}

/** @param {string} name */
function markTab(name) {
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.getAttribute("data-view") === (TABS[name] ?? name)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** @param {View} view */
function place(view) {
  current = view;
  placed = entry;
  holder.replaceChildren(view.root);
}

/** @param {URL} address */
async function show(address, { restore = false, moveFocusThere = true } = {}) {
  entry = history.state?.entry ?? crypto.randomUUID?.() ?? String(Math.random());
  history.replaceState({ ...history.state, entry }, "");
  markTab(viewName(address));
  const before = restore ? kept.get(entry) : undefined;
  if (before) {
    place(before.view);
    document.title = before.title;
    before.view.restored?.();
    window.scrollTo(0, before.scroll);
    if (before.focus instanceof HTMLElement && before.focus.isConnected) before.focus.focus({ preventScroll: true });
    return;
  }
  const mine = entry;
  const timer = setTimeout(() => { if (entry === mine) holder.replaceChildren(h("p", { class: "waiting" }, "loading")); }, PATIENCE);
  try {
    const facts = await getRun();
    byId("run-name", HTMLElement).textContent = facts.name === "default" ? "" : facts.name;
    /** @type {View} */
    const view = await VIEWS[viewName(address)].show(Object.fromEntries(address.searchParams), { facts, go });
    if (entry !== mine) {
      view.closed?.();
      return;
    }
    place(view);
    document.title = `${view.title} · ${facts.name} · cpp-pipe`;
    window.scrollTo(0, 0);
    if (moveFocusThere) holder.focus({ preventScroll: true });
    view.shown?.();
    announce(view.title ?? "");
  } catch (error) {
    if (entry !== mine) return;
    if (!(error instanceof RequestError)) console.error(error);
    place({ root: trouble("This cannot be shown", error.message) });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Goes to an address of the page, as a link does.
 *
 * @param {string} link
 */
function go(link, { replace = false } = {}) {
  const address = new URL(link, base);
  if (replace) {
    current?.closed?.(); // nothing leads back to it
    current = null;
  } else leave();
  history[replace ? "replaceState" : "pushState"]({}, "", address);
  show(address);
}

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const address = new URL(link.href);
  if (address.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (!Object.hasOwn(VIEWS, viewName(address))) return;
  if (address.hash && address.pathname === location.pathname) return;
  event.preventDefault();
  follow(link);
  go(link.href);
});

window.addEventListener("popstate", () => {
  for (const dialog of document.querySelectorAll("dialog[open]")) if (dialog instanceof HTMLDialogElement) dialog.close();
  leave();
  show(here(), { restore: true });
});

const searchField = byId("find-text", HTMLInputElement);
byId("find", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const text = searchField.value.trim();
  if (text) go(searchLink({ text }));
});

/** @param {EventTarget | null} target */
const isTyping = (target) => target instanceof HTMLElement && target.matches("input:not([type=range]), select, textarea");

const help = byId("help-dialog", HTMLDialogElement);

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape" && event.target instanceof HTMLElement) event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) {
    current?.onKey?.(event);
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    searchField.focus();
  } else if (event.key === "?") {
    help.showModal();
  } else if (!moveFocus(event) && !current?.onKey?.(event) && event.key === "Escape" && history.length > 1 && viewName(here())) {
    history.back();
  }
});

byId("help", HTMLButtonElement).addEventListener("click", () => help.showModal());

const drop = byId("drop", HTMLElement);
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  drop.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.hidden = true;
});
document.addEventListener("drop", (event) => {
  drop.hidden = true;
  const file = event.dataTransfer?.files[0];
  if (!file) return;
  event.preventDefault();
  go(keepUpload(file));
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (file) go(keepUpload(file));
});

const notice = byId("notice", HTMLElement);
async function checkState() {
  if (document.hidden) return;
  try {
    await getRun();
    const state = await get("state");
    if (state.edits !== decided.length && isLoaded()) await followDecisions();
    if (loadedGeneration() !== state.generation) {
      notice.replaceChildren("The run has changed. ", h("button", { class: "button", type: "button", on: { click: () => location.reload() } }, "Reload"));
      notice.hidden = false;
    } else {
      notice.textContent = state.trouble ? `The page shows the run as it was. ${state.trouble[0].toUpperCase()}${state.trouble.slice(1)}` : "";
      notice.hidden = !state.trouble;
    }
  } catch (error) {
    notice.textContent = error.message;
    notice.hidden = false;
  }
}
setInterval(checkState, POLL_SECONDS * 1000);

// Of what a button or a key began, and nobody waits for.
window.addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof RequestError)) return;
  event.preventDefault();
  say(event.reason.message, null);
});
document.addEventListener("visibilitychange", checkState);

history.scrollRestoration = "manual";
setUpTheme(byId("theme", HTMLButtonElement));
show(here(), { moveFocusThere: false });
