// Review: one image, or one cluster, after the other, one decision a key.

import { makeAddressUpdater } from "../address.js";
import { commandLine, get, getBytes, getOnce, getRun, imageAddress, query } from "../api.js";
import { choices, count, counted, decimal, h } from "../dom.js";
import { fact } from "../cards.js";
import { DECIDED, cardName, clusterLink, defaultGrouping, imageLink, placeIn } from "../links.js";
import { image } from "../tiles.js";
import { askText, decide, decided, describe, lastOwn, loadDecisions, onDecision, say, undo } from "./decisions.js";
import { QUEUES, REVIEWED, countQueue, isAnyReviewed, unnamed } from "./queues.js";
import { askCluster } from "./tray.js";

const NEAREST = 3; // images beside a copy, the one to keep among them

const COUNT_DELAY = 1500; // ms from the last decision until the queues are counted again

export async function show(parameters, { go }) {
  const updateAddress = makeAddressUpdater();
  await loadDecisions();
  const run = await getRun();
  const name = Object.hasOwn(QUEUES, parameters.queue) ? parameters.queue : "doubtful";
  let grouping = defaultGrouping(run);
  /** @type {Map<number, any>} */
  let cards = new Map();
  async function loadCards() {
    grouping = defaultGrouping(await getRun()); // the decided clusters come with the first decision
    const answer = await getOnce("clusters", { grouping });
    cards = new Map(answer.cards.map((/** @type {any} */ card) => [card.id, card]));
  }
  await loadCards();
  const cardOf = (/** @type {number} */ cluster) => cards.get(cluster) ?? null;
  const nameOf = (/** @type {number} */ cluster) => { const card = cardOf(cluster); return card ? cardName(card, grouping) : `Cluster ${cluster}`; };
  const queues = choices("Queue", Object.entries(QUEUES).map(([each, { words }]) => [each, words]), name, (queue) => go(`review${query({ queue })}`));
  const place = h("p", { class: "quiet number", role: "status" });
  const progress = h("progress", { "aria-label": "Reviewed", max: 1, value: 0 });
  const stage = h("div", { class: "review-stage" });
  const queue = QUEUES[name].set ? await imageQueue(QUEUES[name], () => grouping, nameOf, { cardOf, all: () => [...cards.values()] }) : name === "unnamed" ? clusterQueue([...cards.values()], nameOf) : await decisionQueue({ cardOf, nameOf });
  let at = 0;
  let drawn = -1; // the place that is shown

  async function draw() {
    const total = queue.total();
    drawn = -1;
    at = Math.max(0, Math.min(at, total));
    place.textContent = total ? `${count(Math.min(at + 1, total))} of ${count(total)}` : "";
    progress.max = Math.max(1, total);
    progress.value = at;
    if (at >= total) {
      stage.replaceChildren(h("div", { class: "empty" }, h("p", null, total ? "That was the last one." : queue.nothing)));
      return;
    }
    const mine = at;
    const content = await queue.draw(at);
    if (mine !== at) return;
    stage.replaceChildren(...content);
    drawn = at;
  }

  let counting = 0;
  /** Shows how many each queue holds, one queue after the other, so that no image waits for it. */
  async function countQueues() {
    const mine = ++counting;
    if (!root.isConnected) return; // until it is shown again
    for (const each of Object.keys(QUEUES)) {
      const held = await countQueue(each).catch(() => null);
      if (mine !== counting || !root.isConnected) return;
      queues.note(each, held === null ? "" : count(held));
    }
  }
  let timer = 0;
  function countSoon() {
    clearTimeout(timer);
    timer = setTimeout(countQueues, COUNT_DELAY);
  }
  const stop = onDecision(countSoon);

  /** @type {Promise<unknown>} */
  let turn = Promise.resolve(); // ends when all keys so far have done what they do
  let epoch = 0; // of the keys that still count

  /**
   * Does what a key stands for after all that was pressed before it: people press faster than
   * decisions are recorded.
   *
   * @param {() => any} work
   */
  function inTurn(work) {
    const mine = epoch;
    turn = turn.then(() => mine === epoch && work()).catch((error) => {
      epoch += 1;
      if (drawn === at) return say(error.message, null);
      // What was shown was decided about: nobody may decide about the next one without seeing it.
      return stage.replaceChildren(h("p", { class: "empty", role: "alert" }, error.message, " ", h("button", { class: "button", type: "button", on: { click: () => step(0) } }, "Try again")));
    });
    return turn;
  }

  /** @param {number} by */
  const step = (by) => inTurn(() => {
    at += by;
    return draw();
  });

  /** @type {{id: string, place: number}[]} */
  const done = []; // the keys that did something, the last one last: what was recorded, if anything

  /** @param {string} key */
  const act = (key) => inTurn(async () => {
    if (at >= queue.total()) return;
    if (drawn !== at) return void await draw();
    const before = lastOwn();
    const isDue = await queue.act(key, at);
    const id = lastOwn() === before ? "" : lastOwn();
    if (isDue || id) done.push({ id, place: at });
    if (!isDue) epoch += 1; // what was pressed meanwhile was meant for images that did not come
    drawn = -1;
    at += isDue ? 1 : 0;
    await loadCards();
    await draw();
  });
  const takeBack = () => inTurn(async () => {
    let last = done.pop();
    while (last?.id && last.id !== lastOwn()) last = done.pop(); // taken back elsewhere
    if ((!last || last.id) && !await undo()) return void (last && done.push(last));
    if (last) at = last.place;
    drawn = -1;
    await loadCards();
    await draw();
  });
  /** Of several clicks on one place only the first counts: the next image comes under the pointer. */
  const once = (/** @type {() => any} */ work) => (/** @type {MouseEvent} */ event) => { if (event.detail < 2) work(); };
  const isHeld = (/** @type {KeyboardEvent} */ event) => event.repeat && ["Enter", " "].includes(event.key);
  const keys = decided.isEditable ? queue.keys : [];
  const root = h("div", { class: "review" },
    h("div", { class: "row-between" }, h("h1", null, "Review"), h("a", { class: "button", href: "./" }, "Images")),
    queues.root,
    h("p", { class: "lead" }, QUEUES[name].why),
    h("div", { class: "row-between" }, place, progress),
    stage,
    h("div", { class: "buttons review-keys", on: { keydown: (/** @type {KeyboardEvent} */ event) => { if (isHeld(event)) event.preventDefault(); } } },
      h("button", { class: "button", type: "button", on: { click: () => step(-1) } }, "Back", h("kbd", null, "←")),
      keys.map(([key, words]) => h("button", { class: "button", type: "button", on: { click: once(() => act(key)) } }, words, h("kbd", null, key.toUpperCase()))),
      decided.isEditable ? h("button", { class: "button", type: "button", on: { click: once(takeBack) } }, "Undo", h("kbd", null, "U")) : null,
      h("button", { class: "button", type: "button", on: { click: () => step(1) } }, "Next", h("kbd", null, "→"))),
    decided.isEditable ? null : h("p", { class: "hint" }, "To decide here, start ", h("code", null, commandLine(run, "serve --edit")), "."));

  updateAddress(`review${query({ queue: name })}`);
  await draw();
  return {
    title: "Review",
    root,
    shown: () => requestAnimationFrame(() => setTimeout(countQueues)), // once it is painted
    restored: countQueues,
    closed: () => {
      clearTimeout(timer);
      stop();
    },
    /** @param {KeyboardEvent} event */
    onKey(event) {
      if (event.ctrlKey || event.metaKey || event.repeat) return false;
      const key = event.key.toLowerCase();
      if (event.key === "ArrowRight") step(1);
      else if (event.key === "ArrowLeft") step(-1);
      else if (decided.isEditable && key === "u") takeBack();
      else if (keys.some(([each]) => each === key)) act(key);
      else return false;
      event.preventDefault();
      return true;
    },
  };
}

