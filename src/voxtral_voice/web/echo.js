/**
 * Keeps the reply out of the microphone where the browser's echo cancellation leaves some of it.
 *
 * It knows how loud the page has just been and learns how much of that comes back. What is no louder than the echo
 * could be is sent as silence; a voice is louder and opens the gate. Where cancellation works, what comes back is next
 * to nothing and the gate stays open.
 */

const PAST = 24; // frames of 20 ms: the room and the driver answer up to half a second late
const MARGIN = 2.2; // of the learned coupling: an echo varies with the words
const FIRST = 0.12; // coupling assumed at first: loudspeaker and microphone of a laptop
const LEAST = 0.002;
const MOST = 0.5; // beyond it nobody could interrupt
const SILENT = 0.004; // of the page's own sound
const OPEN_FRAMES = 2; // louder for so long: a voice
const HANG_FRAMES = 10; // stays open over the quiet syllables of a voice

export class EchoGate {
  constructor() {
    this.past = new Float32Array(PAST);
    this.next = 0;
    this.coupling = FIRST;
    this.louder = 0;
    this.hang = 0;
  }

  /**
   * One frame of 20 ms.
   * @param {number} mic root mean square of the microphone
   * @param {number} played the same of what the page has played meanwhile
   * @returns {boolean} whether the frame is somebody's voice or silence, and not our own echo
   */
  passes(mic, played) {
    this.past[this.next] = played;
    this.next = (this.next + 1) % PAST;
    let loudest = 0;
    for (let index = 0; index < PAST; index++) loudest = Math.max(loudest, this.past[index]);
    if (loudest < SILENT) {
      this.louder = this.hang = 0;
      return true;
    }
    const ratio = mic / loudest;
    const echo = ratio <= this.coupling * MARGIN;
    this.louder = echo ? 0 : this.louder + 1;
    if (this.louder >= OPEN_FRAMES) this.hang = HANG_FRAMES;
    const open = this.hang > 0;
    this.hang = Math.max(0, this.hang - 1);
    this.learn(ratio, echo && !open);
    return open;
  }

  /** @param {number} ratio @param {boolean} echo */
  learn(ratio, echo) {
    // Towards the peaks of what is surely echo at once, and slowly down: an echo is as loud as its loudest frames.
    if (echo) this.coupling += (ratio - this.coupling) * (ratio > this.coupling ? 0.2 : 0.01);
    this.coupling = Math.min(MOST, Math.max(LEAST, this.coupling));
  }
}
