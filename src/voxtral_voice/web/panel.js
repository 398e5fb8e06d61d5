/** Everything but the conversation: the orb's line, the trouble and its cure, the buttons. */

import { control, the, translate, write } from './dom.js';
import { phase } from './state.js';
import { summarise } from './waterfall.js';
import { PHASES, TEXT, TROUBLE, loaded, retryIn } from './words.js';

/** @typedef {import('./state.js').State} State */
/** @typedef {import('./settings.js').Settings} Settings */

const NEEDS_KEY = new Set(['unauthorized', 'wrong_key', 'bad_key']);

/** @param {string} code */
function told(code) {
  return TROUBLE[code] ?? [TEXT.name, ''];
}

export class Panel {
  constructor() {
    translate(TEXT);
    this.orb = the('orb');
    this.body = document.body;
    /** @type {object | null} */
    this.turns = null;
  }

  /** @param {State} state @param {Settings} settings */
  show(state, settings) {
    const name = this.named(state, settings);
    const [title, hint] = PHASES[name];
    this.body.dataset.phase = name;
    const trouble = name === 'error' ? state.trouble : null;
    write(the('phase'), state.trouble && (trouble || state.retry) ? told(state.trouble.code)[0] : title);
    write(the('hint'), name === 'loading' && state.loading ? state.loading.detail : this.countdown(state) || hint);
    the('hint').hidden = Boolean(trouble);
    this.progress(state, name);
    this.trouble(state, trouble);
    this.buttons(state, settings);
    this.notice(state);
    if (this.turns !== state.turns) summarise(the('summary'), state.turns);
    this.turns = state.turns;
  }

  /** @param {State} state @param {Settings} settings */
  named(state, settings) {
    const name = phase(state);
    if (name === 'listening' && state.muted) return 'muted';
    if (name === 'listening' && settings.pushToTalk) return 'held';
    if (name === 'speaking' && (!settings.interruptions || settings.pushToTalk || state.microphone !== 'on')) return 'speakingThrough';
    return name;
  }

  /** @param {State} state */
  countdown(state) {
    if (!state.retry) return '';
    const seconds = Math.max(0, Math.ceil((state.retry.at_ms - Date.now()) / 1000));
    return retryIn(seconds);
  }

  /** @param {State} state @param {string} name */
  progress(state, name) {
    const bar = /** @type {HTMLProgressElement} */ (the('progress'));
    bar.hidden = name !== 'loading' || !state.loading;
    if (!state.loading) return;
    bar.value = state.loading.share;
    const all = Object.values(state.loading.models);
    bar.setAttribute('aria-label', loaded(all.filter((each) => each.state === 'ready').length, all.length));
  }

  /** @param {State} state @param {import('./state.js').Notice | null} trouble */
  trouble(state, trouble) {
    const box = the('trouble');
    box.hidden = !trouble;
    the('key-form').hidden = !trouble || !NEEDS_KEY.has(trouble.code);
    const retry = the('retry');
    retry.hidden = !(state.link === 'waiting' || (trouble && !NEEDS_KEY.has(trouble.code)));
    write(retry, state.link === 'waiting' ? TEXT.retry : TEXT.again);
    if (!trouble) return;
    write(the('trouble-cure'), told(trouble.code)[1]);
    the('trouble-detail').hidden = !trouble.message;
    write(the('trouble-detail'), trouble.message);
  }

  /** @param {State} state @param {Settings} settings */
  buttons(state, settings) {
    const open = state.link === 'open';
    const on = state.microphone === 'on';
    const start = control('start');
    write(the('connect'), open ? TEXT.disconnect : state.link === 'idle' || state.link === 'failed' ? TEXT.connect : TEXT.cancel);
    const holds = on && open && settings.pushToTalk;
    write(start, holds ? (state.speaking ? TEXT.holding : TEXT.hold) : on ? TEXT.stop : TEXT.start);
    start.toggleAttribute('data-hold', holds);
    if (holds) start.dataset.hold = state.speaking ? 'down' : 'up';
    start.disabled = state.microphone === 'asking';
    this.body.toggleAttribute('data-running', on);
    const mute = control('mute');
    mute.disabled = !on;
    mute.setAttribute('aria-pressed', String(state.muted));
    mute.title = state.muted ? TEXT.unmute : TEXT.mute;
    control('interrupt').disabled = !(state.playing || state.response);
  }

  /** @param {State} state */
  notice(state) {
    the('notice').hidden = !state.notice;
    if (!state.notice) return;
    const known = TROUBLE[state.notice.code];
    write(the('notice-text'), known ? known.join(': ') : state.notice.message || state.notice.code);
  }

  /** @param {number} level root mean square, 0 to 1 */
  loud(level) {
    const shown = Math.min(1, Math.sqrt(level) * 1.8);
    this.orb.style.setProperty('--level', shown.toFixed(3));
  }
}
