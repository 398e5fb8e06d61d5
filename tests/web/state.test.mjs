/** What the page makes of the server's events. `node --test tests/web/` */

import assert from 'node:assert/strict';
import { test } from 'node:test';

const web = new URL('../../src/voxtral_voice/web/', import.meta.url);
const { initial, phase, reduce, replay, shown } = await import(new URL('state.js', web));
const { asJson, asText } = await import(new URL('export.js', web));

const run = (events, state = initial()) => events.reduce(reduce, state);
const sound = (ms) => ({ type: 'response.output_audio.delta', response_id: 'r', item_id: 'a', delta: 'A'.repeat((ms * 24 * 2 * 4) / 3) });
const words = (delta) => ({ type: 'response.output_audio_transcript.delta', response_id: 'r', item_id: 'a', delta });
const open = { type: 'page.link', link: 'open' };
const said = [
  open,
  { type: 'page.set', set: { microphone: 'on' } },
  { type: 'input_audio_buffer.speech_started', item_id: 'u', audio_start_ms: 0 },
  { type: 'conversation.item.input_audio_transcription.delta', item_id: 'u', delta: 'how old' },
];
const answered = [
  ...said,
  { type: 'input_audio_buffer.speech_stopped', item_id: 'u', audio_end_ms: 900 },
  { type: 'input_audio_buffer.committed', item_id: 'u', previous_item_id: null },
  { type: 'conversation.item.added', previous_item_id: null, item: { id: 'u', role: 'user', content: [{ type: 'input_audio', transcript: null }] } },
  { type: 'response.created', response: { id: 'r' } },
  { type: 'conversation.item.input_audio_transcription.completed', item_id: 'u', transcript: 'How old is it?' },
  { type: 'response.output_item.added', response_id: 'r', item: { id: 'a' } },
  { type: 'conversation.item.added', previous_item_id: 'u', item: { id: 'a', role: 'assistant', content: [] } },
  words('It is very old. '), sound(1000), words('Nobody knows how old.'), sound(1000),
];
const item = (state, id) => state.items.find((each) => each.id === id);

test('words come while the user speaks, and stand once they are final', () => {
  const speaking = run(said);
  assert.equal(phase(speaking), 'hearing');
  assert.equal(item(speaking, 'u').partial, 'how old');
  assert.equal(item(run([...said, { type: 'voxtral.input.partial', item_id: 'u', text: 'How cold' }]), 'u').partial, 'How cold');
  const after = run(answered);
  assert.deepEqual([item(after, 'u').text, item(after, 'u').partial, item(after, 'u').status], ['How old is it?', '', 'final']);
  assert.equal(phase(after), 'thinking');
});

test('the reply appears in step with its sound', () => {
  const at = (ms) => shown(item(run([...answered, { type: 'page.heard', item_id: 'a', heard_ms: ms }]), 'a')).text;
  assert.equal(at(0), '');
  assert.equal(at(100), 'It');
  assert.equal(at(900), 'It is very old. ');
  assert.match(at(1500), /^It is very old\. Nobody knows/);
  const over = run([...answered, { type: 'response.done', response: { id: 'r', status: 'completed' } }, { type: 'page.heard', item_id: 'a', heard_ms: Infinity }]);
  assert.equal(shown(item(over, 'a')).text, 'It is very old. Nobody knows how old.');
  assert.equal(phase(over), 'listening');
});

test('what was not heard of an interrupted reply is struck', () => {
  const cut = run([...answered, { type: 'page.cut', item_id: 'a', heard_ms: 1700 }]);
  assert.deepEqual(shown(item(cut, 'a')), { text: 'It is very old. Nobody knows', struck: ' how old.' });
  const corrected = run([{ type: 'conversation.item.retrieved', item: { id: 'a', role: 'assistant', content: [{ type: 'output_audio', transcript: 'It is very old. Nobody' }] } }], cut);
  assert.deepEqual(shown(item(corrected, 'a')), { text: 'It is very old. Nobody', struck: ' knows how old.' });
  assert.match(asText(corrected), /Voxtral: It is very old\. Nobody \(interrupted\)/);
  assert.equal(JSON.parse(asJson(corrected)).items[1].heard, 'It is very old. Nobody');
});

