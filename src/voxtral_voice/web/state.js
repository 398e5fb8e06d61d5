/** What the page knows, and how each event changes it. Pure: the server's events and the page's own come in here alone. */

import { turn } from './latency.js';
import { durationMs } from './pcm.js';

/** @typedef {Record<string, any>} Fields */

/** @typedef {import('./latency.js').Turn} Turn */

/**
 * @typedef {{text: string, start_ms: number}} Clause `start_ms`: where its sound begins in the reply's
 * @typedef {object} Item one line of the conversation
 * @property {string} id
 * @property {string} role user, assistant or system
 * @property {string} text
 * @property {string} partial the user's words so far, while they speak
 * @property {'open' | 'final' | 'lost'} status `lost`: the connection broke before it was understood
 * @property {Clause[]} clauses of a spoken reply
 * @property {number} sound_ms received of it
 * @property {number} heard_ms played of it
 * @property {number | null} cut characters that were heard of an interrupted reply
 * @property {boolean} streaming more of it may come
 * @property {boolean} spoken
 * @property {string} response_id
 *
 * @typedef {{code: string, message: string}} Notice
 * @typedef {{id: string}} Response
 * @typedef {object} State
 * @property {string} link idle, connecting, loading, open, waiting or failed
 * @property {Notice | null} trouble why the link is not open
 * @property {Notice | null} notice something to know while the conversation goes on
 * @property {{share: number, detail: string, models: Fields} | null} loading
 * @property {{at_ms: number} | null} retry
 * @property {string} microphone off, asking, on or failed
 * @property {boolean} muted
 * @property {boolean} speaking the user
 * @property {boolean} playing the page
 * @property {boolean} waiting for an answer
 * @property {Item[]} items
 * @property {Response | null} response
 * @property {Record<string, Turn>} turns by response
 */

/** @returns {State} */
export function initial() {
  return {
    link: 'idle', trouble: null, notice: null, loading: null, retry: null,
    microphone: 'off', muted: false, speaking: false, playing: false, waiting: false,
    items: [], response: null, turns: {},
  };
}

/**
 * The one word for what is going on.
 * @param {State} state
 */
export function phase(state) {
  if (state.trouble && (state.link === 'failed' || state.link === 'idle')) return 'error';
  if (state.link === 'connecting') return state.items.length ? 'reconnecting' : 'connecting';
  if (state.link === 'loading') return 'loading';
  if (state.link === 'waiting') return 'reconnecting';
  if (state.link !== 'open') return 'idle';
  if (state.speaking) return 'hearing';
  if (state.playing) return 'speaking';
  if (state.response || state.waiting) return 'thinking';
  if (state.trouble) return 'error';
  return state.microphone === 'on' ? 'listening' : 'ready';
}

/** @param {State} state @param {Fields} event of the server, or of the page (`page.…`) @returns {State} */
export function reduce(state, event) {
  const change = CHANGES[event.type];
  return change ? change(state, event) : state;
}

