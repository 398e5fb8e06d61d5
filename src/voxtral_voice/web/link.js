/** The WebSocket: events out and in, sound with regard to what the line takes, and when to try again. */

import { SentClock } from './latency.js';
import { WIRE_HZ, toBase64 } from './pcm.js';

const MOST_BUFFERED = WIRE_HZ * 2 * (4 / 3) * 0.5; // bytes: half a second of sound; more would only arrive late
const FIRST_MS = 500;
const MOST_MS = 8000;

/**
 * How long to wait before the next attempt.
 * @param {number} attempt from 0
 * @param {number} random 0 to 1: many pages must not come back at once
 */
export function backoffMs(attempt, random) {
  return Math.min(MOST_MS, FIRST_MS * 2 ** attempt) * (0.75 + random / 2);
}

/**
 * @typedef {{code: number, reason: string, error: {code: string, message: string} | null, opened: boolean}} Ending
 * `error`: the last one the server told; `opened`: whether there was a conversation
 */

export class Link {
  /**
   * @param {string} address of the page
   * @param {string} key '' for none
   * @param {{event: (event: any) => void, closed: (ending: Ending) => void, sent: (event: any) => void}} told
   * @throws {SyntaxError} where the key cannot be a subprotocol
   */
  constructor(address, key, told) {
    const url = new URL('v1/realtime?model=voxtral-voice', address);
    url.protocol = url.protocol.replace('http', 'ws');
    url.hash = '';
    this.clock = new SentClock();
    this.dropped = 0; // frames
    this.opened = false;
    this.over = false;
    /** @type {{code: string, message: string} | null} */
    this.error = null;
    this.told = told;
    this.socket = new WebSocket(url, key ? ['realtime', `openai-insecure-api-key.${key}`] : ['realtime']);
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.end(code, reason);
  }

  /** @param {any} event */
  receive(event) {
    if (this.over) return;
    if (event.type === 'session.created') this.opened = true;
    if (event.type === 'error') this.error = event.error;
    this.told.event(event);
  }

  /** @param {Record<string, any>} event */
  send(event) {
    if (this.over || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify(event));
    this.told.sent(event);
  }

  /**
   * A frame of the microphone. Where the line is slow, it is dropped: sound that comes late is no use.
   * @param {Int16Array} samples
   * @param {number} at_s when its last sample was captured
   */
  sound(samples, at_s) {
    if (this.over || !this.opened || this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > MOST_BUFFERED) {
      this.dropped++;
      return;
    }
    this.socket.send(`{"type":"input_audio_buffer.append","audio":"${toBase64(samples)}"}`);
    this.clock.sent(samples.length, at_s);
  }

  /** By the user's wish: nothing more is told. */
  close() {
    this.over = true;
    this.socket.close(1000);
  }

  /** @param {number} code @param {string} reason */
  end(code, reason) {
    if (this.over) return;
    this.over = true;
    this.told.closed({ code, reason, error: this.error, opened: this.opened });
  }
}