/**
 * @typedef {object} Queue
 * @property {() => number} total
 * @property {string} nothing  what an empty queue says
 * @property {[string, string][]} keys
 * @property {(place: number) => Promise<HTMLElement[]>} draw
 * @property {(key: string, place: number) => Promise<boolean>} act  whether the next one is due
 */

/**
 * Images of a set, without those that were reviewed.
 *
 * @param {import("./queues.js").Kind} kind
 * @returns {Promise<Queue>}
 */
async function imageQueue({ set, copies }, groupingNow, nameOf, { cardOf, all }) {
  const grouping = groupingNow();
  const asked = { ...set, grouping };
  let rows = new Int32Array();
  let trouble = "";
  try {
    const [found, done] = await Promise.all([getBytes("set/rows", asked), isAnyReviewed() ? getBytes("set/rows", { grouping, tag: REVIEWED }) : new ArrayBuffer(0)]);
    const reviewed = new Set(new Int32Array(done));
    rows = new Int32Array(found).filter((row) => !reviewed.has(row));
  } catch (error) {
    trouble = error.message;
  }
  return {
    total: () => rows.length,
    nothing: trouble || "There is nothing to review here.",
    keys: [["k", "Keep"], ["x", "Exclude"], ["m", "Move"], ["n", "Name cluster"]],
    async draw(place) {
      const [facts, beside] = await Promise.all([get(`images/${rows[place]}`), copies ? besideCopy(rows[place], copies, groupingNow()) : []]);
      const own = placeIn(facts, groupingNow());
      const card = cardOf(own.cluster);
      if (rows[place + 1] !== undefined) new Image().src = imageAddress(rows[place + 1], 1280);
      return [
        h("a", { class: "review-image", href: imageLink(facts) }, h("img", { src: imageAddress(facts.row, 1280), alt: facts.caption || facts.key, class: "fits" })),
        h("div", { class: "review-facts" },
          h("h2", null, facts.key),
          h("dl", { class: "facts small" },
            fact("cluster", nameOf(own.cluster)), fact("confidence", decimal(own.confidence)), fact("novelty", decimal(facts.novelty)),
            facts.label ? fact("label", facts.label) : null, facts.excluded ? fact("excluded", "yes") : null),
          beside.length ? [h("h3", null, beside[0].is_kept ? "Kept, and most similar" : "Most similar"), h("div", { class: "review-typical" }, beside.map(similarImage))] : null,
          card ? [h("h3", null, `Typical of ${nameOf(own.cluster)}`), typical(card)] : null),
      ];
    },
    async act(key, place) {
      const row = rows[place];
      if (key === "k") return decide("tag", { rows: [row], value: REVIEWED }, "Kept.");
      if (key === "x") return decide("exclude", { rows: [row] }, "Excluded.");
      if (key === "n") {
        const facts = await get(`images/${row}`);
        const own = placeIn(facts, groupingNow());
        await askName(own.cluster, nameOf(own.cluster), nameOf(own.cluster));
        return false;
      }
      const cluster = await askCluster("Move the image", all().filter((/** @type {any} */ card) => card.size).map((/** @type {any} */ card) => [card.id, nameOf(card.id)]));
      return cluster ? decide("move", { rows: [row], clusters: [cluster[0]] }, `Moved to ${cluster[1]}.`) : false;
    },
  };
}

