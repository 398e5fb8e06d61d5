/** The loudspeaker's end: the jitter buffer, asked for 128 samples at a time. */

import { Jitter } from './jitter.js';

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.jitter = new Jitter(sampleRate);
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  /** @param {{type: string, chunk?: import('./jitter.js').Chunk}} order */
  obey(order) {
    if (order.type === 'push' && order.chunk) this.jitter.push(order.chunk);
    else if (order.type === 'end') this.jitter.end();
    else if (order.type === 'flush') this.jitter.flush();
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    this.jitter.pull(outputs[0][0]);
    for (const report of this.jitter.reports.splice(0)) {
      const at = report.type === 'audible' ? currentTime + report.offset / sampleRate : currentTime;
      this.port.postMessage({ ...report, at });
    }
    return true;
  }
}

registerProcessor('playback', Playback);
