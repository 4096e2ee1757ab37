// The list that a picture was opened from, so that arrow keys lead to its neighbours there.

const lists = new WeakMap();
let current = { items: [], place: -1 };

/** Notes what a grid shows; it may grow. */
export const remember = (list, items) => lists.set(list, items);

/** Takes the grid of a link that is followed as the list to walk. */
export function follow(link) {
  const list = link.closest(".grid");
  const items = list && lists.get(list);
  if (!items) return;
  const row = Number(link.dataset.row);
  current = { items, place: items.findIndex((item) => item.row === row) };
}

/** The items before and after a row in the list that it was opened from. */
export function beside(row) {
  if (current.items[current.place]?.row !== row) {
    const place = current.items.findIndex((item) => item.row === row);
    current = { items: current.items, place };
  }
  if (current.place < 0) return { before: null, after: null, place: null, total: null };
  const { items, place } = current;
  return { before: items[place - 1] ?? null, after: items[place + 1] ?? null, place, total: items.length };
}
