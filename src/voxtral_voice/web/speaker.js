/** The loudspeaker: sound in, at the wire's rate; told what of it was really heard. */

import { WIRE_HZ, firstAudible } from './pcm.js';
import { Resampler } from './resample.js';

const DUCKED = 0.22;
const DOWN_S = 0.03;
const UP_S = 0.12;

/** @typedef {{item: string, heard_ms: number, level: number}} Heard */

export class Speaker {
  /**
   * @param {AudioContext} context
   * @param {{heard: (heard: Heard) => void, audible: (item: string, at_s: number) => void, drained: (item: string) => void}} told
   */
  constructor(context, told) {
    this.context = context;
    this.told = told;
    this.resampler = new Resampler(WIRE_HZ, context.sampleRate);
    this.node = new AudioWorkletNode(context, 'playback', { numberOfInputs: 0, numberOfOutputs: 1, outputChannelCount: [1] });
    this.output = context.createGain();
    this.silence = context.createGain();
    this.silence.gain.value = 0;
    this.node.connect(this.output).connect(context.destination);
    this.silence.connect(context.destination);
    this.node.port.onmessage = ({ data }) => this.report(data);
    this.item = ''; // whose sound was queued last
    this.heardMs = 0;
    this.playing = ''; // whose sound is heard
    this.gone = ''; // flushed last: what is still told of it is old
    this.audible = new Set(); // items whose first audible sample has been queued
  }

  /**
   * Must be called from a click or a key: browsers let nothing sound before.
   * @param {ConstructorParameters<typeof Speaker>[1]} told
   */
  static async open(told) {
    const session = /** @type {any} */ (navigator).audioSession;
    if (session) session.type = 'play-and-record'; // iOS: else the microphone would end the sound
    const context = new AudioContext({ latencyHint: 'interactive' });
    const resumed = context.state === 'suspended' ? context.resume() : Promise.resolve();
    const here = (/** @type {string} */ name) => context.audioWorklet.addModule(new URL(name, import.meta.url));
    await Promise.all([here('capture.worklet.js'), here('playback.worklet.js'), resumed]);
    return new Speaker(context, told);
  }

  /** From the loudspeaker's queue to the air, as far as the browser knows. */
  get latencyS() {
    return (this.context.baseLatency || 0) + (this.context.outputLatency || 0);
  }

  /** @param {string} item @param {Float32Array} samples @returns {boolean} whether this holds the item's first audible sample */
  play(item, samples) {
    if (item !== this.item) this.resampler.reset();
    this.item = item;
    const sound = this.resampler.convert(samples);
    const audible = this.audible.has(item) ? -1 : firstAudible(sound, this.context.sampleRate);
    if (audible >= 0) this.audible = new Set([...this.audible].slice(-8)).add(item);
    this.node.port.postMessage({ type: 'push', chunk: { item, samples: sound, audible } }, [sound.buffer]);
    this.playing ||= item;
    return audible >= 0;
  }

  end() {
    this.node.port.postMessage({ type: 'end' });
  }

  /**
   * Silence at once.
   * @returns {{item: string, heard_ms: number} | null} what was heard of what played; null where nothing did
   */
  flush() {
    this.node.port.postMessage({ type: 'flush' });
    this.duck(false);
    const heard = this.playing ? { item: this.playing, heard_ms: Math.round(this.heardMs) } : null;
    this.gone = this.playing;
    this.playing = this.item = '';
    this.heardMs = 0;
    return heard;
  }

  /** @param {boolean} down */
  duck(down) {
    const { gain } = this.output;
    const now = this.context.currentTime;
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(down ? DUCKED : 1, now + (down ? DOWN_S : UP_S));
  }

  /** @param {any} report of the worklet */
  report(report) {
    if (report.type === 'audible') this.told.audible(report.item, report.at + this.latencyS);
    if (report.type === 'drained' && report.item === this.playing) {
      this.playing = '';
      this.told.drained(report.item);
    }
    if (report.type !== 'played' || !this.playing || report.item === this.gone) return;
    this.playing = report.item;
    // What has left the queue is heard a little later.
    this.heardMs = Math.max(0, (report.samples / this.context.sampleRate - this.latencyS) * 1000);
    this.told.heard({ item: report.item, heard_ms: this.heardMs, level: report.level });
  }
}
