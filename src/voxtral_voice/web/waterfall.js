/** One answer's latency: the figure, a spark, and on demand where the time went. */

import { make } from './dom.js';
import { percentile, stages, voiceToVoiceMs } from './latency.js';
import { STAGES, STAGES_HEARD, TEXT, ms } from './words.js';

/** @typedef {import('./latency.js').Turn} Turn */

/** @param {Turn} turn @returns {HTMLDetailsElement | null} null before there is anything to say */
export function waterfall(turn) {
  const total = voiceToVoiceMs(turn);
  if (total === null) return null;
  const rows = stages(turn);
  const end = Math.max(total, ...rows.map((row) => row.to_ms));
  const spark = make('span', 'spark', ...rows.map((row) => bar(row, end)));
  spark.hidden = rows.length < 2; // the server has not told yet
  spark.setAttribute('aria-hidden', 'true');
  const list = make('dl', 'falls');
  const names = turn.marks_ms.heard === undefined ? STAGES : STAGES_HEARD;
  for (const row of rows) {
    list.append(make('dt', '', names[row.name]), make('dd', 'track', bar(row, end)), make('dd', '', ms(row.to_ms - row.from_ms)));
  }
  list.append(make('dt', 'sum', TEXT.total), make('dd', ''), make('dd', 'sum', ms(total)));
  const details = make('details', 'time', make('summary', '', ms(total), spark, make('span', 'hidden', TEXT.details)), list);
  details.dataset.ms = String(total);
  details.ontoggle = () => details.open && details.scrollIntoView({ block: 'nearest' });
  return details;
}

/** @param {import('./latency.js').Stage} row @param {number} end */
function bar(row, end) {
  const element = make('b');
  element.style.setProperty('left', `${(Math.max(0, row.from_ms) / end) * 100}%`);
  element.style.setProperty('width', `${Math.max(0.8, ((row.to_ms - Math.max(0, row.from_ms)) / end) * 100)}%`);
  return element;
}

/**
 * The session's median and 95th percentile.
 * @param {HTMLElement} list
 * @param {Record<string, Turn>} turns
 */
export function summarise(list, turns) {
  const known = Object.values(turns).map(voiceToVoiceMs).filter((value) => value !== null);
  list.hidden = !known.length;
  /** @type {[string, string][]} */
  const cells = [[TEXT.median, ms(percentile(known, 0.5))], [TEXT.p95, ms(percentile(known, 0.95))], [TEXT.answers, String(known.length)]];
  list.replaceChildren(...cells.map(([name, value]) => make('div', '', make('dt', '', name), make('dd', '', value))));
}
