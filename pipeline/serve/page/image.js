// One image: large, with all that is known of it, and its neighbours in both spaces.

import { Failed, get, picture } from "./api.js";
import { bytes, count, decimal, h } from "./dom.js";
import { fixed } from "./grid.js";
import { TREE, clusterLink, groupingName, imageLink, searchLink } from "./links.js";
import { tile } from "./tiles.js";
import { beside } from "./imagelist.js";

const NEAR = 12;
const FEW = 128; // pixels below which a picture is enlarged with its pixels seen

async function rowOf({ row, key, shard }) {
  if (/^\d{1,9}$/.test(row ?? "")) return Number(row);
  if (key === undefined) throw new Failed(404, "the address names no picture: it takes shard and key, or row");
  const rows = await get("rows", { key, shard });
  if (!rows.length) throw new Failed(404, `no picture has the key ${key}${shard ? ` in ${shard}` : ""}`);
  return rows[0];
}

export async function show(parameters, { facts, go }) {
  const row = await rowOf(parameters);
  const found = await get(`images/${row}`);
  const own = found.places[0];
  const { before, after, place, total } = beside(row);
  const root = h("article", null,
    h("nav", { class: "crumbs", "aria-label": "Where this is" },
      h("a", { href: "./" }, "All clusters"), " › ", h("a", { href: clusterLink(own.cluster) }, own.name ?? `Cluster ${own.cluster}`), " › ", found.key),
    h("div", { class: "row-between" },
      h("h1", null, found.key),
      h("div", { class: "buttons" },
        total > 1 ? [
          step("← before", before), h("span", { class: "quiet number" }, `${count(place + 1)} of ${count(total)}`), step("after →", after),
        ] : null,
        h("a", { class: "button", href: searchLink({ row }) }, "Find more like it"))),
    h("div", { class: "image" },
      h("div", { class: "stage" }, large(found)),
      fields(found),
      h("section", { class: "spaces", "aria-label": "Neighbours" }, neighbours("embeddings", "CLIP", row, own, facts), neighbours("features", "Refined", row, own, facts))));
  return {
    title: found.key,
    root,
    onKey(event) {
      const to = { ArrowLeft: before, ArrowRight: after }[event.key];
      if (!to) return false;
      go(imageLink(to), { replace: true });
      return true;
    },
  };
}

const step = (words, item) => (item ? h("a", { class: "button", href: imageLink(item) }, words) : h("button", { class: "button", disabled: true }, words));

function large(found) {
  const width = found.width ?? 0;
  const side = Math.max(width, found.height ?? 0);
  // Small ones are enlarged: twice, or until they can be seen, with their pixels as they are.
  const wanted = side && side < FEW ? (width * 2 * FEW) / side : 2 * width;
  const shown = h("img", {
    src: picture(found.row, 1280), alt: found.caption || found.key, class: side && side < FEW ? "pixels" : null,
    width: found.width, height: found.height, style: wanted ? { width: `${wanted}px`, height: "auto" } : null,
  });
  shown.addEventListener("error", async () => {
    let why = "The picture cannot be read.";
    try {
      await get(`pictures/${found.row}`, { size: 1280 });
    } catch (error) {
      if (error instanceof Failed) why = error.message;
    }
    shown.replaceWith(h("div", { class: "gone", role: "alert" }, why));
  }, { once: true });
  return shown;
}

function fields(found) {
  const rows = [
    ["caption", found.caption],
    ["label", found.label],
    ["size", found.width ? `${count(found.width)} × ${count(found.height)} pixels${found.size ? `, ${bytes(found.size)}` : ""}` : null],
    ["shard", found.shard],
    ["key", found.key],
    ["url", found.url ? link(found.url) : null],
    ...found.places.map((one) => [groupingName(one.grouping), h("span", null,
      h("a", { href: clusterLink(one.cluster, one === found.places[0] ? null : one.grouping) }, one.name ?? `cluster ${one.cluster}`), `, confidence ${decimal(one.confidence)}`)]),
    ["hierarchy", found.node === null ? null : h("a", { href: clusterLink(found.node, TREE) }, `finest cluster ${found.node}`)],
    ["novelty", h("span", null, decimal(found.novelty), found.novelty > 1 ? " (far from everything that was fitted)" : "")],
    ...Object.entries(found.extra).map(([name, value]) => [name, typeof value === "object" && value !== null ? JSON.stringify(value) : value === null ? null : String(value)]),
    ["row", count(found.row)],
    ["read from", found.source ? h("code", null, found.source, found.offset === null ? "" : ` at byte ${count(found.offset)}`) : null],
  ];
  return h("aside", { class: "panel fields", "aria-label": "Fields" },
    h("table", { class: "table" }, h("tbody", null, rows.filter(([, value]) => value !== null && value !== "").map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, value))))),
    h("div", { class: "buttons" }, h("a", { class: "button", href: `api/pictures/${found.row}/original`, download: "" }, "Save the original")));
}

/** An address as a link, if it is one of the web: others could be scripts. */
function link(address) {
  let parsed = null;
  try {
    parsed = new URL(address);
  } catch {
    return address;
  }
  return ["http:", "https:"].includes(parsed.protocol) ? h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address) : address;
}

function neighbours(space, title, row, own, facts) {
  const panel = h("section", { class: "panel" }, h("h2", null, title), h("p", { class: "waiting" }, "looking"));
  if (!facts.spaces.includes(space)) {
    panel.replaceChildren(h("h2", null, title), h("p", { class: "quiet" }, "The run does not hold this space."));
    return panel;
  }
  get(`images/${row}/neighbours`, { space, n: NEAR }).then(({ hits }) => {
    const same = hits.filter((one) => one.cluster === own.cluster).length;
    panel.replaceChildren(
      h("div", null, h("h2", null, title), h("p", { class: "quiet" }, `${same} of ${hits.length} nearest are of the same cluster`)),
      fixed(`Nearest by ${title}`, hits, (one) => tile({ ...one, confidence: undefined }, { badge: decimal(one.similarity), isOther: one.cluster !== own.cluster })));
  }, (error) => panel.replaceChildren(h("h2", null, title), h("p", { class: "quiet", role: "alert" }, error.message)));
  return panel;
}

