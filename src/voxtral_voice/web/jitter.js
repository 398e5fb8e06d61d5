/** What is to be played, between the network and the loudspeaker. Pure: it is asked for samples and gives them. */

const START_MS = 80; // queued before the first sample: a packet may come that much late
const LONGEST_MS = 100;
const LATER_MS = 5; // more after each time that it ran dry
const FADE = 32; // samples; a cut without it clicks
const REPORT_MS = 40;

/**
 * @typedef {{item: string, samples: Float32Array, audible: number}} Chunk `audible`: index of its first audible sample, -1 for none
 * @typedef {{type: 'audible', item: string, offset: number} | {type: 'played', item: string, samples: number, level: number} | {type: 'drained', item: string}} Report
 */

export class Jitter {
  /** @param {number} hz of everything in here */
  constructor(hz) {
    this.hz = hz;
    this.startMs = START_MS;
    /** @type {Chunk[]} */
    this.queue = [];
    this.queued = 0; // samples
    this.head = 0; // samples of the first chunk that are gone
    this.item = '';
    this.played = 0; // samples of `item`
    this.ended = false; // nothing more comes for `item`
    this.running = false;
    this.waited = 0; // samples of time since the first one was queued
    this.fade = 0; // samples of fade-in done
    this.last = 0; // the value played last, for the fade-out
    this.unreported = 0;
    this.energy = 0;
    /** @type {Report[]} */
    this.reports = [];
  }

  /** @param {Chunk} chunk */
  push(chunk) {
    this.queue.push(chunk);
    this.queued += chunk.samples.length;
    if (chunk.item !== this.item && !this.running && this.queue.length === 1) this.begin(chunk.item);
    this.ended = false;
  }

  /** Nothing more comes: what is queued is played without waiting for more. */
  end() {
    this.ended = true;
    if (!this.queued) this.finish();
  }

  /** Silence from the next sample on. */
  flush() {
    this.queue = [];
    this.queued = this.head = this.waited = this.played = 0;
    this.running = false;
    this.ended = true;
    this.item = '';
  }

  /** @param {Float32Array} output filled whole */
  pull(output) {
    if (!this.running && this.queued) {
      this.waited += output.length;
      const most = Math.max(this.queued, this.waited);
      if (this.ended || most * 1000 >= this.startMs * this.hz) this.start();
    }
    let filled = 0;
    while (this.running && filled < output.length && this.queue.length) filled += this.take(output, filled);
    for (let index = filled; index < output.length; index++) {
      this.last = Math.abs(this.last) < 1e-4 ? 0 : this.last * (1 - 4 / FADE);
      output[index] = this.last;
    }
    if (this.running && filled < output.length) this.dry();
    this.report(output.length);
  }

  start() {
    this.running = true;
    this.waited = 0;
    this.fade = 0;
  }

  /** @param {Float32Array} output @param {number} at */
  take(output, at) {
    const chunk = this.queue[0];
    if (chunk.item !== this.item) this.begin(chunk.item);
    const count = Math.min(output.length - at, chunk.samples.length - this.head);
    if (chunk.audible >= this.head && chunk.audible < this.head + count) {
      this.reports.push({ type: 'audible', item: chunk.item, offset: at + chunk.audible - this.head });
    }
    for (let index = 0; index < count; index++) {
      const gain = this.fade < FADE ? ++this.fade / FADE : 1;
      const sample = chunk.samples[this.head + index] * gain;
      output[at + index] = this.last = sample;
      this.energy += sample * sample;
    }
    this.head += count;
    this.queued -= count;
    this.played += count;
    if (this.head >= chunk.samples.length) {
      this.queue.shift();
      this.head = 0;
    }
    return count;
  }

  /** @param {string} item */
  begin(item) {
    if (this.item && this.item !== item) this.tell();
    this.item = item;
    this.played = 0;
  }

  dry() {
    this.running = false;
    if (this.ended) {
      this.finish();
      return;
    }
    this.startMs = Math.min(LONGEST_MS, this.startMs + LATER_MS);
  }

  finish() {
    if (!this.item) return;
    this.tell();
    this.reports.push({ type: 'drained', item: this.item });
    this.item = '';
    this.played = 0;
    this.running = false;
  }

  /** @param {number} samples of time gone by */
  report(samples) {
    this.unreported += samples;
    if (this.item && this.unreported * 1000 >= REPORT_MS * this.hz) this.tell();
  }

  tell() {
    const level = this.unreported ? Math.sqrt(this.energy / this.unreported) : 0;
    this.reports.push({ type: 'played', item: this.item, samples: this.played, level });
    this.unreported = this.energy = 0;
  }
}
