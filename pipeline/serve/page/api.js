// Requests to the server: JSON, addresses of images, and errors with a message.

/** An answer of the server that is an error; `status` is 0 if there was no answer. */
export class RequestError extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** @param {Response} response */
async function readJson(response) {
  if (response.ok) return response.json();
  let detail = `the server answered with ${response.status}`;
  try {
    detail = (await response.json()).detail ?? detail;
  } catch {
    // A body that is not JSON has no message.
  }
  throw new RequestError(response.status, detail);
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
 * The query part of an address; parameters without a value are left out.
 *
 * @param {Record<string, any>} parameters
 */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
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

let generation = "";

/** The facts of the run; every view needs them first. */
export async function getRun() {
  const facts = await getOnce("run");
  generation = facts.generation;
  return facts;
}

/**
 * The address of a row's image.
 *
 * @param {number} row
 */
export const imageAddress = (row, size = 256) => `api/pictures/${row}${query({ size, v: generation })}`;
