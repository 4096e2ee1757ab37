// One image: large, with all its fields, and its neighbours in both spaces.

import { makeAddressUpdater } from "./address.js";
import { RequestError, commandLine, get, imageAddress, query } from "./api.js";
import { bytes, count, decimal, h } from "./dom.js";
import { fixedGrid } from "./grid.js";
import { findNeighbours } from "./imagelist.js";
import { DECIDED, TREE, clusterLink, decidedIn, groupingName, imageLink, placeIn, searchLink } from "./links.js";
import { tile } from "./tiles.js";

const NEAREST = 12;
const FEW_PIXELS = 128; // below which an image is enlarged without smoothing

async function findRow({ row, key, shard }) {
  const given = /^\d{1,9}$/.test(row ?? "") ? Number(row) : null;
  if (key === undefined) {
    if (given === null) throw new RequestError(404, "the address must name an image by shard and key, or by row");
    return given;
  }
  const rows = await get("rows", { key, shard });
  if (!rows.length) throw new RequestError(404, `no image has the key ${key}${shard ? ` in ${shard}` : ""}`);
  return rows.includes(given) ? given : rows[0]; // rows have other numbers once some were added
}

export async function show(parameters, { facts: run, go }) {
  const updateAddress = makeAddressUpdater();
  const row = await findRow(parameters);
  const facts = await get(`images/${row}`);
  updateAddress(imageLink(facts));
  const own = placeIn(facts, DECIDED);
  const list = findNeighbours(row);
  const root = h("article", null,
    h("nav", { class: "crumbs", "aria-label": "Breadcrumbs" },
      h("a", { href: "./" }, "Images"), " › ", h("a", { href: clusterLink(own.cluster, own.grouping) }, own.name ?? `Cluster ${own.cluster}`), " › ", facts.key),
    h("div", { class: "row-between" },
      h("h1", null, facts.key),
      h("div", { class: "buttons" },
        list && list.total > 1 ? [
          step("← previous", list.before), h("span", { class: "quiet number" }, `${count(list.place + 1)} of ${count(list.total)}`), step("next →", list.after),
        ] : null,
        h("a", { class: "button", href: searchLink({ row }) }, "Find similar images"))),
    h("div", { class: "image" },
      h("div", { class: "stage" }, large(facts)),
      fields(facts),
      h("section", { class: "spaces", "aria-label": "Neighbours" }, neighbours("embeddings", "Embeddings", row, own, run), neighbours("features", "Refined", row, own, run))));
  return {
    title: facts.key,
    root,
    /** @param {KeyboardEvent} event */
    onKey(event) {
      const target = event.key === "ArrowLeft" ? list?.before : event.key === "ArrowRight" ? list?.after : null;
      if (target === null || target === undefined) return false;
      go(rowLink(target), { replace: true });
      return true;
    },
  };
}

const step = (words, row) => (row === null ? h("button", { class: "button", disabled: true }, words) : h("a", { class: "button", href: rowLink(row) }, words));

/**
 * An image by its row: where it leads, the address becomes that of shard and key.
 *
 * @param {number} row
 */
const rowLink = (row) => `image${query({ row })}`;

/** The image, enlarged if it is small. */
function large(facts) {
  const width = facts.width ?? 0;
  const side = Math.max(width, facts.height ?? 0);
  const isSmall = side > 0 && side < FEW_PIXELS;
  // Twice its size, and a small one large enough to see its pixels.
  const shownWidth = isSmall ? (width * 2 * FEW_PIXELS) / side : 2 * width;
  const element = h("img", {
    src: imageAddress(facts.row, 1280), alt: facts.caption || facts.key, class: isSmall ? "pixels" : null,
    width: facts.width, height: facts.height, style: shownWidth ? { width: `${shownWidth}px`, height: "auto" } : null,
  });
  element.addEventListener("error", async () => {
    let reason = "The image cannot be read.";
    try {
      await get(`pictures/${facts.row}`, { size: 1280 });
    } catch (error) {
      if (error instanceof RequestError) reason = error.message;
    }
    element.replaceWith(h("div", { class: "gone", role: "alert" }, reason));
  }, { once: true });
  return element;
}

function fields(facts) {
  const rows = [
    ["caption", facts.caption],
    ["label", facts.label],
    ["size", facts.width ? `${count(facts.width)} × ${count(facts.height)} pixels${facts.size ? `, ${bytes(facts.size)}` : ""}` : null],
    ["shard", facts.shard],
    ["key", facts.key],
    ["url", facts.url ? link(facts.url) : null],
    ...facts.places.map((place) => [groupingName(place.grouping), h("span", null,
      h("a", { href: clusterLink(place.cluster, place === facts.places[0] ? null : place.grouping) }, place.name ?? `cluster ${place.cluster}`), `, confidence ${decimal(place.confidence)}`)]),
    ["hierarchy", facts.node === null ? null : h("a", { href: clusterLink(facts.node, TREE) }, `finest cluster ${facts.node}`)],
    ["novelty", h("span", { title: "Above 1, the image is far from all that the clusters were fitted on." }, decimal(facts.novelty), facts.novelty > 1 ? " (an outlier)" : "")],
    ...Object.entries(facts.extra).map(([name, value]) => [name, typeof value === "object" && value !== null ? JSON.stringify(value) : value === null ? null : String(value)]),
    ["row", count(facts.row)],
    ["file", facts.source ? h("code", null, facts.source, facts.offset === null ? "" : ` at byte ${count(facts.offset)}`) : null],
  ];
  return h("aside", { class: "panel fields", "aria-label": "Fields" },
    h("table", { class: "table" }, h("tbody", null, rows.filter(([, value]) => value !== null && value !== "").map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, value))))),
    h("div", { class: "buttons" }, h("a", { class: "button", href: `api/pictures/${facts.row}/original`, download: "" }, "Save the original")));
}

/**
 * A link, if the address is one of the web: any other could be a script.
 *
 * @param {string} address
 */
function link(address) {
  try {
    if (!["http:", "https:"].includes(new URL(address).protocol)) return address;
  } catch {
    return address;
  }
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address);
}

/** A panel with the nearest images of a space; those of another cluster are framed. */
function neighbours(space, title, row, own, run) {
  const heading = h("h2", null, title);
  const panel = h("section", { class: "panel" }, heading, h("p", { class: "waiting" }, "searching"));
  if (!run.spaces.includes(space)) {
    panel.replaceChildren(heading, h("p", { class: "quiet" }, `The ${space} of this run are out of date: run `, h("code", null, commandLine(run, "project")), "."));
    return panel;
  }
  get(`images/${row}/neighbours`, { space, n: NEAREST, grouping: decidedIn(run) }).then(({ hits }) => {
    const same = hits.filter((hit) => hit.cluster === own.cluster).length;
    panel.replaceChildren(
      h("div", null, heading, h("p", { class: "quiet" }, `${same} of the ${hits.length} nearest are in the same cluster`)),
      fixedGrid(`Nearest by ${title}`, hits, (hit) => tile({ ...hit, confidence: undefined }, { badge: decimal(hit.similarity), isOther: hit.cluster !== own.cluster })));
  }, (error) => panel.replaceChildren(heading, h("p", { class: "quiet", role: "alert" }, error.message)));
  return panel;
}
