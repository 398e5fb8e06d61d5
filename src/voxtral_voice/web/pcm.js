/** Samples as the wire has them: 16-bit little-endian mono in base64. */

export const WIRE_HZ = 24000;
const AUDIBLE = 10 ** (-45 / 20); // the root mean square of 10 ms at which sound counts as heard

/** @param {Int16Array} samples @returns {string} */
export function toBase64(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)));
}

/** @param {string} text @returns {Float32Array} */
export function fromBase64(text) {
  const bytes = atob(text);
  const raw = new Uint8Array(bytes.length & ~1);
  for (let index = 0; index < raw.length; index++) raw[index] = bytes.charCodeAt(index);
  return toFloat(raw.buffer);
}

/** @param {ArrayBuffer} raw */
export function toFloat(raw) {
  const view = new DataView(raw, 0, raw.byteLength & ~1);
  const samples = new Float32Array(view.byteLength / 2);
  for (let index = 0; index < samples.length; index++) samples[index] = view.getInt16(index * 2, true) / 32768;
  return samples;
}

/**
 * How long the sound in a piece of base64 lasts, in milliseconds, without decoding it.
 * @param {string} text
 */
export function durationMs(text) {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return ((text.length * 3) / 4 - padding) / 2 / (WIRE_HZ / 1000);
}

/**
 * Where the first 10 ms above -45 dBFS begin; -1 where all of it is quieter.
 * @param {Float32Array} samples
 * @param {number} hz
 */
export function firstAudible(samples, hz) {
  const step = Math.round(hz / 100);
  for (let start = 0; start < samples.length; start += step) {
    if (rms(samples.subarray(start, start + step)) >= AUDIBLE) return start;
  }
  return -1;
}

/** @param {Float32Array} samples */
export function rms(samples) {
  let sum = 0;
  for (let index = 0; index < samples.length; index++) sum += samples[index] * samples[index];
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}
