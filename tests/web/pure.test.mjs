/** The parts of the page that neither hear nor show anything. `node --test tests/web/` */

import assert from 'node:assert/strict';
import { test } from 'node:test';

const web = new URL('../../src/voxtral_voice/web/', import.meta.url);
const from = (name) => import(new URL(name, web));
const { Resampler } = await from('resample.js');
const { Jitter } = await from('jitter.js');
const { EchoGate } = await from('echo.js');
const { SentClock, percentile, stages, turn, voiceToVoiceMs } = await from('latency.js');
const { durationMs, firstAudible, fromBase64, rms, toBase64 } = await from('pcm.js');
const { backoffMs } = await from('link.js');
const { load, session, DEFAULTS } = await from('settings.js');

const sine = (hz, rate, seconds) => Float32Array.from({ length: rate * seconds }, (_, index) => 0.5 * Math.sin((2 * Math.PI * hz * index) / rate));
const served = { instructions: 'Be kind.', audio: { output: { voice: 'af_heart' } } };

for (const [inHz, outHz] of [[48000, 24000], [44100, 24000], [24000, 48000], [24000, 44100], [16000, 24000], [24000, 24000]]) {
  test(`a tone comes through from ${inHz} to ${outHz} Hz, in blocks of 128, as it was`, () => {
    const resampler = new Resampler(inHz, outHz);
    const input = sine(1000, inHz, 0.5);
    const output = [];
    for (let at = 0; at < input.length; at += 128) output.push(...resampler.convert(input.slice(at, at + 128)));
    assert.ok(Math.abs(output.length - outHz * 0.5) < 60, `${output.length} samples`);
    const wanted = sine(1000, outHz, 0.5);
    const worst = Math.max(...output.slice(200, 5000).map((sample, index) => Math.abs(sample - wanted[index + 200])));
    assert.ok(worst < 0.004, `off by ${worst}`);
  });
}

test('what the lower rate cannot hold does not come back as another tone', () => {
  const output = new Resampler(48000, 24000).convert(sine(15000, 48000, 0.2));
  assert.ok(rms(output.slice(300)) < 0.0005, `${rms(output.slice(300))}`);
});

test('samples survive the wire', () => {
  const samples = Int16Array.from([0, 1, -1, 32767, -32768, 12345]);
  assert.deepEqual([...fromBase64(toBase64(samples))].map((each) => Math.round(each * 32768)), [...samples]);
  assert.equal(durationMs(toBase64(new Int16Array(480))), 20);
  assert.equal(durationMs(toBase64(new Int16Array(481))).toFixed(3), (481 / 24).toFixed(3));
});

test('the first audible sample is the first 10 ms above -45 dBFS', () => {
  const samples = new Float32Array(2400);
  samples.fill(0.003, 0, 960).fill(0.1, 960);
  assert.equal(firstAudible(samples, 24000), 960);
  assert.equal(firstAudible(new Float32Array(2400).fill(0.003), 24000), -1);
});

const chunk = (item, ms, audible = -1) => ({ item, samples: new Float32Array(ms * 48).fill(0.5), audible });
const pull = (jitter, ms) => {
  const output = new Float32Array(128);
  let loud = 0;
  for (let left = ms * 48; left > 0; left -= 128) {
    jitter.pull(output);
    loud += output.filter((sample) => Math.abs(sample) > 0.01).length;
  }
  return loud / 48;
};

test('nothing is played before 80 ms are there, or 80 ms have gone by', () => {
  const jitter = new Jitter(48000);
  jitter.push(chunk('a', 40));
  assert.equal(pull(jitter, 60), 0);
  jitter.push(chunk('a', 40));
  assert.ok(pull(jitter, 20) > 15);
  const lonely = new Jitter(48000);
  lonely.push(chunk('a', 40));
  assert.ok(pull(lonely, 140) > 35);
});

test('a short reply is not kept waiting for more', () => {
  const jitter = new Jitter(48000);
  jitter.push(chunk('a', 20));
  jitter.end();
  assert.ok(pull(jitter, 30) > 15);
  assert.deepEqual(jitter.reports.at(-1), { type: 'drained', item: 'a' });
});

test('a flush is silence within 3 ms', () => {
  const jitter = new Jitter(48000);
  jitter.push(chunk('a', 500));
  pull(jitter, 200);
  jitter.flush();
  assert.ok(pull(jitter, 200) < 3);
  jitter.push(chunk('b', 100));
  assert.ok(pull(jitter, 200) > 95, 'the next reply is heard');
});

test('running dry waits a little longer the next time, and never more than 100 ms', () => {
  const jitter = new Jitter(48000);
  for (let times = 0; times < 8; times++) {
    jitter.push(chunk('a', 100));
    pull(jitter, 300);
    assert.equal(jitter.startMs, Math.min(100, 85 + times * 5));
  }
  assert.equal(jitter.startMs, 100);
});

