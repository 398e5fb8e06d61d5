/** Everything the page says, in English. */

export const TEXT = {
  name: 'Voxtral Voice',
  connect: 'Connect',
  disconnect: 'Disconnect',
  cancel: 'Cancel',
  start: 'Start talking',
  stop: 'Stop',
  hold: 'Hold to talk',
  holding: 'Release to send',
  mute: 'Mute',
  unmute: 'Unmute',
  interrupt: 'Interrupt',
  settings: 'Settings',
  close: 'Close',
  send: 'Send',
  write: 'Write instead of speaking',
  conversation: 'Conversation',
  empty: 'Your conversation will appear here.',
  you: 'You',
  reply: 'Voxtral',
  unheard: 'not heard: the connection broke',
  nothing: 'nothing was understood',
  cut: 'interrupted',
  sound: 'Sound',
  microphone: 'Microphone',
  microphoneDefault: 'Default microphone',
  headphones: 'I wear headphones',
  headphonesHint: 'Nothing has to be cancelled then, and your voice keeps its quality.',
  granted: 'Echo cancellation',
  voiceGroup: 'Voice',
  voice: 'Who answers',
  voiceDefault: 'The server’s choice',
  sample: 'Hear it',
  speed: 'Speed',
  language: 'You speak',
  languageDefault: 'The server’s choice',
  automatic: 'Automatic (slower)',
  talking: 'Taking turns',
  pace: 'Answers come',
  calm: 'Calm',
  normal: 'Normal',
  quick: 'Quick',
  pushToTalk: 'Hold a key or the button to talk',
  interruptions: 'I can interrupt by speaking',
  character: 'Character',
  persona: 'Persona',
  instructions: 'Instructions',
  instructionsHint: 'Who it is and how it should answer.',
  keep: 'This conversation',
  exportText: 'Save as text',
  exportJson: 'Save as JSON',
  clear: 'Clear',
  log: 'Show the event log',
  logTitle: 'Events',
  keysTitle: 'Keys',
  keys: 'Space talk · M mute · Esc interrupt · / write',
  key: 'Access key',
  useKey: 'Use this key',
  retry: 'Try now',
  again: 'Try again',
  median: 'median',
  p95: '95 %',
  answers: 'answers',
  total: 'heard after',
  details: 'Where the time went',
  dismiss: 'Dismiss',
};

/** What is going on, by phase: the line under the orb.
 * @type {Record<string, [string, string]>} */
export const PHASES = {
  idle: ['Talk with a machine', 'Press start, speak, and it answers. You can interrupt it.'],
  connecting: ['Connecting', 'Opening the line.'],
  loading: ['Loading models', 'The first start takes a little while.'],
  ready: ['Connected', 'Press start to speak, or write.'],
  listening: ['Listening', 'Say something.'],
  muted: ['Muted', 'You are not heard. The answer goes on.'],
  held: ['Ready', 'Hold the button or Space, and speak.'],
  hearing: ['I hear you', ''],
  thinking: ['Thinking', ''],
  speaking: ['Speaking', 'Speak to interrupt.'],
  speakingThrough: ['Speaking', 'Press Esc or the square to interrupt.'],
  reconnecting: ['Connection lost', 'The conversation is kept.'],
  error: ['That did not work', ''],
};

/** What has gone wrong and what helps: [what, cure].
 * @type {Record<string, [string, string]>} */
export const TROUBLE = {
  mic_insecure: [
    'The browser gives no microphone to this address',
    'It does so for https and localhost alone. Use your pod’s https address; or ssh -L 8000:localhost:8000 HOST and open ' +
      'http://localhost:8000; or a proxy with a certificate. Writing works as it is.',
  ],
  mic_denied: [
    'The microphone is not allowed',
    'Allow it: press the sign left of the address (on a phone: the settings for this site), then try again.',
  ],
  mic_missing: ['No microphone was found', 'Plug one in, or choose another one in the settings, then try again.'],
  mic_busy: ['The microphone cannot be opened', 'Another program may be using it. Close that program, then try again.'],
  mic_lost: ['The microphone is gone', 'It was unplugged or taken away. Choose one in the settings, or try again.'],
  unauthorized: ['This server wants a key', 'Enter the key it was started with (VOXTRAL_API_KEY). It stays in this tab.'],
  wrong_key: ['The key is not the right one', 'Enter the key the server was started with (VOXTRAL_API_KEY).'],
  bad_key: ['A key has no such characters', 'It consists of letters, digits and !#$%&\'*+-.^_`|~'],
  forbidden_origin: ['The server does not serve this address', 'Open the page at the server’s own address, or name this one in server.origins.'],
  at_capacity: ['All places are taken', 'The page tries again by itself.'],
  model_failed: ['The models could not be loaded', 'The server’s log says more. Mend it there and start the server anew.'],
  session_idle: ['Nothing was said for a long time', 'The place was given to others. Connect again: the conversation is kept.'],
  session_expired: ['The conversation has lasted its time', 'Connect again: the conversation is kept.'],
  unreachable: ['The server does not answer', 'It may be starting or stopped.'],
  mic_sound: ['The browser gives no sound', 'Try again, or reload the page.'],
  too_short: ['That was too short', 'Hold the button for as long as you speak.'],
  slow: ['The line is slow', 'Some of what you said may have been lost.'],
};

/** @type {Record<string, string>} */
export const STAGES = {
  endpoint: 'certain that you are done',
  hearing: 'hearing and first word',
  first_token: 'first word',
  first_audio: 'first sound made',
  network: 'network, there and back',
  playout: 'waiting to be played',
};

/** @type {Record<string, string>} */
export const STAGES_HEARD = { ...STAGES, hearing: 'hearing' };

export const PERSONA_NAMES = {
  default: 'The server’s', brief: 'Brief', teacher: 'Teacher', story: 'Storyteller', custom: 'My own words',
};

/** The user's; the server says where it does not hear one of them. */
export const LANGUAGES = ['en', 'hi', 'es', 'fr', 'de', 'it', 'pt', 'nl', 'ja', 'zh'];

/** A sentence to know a voice by.
 * @type {Record<string, string>} */
export const SAMPLES = {
  'en-us': 'Hello, this is how I sound.',
  'en-gb': 'Hello, this is how I sound.',
  es: 'Hola, así suena mi voz.',
  'fr-fr': 'Bonjour, voici ma voix.',
  hi: 'नमस्ते, मेरी आवाज़ ऐसी है।',
  it: 'Ciao, questa è la mia voce.',
  ja: 'こんにちは、わたしのこえです。',
  'pt-br': 'Olá, esta é a minha voz.',
  cmn: '你好，这是我的声音。',
};

/** @param {number} seconds */
export const retryIn = (seconds) => `Trying again in ${seconds} s.`;
/** @param {number} done @param {number} all */
export const loaded = (done, all) => `${done} of ${all} models are ready`;
/** @param {number | null} ms */
export const ms = (ms) => (ms === null ? '–' : `${Math.round(ms)} ms`);
/** @param {boolean | string | undefined} granted */
export const echo = (granted) => (granted === undefined ? 'not known until the microphone is on' : granted ? `on (${granted === true ? 'standard' : granted})` : 'off');
