// The server's answers: JSON, pictures by address, and what went wrong in words.

export class Failed extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function read(response) {
  if (response.ok) return response.json();
  let detail = `the server answered with ${response.status}`;
  try {
    detail = (await response.json()).detail ?? detail;
  } catch {
    // What is no JSON has no more to say.
  }
  throw new Failed(response.status, detail);
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed(0, "the server does not answer: is `cpp-pipe serve` still running?");
  }
  return read(response);
}

/** Parameters as a query; those without a value are left out. */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export const get = (path, parameters = {}, signal) => ask(`api/${path}${query(parameters)}`, { signal });

export const post = (path, parameters, body, signal) =>
  ask(`api/${path}${query(parameters)}`, { method: "POST", body, signal, headers: { "content-type": "application/octet-stream" } });

const kept = new Map();

/** An answer that is the same until the run changes. */
export function once(path, parameters = {}) {
  const name = path + query(parameters);
  if (!kept.has(name)) {
    const answer = get(path, parameters);
    answer.catch(() => kept.delete(name));
    kept.set(name, answer);
  }
  return kept.get(name);
}

let generation = "";

/** What is served; the first to be asked for. */
export async function run() {
  const facts = await once("run");
  generation = facts.generation;
  return facts;
}

/** The address of a row's picture. */
export const picture = (row, size = 256) => `api/pictures/${row}${query({ size, v: generation })}`;