test('the first audible sample is reported where it is played', () => {
  const jitter = new Jitter(48000);
  jitter.push(chunk('a', 100, 4800 - 100));
  pull(jitter, 200);
  const report = jitter.reports.find((each) => each.type === 'audible');
  assert.equal(report.item, 'a');
  assert.equal(report.offset, 4700 % 128);
});

test('two replies in a row are told apart', () => {
  const jitter = new Jitter(48000);
  jitter.push(chunk('a', 100));
  jitter.push(chunk('b', 100));
  jitter.end();
  pull(jitter, 260);
  const played = (item) => Math.max(...jitter.reports.filter((each) => each.type === 'played' && each.item === item).map((each) => each.samples));
  assert.equal(played('a'), 4800);
  assert.equal(played('b'), 4800);
});

test('the page keeps its own echo out and lets a voice in', () => {
  const gate = new EchoGate();
  const random = (seed) => () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const noise = random(7);
  const played = [];
  let let_in = 0;
  for (let frame = 0; frame < 9000; frame++) {
    played.push(frame % 300 < 220 ? 0.05 + 0.2 * noise() : 0);
    const delayed = played[Math.max(0, frame - 8)];
    if (gate.passes(delayed * 0.1 + 0.0005, played[frame]) && played.slice(-24).some((each) => each > 0.004)) let_in++;
  }
  assert.equal(let_in, 0, 'three minutes of its own voice, 160 ms late and 20 dB down');
  const voice = Array.from({ length: 20 }, (_, frame) => gate.passes(0.12, frame < 3 ? 0 : 0.2));
  assert.ok(voice.filter(Boolean).length > 16, `${voice}`);
});

test('where echo cancellation works a quiet voice gets in too', () => {
  const gate = new EchoGate();
  for (let frame = 0; frame < 2000; frame++) gate.passes(0.0006, 0.2);
  assert.ok(gate.passes(0.02, 0.2) || gate.passes(0.02, 0.2));
});

test('silence around the page is never gated', () => {
  const gate = new EchoGate();
  assert.ok(Array.from({ length: 50 }, () => gate.passes(0.001, 0)).every(Boolean));
});

test('a turn is measured from the last word to the first sound', () => {
  const marks_ms = { think_start: 100, first_delta: 250, first_pcm: 400, turn_end: 320, first_sent: 405 };
  const each = { ...turn(), asked_s: 10, arrived_s: 10.43, heard_s: 10.55, marks_ms };
  assert.equal(voiceToVoiceMs(each), 550);
  assert.deepEqual(stages(each).map(({ name, from_ms, to_ms }) => [name, Math.round(from_ms), Math.round(to_ms)]), [
    ['endpoint', 0, 320], ['hearing', 100, 250], ['first_audio', 250, 400], ['network', 405, 430], ['playout', 430, 550],
  ]);
  assert.equal(voiceToVoiceMs(turn()), null);
  assert.deepEqual(stages(turn()), []);
});

test('percentiles are interpolated', () => {
  assert.equal(percentile([], 0.5), null);
  assert.equal(percentile([3, 1, 2], 0.5), 2);
  assert.equal(percentile([0, 100], 0.95), 95);
});

test('a sample that was sent is known by the moment it was captured', () => {
  const clock = new SentClock();
  for (let frame = 1; frame <= 10_000; frame++) clock.sent(480, 5 + frame * 0.02);
  assert.equal(clock.capturedAt(199_990, 24000)?.toFixed(3), '204.990');
  assert.ok(clock.frames.length <= 4500);
});

test('attempts come further and further apart, and never all at once', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 9].map((attempt) => backoffMs(attempt, 0.5)), [500, 1000, 2000, 4000, 8000, 8000]);
  assert.deepEqual([backoffMs(0, 0), backoffMs(0, 1)], [375, 625]);
});

test('settings survive, and what is not ours is left out', () => {
  const storage = (text) => ({ getItem: () => text });
  assert.deepEqual(load(storage('{"speed": 1.2, "voice": 7, "else": 1}')), { ...DEFAULTS, speed: 1.2 });
  assert.deepEqual(load(storage('not json')), DEFAULTS);
  assert.deepEqual(load(null), DEFAULTS);
});

test('choices become a session', () => {
  const quiet = session({ ...DEFAULTS, pushToTalk: true, headphones: true, language: 'hi' }, served);
  assert.equal(quiet.audio.input.turn_detection, null);
  assert.deepEqual(quiet.audio.input.noise_reduction, { type: 'near_field' });
  assert.deepEqual(quiet.audio.input.transcription, { language: 'hi' });
  const free = session({ ...DEFAULTS, interruptions: false, pace: 'high' }, served);
  assert.equal(free.instructions, 'Be kind.');
  assert.equal(free.audio.input.turn_detection.interrupt_response, false);
  assert.equal(free.audio.input.turn_detection.eagerness, 'high');
});
