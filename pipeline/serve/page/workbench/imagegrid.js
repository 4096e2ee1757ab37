// All images of a set in a grid of which only the part in sight exists, in sections by cluster.

import { count, decimal, h } from "../dom.js";
import { imageLink } from "../links.js";
import { selection } from "../selection.js";
import { image } from "../tiles.js";
import { imagePages } from "./pages.js";
import { offsetAfter, placeAfter } from "./stay.js";

/** @type {Record<string, number>} */
const SIDES = { S: 84, M: 132, L: 200, XL: 320 }; // pixels of a tile
const SMALL = 170; // pixels that an image of 128 on its shorter side fills
const GAP = 8;
const HEADING = 46;
const FOOT = 18; // below each section
const MAX_HEIGHT = 15_000_000; // pixels
const AHEAD = 0.5; // of the height in sight, drawn above and below it
const NEAR_DELAY = 250; // ms until what is near is drawn, so that nothing in sight waits for it

/** @typedef {import("./state.js").State} State */
/** @typedef {{cluster: number, start: number, size: number, whole: number, top: number, height: number, body: HTMLElement | null}} Section */

/**
 * Ends the request for an image that nobody waits for any more.
 *
 * @param {HTMLElement} tile
 */
function stopLoading(tile) {
  const shown = tile.querySelector("img");
  if (shown && !shown.complete) shown.removeAttribute("src");
}

/**
 * A grid for sets of images.
 *
 * @param {{onFocus: (row: number) => void, nameOf: (cluster: number) => string, colourOf: (cluster: number) => string, onHeading: (cluster: number) => void}} options
 */
