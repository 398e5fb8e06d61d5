/** The conversation as the page has it: the line, the microphone and the sound together, and what the user does. */

import { Link, backoffMs } from './link.js';
import { Microphone, MicrophoneError } from './microphone.js';
import * as server from './server.js';
import { session } from './settings.js';
import { Sound } from './sound.js';
import { initial, reduce, replay } from './state.js';
import { WIRE_HZ } from './pcm.js';

/** @typedef {Record<string, any>} Fields */

/** @typedef {import('./settings.js').Settings} Settings */

const FULL_MS = 8000; // until the next look whether a place is free
const POLL_MS = 700;
const SHORTEST_S = 0.25; // of speech while the button is held
const FINAL = new Set(['forbidden_origin', 'model_failed', 'session_idle', 'session_expired']);

export class Conversation {
  /**
   * @param {Settings} settings
   * @param {{changed: () => void, level: (level: number) => void, event: (way: 'in' | 'out', event: any) => void, granted: (echoCancellation: boolean | string | undefined) => void}} told
   */
  constructor(settings, told) {
    this.settings = settings;
    this.told = told;
    this.state = initial();
    this.key = '';
    /** @type {Link | null} */
    this.link = null;
    /** @type {Microphone | null} */
    this.microphone = null;
    this.sound = new Sound({ event: (event) => this.apply(event), set: (set) => this.set(set), level: told.level });
    this.attempt = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {Fields[]} */
    this.unsent = []; // what was written while there was no line
    /** @type {Fields | null} */
    this.served = null; // the session as the server began it
    /** @type {number | null} */
    this.askedS = null; // when the turn that is about to be answered ended
    this.dropped = 0;
    this.held = false;
    this.heldS = 0;
  }

  /** @param {Fields} event */
  apply(event) {
    const next = reduce(this.state, event);
    if (next === this.state) return;
    this.state = next;
    this.told.changed();
  }

  /** @param {Partial<import('./state.js').State>} set */
  set(set) {
    this.apply({ type: 'page.set', set });
  }

  // The line.

  connect() {
    clearTimeout(this.timer);
    this.link?.close();
    this.apply({ type: 'page.link', link: 'connecting' });
    try {
      this.link = new Link(document.baseURI, this.key, {
        event: (event) => this.follow(event),
        closed: (ending) => this.closed(ending),
        sent: (event) => this.told.event('out', event),
      });
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.fail('bad_key');
    }
  }

  disconnect() {
    clearTimeout(this.timer);
    this.stop();
    this.link?.close();
    this.link = null;
    this.sound.flush(this.state.response?.id);
    this.set({ waiting: false, trouble: null });
    this.apply({ type: 'page.link', link: 'idle' });
  }

  /** @param {string} code @param {string} message */
  fail(code, message = '') {
    this.apply({ type: 'page.link', link: 'failed', trouble: { code, message } });
  }

  /** @param {import('./link.js').Ending} ending */
  closed({ code, reason, error, opened }) {
    this.link = null;
    this.sound.flush(this.state.response?.id);
    this.held = false;
    const why = error && (error.code === reason || code === 1013 || code === 1008 || code === 1000) ? error.code : '';
    if (opened) this.attempt = 0;
    if (why === 'unauthorized') this.fail(this.key ? 'wrong_key' : 'unauthorized');
    else if (FINAL.has(why)) this.fail(why, why === 'model_failed' ? (error?.message ?? '') : '');
    else if (why === 'model_loading') this.await();
    else if (why === 'at_capacity') this.later(FULL_MS, { code: 'at_capacity', message: '' });
    else this.later(backoffMs(this.attempt++, Math.random()), opened || !this.attempt ? null : { code: 'unreachable', message: '' });
  }

  /** @param {number} delay_ms @param {import('./state.js').Notice | null} trouble */
  later(delay_ms, trouble) {
    clearTimeout(this.timer);
    this.apply({ type: 'page.link', link: 'waiting', trouble, retry: { at_ms: Date.now() + delay_ms } });
    this.timer = setTimeout(() => this.connect(), delay_ms);
  }

