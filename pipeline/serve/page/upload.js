// A picture that was dropped, pasted or chosen: kept in this page alone while it is looked for.

import { post } from "./api.js";

export const MOST = 16 * 2 ** 20; // bytes, as the server allows

let held = null; // {file, address, answers: by space}

/** Takes a picture; the address of the view that looks for what is like it. */
export function take(file) {
  if (held) URL.revokeObjectURL(held.address);
  held = { file, address: URL.createObjectURL(file), answers: {} };
  return "search?picture=handed";
}

/** The picture that was handed over, if an address is of a search for it. */
export function handed({ picture, vector }) {
  if (!held) return null;
  if (picture) return held;
  return Object.values(held.answers).some((one) => one.vector === vector) ? held : null;
}

/** What is like it in a space, or where the server looks if it is null, among what `narrow` allows. */
export async function find(space, n, narrow = {}, signal = undefined) {
  if (held.file.size > MOST) throw new Error(`the picture has ${held.file.size.toLocaleString("en-US")} bytes: ${MOST.toLocaleString("en-US")} are allowed`);
  const name = JSON.stringify([space, narrow]);
  held.answers[name] ??= await post("search", { space, n, ...narrow }, held.file, signal);
  return held.answers[name];
}
