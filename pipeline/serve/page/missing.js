// What a run lacks, with the commands that make it.

import { h } from "./dom.js";

/** @param {{absent: {what: string, reason: string, command: string}[]}} run */
export function missing(run) {
  if (!run.absent.length) return null;
  return h("section", { class: "panel" },
    h("h2", null, "Not made yet, or out of date"),
    run.absent.map((absent) => h("p", { class: "quiet" }, `${absent.reason}. Run `, h("code", null, absent.command), ".")));
}
