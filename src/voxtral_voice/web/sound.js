/** The reply's way to the ear: which of what arrives is played, what was heard, and when it was first heard. */

import { fromBase64 } from './pcm.js';
import { Speaker } from './speaker.js';

/** @typedef {Record<string, any>} Fields */

/**
 * @typedef {object} Told
 * @property {(event: Fields) => void} event for the state
 * @property {(set: Partial<import('./state.js').State>) => void} set of it
 * @property {(level: number) => void} level of what plays
 */

export class Sound {
  /** @param {Told} told */
  constructor(told) {
    this.told = told;
    /** @type {Speaker | null} */
    this.speaker = null;
    /** @type {Promise<Speaker> | null} */
    this.opening = null;
    this.stale = new Set(); // responses that were flushed: what still comes of them is not played
    /** @type {Map<string, string>} */
    this.responses = new Map(); // of items
  }

  /**
   * From a click or a key only.
   * @returns {Promise<Speaker>}
   */
  open() {
    if (this.speaker) {
      if (this.speaker.context.state === 'suspended') void this.speaker.context.resume();
      return Promise.resolve(this.speaker);
    }
    this.opening ??= Speaker.open({
      heard: (heard) => {
        this.told.level(heard.level);
        this.told.event({ type: 'page.heard', item_id: heard.item, heard_ms: heard.heard_ms });
      },
      audible: (item, at_s) => this.note(this.responses.get(item), { heard_s: at_s }),
      drained: (item) => this.drained(item),
    }).then((speaker) => (this.speaker = speaker)).finally(() => {
      this.opening = null;
    });
    return this.opening;
  }

  /** Now, on the clock that captured and played samples are dated by; null without sound. */
  get nowS() {
    return this.speaker?.context.currentTime ?? null;
  }

  /** @param {Fields} event of the server */
  follow(event) {
    if (event.type === 'response.output_audio.delta') this.play(event);
    else if (event.type === 'response.output_audio.done' && !this.stale.has(event.response_id)) this.speaker?.end();
    else if (event.type === 'voxtral.output.duck') this.speaker?.duck(true);
    else if (event.type === 'voxtral.output.unduck') this.speaker?.duck(false);
  }

  /** @param {Fields} event */
  play({ response_id, item_id, delta }) {
    if (!this.speaker) this.told.event({ type: 'page.heard', item_id, heard_ms: Infinity }); // it is read instead
    if (!this.speaker || this.stale.has(response_id)) return;
    this.responses.set(item_id, response_id);
    if (!this.speaker.playing) this.told.set({ playing: true });
    if (this.speaker.play(item_id, fromBase64(delta))) this.note(response_id, { arrived_s: this.nowS });
  }

  /** @param {Float32Array} samples a voice to be known by */
  playSample(samples) {
    this.speaker?.flush();
    this.speaker?.play('sample', samples);
    this.speaker?.end();
  }

  /**
   * Silence at once; nothing more of this reply is played.
   * @param {string | undefined} response_id under way
   * @returns {{item: string, heard_ms: number} | null} what was cut, and how much of it was heard
   */
  flush(response_id) {
    const heard = this.speaker?.flush() ?? null;
    if (response_id) this.stale.add(response_id);
    this.told.set({ playing: false });
    this.told.level(0);
    if (!heard || !this.responses.has(heard.item)) return null;
    this.stale.add(this.responses.get(heard.item));
    this.told.event({ type: 'page.cut', item_id: heard.item, heard_ms: heard.heard_ms });
    return heard;
  }

  /** @param {string} item */
  drained(item) {
    this.told.level(0);
    this.told.event({ type: 'page.heard', item_id: item, heard_ms: Infinity });
    this.told.set({ playing: false });
  }

  /** @param {string | undefined} response_id @param {Partial<import('./latency.js').Turn>} noted */
  note(response_id, noted) {
    if (response_id) this.told.event({ type: 'page.noted', response_id, noted });
  }
}
