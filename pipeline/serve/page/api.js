// Requests to the server: JSON, addresses of images, and errors with a message.

/** An answer of the server that is an error; `status` is 0 if there was no answer. */
export class RequestError extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   * @param {any} [answer]  the whole answer
   */
  constructor(status, detail, answer = {}) {
    super(detail);
    this.status = status;
    this.answer = answer;
  }
}

/** @param {Response} response */
async function readJson(response) {
  if (response.ok) return response.json();
  let detail = `the server answered with ${response.status}`;
  let answer = {};
  try {
    answer = await response.json();
    detail = answer.detail ?? detail;
  } catch {
    // A body that is not JSON has no message.
  }
  throw new RequestError(response.status, detail, answer);
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 */
async function request(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new RequestError(0, "the server does not answer: is `cpp-pipe serve` still running?");
  }
  return response;
}

/**
 * The query part of an address; parameters without a value are left out, and a list is repeated.
 *
 * @param {Record<string, any>} parameters
 */
export function query(parameters) {
  const given = Object.entries(parameters)
    .flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((each) => [name, each]))
    .filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
export const get = async (path, parameters = {}) => readJson(await request(`api/${path}${query(parameters)}`));

/**
 * @param {string} path
 * @param {Record<string, any>} parameters
 * @param {BodyInit} body
 * @returns {Promise<any>}
 */
export const post = async (path, parameters, body) =>
  readJson(await request(`api/${path}${query(parameters)}`, { method: "POST", body, headers: { "content-type": "application/octet-stream" } }));

/**
 * An answer to JSON: as JSON, or as text if it is not.
 *
 * @param {string} path
 * @param {any} body
 * @returns {Promise<any>}
 */
export async function postJson(path, body) {
  const response = await request(`api/${path}`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  return response.ok && !response.headers.get("content-type")?.startsWith("application/json") ? response.text() : readJson(response);
}

/**
 * Numbers in binary.
 *
 * @param {string} path
 * @returns {Promise<ArrayBuffer>}
 */
export async function getBytes(path, parameters = {}) {
  const response = await request(`api/${path}${query(parameters)}`);
  return response.ok ? response.arrayBuffer() : readJson(response);
}

const answers = new Map();

/**
 * An answer that stays the same until the run changes: requested once.
 *
 * @param {string} path
 * @returns {Promise<any>}
 */
export function getOnce(path, parameters = {}) {
  const name = path + query(parameters);
  if (!answers.has(name)) {
    const answer = get(path, parameters);
    answer.catch(() => answers.delete(name));
    answers.set(name, answer);
  }
  return answers.get(name);
}

let generation = ""; // that was loaded first: what the page shows is of it

/** Forgets the answers that depend on what people decided. */
export function forgetDecided() {
  for (const name of answers.keys()) {
    if (name === "run" || name.includes("grouping=decided")) answers.delete(name);
  }
}

/** The generation of the run that the page shows. */
export const loadedGeneration = () => generation;

/** The facts of the run; every view needs them first. */
export async function getRun() {
  const facts = await getOnce("run");
  generation ||= facts.generation;
  return facts;
}

/**
 * A command as one types it for the run that the page shows.
 *
 * @param {{flags: string}} run
 * @param {string} words
 */
export const commandLine = (run, words) => `cpp-pipe ${words} ${run.flags}`.trim();

/**
 * The address of a row's image.
 *
 * @param {number} row
 */
export const imageAddress = (row, size = 256) => `api/pictures/${row}${query({ size, v: generation })}`;

/**
 * The address of some rows' images side by side.
 *
 * @param {number[]} rows
 */
export const stripAddress = (rows) => `api/strip${query({ row: rows, v: generation })}`;
