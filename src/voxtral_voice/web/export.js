/** The conversation as a file. */

import { stages, voiceToVoiceMs } from './latency.js';
import { TEXT } from './words.js';

/** @typedef {import('./state.js').State} State */

/** @param {State} state */
export function asText(state) {
  const lines = state.items.filter((item) => item.role !== 'system' && item.text.trim());
  return lines.map((item) => {
    const heard = item.cut === null ? item.text : item.text.slice(0, item.cut);
    const who = item.role === 'user' ? TEXT.you : TEXT.reply;
    return `${who}: ${heard.trim()}${item.cut === null ? '' : ` (${TEXT.cut})`}\n`;
  }).join('\n');
}

/** @param {State} state */
export function asJson(state) {
  const items = state.items.map(({ id, role, text, cut, spoken, status, response_id }) => {
    const turn = state.turns[response_id];
    const latency = turn && { voice_to_voice_heard_ms: voiceToVoiceMs(turn), stages: stages(turn), marks_ms: turn.marks_ms };
    return { id, role, text, heard: cut === null ? text : text.slice(0, cut), spoken, status, ...(latency ? { latency } : {}) };
  });
  return `${JSON.stringify({ program: 'voxtral-voice', items }, null, 2)}\n`;
}

/** @param {string} name @param {string} kind @param {string} text */
export function save(name, kind, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
