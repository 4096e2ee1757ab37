// The JSON API, drawn from its OpenAPI description.

import { h } from "./dom.js";

const MAX_DEPTH = 5; // of the objects in an example

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
  const content = route.responses["200"]?.content ?? {};
  const [type, answer] = Object.entries(content)[0] ?? [];
  const canTry = method === "get" && !parameters.some((parameter) => parameter.required);
  return h("details", { class: "route" },
    h("summary", null, h("span", { class: `verb ${method}` }, method.toUpperCase()), h("code", null, path), h("span", { class: "quiet" }, route.description?.split("\n")[0] ?? "")),
    h("div", null,
      h("p", null, route.description),
      parameters.length ? h("div", { class: "scroll" }, h("table", { class: "table" },
        h("thead", null, h("tr", null, ["parameter", "type", ""].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, parameters.map((parameter) => h("tr", null,
          h("th", { scope: "row" }, parameter.name, parameter.required ? " (required)" : ""), h("td", null, h("code", null, typeOf(spec, parameter.schema))), h("td", null, parameter.description ?? "")))))) : null,
      route.requestBody ? h("p", null, "Body: ", h("code", null, Object.keys(route.requestBody.content).join(", "))) : null,
      type ? h("p", null, "Answer: ", h("code", null, type)) : null,
      answer?.schema && type === "application/json" ? h("pre", null, h("code", null, JSON.stringify(example(spec, answer.schema), null, 1))) : null,
      canTry ? h("p", null, h("a", { href: path.slice(1), target: "_blank" }, "Try it")) : null));
}

/** The type of a value in words. */
function typeOf(spec, schema = {}) {
  if (schema.$ref) return typeOf(spec, resolve(spec, schema.$ref));
  if (schema.anyOf) return schema.anyOf.map((option) => typeOf(spec, option)).filter((type) => type !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  return schema.const !== undefined ? JSON.stringify(schema.const) : (schema.type ?? "anything");
}

/** What a reference such as #/components/schemas/Card refers to. */
const resolve = (spec, reference) => reference.slice(2).split("/").reduce((object, name) => object[name], spec);

/** An answer with the type of each value in its place. */
function example(spec, schema, depth = 0) {
  if (depth > MAX_DEPTH) return "…";
  if (schema.$ref) return example(spec, resolve(spec, schema.$ref), depth + 1);
  if (schema.type === "array") return [schema.items ? example(spec, schema.items, depth + 1) : "…"];
  const reference = schema.anyOf?.find((option) => option.$ref);
  if (reference) return example(spec, reference, depth + 1);
  if (schema.properties) return Object.fromEntries(Object.entries(schema.properties).map(([name, property]) => [name, example(spec, property, depth + 1)]));
  return typeOf(spec, schema);
}
