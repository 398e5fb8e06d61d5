/** The microphone: asked for, told apart from its ways to fail, and given on in frames. */

/** Why there is no microphone, in a word that `words.js` has the cure for. */
export class MicrophoneError extends Error {
  /** @param {string} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** @type {Record<string, string>} */
const CODES = {
  NotAllowedError: 'mic_denied', SecurityError: 'mic_denied',
  NotFoundError: 'mic_missing', OverconstrainedError: 'mic_missing',
  NotReadableError: 'mic_busy', AbortError: 'mic_busy',
};

/**
 * @param {string} device an id, '' for the default one
 * @param {boolean} headphones no loudspeaker to be heard: nothing is cancelled, and the voice keeps its quality
 * @returns {Promise<MediaStream>}
 * @throws {MicrophoneError}
 */
async function ask(device, headphones) {
  if (!navigator.mediaDevices?.getUserMedia) throw new MicrophoneError(window.isSecureContext ? 'mic_missing' : 'mic_insecure');
  /** @type {MediaTrackConstraints} */
  const audio = {
    channelCount: 1,
    echoCancellation: /** @type {any} */ (headphones ? false : { ideal: 'all' }),
    noiseSuppression: true,
    autoGainControl: true,
    ...(device ? { deviceId: { exact: device } } : {}),
  };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const name = error instanceof Error ? error.name : '';
    if (name === 'OverconstrainedError' && device) return ask('', headphones); // the chosen one is unplugged
    throw new MicrophoneError(CODES[name] ?? 'mic_busy');
  }
}

/** @typedef {{samples: Int16Array, at: number, level: number}} Frame */

export class Microphone {
  /** @param {MediaStream} stream @param {AudioWorkletNode} node @param {MediaStreamAudioSourceNode} source */
  constructor(stream, node, source) {
    this.stream = stream;
    this.node = node;
    this.source = source;
  }

  /**
   * @param {import('./speaker.js').Speaker} speaker what it plays is told apart from a voice
   * @param {{device: string, headphones: boolean}} wish
   * @param {{frame: (frame: Frame) => void, lost: () => void}} told
   * @throws {MicrophoneError}
   */
  static async open(speaker, wish, told) {
    const stream = await ask(wish.device, wish.headphones);
    const context = speaker.context;
    const node = new AudioWorkletNode(context, 'capture', { numberOfInputs: 2, numberOfOutputs: 1, outputChannelCount: [1] });
    node.port.onmessage = ({ data }) => told.frame(data);
    node.port.postMessage({ guarded: !wish.headphones });
    const source = context.createMediaStreamSource(stream);
    source.connect(node, 0, 0);
    speaker.output.connect(node, 0, 1);
    node.connect(speaker.silence); // what leads nowhere is not run by every browser
    for (const track of stream.getAudioTracks()) track.onended = told.lost;
    return new Microphone(stream, node, source);
  }

  /** What the browser made of what was asked for. */
  get echoCancellation() {
    return /** @type {boolean | string | undefined} */ (this.stream.getAudioTracks()[0]?.getSettings().echoCancellation);
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.node.port.postMessage({ muted });
    for (const track of this.stream.getAudioTracks()) track.enabled = !muted; // the browser's own sign says so too
  }

  close() {
    for (const track of this.stream.getAudioTracks()) {
      track.onended = null;
      track.stop();
    }
    this.source.disconnect();
    this.node.disconnect();
    this.node.port.onmessage = null;
  }
}

/** @returns {Promise<{id: string, label: string}[]>} */
export async function devices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const found = all.filter((each) => each.kind === 'audioinput' && each.deviceId);
  return found.map((each) => ({ id: each.deviceId, label: each.label }));
}
