/** The settings: shown, changed, and told to whoever asked. */

import { control, make, the, write } from './dom.js';
import { devices } from './microphone.js';
import { DEFAULTS } from './settings.js';
import { LANGUAGES, PERSONA_NAMES, TEXT, echo } from './words.js';

/** @typedef {import('./settings.js').Settings} Settings */

const FIELDS = /** @type {(Exclude<keyof Settings, 'pace'>)[]} */ (Object.keys(DEFAULTS).filter((name) => name !== 'pace'));

export class Drawer {
  /** @param {Settings} settings @param {(change: Partial<Settings>) => void} changed */
  constructor(settings, changed) {
    this.settings = settings;
    this.changed = changed;
    this.dialog = /** @type {HTMLDialogElement} */ (the('drawer'));
    the('settings-open').onclick = () => this.open();
    this.dialog.onclick = ({ target }) => {
      if (target === this.dialog) this.dialog.close();
    };
    this.dialog.onclose = () => {
      if (this.settings.pushToTalk) the('start').focus(); // where Space talks
    };
    /** @type {() => void} */
    this.opened = () => {};
    this.options('language', [['', TEXT.languageDefault], ['auto', TEXT.automatic], ...LANGUAGES.map(named)]);
    this.options('persona', Object.entries(PERSONA_NAMES));
    this.options('voice', [['', TEXT.voiceDefault]]);
    this.bind();
    this.show(settings);
  }

  open() {
    void this.listMicrophones();
    this.opened();
    this.dialog.showModal();
  }

  bind() {
    for (const name of FIELDS) {
      const field = control(name);
      field.onchange = () => this.changed({ [name]: read(field, name) });
    }
    control('speed').oninput = () => this.showSpeed(control('speed').valueAsNumber);
    for (const radio of this.paces()) radio.onchange = () => this.changed({ pace: /** @type {Settings['pace']} */ (radio.value) });
  }

  paces() {
    return /** @type {NodeListOf<HTMLInputElement>} */ (this.dialog.querySelectorAll('[name="pace"]'));
  }

  /** @param {Settings} settings */
  show(settings) {
    this.settings = settings;
    for (const name of FIELDS) {
      const value = settings[name];
      if (typeof value === 'boolean') control(name).checked = value;
      else control(name).value = String(value);
    }
    this.showSpeed(settings.speed);
    the('custom').hidden = settings.persona !== 'custom';
    for (const radio of this.paces()) radio.checked = radio.value === settings.pace;
  }

  /** @param {number} speed */
  showSpeed(speed) {
    write(the('speed-shown'), `${speed.toFixed(2)}×`);
  }

  /** @param {string} id @param {[string, string][]} options */
  options(id, options) {
    the(id).replaceChildren(...options.map(([value, text]) => option(value, text)));
  }

  /** @param {{id: string, language: string, gender: string}[]} voices */
  showVoices(voices) {
    const groups = new Map();
    for (const voice of voices) groups.set(voice.language, [...(groups.get(voice.language) ?? []), voice]);
    const shown = [...groups].map(([language, members]) => {
      const group = make('optgroup', '', ...members.map((/** @type {any} */ each) => option(each.id, spoken(each))));
      group.label = named(language)[1];
      return group;
    });
    the('voice').replaceChildren(option('', TEXT.voiceDefault), ...shown);
    control('voice').value = this.settings.voice;
  }

  async listMicrophones() {
    const found = (await devices()).filter((each) => each.id !== 'default');
    this.options('microphone', [['', TEXT.microphoneDefault], ...found.map((each, index) => /** @type {[string, string]} */ ([each.id, each.label || `${TEXT.microphone} ${index + 1}`]))]);
    control('microphone').value = this.settings.microphone;
  }

  /** @param {boolean | string | undefined} echoCancellation */
  showGranted(echoCancellation) {
    write(the('granted'), echo(echoCancellation));
  }
}

/** @param {string} value @param {string} text */
function option(value, text) {
  const element = make('option', '', text);
  element.value = value;
  return element;
}

/** @param {string} language as espeak or ISO 639 has it @returns {[string, string]} */
function named(language) {
  const code = language === 'cmn' ? 'zh' : language;
  return [language, new Intl.DisplayNames('en', { type: 'language' }).of(code) ?? language];
}

/** @param {{id: string, gender: string}} voice */
function spoken({ id, gender }) {
  const name = id.slice(id.indexOf('_') + 1);
  return `${name[0].toUpperCase()}${name.slice(1)} (${gender})`;
}

/** @param {HTMLInputElement} field @param {keyof Settings} name */
function read(field, name) {
  if (typeof DEFAULTS[name] === 'boolean') return field.checked;
  return typeof DEFAULTS[name] === 'number' ? field.valueAsNumber : field.value;
}