/**
 * The image that is kept in the place of a copy, and those most similar to the copy.
 *
 * @param {number} row
 * @param {string} kind
 * @param {string} grouping
 * @returns {Promise<any[]>}
 */
async function besideCopy(row, kind, grouping) {
  const findKept = async () => {
    const kept = (await get(`images/${row}/kept`, { kind })).row;
    return kept === null ? null : { ...await get(`images/${kept}`), is_kept: true };
  };
  const [kept, { hits }] = await Promise.all([
    findKept().catch(() => null),
    get(`images/${row}/neighbours`, { space: "embeddings", n: NEAREST, grouping: grouping === DECIDED ? DECIDED : null }).catch(() => ({ hits: [] })),
  ]);
  return [kept, ...hits.filter((/** @type {any} */ hit) => hit.row !== kept?.row)].filter(Boolean).slice(0, NEAREST);
}

/** An image beside a copy, which says whether it is the one that is kept. */
function similarImage(item) {
  const badge = item.is_kept ? (item.excluded ? "kept, but excluded" : "kept") : null;
  return h("a", { class: badge ? "kept" : null, href: imageLink(item) },
    image(item.row, 256, `${item.key}, ${badge ?? `similarity ${decimal(item.similarity)}`}`, { width: 144, height: 144 }),
    badge ? h("span", { class: "badge", "aria-hidden": "true" }, badge) : null);
}

