// What every view shares: addresses, keys, the theme, pictures that are dropped or pasted.

import * as clusterView from "./cluster.js";
import * as docsView from "./docs.js";
import * as imageView from "./image.js";
import * as mapView from "./map.js";
import * as overviewView from "./overview.js";
import * as runView from "./run.js";
import * as searchView from "./search.js";
import { get, run } from "./api.js";
import { h, tell, trouble } from "./dom.js";
import { walk } from "./grid.js";
import { take } from "./upload.js";
import { searchLink } from "./links.js";
import { setUpTheme } from "./theme.js";
import { follow } from "./imagelist.js";

// By the last piece of the address.
const VIEWS = { "": overviewView, cluster: clusterView, image: imageView, search: searchView, map: mapView, run: runView, docs: docsView };
const TABS = { "": "overview", cluster: "overview", image: "overview" };
const KEPT_VIEWS = 8;
const STATE_SECONDS = 15;

const place = document.getElementById("view");
const base = new URL("./", document.baseURI);
const kept = new Map(); // of history entries: the view as it was left
let entry = null;
let current = null; // the view that is shown: {root, onKey}

const nameOf = (address) => address.pathname.slice(base.pathname.length).replace(/\/$/, "");

function leave() {
  if (!entry) return;
  kept.delete(entry);
  kept.set(entry, { view: current, scroll: window.scrollY, title: document.title, focus: document.activeElement });
  while (kept.size > KEPT_VIEWS) kept.delete(kept.keys().next().value);
}

function mark(name) {
  const tab = TABS[name] ?? name;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.dataset.view === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function show(address, { restore = false, isMoving = true } = {}) {
  entry = history.state?.entry ?? crypto.randomUUID?.() ?? String(Math.random());
  history.replaceState({ ...history.state, entry }, "");
  mark(nameOf(address));
  const before = restore && kept.get(entry);
  if (before) {
    current = before.view;
    place.replaceChildren(current.root);
    document.title = before.title;
    window.scrollTo(0, before.scroll);
    if (before.focus?.isConnected) before.focus.focus({ preventScroll: true });
    return;
  }
  const mine = entry;
  const waiting = h("p", { class: "waiting" }, "one moment");
  const timer = setTimeout(() => place.replaceChildren(waiting), 250);
  try {
    const facts = await run();
    document.getElementById("run-name").textContent = facts.name === "default" ? "" : facts.name;
    const made = await VIEWS[nameOf(address)].show(Object.fromEntries(address.searchParams), { facts, go });
    if (entry !== mine) return;
    current = made;
    document.title = `${made.title} · ${facts.name} · cpp-pipe`;
    place.replaceChildren(made.root);
    window.scrollTo(0, 0);
    if (isMoving) place.focus({ preventScroll: true });
    made.shown?.();
    tell(made.title);
  } catch (error) {
    if (entry !== mine) return;
    if (!error.status && error.status !== 0) console.error(error);
    current = { root: trouble("This cannot be shown", error.message) };
    place.replaceChildren(current.root);
  } finally {
    clearTimeout(timer);
  }
}

/** Goes to an address of the page, as a link does. */
export function go(link, { replace = false } = {}) {
  const address = new URL(link, base);
  // The map's drawing library needs rules of its own, which a document has from its start.
  const isOtherDocument = (nameOf(address) === "map") !== (nameOf(new URL(location)) === "map");
  if (isOtherDocument) {
    location.assign(address);
    return;
  }
  leave();
  history[replace ? "replaceState" : "pushState"]({}, "", address);
  show(address);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const address = new URL(link.href);
  if (address.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (!(nameOf(address) in VIEWS)) return;
  if (address.hash && address.pathname === location.pathname) return;
  event.preventDefault();
  follow(link);
  go(link.href);
});

window.addEventListener("popstate", () => {
  leave();
  show(new URL(location), { restore: true });
});

document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(event.target).get("text").trim();
  if (text) go(searchLink({ text }));
});

function isTyping(target) {
  return target.closest?.("input, select, textarea, [contenteditable]") && target.type !== "range";
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("find-text").focus();
  } else if (event.key === "?") {
    document.getElementById("help-dialog").showModal();
  } else if (walk(event) || current?.onKey?.(event)) {
    // Done there.
  } else if (event.key === "Escape" && history.length > 1 && nameOf(new URL(location))) {
    history.back();
  }
});

document.getElementById("help").addEventListener("click", () => document.getElementById("help-dialog").showModal());

const handle = (file) => go(take(file));

const drop = document.getElementById("drop");
document.addEventListener("dragover", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  drop.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.hidden = true;
});
document.addEventListener("drop", (event) => {
  drop.hidden = true;
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  handle(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) handle(file);
});

const notice = document.getElementById("notice");
async function watch() {
  if (document.hidden) return;
  try {
    const [facts, state] = await Promise.all([run(), get("state")]);
    if (facts.generation !== state.generation) {
      notice.replaceChildren("The run has changed. ", h("button", { class: "button", type: "button", on: { click: () => location.reload() } }, "Load it anew"));
      notice.hidden = false;
    } else {
      notice.textContent = state.trouble ? `The store cannot be read now; what is shown is as it was. ${state.trouble}` : "";
      notice.hidden = !state.trouble;
    }
  } catch (error) {
    notice.textContent = error.message;
    notice.hidden = false;
  }
}
setInterval(watch, STATE_SECONDS * 1000);
document.addEventListener("visibilitychange", watch);

history.scrollRestoration = "manual";
setUpTheme(document.getElementById("theme"));
show(new URL(location), { isMoving: false });
