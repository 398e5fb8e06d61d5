/** The conversation as lines. A line is touched only when its item has changed. */

import { make, the, write } from './dom.js';
import { shown } from './state.js';
import { waterfall } from './waterfall.js';
import { TEXT } from './words.js';

/** @typedef {import('./state.js').Item} Item */
/** @typedef {import('./latency.js').Turn} Turn */

/** @typedef {{item: Item, turn: object | undefined, line: HTMLElement, time: HTMLElement | null}} Row */

export class Transcript {
  constructor() {
    this.list = the('lines');
    this.panel = /** @type {HTMLElement} */ (this.list.parentElement);
    this.final = the('final');
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Set<string>} */
    this.read = new Set(); // read out by a screen reader
  }

  /** @param {import('./state.js').State} state */
  show(state) {
    const near = this.panel.scrollHeight - this.panel.scrollTop - this.panel.clientHeight < 80;
    const items = state.items.filter((item) => item.role !== 'system');
    the('empty').hidden = items.length > 0;
    document.body.toggleAttribute('data-talked', items.length > 0);
    let changed = items.length !== this.rows.size;
    for (const item of items) changed = this.draw(item, state.turns[item.response_id]) || changed;
    if (!changed) return;
    this.order(items);
    if (near) this.panel.scrollTop = this.panel.scrollHeight;
  }

  /** @param {Item} item @param {Turn | undefined} turn */
  draw(item, turn) {
    const row = this.rows.get(item.id) ?? this.add(item);
    if (row.item === item && row.turn === turn) return false;
    if (row.turn !== turn && turn) this.clock(row, turn);
    row.item = item;
    row.turn = turn;
    const words = /** @type {HTMLElement} */ (row.line.querySelector('.words'));
    fill(words, item);
    row.line.toggleAttribute('data-final', item.status === 'final');
    row.line.hidden = !words.textContent && item.role === 'assistant';
    this.announce(item);
    return true;
  }

  /** @param {Item} item */
  add(item) {
    const who = make('span', 'who', item.role === 'user' ? TEXT.you : TEXT.reply);
    const line = make('li', `line ${item.role}`, who, make('p', 'words'));
    /** @type {Row} */
    const row = { item: /** @type {any} */ (null), turn: undefined, line, time: null };
    this.rows.set(item.id, row);
    return row;
  }

  /** @param {Row} row @param {Turn} turn */
  clock(row, turn) {
    const time = waterfall(turn);
    if (!time) return;
    if (row.time instanceof HTMLDetailsElement) time.open = row.time.open;
    row.time?.remove();
    row.time = time;
    row.line.append(time);
  }

  /** @param {Item[]} items */
  order(items) {
    const wanted = new Set(items.map((item) => item.id));
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      row.line.remove();
      this.rows.delete(id);
    }
    for (const [index, item] of items.entries()) {
      const line = /** @type {Row} */ (this.rows.get(item.id)).line;
      if (this.list.children[index] !== line) this.list.insertBefore(line, this.list.children[index] ?? null);
    }
  }

  /**
   * Only what is final: a screen reader that read words as they come would talk into the microphone.
   * @param {Item} item
   */
  announce(item) {
    const over = item.status === 'final' && !item.streaming && !(item.spoken && item.role === 'assistant' && item.cut === null && item.heard_ms < item.sound_ms - 250);
    if (!over || !item.text || this.read.has(item.id)) return;
    this.read.add(item.id);
    const text = item.cut === null ? item.text : item.text.slice(0, item.cut);
    this.final.replaceChildren(make('p', '', `${item.role === 'user' ? TEXT.you : TEXT.reply}: ${text}`));
  }
}

/** @param {HTMLElement} words @param {Item} item */
function fill(words, item) {
  if (item.role === 'user' && item.status !== 'final') {
    const note = item.status === 'lost' ? ` (${TEXT.unheard})` : '';
    if (note) words.replaceChildren(item.text, make('i', '', note));
    else write(words, item.partial || '…');
    return;
  }
  const { text, struck } = shown(item);
  if (struck) {
    const gone = make('del', '', struck);
    words.replaceChildren(text, gone, make('span', 'hidden', ` (${TEXT.cut})`));
  } else if (!text && item.role === 'user') words.replaceChildren(make('i', '', TEXT.nothing));
  else write(words, text);
}
