// The JSON API, as its OpenAPI description tells it.

import { h } from "./dom.js";

export async function show() {
  const spec = await (await fetch("openapi.json")).json();
  const groups = new Map();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = route.tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(describe(spec, path, method, route));
    }
  }
  const root = h("div", null,
    h("h1", null, "JSON API"),
    h("p", { class: "lead" }, spec.info.description, " ", h("a", { href: "openapi.json", target: "_blank" }, "openapi.json")),
    h("div", { class: "run" }, [...groups].map(([tag, routes]) => h("section", null, h("h2", null, tag), h("div", { class: "routes" }, routes)))));
  return { title: "JSON API", root };
}

function describe(spec, path, method, route) {
  const parameters = route.parameters ?? [];
  const answer = route.responses["200"]?.content ?? {};
  const [type, one] = Object.entries(answer)[0] ?? [];
  const isPlain = method === "get" && !parameters.some((each) => each.required);
  return h("details", { class: "route" },
    h("summary", null, h("span", { class: `verb ${method}` }, method.toUpperCase()), h("code", null, path), h("span", { class: "quiet" }, route.description?.split("\n")[0] ?? "")),
    h("div", null,
      h("p", null, route.description),
      parameters.length ? h("div", { class: "scroll" }, h("table", { class: "table" },
        h("thead", null, h("tr", null, ["parameter", "takes", ""].map((each) => h("th", { scope: "col" }, each)))),
        h("tbody", null, parameters.map((each) => h("tr", null,
          h("th", { scope: "row" }, each.name, each.required ? " (needed)" : ""), h("td", null, h("code", null, kind(spec, each.schema))), h("td", null, each.description ?? "")))))) : null,
      route.requestBody ? h("p", null, "Body: ", h("code", null, Object.keys(route.requestBody.content).join(", "))) : null,
      type ? h("p", null, "Answer: ", h("code", null, type)) : null,
      one?.schema && type === "application/json" ? h("pre", null, h("code", null, JSON.stringify(shape(spec, one.schema), null, 1))) : null,
      isPlain ? h("p", null, h("a", { href: path.slice(1), target: "_blank" }, "Try it")) : null));
}

function kind(spec, schema = {}) {
  if (schema.$ref) return kind(spec, follow(spec, schema.$ref));
  if (schema.anyOf) return schema.anyOf.map((one) => kind(spec, one)).filter((one) => one !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  return schema.const !== undefined ? JSON.stringify(schema.const) : (schema.type ?? "anything");
}

const follow = (spec, reference) => reference.slice(2).split("/").reduce((one, name) => one[name], spec);

/** What an answer looks like: names, and what kind of value each has. */
function shape(spec, schema, depth = 0) {
  if (depth > 5) return "…";
  if (schema.$ref) return shape(spec, follow(spec, schema.$ref), depth + 1);
  if (schema.type === "array") return [schema.items ? shape(spec, schema.items, depth + 1) : "…"];
  const reference = schema.anyOf?.find((one) => one.$ref);
  if (reference) return shape(spec, reference, depth + 1);
  if (schema.properties) return Object.fromEntries(Object.entries(schema.properties).map(([name, one]) => [name, shape(spec, one, depth + 1)]));
  return kind(spec, schema);
}
