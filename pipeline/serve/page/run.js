// The run: what was embedded and skipped, its settings and lineage, and its scores.

import { get } from "./api.js";
import { deciles, figure } from "./charts.js";
import { count, day, decimal, h, percent } from "./dom.js";
import { clusterLink } from "./links.js";

const LOOK = 1500; // ms between two looks at scores that are being worked out

export async function show(parameters, { facts }) {
  const scores = h("section", { class: "panel" }, h("h2", null, "Against labels"), h("p", { class: "waiting" }, "one moment"));
  const lost = facts.seen - facts.embedded;
  const root = h("div", null,
    h("p", { class: "crumbs" }, `cpp-pipe ${facts.cpp_pipe}`),
    h("h1", null, `Run ${facts.name}`),
    h("dl", { class: "facts" },
      fact("seen", facts.seen), fact("embedded", facts.embedded), fact("skipped", lost),
      h("div", null, h("dt", null, "model"), h("dd", null, facts.model))),
    facts.partial.length ? h("p", { class: "lead" }, `Cut short: ${facts.partial.join(", ")}.`) : null,
    h("div", { class: "run" },
      h("div", { class: "two" }, scores, skipped(facts, lost)),
      absent(facts),
      h("section", { class: "panel" },
        h("h2", null, "Where it comes from"),
        h("p", { class: "quiet" }, "Each version is the hash of all that decided its numbers. Open one for its settings."),
        h("ol", { class: "flow" }, facts.made.map(made)))));
  watch(scores);
  return { title: "Run", root };
}

const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, count(value)));

function made(one) {
  const seconds = one.seconds === null ? "" : `, ${count(Math.round(one.seconds))} s on ${one.device}`;
  return h("li", null, h("div", null,
    h("details", null,
      h("summary", null, h("span", { class: "slot" }, one.slot), " ", h("code", { class: "quiet" }, one.version)),
      h("pre", null, h("code", null, JSON.stringify(one.settings, null, 1)))),
    h("p", { class: "from" }, `${count(one.rows)} rows · ${one.stage} · ${day(one.date)}${seconds}`),
    h("p", { class: "from" }, one.inputs.length ? `made from ${one.inputs.join(", ")}` : "made from files of yours")));
}

function absent(facts) {
  if (!facts.absent.length) return null;
  return h("section", { class: "panel" }, h("h2", null, "Not made yet"),
    facts.absent.map((one) => h("p", { class: "quiet" }, h("code", null, one.command), ` adds ${one.what}.`)));
}

function skipped(facts, lost) {
  const panel = h("section", { class: "panel" }, h("h2", null, "What was skipped"));
  if (!lost) {
    panel.append(h("p", { class: "quiet" }, `Nothing: all ${count(facts.seen)} samples were embedded.`));
    return panel;
  }
  const list = h("div");
  panel.append(
    h("table", { class: "table" }, h("tbody", null, facts.skipped.map((one) => h("tr", null,
      h("th", { scope: "row" }, one.reason), h("td", { class: "number" }, count(one.rows)),
      h("td", null, h("button", { class: "button", type: "button", on: { click: () => fill(list, one.reason) } }, "Which")))))),
    list);
  return panel;
}

async function fill(list, reason) {
  try {
    const found = await get("skipped", { reason, limit: 100 });
    list.replaceChildren(h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Skipped: ${reason}` },
      h("table", { class: "table" },
        h("thead", null, h("tr", null, ["key", "shard", "detail"].map((one) => h("th", { scope: "col" }, one)))),
        h("tbody", null, found.items.map((one) => h("tr", null, h("td", null, one.key), h("td", null, one.shard), h("td", null, one.detail)))))),
      found.total > found.items.length ? h("p", { class: "quiet" }, `and ${count(found.total - found.items.length)} more`) : null);
  } catch (error) {
    list.replaceChildren(h("p", { class: "quiet", role: "alert" }, error.message));
  }
}

async function watch(panel) {
  try {
    const found = await get("evaluation");
    if (found.state === "working") {
      panel.replaceChildren(h("h2", null, "Against labels"), h("p", { class: "waiting" }, "Scoring, beside k-means and chance: some seconds for a few thousand pictures."));
      setTimeout(() => watch(panel), LOOK);
      return;
    }
    panel.replaceChildren(h("h2", null, "Against labels"), ...(found.scores ? told(found.scores) : [h("p", { class: "quiet" }, `Not scored: ${found.detail}.`)]));
  } catch (error) {
    panel.replaceChildren(h("h2", null, "Against labels"), h("p", { class: "quiet", role: "alert" }, error.message));
  }
}

function told(scores) {
  const rows = [["these clusters", scores.clusters], ["k-means on the embeddings", scores.kmeans], ["chance, with the same sizes", scores.chance]];
  return [
    h("p", { class: "quiet" }, `${count(scores.n)} pictures of ${count(scores.classes)} classes in ${count(scores.k)} clusters. Labels took no part in training or clustering.`),
    h("div", { class: "scroll" }, h("table", { class: "table" },
      h("thead", null, h("tr", null, h("td"), ["accuracy", "NMI", "ARI"].map((one) => h("th", { scope: "col", class: "number" }, one)))),
      h("tbody", null, rows.map(([name, one]) => h("tr", null, h("th", { scope: "row" }, name),
        [one.acc, one.nmi, one.ari].map((value) => h("td", { class: "number" }, decimal(value, 3)))))))),
    scores.deciles.length > 1 ? figure(deciles(scores.deciles), "Each point is a tenth of the pictures, by confidence. Where the lines rise, confidence tells which to look at first.",
      h("p", { class: "legend" }, h("span", null, "accuracy"), h("span", { class: "of-2" }, "purity"))) : null,
    h("h3", null, "The largest mistakes"),
    scores.mistakes.length ? h("ul", { class: "bars" }, scores.mistakes.slice(0, 8).map((one) => h("li", null,
      h("span", { class: "word" }, one.label, " in ", h("a", { href: clusterLink(one.cluster) }, `cluster ${one.cluster}`), one.matched ? `, mostly ${one.matched}` : ""),
      h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${100 * one.share}%` } })),
      h("span", { class: "share" }, percent(one.share))))) : h("p", { class: "quiet" }, "None: clusters and classes are the same."),
  ];
}
