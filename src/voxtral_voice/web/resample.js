/** One stream of samples from one rate to another: a windowed sinc, read at any ratio (44100 to 24000 as well). */

const LOBES = 12; // zero crossings on each side: -80 dB where the rates alias, 0.5 ms of delay
const PHASES = 256; // of the kernel's table; what lies between is interpolated

export class Resampler {
  /** @param {number} inHz @param {number} outHz */
  constructor(inHz, outHz) {
    this.step = inHz / outHz;
    const cutoff = Math.min(1, outHz / inHz) * 0.94;
    this.half = Math.ceil(LOBES / cutoff);
    this.kernel = sinc(cutoff, this.half);
    this.past = new Float32Array(0);
    this.filled = 0;
    this.position = 0;
    this.reset();
  }

  /** Forget the stream. */
  reset() {
    this.past = new Float32Array(Math.max(this.past.length, this.half * 4));
    this.filled = this.half; // silence came before
    this.position = this.half;
  }

  /**
   * Most samples that `push` of so many can give.
   * @param {number} samples
   */
  room(samples) {
    return Math.ceil((samples + 1) / this.step) + 1;
  }

  /**
   * Samples in, as many out as are known by then.
   * @param {Float32Array} input
   * @param {Float32Array} output at least `room(input.length)` long
   * @returns {number} how many were written
   */
  push(input, output) {
    this.keep(input);
    let written = 0;
    while (this.position + this.half < this.filled) {
      output[written++] = this.at(this.position);
      this.position += this.step;
    }
    const spent = Math.floor(this.position) - this.half;
    if (spent > 0) {
      this.past.copyWithin(0, spent, this.filled);
      this.filled -= spent;
      this.position -= spent;
    }
    return written;
  }

  /**
   * As `push`, with an array of its own.
   * @param {Float32Array} input
   */
  convert(input) {
    const output = new Float32Array(this.room(input.length));
    return output.subarray(0, this.push(input, output));
  }

  /** @param {Float32Array} input */
  keep(input) {
    if (this.filled + input.length > this.past.length) {
      const longer = new Float32Array((this.filled + input.length) * 2);
      longer.set(this.past.subarray(0, this.filled));
      this.past = longer;
    }
    this.past.set(input, this.filled);
    this.filled += input.length;
  }

  /** @param {number} position in input samples */
  at(position) {
    const first = Math.floor(position) - this.half + 1;
    let sum = 0;
    for (let tap = 0; tap < this.half * 2; tap++) {
      const place = (first + tap - position + this.half) * PHASES;
      const cell = Math.floor(place);
      const share = place - cell;
      const weight = this.kernel[cell] * (1 - share) + this.kernel[cell + 1] * share;
      sum += this.past[first + tap] * weight;
    }
    return sum;
  }
}

/** @param {number} cutoff of the input's Nyquist frequency @param {number} half width, in input samples */
function sinc(cutoff, half) {
  const table = new Float32Array(half * 2 * PHASES + 2);
  for (let cell = 0; cell < table.length; cell++) {
    const x = cell / PHASES - half;
    const window = Math.abs(x) < half ? 0.42 + 0.5 * Math.cos((Math.PI * x) / half) + 0.08 * Math.cos((2 * Math.PI * x) / half) : 0;
    table[cell] = window * cutoff * (x === 0 ? 1 : Math.sin(Math.PI * x * cutoff) / (Math.PI * x * cutoff));
  }
  return table;
}
