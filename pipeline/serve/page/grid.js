// A grid of pictures that goes on while one scrolls, and that arrow keys walk through.

import { count, h, tell } from "./dom.js";
import { remember } from "./imagelist.js";

const PAGE = 60;

/** A grid of what `load(offset, limit)` gives as {total, items}; `make` draws an item. */
export function endless(label, load, make) {
  const list = h("ul", { class: "grid", "aria-label": label });
  const more = h("div", { class: "waiting", hidden: true }, "more pictures are coming");
  const sentinel = h("div", { class: "sentinel" });
  const root = h("div", null, list, sentinel, more);
  const items = [];
  let total = null;
  let isLoading = false;

  async function next() {
    if (isLoading || (total !== null && items.length >= total)) return;
    isLoading = true;
    more.hidden = false;
    try {
      const found = await load(items.length, PAGE);
      total = found.total;
      items.push(...found.items);
      list.append(...found.items.map(make));
      remember(list, items);
      if (!found.items.length) total = items.length;
      tell(`${count(items.length)} of ${count(total)} pictures are shown`);
    } catch (error) {
      total = items.length;
      root.append(h("p", { class: "quiet", role: "alert" }, error.message));
    }
    isLoading = false;
    more.hidden = true;
    // A tall window may see the end again without any scrolling.
    if (items.length < total && sentinel.getBoundingClientRect().top < window.innerHeight + 800) next();
  }

  const observer = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) next();
  }, { rootMargin: "800px" });
  observer.observe(sentinel);
  return root;
}

/** A grid of items that are all there. */
export function fixed(label, items, make) {
  const list = h("ul", { class: "grid", "aria-label": label }, items.map(make));
  remember(list, items);
  return list;
}

const MOVES = { ArrowLeft: -1, ArrowRight: 1 };

/** Moves the focus within the grid that holds it; says whether it did. */
export function walk(event) {
  const list = event.target.closest?.(".grid, .cards");
  if (!list || event.altKey || event.ctrlKey || event.metaKey) return false;
  const links = [...list.querySelectorAll("a.tile, a.card")];
  const place = links.indexOf(event.target);
  if (place < 0) return false;
  let to = null;
  if (event.key in MOVES) to = place + MOVES[event.key];
  if (event.key === "ArrowDown" || event.key === "ArrowUp") to = inNextRow(links, place, event.key === "ArrowDown" ? 1 : -1);
  if (event.key === "Home") to = 0;
  if (event.key === "End") to = links.length - 1;
  if (to === null || !links[to]) return false;
  event.preventDefault();
  links[to].focus();
  links[to].scrollIntoView({ block: "nearest" });
  return true;
}

function inNextRow(links, place, step) {
  const here = links[place].getBoundingClientRect();
  let best = null;
  let row = null;
  for (let other = place + step; links[other]; other += step) {
    const box = links[other].getBoundingClientRect();
    if (Math.abs(box.top - here.top) < 4) continue;
    if (row !== null && Math.abs(box.top - row) > 4) break;
    row = box.top;
    if (best === null || Math.abs(box.left - here.left) < Math.abs(links[best].getBoundingClientRect().left - here.left)) best = other;
  }
  return best;
}