/**
 * Asks for the name of a cluster, and records it; says whether it was.
 *
 * @param {number} cluster
 * @param {string} words  its name until now
 * @param {string} value  what is offered
 */
const askName = (cluster, words, value) => askText(`Name ${words}`, "Name",
  (name, dialog) => decide("name", { clusters: [cluster], value: name }, `Named it “${name}”.`, dialog), { value, isRequired: true });

/**
 * Clusters without a name that a person gave.
 *
 * @returns {Queue}
 */
function clusterQueue(cards, nameOf) {
  const waiting = unnamed(cards);
  return {
    total: () => waiting.length,
    nothing: "Every cluster has a name.",
    keys: [["k", "Keep the caption"], ["n", "Name"], ["x", "Exclude all"]],
    draw: async (place) => {
      const card = waiting[place];
      return [h("div", { class: "review-facts wide" }, h("h2", null, nameOf(card.id)), h("p", { class: "quiet" }, `${counted(card.size, "image")}, confidence ${decimal(card.confidence)}`), typical(card, 24))];
    },
    async act(key, place) {
      const card = waiting[place];
      const clusters = [card.id];
      if (key === "k") return decide("name", { clusters, value: nameOf(card.id) }, `Named it “${nameOf(card.id)}”.`);
      if (key === "x") return decide("exclude", { clusters }, `Excluded ${nameOf(card.id)}.`);
      return askName(card.id, nameOf(card.id), card.names.length ? nameOf(card.id) : "");
    },
  };
}

/**
 * Decisions that need a look, all of them.
 *
 * @returns {Promise<Queue>}
 */
async function decisionQueue({ cardOf, nameOf }) {
  /** @type {any[]} */
  const waiting = [];
  for (let total = decided.needsALook; waiting.length < total;) {
    const answer = await get("edits", { status: "needs a look", offset: waiting.length, limit: 200 });
    waiting.push(...answer.decisions);
    total = answer.decisions.length ? answer.total : 0;
  }
  /** Whether it says something of one cluster, which can be said again of the current cluster. */
  const isOfCluster = (/** @type {any} */ each) => ["name", "note"].includes(each.op) && each.clusters.length === 1 && each.now.length === 1;
  return {
    total: () => waiting.length,
    nothing: "Every decision is applied.",
    keys: [["k", "Keep"], ["x", "Take it back"]],
    draw: async (place) => {
      const each = waiting[place];
      const held = each.now.map(cardOf).filter((/** @type {any} */ card) => card?.size);
      return [h("div", { class: "review-facts wide" },
        h("h2", null, `Decision ${each.number}`),
        h("p", null, `${each.by} ${describe(each)}.`),
        h("p", { class: "quiet" }, `${each.why}.`),
        h("p", { class: "hint" }, isOfCluster(each) ? (each.op === "name" ? `Keep names the cluster as it is now “${each.value}”.` : "Keep puts this note on the cluster as it is now.") : "Keep leaves it as it is, and shows the next one."),
        held.map((/** @type {any} */ card) => [h("h3", null, h("a", { href: clusterLink(card.id, DECIDED) }, nameOf(card.id)), h("span", { class: "quiet" }, ` ${counted(card.size, "image")} now`)), typical(card, 24)]))];
    },
    async act(key, place) {
      const each = waiting[place];
      if (key === "x") return decide("revert", { value: each.id }, "Took it back.");
      if (!isOfCluster(each)) return true;
      const isKept = await decide(each.op, { clusters: each.now, value: each.value }, "Kept.");
      // What was said before of the same cluster is settled by it.
      const isOpen = (/** @type {any} */ other, /** @type {number} */ at) => at <= place || other.op !== each.op || String(other.now) !== String(each.now);
      if (isKept) waiting.splice(0, waiting.length, ...waiting.filter(isOpen));
      return isKept;
    },
  };
}

/**
 * @param {any} card
 */
const typical = (card, most = 12) => h("div", { class: "review-typical", "aria-hidden": "true" }, card.typical.slice(0, most).map((/** @type {any} */ member) => image(member.row, 128, "", { width: 72, height: 72 })));
