/** What the user chooses: kept in the browser, and told to the server as a session. */

const PLACE = 'voxtral-voice.settings';

/**
 * @typedef {object} Settings
 * @property {string} microphone a device's id; '' for the default one
 * @property {string} voice '' for the server's
 * @property {number} speed
 * @property {string} language ISO 639, 'auto', '' for the server's
 * @property {string} persona a key of PERSONAS, or 'custom'
 * @property {string} instructions of the custom persona
 * @property {'low' | 'medium' | 'high'} pace of turn-taking
 * @property {boolean} pushToTalk
 * @property {boolean} interruptions
 * @property {boolean} headphones
 * @property {boolean} log the event log is shown
 */

/** @type {Settings} */
export const DEFAULTS = {
  microphone: '', voice: '', speed: 1, language: '', persona: 'default', instructions: '', pace: 'medium',
  pushToTalk: false, interruptions: true, headphones: false, log: false,
};

const SPOKEN = 'Answer in short spoken sentences, in plain words, without lists, markup or emoji.';

/** @type {Record<string, string>} */
export const PERSONAS = {
  default: '',
  brief: `You are a brisk assistant. Answer with one short sentence. ${SPOKEN}`,
  teacher: `You are a patient teacher. Explain with one everyday example. ${SPOKEN}`,
  story: `You are a warm storyteller. Answer with a small image or a tiny story. ${SPOKEN}`,
};

/** @param {Storage | null} storage null where the browser keeps nothing for this page @returns {Settings} */
export function load(storage) {
  try {
    return known(JSON.parse(storage?.getItem(PLACE) ?? '{}'));
  } catch (error) {
    if (error instanceof SyntaxError) return { ...DEFAULTS }; // not ours, or of another time
    throw error;
  }
}

/** @param {Storage | null} storage @param {Settings} settings */
export function keep(storage, settings) {
  storage?.setItem(PLACE, JSON.stringify(settings));
}

/**
 * Only what is ours and of the right kind.
 * @param {any} found
 * @returns {Settings}
 */
function known(found) {
  /** @type {Record<string, any>} */
  const settings = { ...DEFAULTS };
  for (const [name, value] of Object.entries(DEFAULTS)) {
    if (typeof found?.[name] === typeof value) settings[name] = found[name];
  }
  return /** @type {Settings} */ (settings);
}

/**
 * The `session` of a `session.update`.
 * @param {Settings} settings
 * @param {Record<string, any>} served the session as the server began it: its own defaults
 */
export function session(settings, served) {
  const persona = settings.persona === 'custom' ? settings.instructions.trim() : PERSONAS[settings.persona];
  const hands_free = {
    type: 'semantic_vad', eagerness: settings.pace, create_response: true, interrupt_response: settings.interruptions,
  };
  return {
    type: 'realtime',
    instructions: persona || served.instructions,
    include: ['turn.metrics', 'input.partials', 'output.duck'],
    audio: {
      input: {
        transcription: settings.language ? { language: settings.language } : null,
        noise_reduction: { type: settings.headphones ? 'near_field' : 'far_field' },
        turn_detection: settings.pushToTalk ? null : hands_free,
      },
      output: { voice: settings.voice || served.audio.output.voice, speed: settings.speed },
    },
  };
}