/** @type {Record<string, (state: State, event: Fields) => State>} */
const CHANGES = {
  'input_audio_buffer.speech_started': (state, { item_id }) => put({ ...state, speaking: true }, item_id, { role: 'user', spoken: true }),
  'input_audio_buffer.speech_stopped': (state) => ({ ...state, speaking: false }),
  'input_audio_buffer.committed': (state, { item_id }) => put({ ...state, speaking: false }, item_id, { role: 'user', spoken: true }),
  'input_audio_buffer.cleared': (state) => ({
    ...state, items: state.items.filter((item) => !(item.role === 'user' && item.status === 'open' && !item.partial)),
  }),
  'conversation.item.input_audio_transcription.delta': (state, { item_id, delta }) => {
    const before = find(state, item_id)?.partial ?? '';
    return put(state, item_id, { role: 'user', partial: before + delta });
  },
  'voxtral.input.partial': (state, { item_id, text }) => put(state, item_id, { role: 'user', partial: text }),
  'conversation.item.input_audio_transcription.completed': (state, { item_id, transcript }) => put(state, item_id, { role: 'user', text: transcript, partial: '', status: 'final' }),

  'conversation.item.added': (state, { item, previous_item_id }) => ({
    ...state, items: place(upsert(state.items, item.id, fromWire(item)), item.id, previous_item_id),
  }),
  'conversation.item.retrieved': (state, { item }) => {
    const ours = find(state, item.id);
    const text = fromWire(item).text ?? '';
    if (!ours || ours.cut === null || !ours.text.trim().startsWith(text)) return state;
    const cut = text ? ours.text.indexOf(text) + text.length : 0;
    return put(state, item.id, { cut });
  },

  'response.created': (state, { response }) => ({
    ...state, waiting: false, response: { id: response.id },
    turns: { ...state.turns, [response.id]: { ...turn(), ...state.turns[response.id] } },
  }),
  'response.output_item.added': (state, { response_id, item }) =>
    put(state, item.id, { role: 'assistant', response_id, streaming: true }),
  'response.output_audio_transcript.delta': (state, event) => grow(state, event.item_id, event.delta, true),
  'response.output_text.delta': (state, event) => grow(state, event.item_id, event.delta, false),
  'response.output_audio.delta': (state, { item_id, delta }) => {
    const sound_ms = (find(state, item_id)?.sound_ms ?? 0) + durationMs(delta);
    return put(state, item_id, { sound_ms });
  },
  'response.done': (state, { response }) => finished(state, response),
  'voxtral.turn.metrics': (state, { response_id, marks_ms }) => noted(state, response_id, { marks_ms }),
  error: (state, { error }) => (state.link !== 'open' || HARMLESS.has(error.code) ? state : { ...state, notice: { code: error.code, message: error.message } }),

  'page.link': (state, { link, trouble = null, retry = null }) => ({
    ...state, link, retry,
    trouble: trouble ?? (state.trouble?.code.startsWith('mic_') ? state.trouble : null),
    loading: link === 'loading' ? state.loading : null,
    ...(link === 'open' ? { notice: null } : broken(state)),
  }),
  'page.set': (state, { set }) => ({ ...state, ...set }),
  'page.said': (state, { item_id, text }) => put({ ...state, waiting: true }, item_id, { role: 'user', text, status: 'final' }),
  'page.heard': (state, { item_id, heard_ms }) =>
    find(state, item_id) ? put(state, item_id, { heard_ms }) : state,
  'page.cut': (state, { item_id, heard_ms }) => {
    const item = find(state, item_id);
    if (!item) return state;
    return put(state, item_id, { heard_ms, cut: heardChars(item, heard_ms), streaming: false });
  },
  'page.noted': (state, event) => noted(state, event.response_id, event.noted),
  'page.emptied': (state) => ({ ...state, items: [], turns: {} }),
};

const HARMLESS = new Set(['response_cancel_not_active', 'item_retrieve_invalid_item_id']);

/** @param {Item[]} items @param {string} id @param {Partial<Item>} fields @returns {Item[]} */
function upsert(items, id, fields) {
  const index = items.findIndex((item) => item.id === id);
  if (index < 0) {
    return [...items, {
      id, role: 'user', text: '', partial: '', status: 'open', clauses: [], sound_ms: 0, heard_ms: 0,
      cut: null, streaming: false, spoken: false, response_id: '', ...fields,
    }];
  }
  const copy = items.slice();
  copy[index] = { ...items[index], ...fields };
  return copy;
}

/** @param {State} state @param {string} id */
function find(state, id) {
  return state.items.find((item) => item.id === id);
}

/** @param {State} state @param {string} id @param {Partial<Item>} fields @returns {State} */
function put(state, id, fields) {
  return { ...state, items: upsert(state.items, id, fields) };
}

/**
 * Behind the item that the server says; an answer may come to stand before what was said meanwhile.
 * @param {Item[]} items
 * @param {string} id
 * @param {string | null | undefined} previous
 */
function place(items, id, previous) {
  const from = items.findIndex((item) => item.id === id);
  const after = items.findIndex((item) => item.id === previous);
  if (after < 0 || from === after + 1) return items;
  const rest = items.filter((item) => item.id !== id);
  rest.splice(rest.findIndex((item) => item.id === previous) + 1, 0, items[from]);
  return rest;
}

/** @param {Fields} item @returns {Partial<Item>} */
function fromWire(item) {
  const parts = /** @type {Fields[]} */ (item.content ?? []);
  const text = parts.map((part) => part.text ?? part.transcript ?? '').join(' ').trim();
  const spoken = parts.some((part) => part.type.includes('audio'));
  return { role: item.role, ...(text ? { text, status: /** @type {const} */ ('final') } : {}), ...(spoken ? { spoken } : {}) };
}

