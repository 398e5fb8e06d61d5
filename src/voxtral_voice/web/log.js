/** The event log: what went over the line, the sound counted and not shown. */

import { make, the } from './dom.js';

const KEPT = 300;

export class Log {
  constructor() {
    this.list = the('log-lines');
    this.began = performance.now();
    /** @type {{type: string, times: number, row: HTMLElement} | null} */
    this.last = null;
  }

  /** @param {boolean} shown */
  show(shown) {
    the('log-panel').hidden = !shown;
  }

  /** @param {'out' | 'in'} way @param {Record<string, any>} event */
  note(way, event) {
    const type = `${way === 'out' ? '→' : '←'} ${event.type}${event.error ? ` ${event.error.code}` : ''}`;
    if (this.last?.type === type) {
      this.last.times++;
      /** @type {HTMLElement} */ (this.last.row.lastElementChild).textContent = `${type} ×${this.last.times}`;
      return;
    }
    const seconds = ((performance.now() - this.began) / 1000).toFixed(2);
    const row = make('li', '', make('time', '', seconds), make('span', '', type));
    this.last = { type, times: 1, row };
    this.list.append(row);
    while (this.list.children.length > KEPT) this.list.firstElementChild?.remove();
    this.list.scrollTop = this.list.scrollHeight;
  }
}