test('a reply that the server cancels is struck where it was heard', () => {
  const done = run([...answered, { type: 'page.heard', item_id: 'a', heard_ms: 1000 }, { type: 'response.done', response: { id: 'r', status: 'cancelled' } }]);
  assert.equal(shown(item(done, 'a')).text, 'It is very old. ');
});

test('a broken line closes what was under way, and a new one is told the rest', () => {
  const half = run([
    ...answered, { type: 'page.heard', item_id: 'a', heard_ms: 1000 },
    { type: 'input_audio_buffer.speech_started', item_id: 'v', audio_start_ms: 0 },
    { type: 'conversation.item.input_audio_transcription.delta', item_id: 'v', delta: 'and how' },
    { type: 'page.link', link: 'waiting', retry: { at_ms: 0, attempt: 0 } },
  ]);
  assert.equal(phase(half), 'reconnecting');
  assert.deepEqual([item(half, 'v').status, item(half, 'v').text], ['lost', 'and how']);
  assert.equal(shown(item(half, 'a')).text, 'It is very old. ');
  const told = replay(half);
  assert.deepEqual(told.map((event) => [event.item.role, event.item.content[0].type, event.item.content[0].text]), [
    ['user', 'input_text', 'How old is it?'], ['assistant', 'output_text', 'It is very old.'], ['user', 'input_text', 'and how'],
  ]);
  const again = run(told.map((event) => ({ type: 'conversation.item.added', previous_item_id: null, item: event.item })), half);
  assert.deepEqual(again.items.map((each) => each.id), half.items.map((each) => each.id), 'no line twice');
});

test('an answer stands behind what it answers', () => {
  const late = run([
    ...said,
    { type: 'input_audio_buffer.committed', item_id: 'u' },
    { type: 'input_audio_buffer.speech_started', item_id: 'v' },
    { type: 'response.created', response: { id: 'r' } },
    { type: 'response.output_item.added', response_id: 'r', item: { id: 'a' } },
    { type: 'conversation.item.added', previous_item_id: 'u', item: { id: 'a', role: 'assistant', content: [] } },
  ]);
  assert.deepEqual(late.items.map((each) => each.id), ['u', 'a', 'v']);
});

test('text without sound is shown at once', () => {
  const text = run([
    open, { type: 'page.said', item_id: 't', text: 'Hello' }, { type: 'response.created', response: { id: 'r' } },
    { type: 'response.output_item.added', response_id: 'r', item: { id: 'a' } },
    { type: 'response.output_text.delta', response_id: 'r', item_id: 'a', delta: 'Good day.' },
  ]);
  assert.equal(shown(item(text, 'a')).text, 'Good day.');
  assert.equal(item(text, 't').status, 'final');
});

test('a failed reply says why, a late cancel nothing', () => {
  const failed = run([...answered, { type: 'response.done', response: { id: 'r', status: 'failed', status_details: { error: { code: 'out_of_memory', message: 'no memory' } } } }]);
  assert.deepEqual(failed.notice, { code: 'out_of_memory', message: 'no memory' });
  const odd = { type: 'error', error: { code: 'invalid_event', message: 'odd' } };
  assert.equal(run([open, odd]).notice.message, 'odd');
  assert.equal(run([odd]).notice, null, 'why there is no line is told in its own place');
  assert.equal(run([open, { type: 'error', error: { code: 'response_cancel_not_active', message: '' } }]).notice, null);
});

test('nothing changes where nothing is known', () => {
  const state = run(answered);
  assert.equal(reduce(state, { type: 'response.output_audio.done' }), state);
  assert.equal(reduce(state, { type: 'page.heard', item_id: 'sample', heard_ms: 3 }), state);
});
