/** The page: what is pressed on one side, the conversation on the other, and what is shown of it. */

import { Conversation } from './conversation.js';
import { control, the } from './dom.js';
import { Drawer } from './drawer.js';
import { asJson, asText, save } from './export.js';
import { listen } from './keys.js';
import { Log } from './log.js';
import { Panel } from './panel.js';
import { toFloat } from './pcm.js';
import * as server from './server.js';
import { keep, load } from './settings.js';
import { Transcript } from './transcript.js';
import { SAMPLES } from './words.js';

const KEY_PLACE = 'voxtral-voice.key';

/** @param {'localStorage' | 'sessionStorage'} name */
function storage(name) {
  try {
    return window[name];
  } catch (error) {
    if (error instanceof DOMException) return null; // cookies are blocked: nothing is kept
    throw error;
  }
}

const kept = storage('localStorage');
const ofThisTab = storage('sessionStorage');
const panel = new Panel();
const transcript = new Transcript();
const log = new Log();
/** @type {{id: string, language: string, gender: string}[]} */
let voices = [];
let drawn = false;
let loudness = 0;

const conversation = new Conversation(load(kept), {
  changed: draw,
  level: (level) => {
    loudness = level;
    draw();
  },
  event: (way, event) => log.note(way, event),
  granted: (granted) => drawer.showGranted(granted),
});
const drawer = new Drawer(conversation.settings, (change) => {
  const settings = { ...conversation.settings, ...change };
  keep(kept, settings);
  drawer.show(settings);
  log.show(settings.log);
  void conversation.choose(settings);
});

function draw() {
  if (drawn) return;
  drawn = true;
  const show = () => {
    drawn = false;
    panel.show(conversation.state, conversation.settings);
    panel.loud(loudness);
    transcript.show(conversation.state);
    void stayAwake();
  };
  if (document.hidden) setTimeout(show, 250); // no frames are drawn, and the state must not wait
  else requestAnimationFrame(show);
}

// The key comes in the address and leaves it at once: addresses are copied and kept in histories.
function readKey() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const key = fragment.get('key');
  if (key !== null) {
    history.replaceState(null, '', location.pathname + location.search);
    useKey(key);
  } else conversation.key = ofThisTab?.getItem(KEY_PLACE) ?? '';
}

/** @param {string} key */
function useKey(key) {
  conversation.key = key.trim();
  ofThisTab?.setItem(KEY_PLACE, conversation.key);
  voices = [];
}

async function listVoices() {
  if (voices.length) return;
  voices = await server.voices(conversation.key);
  drawer.showVoices(voices);
}

async function playSample() {
  await conversation.unlock();
  const id = conversation.settings.voice || (conversation.served?.audio.output.voice ?? 'af_heart');
  const language = voices.find((voice) => voice.id === id)?.language ?? 'en-us';
  const wish = { voice: id, speed: conversation.settings.speed, text: SAMPLES[language] ?? SAMPLES['en-us'] };
  const button = control('sample');
  button.disabled = true;
  conversation.interrupt();
  try {
    conversation.sound.playSample(toFloat(await server.sample(conversation.key, wish)));
  } catch (error) {
    conversation.set({ notice: { code: '', message: error instanceof Error ? error.message : String(error) } });
  } finally {
    button.disabled = false;
  }
}

/** @type {WakeLockSentinel | null} */
let lock = null;

/** A phone must not go to sleep in the middle of a conversation. */
async function stayAwake() {
  const wanted = conversation.state.microphone === 'on' && conversation.state.link === 'open' && !document.hidden;
  if (!wanted) {
    const held = lock;
    lock = null;
    await held?.release();
    return;
  }
  if (lock && !lock.released) return;
  try {
    lock = (await navigator.wakeLock?.request('screen')) ?? null;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // the battery is low, or the page was left: it sleeps
  }
}

function press() {
  const { state, settings } = conversation;
  if (state.microphone !== 'on') void conversation.start();
  else if (!(settings.pushToTalk && state.link === 'open')) conversation.stop();
}

function bind() {
  the('connect').onclick = () => {
    if (conversation.state.link !== 'idle' && conversation.state.link !== 'failed') return conversation.disconnect();
    void conversation.unlock();
    conversation.connect();
  };
  const start = the('start');
  start.onclick = press;
  start.onpointerdown = (event) => {
    if (!start.hasAttribute('data-hold')) return;
    start.setPointerCapture(event.pointerId);
    conversation.talk(true);
  };
  start.onpointerup = start.onpointercancel = () => conversation.talk(false);
  start.oncontextmenu = (event) => event.preventDefault();
  the('mute').onclick = () => conversation.mute();
  the('interrupt').onclick = () => conversation.interrupt();
  the('retry').onclick = () => {
    const { state } = conversation;
    if (state.link === 'waiting' || state.link === 'failed') conversation.connect();
    if (state.trouble?.code.startsWith('mic_')) void conversation.start();
  };
  the('key-form').onsubmit = (event) => {
    event.preventDefault();
    const field = control('key');
    useKey(field.value);
    field.value = '';
    conversation.connect();
  };
  the('composer').onsubmit = (event) => {
    event.preventDefault();
    const field = control('text');
    const text = field.value.trim();
    if (!text) return;
    field.value = '';
    void conversation.say(text);
  };
  the('notice-close').onclick = () => conversation.set({ notice: null });
  the('export-text').onclick = () => save('conversation.txt', 'text/plain', asText(conversation.state));
  the('export-json').onclick = () => save('conversation.json', 'application/json', asJson(conversation.state));
  the('clear').onclick = () => conversation.forget();
  the('sample').onclick = () => void playSample();
  drawer.opened = () => void listVoices();
}

listen({
  talk: (down) => {
    if (conversation.state.microphone !== 'on') {
      if (down) void conversation.start();
    } else conversation.talk(down);
  },
  mute: () => conversation.mute(),
  interrupt: () => conversation.interrupt(),
  write: () => the('text').focus(),
});
document.addEventListener('visibilitychange', () => {
  draw();
  const context = conversation.sound.speaker?.context;
  if (!document.hidden && context?.state === 'suspended') void context.resume(); // iOS says "interrupted" during a call: that one resumes itself
});
navigator.mediaDevices?.addEventListener?.('devicechange', () => void drawer.listMicrophones());
setInterval(() => conversation.state.retry && draw(), 250);
addEventListener('hashchange', readKey);

readKey();
bind();
log.show(conversation.settings.log);
draw();
