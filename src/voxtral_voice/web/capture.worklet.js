/** The microphone, 20 ms at a time, at the wire's rate. Input 0: the microphone. Input 1: what the page plays. */

import { EchoGate } from './echo.js';
import { WIRE_HZ, rms } from './pcm.js';
import { Resampler } from './resample.js';

const FRAME = WIRE_HZ / 50;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_HZ);
    this.gate = new EchoGate();
    this.guarded = true;
    this.muted = false;
    this.mono = new Float32Array(128);
    this.made = new Float32Array(this.resampler.room(128));
    this.frame = new Float32Array(FRAME);
    this.filled = 0;
    this.played = 0; // energy of what the page played during this frame
    this.quanta = 0;
    this.port.onmessage = ({ data }) => Object.assign(this, data);
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const [mic, page] = inputs;
    this.mono.fill(0);
    for (const channel of mic) for (let i = 0; i < channel.length; i++) this.mono[i] += channel[i] / mic.length;
    this.played += page.length ? rms(page[0]) ** 2 : 0;
    this.quanta++;
    const count = this.resampler.push(this.mono, this.made);
    for (let index = 0; index < count; index++) {
      this.frame[this.filled++] = this.made[index];
      if (this.filled === FRAME) this.send(currentTime + 128 / sampleRate);
    }
    return true;
  }

  /** @param {number} at when its last sample was captured, on the context's clock */
  send(at) {
    const level = rms(this.frame);
    const passes = this.gate.passes(level, Math.sqrt(this.played / this.quanta)) || !this.guarded;
    const samples = new Int16Array(FRAME);
    if (passes && !this.muted) {
      for (let index = 0; index < FRAME; index++) {
        samples[index] = Math.max(-32768, Math.min(32767, Math.round(this.frame[index] * 32767)));
      }
    }
    this.filled = this.played = this.quanta = 0;
    this.port.postMessage({ samples, at, level: this.muted ? 0 : level }, [samples.buffer]);
  }
}

registerProcessor('capture', Capture);