/** @param {State} state @param {string} item_id @param {string} delta @param {boolean} spoken */
function grow(state, item_id, delta, spoken) {
  const before = find(state, item_id);
  const clauses = [...(before?.clauses ?? []), { text: delta, start_ms: before?.sound_ms ?? 0 }];
  const fields = { role: 'assistant', text: (before?.text ?? '') + delta, clauses, spoken, streaming: true };
  return put(state, item_id, fields);
}

/** @param {State} state @param {Fields} response @returns {State} */
function finished(state, response) {
  const item = state.items.find((each) => each.response_id === response.id);
  const next = { ...state, response: state.response?.id === response.id ? null : state.response };
  if (response.status === 'failed') {
    const { code = 'internal_error', message = '' } = response.status_details?.error ?? {};
    next.notice = { code, message };
  }
  if (item) {
    const cancelled = response.status === 'cancelled' && item.cut === null && item.spoken;
    const cut = cancelled ? heardChars(item, item.heard_ms) : item.cut;
    next.items = upsert(state.items, item.id, { status: 'final', streaming: false, cut });
  }
  return next;
}

/** @param {State} state @param {string} response_id @param {Partial<Turn>} fields */
function noted(state, response_id, fields) {
  return { ...state, turns: { ...state.turns, [response_id]: { ...turn(), ...state.turns[response_id], ...fields } } };
}

/**
 * The connection is gone: what was under way is closed as it stands.
 * @param {State} state
 */
function broken(state) {
  const items = state.items.map((item) => {
    if (item.role === 'user' && item.status === 'open') return { ...item, text: item.partial, partial: '', status: /** @type {const} */ ('lost') };
    if (!item.streaming) return item;
    return { ...item, streaming: false, status: /** @type {const} */ ('final'), cut: item.spoken ? heardChars(item, item.heard_ms) : item.cut };
  });
  return { items, response: null, speaking: false, waiting: state.waiting };
}

/**
 * How many characters of a reply have been heard: whole words, a clause's in step with its sound.
 * @param {Item} item
 * @param {number} heard_ms
 */
export function heardChars(item, heard_ms) {
  let chars = 0;
  for (const [index, clause] of item.clauses.entries()) {
    const last = index === item.clauses.length - 1;
    const end_ms = last ? item.sound_ms : item.clauses[index + 1].start_ms;
    if (heard_ms < clause.start_ms || (heard_ms === clause.start_ms && end_ms > clause.start_ms)) break;
    const length = Math.max(end_ms - clause.start_ms, last && item.streaming ? clause.text.length * MS_A_CHARACTER : 0);
    const share = length > 0 ? Math.min(1, (heard_ms - clause.start_ms) / length) : 1;
    if (share < 1) return chars + wholeWords(clause.text, share);
    chars += clause.text.length;
  }
  return chars;
}

const MS_A_CHARACTER = 62; // of speech, until the next clause tells how long this one was
const LOOK_AHEAD_MS = 180; // a word is shown as it begins, not once it is over

/** @param {string} text @param {number} share */
function wholeWords(text, share) {
  const words = [...text.matchAll(/\S+/g)];
  const last = words[Math.floor(share * words.length) - 1];
  return last ? last.index + last[0].length : 0;
}

/**
 * What of an item is to be seen, and what of it struck.
 * @param {Item} item
 * @returns {{text: string, struck: string}}
 */
export function shown(item) {
  if (item.cut !== null) return { text: item.text.slice(0, item.cut), struck: item.text.slice(item.cut) };
  if (!item.spoken || item.role !== 'assistant') return { text: item.text, struck: '' };
  if (!item.streaming && item.heard_ms >= item.sound_ms - LOOK_AHEAD_MS) return { text: item.text, struck: '' };
  if (!item.sound_ms && !item.streaming) return { text: item.text, struck: '' };
  return { text: item.text.slice(0, heardChars(item, item.heard_ms + LOOK_AHEAD_MS)), struck: '' };
}

/**
 * The conversation as items for a new connection, oldest first: what was heard of each reply, and nothing unfinished.
 * @param {State} state
 * @param {number} most
 */
export function replay(state, most = 100) {
  const lines = state.items.map((item) => ({ id: item.id, role: item.role, text: (item.cut === null ? item.text : item.text.slice(0, item.cut)).trim() }));
  const kept = lines.filter((line) => line.text).slice(-most);
  return kept.map(({ id, role, text }) => ({
    type: 'conversation.item.create',
    item: { id, type: 'message', role, content: [{ type: role === 'assistant' ? 'output_text' : 'input_text', text }] },
  }));
}
