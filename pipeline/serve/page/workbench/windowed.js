// Long lists of which only the part in sight exists: rows of equal height in a scrolling element.

/**
 * Draws the items of a list that are in sight of a scrolling element.
 *
 * @template T
 * @param {HTMLElement} scroller
 * @param {HTMLElement} list  inside it, at its top
 * @param {number} height  of an item, in pixels
 * @param {(item: T, place: number) => HTMLElement} draw
 */
export function windowedList(scroller, list, height, draw) {
  const AHEAD = 6; // items above and below those in sight
  /** @type {T[]} */
  let items = [];
  /** @type {Map<number, HTMLElement>} */
  const drawn = new Map();

  function update() {
    const top = Math.max(0, scroller.scrollTop - list.offsetTop);
    const first = Math.max(0, Math.floor(top / height) - AHEAD);
    const end = Math.min(items.length, Math.ceil((top + scroller.clientHeight) / height) + AHEAD);
    for (const [place, element] of drawn) {
      if (place >= first && place < end) continue;
      if (element.contains(document.activeElement)) continue;
      element.remove();
      drawn.delete(place);
    }
    for (let place = first; place < end; place += 1) {
      if (drawn.has(place)) continue;
      const element = draw(items[place], place);
      element.style.top = `${place * height}px`;
      const next = [...drawn.keys()].filter((other) => other > place).sort((a, b) => a - b)[0];
      list.insertBefore(element, next === undefined ? null : drawn.get(next) ?? null);
      drawn.set(place, element);
    }
  }

  scroller.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(scroller);
  return {
    update,
    /** @param {T[]} wanted */
    set(wanted) {
      items = wanted;
      list.style.height = `${items.length * height}px`;
      for (const element of drawn.values()) element.remove();
      drawn.clear();
      update();
    },
    /**
     * Scrolls an item into sight.
     *
     * @param {number} place
     */
    reveal(place) {
      const top = list.offsetTop + place * height;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + height > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + height - scroller.clientHeight;
      update();
    },
    /** @param {number} place */
    element: (place) => drawn.get(place) ?? null,
  };
}
