// What pointer, wheel and keys do to a plane: pan, zoom, lasso, click and hover.

const CLICK_REACH = 5; // pixels that a pointer may move during a click
const LASSO_STEP = 3; // pixels between corners of a lasso
const KEY_STEP = 0.15; // of the window that an arrow key pans
export const KEY_ZOOM = 1.5;

/**
 * @typedef {object} Actions
 * @property {() => void} moved the camera has moved
 * @property {(x: number, y: number) => void} hover
 * @property {() => void} leave
 * @property {(x: number, y: number, isAdding: boolean) => void} click
 * @property {(polygon: number[]) => void} lasso while it is drawn: x and y of its corners in turn
 * @property {(polygon: number[], isAdding: boolean) => void} lassoed
 * @property {() => boolean} isLasso whether a drag draws a lasso
 * @property {() => void} stopLasso
 * @property {() => void} open opens what is in the middle
 */

/**
 * @param {HTMLElement} stage
 * @param {import("./camera.js").Camera} camera
 * @param {Actions} actions
 */
export function listen(stage, camera, actions) {
  /** @type {Map<number, {x: number, y: number}>} */
  const pointers = new Map();
  /** @type {number[] | null} */
  let polygon = null;
  let isClick = false;
  let start = { x: 0, y: 0 };

  /** @param {MouseEvent} event */
  function placeOf(event) {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left - stage.clientLeft, y: event.clientY - box.top - stage.clientTop };
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    start = placeOf(event);
    pointers.set(event.pointerId, start);
    isClick = pointers.size === 1;
    polygon = pointers.size === 1 && (event.shiftKey || actions.isLasso()) ? [start.x, start.y] : null;
    actions.leave();
  });

  stage.addEventListener("pointermove", (event) => {
    const here = placeOf(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") actions.hover(here.x, here.y);
      return;
    }
    if (Math.hypot(here.x - start.x, here.y - start.y) > CLICK_REACH) isClick = false;
    if (polygon) {
      if (Math.hypot(here.x - polygon[polygon.length - 2], here.y - polygon[polygon.length - 1]) < LASSO_STEP) return;
      polygon.push(here.x, here.y);
      actions.lasso(polygon);
      return;
    }
    if (pointers.size === 2) pinch(event.pointerId, before, here);
    else if (!isClick) camera.drag(here.x - before.x, here.y - before.y);
    else return; // so that the drag begins where the pointer went down
    pointers.set(event.pointerId, here);
    actions.moved();
  });

  /**
   * @param {number} moving
   * @param {{x: number, y: number}} before
   * @param {{x: number, y: number}} here
   */
  function pinch(moving, before, here) {
    for (const [id, other] of pointers) {
      if (id === moving) continue;
      const [from, to] = [Math.hypot(before.x - other.x, before.y - other.y), Math.hypot(here.x - other.x, here.y - other.y)];
      camera.drag((here.x - before.x) / 2, (here.y - before.y) / 2);
      if (from > 0) camera.zoom(to / from, (here.x + other.x) / 2, (here.y + other.y) / 2);
    }
  }

  /** @param {PointerEvent} event */
  function up(event) {
    if (!pointers.delete(event.pointerId)) return;
    const drawn = polygon;
    polygon = null;
    const isAdding = event.ctrlKey || event.metaKey;
    if (drawn && !isClick && event.type === "pointerup") actions.lassoed(drawn, isAdding);
    else if (drawn) actions.lasso([]);
    if (isClick && event.type === "pointerup") actions.click(start.x, start.y, isAdding);
    isClick = false;
  }
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("pointerleave", actions.leave);

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = placeOf(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    // Browsers send a pinch on a touchpad as a wheel with Ctrl, in smaller steps.
    camera.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018)), x, y);
    actions.moved();
  }, { passive: false });

  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => camera.drag(KEY_STEP * camera.width, 0),
    ArrowRight: () => camera.drag(-KEY_STEP * camera.width, 0),
    ArrowUp: () => camera.drag(0, KEY_STEP * camera.height),
    ArrowDown: () => camera.drag(0, -KEY_STEP * camera.height),
    "+": () => camera.zoom(KEY_ZOOM),
    "=": () => camera.zoom(KEY_ZOOM),
    "-": () => camera.zoom(1 / KEY_ZOOM),
    0: () => camera.showAll(),
    Enter: actions.open,
  };
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && actions.isLasso()) actions.stopLasso();
    else if (Object.hasOwn(keys, event.key)) keys[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
    actions.moved();
  });
}
