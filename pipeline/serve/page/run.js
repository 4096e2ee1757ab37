// The run: what was embedded and skipped, its lineage, and its scores.

import { get } from "./api.js";
import { shareBar } from "./cards.js";
import { deciles, figure } from "./charts.js";
import { count, day, decimal, h } from "./dom.js";
import { clusterLink } from "./links.js";
import { missing } from "./missing.js";

const POLL_MS = 1500; // between two requests for scores that are being computed
const MAX_SKIPPED = 100;
const MAX_MISTAKES = 8;

/** Scores with their titles. */
const SCORES = [["acc", "accuracy", "Share of images in the cluster of their class"], ["nmi", "NMI", "Normalised mutual information"], ["ari", "ARI", "Adjusted Rand index"]];

export async function show(_parameters, { facts: run }) {
  const scores = h("section", { class: "panel" }, h("h2", null, "Scores against labels"), h("p", { class: "waiting" }, "loading"));
  const root = h("div", null,
    h("p", { class: "crumbs" }, `cpp-pipe ${run.cpp_pipe}`),
    h("h1", null, `Run ${run.name}`),
    h("dl", { class: "facts" },
      fact("seen", run.seen), fact("embedded", run.embedded), fact("skipped", run.seen - run.embedded),
      h("div", null, h("dt", null, "model"), h("dd", null, run.model))),
    run.partial.length ? h("p", { class: "lead" }, `Read only in part: ${run.partial.join(", ")}.`) : null,
    h("div", { class: "run" },
      h("div", { class: "two" }, scores, skipped(run)),
      missing(run),
      h("section", { class: "panel" },
        h("h2", null, "Lineage"),
        h("p", { class: "quiet" }, "A version is the hash of everything that decides its numbers. Open one to see its settings."),
        h("ol", { class: "flow" }, run.made.map(artifact)))));
  showScores(scores);
  return { title: "Run", root };
}

/**
 * @param {string} name
 * @param {number} value
 */
const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, count(value)));

function artifact(made) {
  const seconds = made.seconds === null ? "" : `, ${count(Math.round(made.seconds))} s on ${made.device}`;
  return h("li", null, h("div", null,
    h("details", null,
      h("summary", null, h("span", { class: "slot" }, made.slot), " ", h("code", { class: "quiet" }, made.version)),
      h("pre", null, h("code", null, JSON.stringify(made.settings, null, 1)))),
    h("p", { class: "from" }, `${count(made.rows)} rows · ${made.stage} · ${day(made.date)}${seconds}`),
    h("p", { class: "from" }, made.inputs.length ? `made from ${made.inputs.join(", ")}` : "made from your files")));
}

function skipped(run) {
  const panel = h("section", { class: "panel" }, h("h2", null, "Skipped samples"));
  if (run.seen === run.embedded) {
    panel.append(h("p", { class: "quiet" }, `None: all ${count(run.seen)} samples were embedded.`));
    return panel;
  }
  const list = h("div");
  panel.append(
    h("table", { class: "table" }, h("tbody", null, run.skipped.map(({ reason, rows }) => h("tr", null,
      h("th", { scope: "row" }, reason), h("td", { class: "number" }, count(rows)),
      h("td", null, h("button", { class: "button", type: "button", on: { click: () => showSkipped(list, reason) } }, "Show")))))),
    list);
  return panel;
}

/**
 * @param {HTMLElement} list
 * @param {string} reason
 */
async function showSkipped(list, reason) {
  try {
    const { items, total } = await get("skipped", { reason, limit: MAX_SKIPPED });
    const rest = total - items.length;
    list.replaceChildren(h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Skipped: ${reason}` },
      h("table", { class: "table" },
        h("thead", null, h("tr", null, ["key", "shard", "detail"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, items.map((sample) => h("tr", null, h("td", null, sample.key), h("td", null, sample.shard), h("td", null, sample.detail)))))),
      rest ? h("p", { class: "quiet" }, `and ${count(rest)} more`) : "");
  } catch (error) {
    list.replaceChildren(h("p", { class: "quiet", role: "alert" }, error.message));
  }
}

/** @param {HTMLElement} panel */
async function showScores(panel) {
  const heading = h("h2", null, "Scores against labels");
  try {
    const evaluation = await get("evaluation");
    if (evaluation.state === "working") {
      panel.replaceChildren(heading, h("p", { class: "waiting" }, "Scoring these clusters, k-means and chance: a few seconds for a few thousand images."));
      setTimeout(() => showScores(panel), POLL_MS);
      return;
    }
    panel.replaceChildren(heading, ...(evaluation.scores ? scoreTable(evaluation.scores) : [h("p", { class: "quiet" }, `Not scored: ${evaluation.detail}.`)]));
  } catch (error) {
    panel.replaceChildren(heading, h("p", { class: "quiet", role: "alert" }, error.message));
  }
}

function scoreTable(scores) {
  const rows = [["these clusters", scores.clusters], [`${scores.kmeans_method} on the embeddings`, scores.kmeans], ["random clusters of the same sizes", scores.chance]];
  return [
    h("p", { class: "quiet" }, `${count(scores.n)} images of ${count(scores.classes)} classes in ${count(scores.k)} clusters. Training and clustering did not use the labels.`),
    h("div", { class: "scroll" }, h("table", { class: "table" },
      h("thead", null, h("tr", null, h("td"), SCORES.map(([, name, title]) => h("th", { scope: "col", class: "number", title }, name)))),
      h("tbody", null, rows.map(([name, values]) => h("tr", null, h("th", { scope: "row" }, name),
        SCORES.map(([key]) => h("td", { class: "number" }, decimal(values[key], 3)))))))),
    scores.deciles.length > 1 ? figure(deciles(scores.deciles), "Each point is a tenth of the images, by confidence. Where the lines rise, check the least confident images first.",
      h("p", { class: "legend" }, h("span", null, "accuracy"), h("span", { class: "of-2" }, "purity"))) : "",
    h("h3", null, "The largest mistakes"),
    scores.mistakes.length
      ? h("ul", { class: "bars" }, scores.mistakes.slice(0, MAX_MISTAKES).map((mistake) => shareBar(
        [mistake.label, " in ", h("a", { href: clusterLink(mistake.cluster) }, `cluster ${mistake.cluster}`), mistake.matched ? `, mostly ${mistake.matched}` : ""], mistake.share, mistake.share)))
      : h("p", { class: "quiet" }, "None: clusters and classes are the same."),
  ];
}