  /** Until the models are there. */
  async await() {
    this.apply({ type: 'page.link', link: 'loading' });
    while (this.state.link === 'loading') {
      const found = await server.loading(this.key);
      if (this.state.link !== 'loading') return;
      if (found) this.set({ loading: found });
      if (found?.failed) return this.fail('model_failed', found.failed);
      if (!found || found.ready) return this.connect();
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  /** @param {Fields} event of the server */
  follow(event) {
    this.told.event('in', event);
    if (event.type === 'input_audio_buffer.speech_started' && this.settings.interruptions) this.cut();
    if (event.type === 'input_audio_buffer.speech_stopped') this.askedS = this.link?.clock.capturedAt(event.audio_end_ms, WIRE_HZ) ?? null;
    this.apply(event);
    if (event.type === 'session.created') this.begin(event.session);
    if (event.type === 'response.created' && this.askedS !== null) {
      this.sound.note(event.response.id, { asked_s: this.askedS });
      this.askedS = null;
    }
    if (event.type === 'response.done' && event.response.status === 'cancelled') this.cutIfPlaying(event.response);
    if (event.type === 'conversation.item.truncated') this.send({ type: 'conversation.item.retrieve', item_id: event.item_id });
    this.sound.follow(event);
  }

  /** @param {Fields} served */
  begin(served) {
    this.served = served;
    this.attempt = 0;
    const unsent = this.unsent.splice(0);
    const waiting = new Set(unsent.map((event) => event.item?.id));
    this.configure();
    for (const event of replay(this.state)) if (!waiting.has(event.item.id)) this.send(event);
    this.apply({ type: 'page.link', link: 'open' });
    for (const event of unsent) this.send(event);
    const last = this.state.items.at(-1);
    if (!unsent.length && last?.role === 'user' && last.status === 'final' && last.text) this.respond();
  }

  configure() {
    if (this.served) this.send({ type: 'session.update', session: session(this.settings, this.served) });
  }

  /** @param {Fields} event */
  send(event) {
    this.link?.send(event);
  }

  // What the user does.

  /** @param {Settings} settings */
  async choose(settings) {
    const before = this.settings;
    this.settings = settings;
    if (this.held && before.pushToTalk !== settings.pushToTalk) this.talk(false);
    this.configure();
    this.told.changed();
    if (!this.microphone || (before.microphone === settings.microphone && before.headphones === settings.headphones)) return;
    this.drop();
    await this.start();
  }

  /** Sound, from a click or a key; without it what is said can still be read. */
  unlock() {
    return this.sound.open().catch((error) => this.set({ notice: { code: 'mic_sound', message: String(error) } }));
  }

  /** The microphone on; the line too, where it is not. */
  async start() {
    this.set({ microphone: 'asking', trouble: null });
    try {
      const speaker = await this.sound.open();
      if (this.state.link === 'idle' || this.state.link === 'failed') this.connect();
      const wish = { device: this.settings.microphone, headphones: this.settings.headphones };
      const microphone = await Microphone.open(speaker, wish, { frame: (frame) => this.hear(frame), lost: () => this.lost() });
      this.drop();
      this.microphone = microphone;
    } catch (error) {
      const known = error instanceof MicrophoneError;
      const trouble = known ? { code: error.code, message: '' } : { code: 'mic_sound', message: String(error) };
      this.set({ microphone: 'failed', trouble });
      return;
    }
    this.microphone.mute(this.state.muted);
    this.set({ microphone: 'on' });
    this.told.granted(this.microphone.echoCancellation);
  }

  /** The microphone off; what was said is answered, and what is being said goes on. */
  stop() {
    this.talk(false);
    this.drop();
    this.set({ microphone: 'off', speaking: false });
    this.told.level(0);
  }

  drop() {
    this.microphone?.close();
    this.microphone = null;
  }

  lost() {
    this.drop();
    this.set({ microphone: 'failed', speaking: false, trouble: { code: 'mic_lost', message: '' } });
  }

  mute() {
    if (!this.microphone) return;
    this.set({ muted: !this.state.muted });
    this.microphone.mute(this.state.muted);
  }

  /** @param {import('./microphone.js').Frame} frame */
  hear(frame) {
    if (!this.state.playing) this.told.level(frame.level);
    if (!this.link || this.state.link !== 'open') return;
    if (this.settings.pushToTalk && !this.held) return;
    this.link.sound(frame.samples, frame.at);
    this.heldS += frame.samples.length / WIRE_HZ;
    if (this.link.dropped === this.dropped) return;
    this.dropped = this.link.dropped;
    this.set({ notice: { code: 'slow', message: '' } });
  }

  /**
   * The button or the key is held, or let go.
   * @param {boolean} down
   */
  talk(down) {
    if (down === this.held || !this.settings.pushToTalk) return;
    if (down && (!this.microphone || this.state.link !== 'open')) return;
    this.held = down;
    if (down) {
      this.interrupt();
      this.send({ type: 'input_audio_buffer.clear' });
      this.heldS = 0;
      this.set({ speaking: true });
      return;
    }
    this.set({ speaking: false });
    if (this.heldS < SHORTEST_S) {
      this.send({ type: 'input_audio_buffer.clear' });
      this.set({ notice: { code: 'too_short', message: '' } });
      return;
    }
    this.askedS = this.link?.clock.frames.at(-1)?.at_s ?? null;
    this.send({ type: 'input_audio_buffer.commit' });
    this.respond();
  }

  /**
   * Text in, voice out.
   * @param {string} text
   */
  async say(text) {
    await this.unlock();
    this.interrupt();
    const id = `msg_${crypto.getRandomValues(new Uint32Array(4)).join('').slice(0, 24)}`;
    const item = { id, type: 'message', role: 'user', content: [{ type: 'input_text', text }] };
    const events = [{ type: 'conversation.item.create', item }, { type: 'response.create' }];
    this.apply({ type: 'page.said', item_id: id, text });
    this.askedS = this.sound.nowS;
    if (this.state.link === 'open') for (const event of events) this.send(event);
    else this.unsent.push(...events);
    if (this.state.link === 'idle' || this.state.link === 'failed') this.connect();
  }

  respond() {
    this.set({ waiting: true });
    this.send({ type: 'response.create' });
  }

  interrupt() {
    if (this.state.response) this.send({ type: 'response.cancel' });
    this.cut();
  }

  /** Silence here; the server learns how much was heard. */
  cut() {
    const heard = this.sound.flush(this.state.response?.id);
    if (heard) this.send({ type: 'conversation.item.truncate', item_id: heard.item, content_index: 0, audio_end_ms: heard.heard_ms });
  }

  /** @param {Fields} response that the server has ended */
  cutIfPlaying(response) {
    const playing = this.sound.speaker?.playing;
    if (playing && response.output.some((/** @type {any} */ item) => item.id === playing)) this.cut();
  }

  forget() {
    const items = this.state.items;
    this.interrupt();
    for (const item of items) this.send({ type: 'conversation.item.delete', item_id: item.id });
    this.apply({ type: 'page.emptied' });
  }
}
