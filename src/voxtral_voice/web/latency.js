/** From the end of speech to the first sound of the answer: the arithmetic of a turn and of a session. */

/**
 * @typedef {object} Turn what the page has noted of one answer; seconds on the audio context's clock
 * @property {number | null} asked_s when the last sample of the user's speech was captured, or the text was sent
 * @property {number | null} arrived_s when the first audible sound had come
 * @property {number | null} heard_s when it left the loudspeaker
 * @property {Record<string, number>} marks_ms the server's, after the end of speech
 * @typedef {{name: string, from_ms: number, to_ms: number}} Stage
 */

/** @returns {Turn} */
export function turn() {
  return { asked_s: null, arrived_s: null, heard_s: null, marks_ms: {} };
}

/**
 * From the end of speech to the first audible sample out of the loudspeaker; null while that is not known.
 * @param {Turn} each
 */
export function voiceToVoiceMs(each) {
  return each.asked_s === null || each.heard_s === null ? null : Math.round((each.heard_s - each.asked_s) * 1000);
}

/**
 * The waterfall. Thinking begins before the turn is certain, so stages overlap.
 * @param {Turn} each
 * @returns {Stage[]}
 */
export function stages(each) {
  const marks = each.marks_ms;
  const total = voiceToVoiceMs(each);
  const arrived = each.asked_s === null || each.arrived_s === null ? undefined : (each.arrived_s - each.asked_s) * 1000;
  const hearing = marks.heard ?? marks.first_delta;
  /** @type {[string, number | undefined, number | undefined][]} */
  const rows = [
    ['endpoint', 0, marks.turn_end],
    ['hearing', marks.think_start, hearing],
    ['first_token', marks.heard === undefined ? undefined : hearing, marks.first_delta],
    ['first_audio', marks.first_delta, marks.first_pcm],
    ['network', marks.first_sent, arrived],
    ['playout', arrived, total ?? undefined],
  ];
  const known = rows.filter(([, from, to]) => from !== undefined && to !== undefined);
  return known.map(([name, from = 0, to = 0]) => ({ name, from_ms: from, to_ms: Math.max(from, to) }));
}

/** @param {number[]} values @param {number} share 0.5 is the median @returns {number | null} interpolated; null for no values */
export function percentile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

/** Which moment a sample that was sent belongs to. Old ones are forgotten. */
export class SentClock {
  constructor() {
    /** @type {{end: number, at_s: number}[]} */
    this.frames = [];
    this.samples = 0;
  }

  /** @param {number} samples of the frame @param {number} at_s when its last sample was captured */
  sent(samples, at_s) {
    this.samples += samples;
    this.frames.push({ end: this.samples, at_s });
    if (this.frames.length > 4500) this.frames.splice(0, 1500);
  }

  /**
   * @param {number} ms after the first sample that was sent, as the server counts
   * @param {number} hz
   * @returns {number | null} when that sample was captured
   */
  capturedAt(ms, hz) {
    const sample = (ms * hz) / 1000;
    const frame = this.frames.find((each) => each.end >= sample) ?? this.frames.at(-1);
    return frame ? frame.at_s - (frame.end - sample) / hz : null;
  }
}
