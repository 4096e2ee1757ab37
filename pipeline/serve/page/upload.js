// An image that was dropped, pasted or chosen: kept in this page only, while it is searched for.

import { post } from "./api.js";

const MAX_BYTES = 16 * 2 ** 20; // as the server allows

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {string} address  of the file, within this page
 * @property {Record<string, any>} answers  by space and filters
 */

/** @type {Upload | null} */
let current = null;

/**
 * Keeps an image; returns the address of a search for similar ones.
 *
 * @param {File} file
 */
export function keepUpload(file) {
  if (current) URL.revokeObjectURL(current.address);
  current = { file, address: URL.createObjectURL(file), answers: {} };
  return "search?picture=upload";
}

/**
 * The upload that the address of a search refers to, if any.
 *
 * @param {{picture?: string, vector?: string}} parameters
 */
export function findUpload({ picture, vector }) {
  if (!current) return null;
  if (picture) return current;
  return Object.values(current.answers).some((answer) => answer.vector === vector) ? current : null;
}

/**
 * Rows similar to an upload; the server chooses the space if it is null.
 *
 * @param {Upload} upload
 * @param {string | null} space
 * @param {number} n
 * @param {Record<string, string>} filters
 */
export async function searchUpload(upload, space, n, filters) {
  const { file, answers } = upload;
  if (file.size > MAX_BYTES) throw new Error(`the image must have at most ${MAX_BYTES.toLocaleString("en-US")} bytes, got ${file.size.toLocaleString("en-US")}`);
  const name = JSON.stringify([space, filters]);
  answers[name] ??= await post("search", { space, n, ...filters }, file);
  return answers[name];
}