export function imageGrid({ onFocus, nameOf, colourOf, onHeading }) {
  const canvas = h("div", { class: "wall" });
  const root = h("div", { class: "scroller", tabindex: -1 }, canvas);
  /** @type {Section[]} */
  let sections = [];
  let total = 0;
  let side = SIDES.M;
  let columns = 1;
  let width = side;
  /** @type {ReturnType<typeof imagePages>} */
  let pages = imagePages({}, 0);
  /** @type {Map<number, HTMLElement>} */
  const tiles = new Map(); // by place in the set
  let focused = 0; // the place that Tab leads to
  let anchor = 0; // where a range of selected images begins
  let offset = 0; // of scrolling, kept while the grid is not shown
  let known = 0; // the width that the images are laid out for

  function measure() {
    known = root.clientWidth || known; // while it is not shown it has no width
    const inner = Math.max(120, known - 2 * GAP);
    columns = Math.max(2, Math.floor((inner + GAP) / (side + GAP)));
    width = Math.floor((inner + GAP) / columns) - GAP;
    let top = 0;
    const end = h("p", { class: "wall-end quiet" }, "The grid ends here: choose a cluster or a filter to see the others.");
    canvas.querySelector(".wall-end")?.remove();
    for (const [place, section] of sections.entries()) {
      // Browsers have no taller elements.
      const room = Math.max(1, Math.floor((MAX_HEIGHT - top) / (width + GAP)));
      section.size = Math.min(section.whole, room * columns);
      if (section.size < section.whole) {
        sections = sections.slice(0, place + 1);
        canvas.append(end);
      }
      const rows = Math.ceil(section.size / columns);
      section.top = top;
      section.height = headingOf(section) + rows * (width + GAP) + FOOT;
      top += section.height;
    }
    canvas.style.height = `${top}px`;
  }

  /** @param {Section} section */
  const headingOf = (section) => (section.cluster < 0 ? 0 : HEADING);

  function clear() {
    for (const section of sections) {
      section.body?.remove();
      section.body = null;
    }
    for (const tile of tiles.values()) stopLoading(tile);
    tiles.clear();
  }

  /** @param {Section} section */
  function open(section) {
    if (section.body) return section.body;
    const body = h("div", { class: "wall-section", role: "group", "aria-label": section.cluster < 0 ? "Images" : nameOf(section.cluster), style: { top: `${section.top}px`, height: `${section.height}px` } },
      section.cluster < 0 ? null : heading(section), h("ul", { class: "wall-tiles" }));
    section.body = body;
    const next = sections.find((other) => other.top > section.top && other.body);
    canvas.insertBefore(body, next?.body ?? null);
    return body;
  }

  /** @param {Section} section */
  function heading(section) {
    const rows = () => pages.rows.subarray(section.start, section.start + section.size);
    return h("h2", { class: "wall-heading" },
      h("span", { class: "colour", style: { background: colourOf(section.cluster) } }),
      h("button", { type: "button", class: "wall-name", on: { click: () => onHeading(section.cluster) } }, nameOf(section.cluster)),
      h("span", { class: "quiet number" }, count(section.size)),
      h("button", { type: "button", class: "plain", "aria-label": `Select all of ${nameOf(section.cluster)}`, on: { click: () => {
        const all = rows();
        if (all.every((row) => selection.has(row))) selection.remove(all);
        else selection.add(all);
      } } }, "select all"));
  }

  let later = 0;
  /** Draws what is in sight, and soon after what is near it; removes the rest. */
  function update(withNear = false) {
    if (!root.isConnected) return;
    clearTimeout(later);
    if (!withNear) later = setTimeout(() => update(true), NEAR_DELAY);
    offset = root.scrollTop;
    const from = offset - AHEAD * root.clientHeight;
    const to = offset + (1 + AHEAD) * root.clientHeight;
    const step = width + GAP;
    /** @type {Set<number>} */
    const wanted = new Set();
    for (const section of sections) {
      if (section.top + section.height < from || section.top > to) {
        if (section.body && !section.body.contains(document.activeElement)) {
          section.body.remove();
          section.body = null;
        }
        continue;
      }
      const inside = section.top + headingOf(section);
      const first = Math.max(0, Math.floor((from - inside) / step));
      const last = Math.ceil((to - inside) / step);
      const end = Math.min(section.size, last * columns);
      const list = open(section).lastElementChild;
      for (let place = first * columns; place < end; place += 1) {
        wanted.add(section.start + place);
        const top = inside + Math.floor(place / columns) * step;
        const isInSight = top + width > offset && top < offset + root.clientHeight;
        if ((isInSight || withNear) && !tiles.has(section.start + place) && list) add(list, section, place, isInSight);
      }
    }
    for (const [place, tile] of tiles) {
      if (wanted.has(place) && tile.isConnected) continue;
      if (tile.contains(document.activeElement)) continue;
      stopLoading(tile);
      tile.remove();
      tiles.delete(place);
    }
  }

  /**
   * @param {Element} list
   * @param {Section} section
   * @param {number} place
   * @param {boolean} isInSight  or else near it
   */
  function add(list, section, place, isInSight) {
    const index = section.start + place;
    const row = pages.rows[index];
    const tile = h("li", { class: "wall-tile", dataset: { place: index }, style: {
      width: `${width}px`, height: `${width}px`,
      left: `${GAP + (place % columns) * (width + GAP)}px`,
      top: `${headingOf(section) + Math.floor(place / columns) * (width + GAP)}px`,
    } }, image(row, isSmall() ? 128 : 256, "", { loading: "eager", fetchpriority: isInSight ? "high" : "low" }));
    tiles.set(index, tile);
    mark(tile, row);
    // In the order of the set, for who goes through it by Tab or hears it.
    const next = [...list.children].find((other) => other instanceof HTMLElement && Number(other.dataset.place) > index);
    list.insertBefore(tile, next ?? null);
    const item = pages.find(index);
    if (item) fill(tile, item, index);
    else pages.load(index).then((loaded) => { if (loaded && tiles.get(index) === tile) fill(tile, loaded, index); }, () => {
      if (tiles.get(index) !== tile) return;
      tiles.delete(index); // to be drawn again, with its name, when the grid next moves
      tile.remove();
    });
  }

  const isSmall = () => width * window.devicePixelRatio <= SMALL;

  /**
   * Names the image of a tile, which is there already, and makes it a link.
   *
   * @param {HTMLElement} tile
   * @param {any} item
   * @param {number} index
   */
  function fill(tile, item, index) {
    const alt = `${item.key}, confidence ${decimal(item.confidence)}`;
    const shown = tile.firstElementChild;
    if (shown instanceof HTMLImageElement) shown.alt = alt;
    else shown?.setAttribute("aria-label", `${alt}: cannot be read`);
    const link = h("a", { class: "tile", href: imageLink(item), tabindex: index === focused ? 0 : -1, dataset: { row: item.row, place: index }, on: { focus: () => { settle(index); onFocus(item.row); } } },
      shown,
      h("span", { class: item.confidence < 0.5 ? "bar low" : "bar", "aria-hidden": "true" }, h("span", { style: { width: `${100 * item.confidence}%` } })));
    const pick = h("button", { class: "pick", type: "button", role: "checkbox", tabindex: -1, "aria-label": `Select ${item.key}`, on: { click: (/** @type {MouseEvent} */ event) => choose(index, event.shiftKey) } });
    tile.replaceChildren(link, pick);
    mark(tile, item.row);
  }

  /**
   * Makes a tile the one that Tab leads to.
   *
   * @param {number} index
   */
  function settle(index) {
    tiles.get(focused)?.querySelector("a")?.setAttribute("tabindex", "-1");
    focused = index;
    tiles.get(index)?.querySelector("a")?.setAttribute("tabindex", "0");
  }

  /**
   * Shows whether an image is selected.
   *
   * @param {HTMLElement} tile
   * @param {number} row
   */
  function mark(tile, row) {
    const isSelected = selection.has(row);
    tile.classList.toggle("selected", isSelected);
    tile.querySelector(".pick")?.setAttribute("aria-checked", String(isSelected));
  }

  /**
   * Selects an image or drops it; with `isRange` all from the last one that was chosen.
   *
   * @param {number} index
   * @param {boolean} isRange
   */
  function choose(index, isRange) {
    if (isRange) selection.add(pages.rows.subarray(Math.min(anchor, index), Math.max(anchor, index) + 1));
    else {
      selection.toggle(pages.rows[index]);
      anchor = index;
    }
  }

  /** How many images of the set the grid has room for: where it ends, nothing can have the focus. */
  function drawable() {
    const last = sections[sections.length - 1];
    return last ? last.start + last.size : 0;
  }

  /** @param {number} index */
  function sectionOf(index) {
    return sections.find((section) => index >= section.start && index < section.start + section.size) ?? null;
  }

  /**
   * Scrolls so that an image is in sight, and draws it.
   *
   * @param {number} index
   */
  function reveal(index) {
    const section = sectionOf(index);
    if (!section) return;
    const top = section.top + headingOf(section) + Math.floor((index - section.start) / columns) * (width + GAP);
    const above = HEADING; // the heading that stays at the top
    if (top - above < root.scrollTop) root.scrollTop = top - above;
    else if (top + width > root.scrollTop + root.clientHeight) root.scrollTop = top + width + GAP - root.clientHeight;
    update();
  }

  /** @param {number} index */
  async function focus(index) {
    settle(index);
    reveal(index);
    await pages.load(index);
    const holder = document.activeElement;
    const isElsewhere = holder !== null && holder !== document.body && !root.contains(holder);
    if (index !== focused || isElsewhere) return; // meanwhile one went on, or types into a field
    const link = tiles.get(index)?.querySelector("a");
    if (link instanceof HTMLElement) link.focus({ preventScroll: true });
  }

  /**
   * The place to which a key leads, if any.
   *
   * @param {string} key
   * @param {number} index
   */
  function target(key, index) {
    const section = sectionOf(index);
    if (!section) return null;
    const inside = index - section.start;
    switch (key) {
      case "ArrowLeft": return index - 1;
      case "ArrowRight": return index + 1;
      case "ArrowUp": {
        if (inside >= columns) return index - columns;
        const before = sectionOf(section.start - 1);
        if (!before) return index;
        const lastRow = Math.floor((before.size - 1) / columns) * columns;
        return before.start + Math.min(before.size - 1, lastRow + (inside % columns));
      }
      case "ArrowDown": {
        if (inside + columns < section.size) return index + columns;
        const isLastRow = Math.floor(inside / columns) === Math.floor((section.size - 1) / columns);
        if (!isLastRow) return section.start + section.size - 1;
        const after = sectionOf(section.start + section.size);
        return after ? after.start + Math.min(after.size - 1, inside % columns) : index;
      }
      case "PageUp": return Math.max(0, index - columns * Math.max(1, Math.floor(root.clientHeight / (width + GAP))));
      case "PageDown": return Math.min(drawable() - 1, index + columns * Math.max(1, Math.floor(root.clientHeight / (width + GAP))));
      case "Home": return 0;
      case "End": return drawable() - 1;
      default: return null;
    }
  }

  root.addEventListener("keydown", (event) => {
    const link = event.target;
    if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = Number(link.dataset.place);
    if (event.key === " ") {
      event.preventDefault();
      choose(index, event.shiftKey);
      return;
    }
    const wanted = target(event.key, index);
    if (wanted === null || wanted < 0 || wanted >= drawable()) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.shiftKey) {
      if (!selection.has(pages.rows[anchor])) anchor = index;
      choose(wanted, true);
    } else anchor = wanted;
    focus(wanted);
  });

  root.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a.tile") : null;
    if (!(link instanceof HTMLElement) || !(event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    choose(Number(link.dataset.place), event.shiftKey);
  });

  let frame = 0;
  root.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => update());
  }, { passive: true });

  /** Lays the images out again where the width is another than before. */
  function follow() {
    if (root.clientWidth === known || !root.isConnected) return;
    const first = firstInSight();
    clear();
    measure();
    jump(first);
    update();
  }
  new ResizeObserver(follow).observe(root);

  const stop = selection.onChange(() => {
    for (const [index, tile] of tiles) mark(tile, pages.rows[index]);
  });

  /** The place of the first image in sight. */
  function firstInSight() {
    const section = sections.find((each) => each.top + each.height > offset);
    if (!section) return 0;
    const row = Math.max(0, Math.floor((offset - section.top) / (width + GAP)));
    return Math.min(section.start + row * columns, section.start + section.size - 1);
  }

  /** @param {number} index */
  function jump(index) {
    const section = sectionOf(index);
    if (section) root.scrollTop = index === section.start ? section.top : section.top + Math.floor((index - section.start) / columns) * (width + GAP);
  }

  return {
    root,
    /**
     * Shows a set of images from its beginning; or so that what was in sight stays there, above all
     * the cluster `focus`.
     *
     * @param {Record<string, any>} query
     * @param {{total: number, sections: {cluster: number, start: number, size: number}[]}} facts
     * @param {Int32Array} rows
     * @param {{stays?: boolean, focus?: number | null}} [given]
     */
    set(query, facts, rows, { stays = false, focus: cluster = null } = {}) {
      const before = { sections, rows: pages.rows };
      const height = root.clientHeight;
      const hadFocus = root.contains(document.activeElement);
      clear();
      total = rows.length;
      pages = imagePages(query, total, rows);
      const given = facts.sections.length ? facts.sections : total ? [{ cluster: -1, start: 0, size: total }] : [];
      sections = given.filter((each) => each.start < total).map((each) => ({ ...each, whole: Math.min(each.size, total - each.start), size: 0, top: 0, height: 0, body: null }));
      measure();
      const after = { sections, rows };
      offset = stays ? offsetAfter(offset, height, before.sections, sections, cluster) : 0;
      [focused, anchor] = stays ? [placeAfter(focused, before, after), placeAfter(anchor, before, after)] : [0, 0];
      root.scrollTop = offset;
      update();
      if (hadFocus && total) focus(focused);
    },
    /** @param {string} size */
    resize(size) {
      side = SIDES[size] ?? SIDES.M;
      const first = firstInSight();
      clear();
      measure();
      jump(first);
      update();
    },
    /**
     * Leads to the images of a cluster; says whether it has some here.
     *
     * @param {number} cluster
     */
    showCluster(cluster) {
      const section = sections.find((each) => each.cluster === cluster);
      if (!section) return false;
      root.scrollTop = section.top;
      focused = section.start;
      update();
      return true;
    },
    /** Selects all images of the set. */
    selectAll() {
      selection.add(pages.rows);
    },
    /** The place of an image that was opened, after a return. */
    restore() {
      root.scrollTop = offset;
      follow();
      update();
    },
    focus: () => focus(focused),
    rows: () => pages.rows,
    stop,
  };
}
