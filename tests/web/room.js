/**
 * The room a page is tested in: a microphone that says what the test wants, an ear at the loudspeaker, and notes of
 * everything that a page should not do. Runs before the page's own scripts.
 */

(() => {
  const room = {
    /** @type {AudioContext | null} */ context: null,
    /** @type {any[]} */ recorded: [],
    /** @type {any[]} */ events: [],
    /** @type {string[]} */ violations: [],
    denied: '',
    echo: null,
    page: null,
    activated: [],
    appended: 0,
    /** @type {any[]} */ watched: [],
  };
  window.room = room;
  document.addEventListener('securitypolicyviolation', (event) => room.violations.push(`${event.violatedDirective} ${event.blockedURI}`));

  const Context = window.AudioContext;
  const connect = AudioNode.prototype.connect;
  window.AudioContext = class extends Context {
    constructor(...options) {
      super(...options);
      room.activated.push(navigator.userActivation.isActive);
      room.page = this;
    }
  };

  // The rig: one clock for what is said and what is heard, as somebody with a recorder in the room would have it.
  // A script processor, because a worklet would have to be a file of the server's.
  async function rig() {
    if (room.context) return room.context;
    const context = new Context();
    room.context = context;
    room.merger = context.createChannelMerger(2);
    room.mouth = context.createGain();
    const recorder = context.createScriptProcessor(1024, 2, 1);
    recorder.onaudioprocess = ({ inputBuffer, playbackTime }) => {
      const channels = [0, 1].map((channel) => inputBuffer.getChannelData(channel).slice());
      room.recorded.push({ at: playbackTime - 2 * inputBuffer.duration, channels }); // filled one ago, played one ahead
    };
    room.merger.connect(recorder);
    connect.call(recorder, context.destination);
    room.recorder = recorder;
    return context;
  }

  function asHeard(stream, channel) {
    room.context.createMediaStreamSource(stream).connect(room.merger, 0, channel);
  }

  AudioNode.prototype.connect = function (target, ...more) {
    if (target instanceof AudioDestinationNode && this.context === room.page && this.context !== room.context) {
      room.tap ??= this.context.createMediaStreamDestination();
      room.tap.channelCount = 1;
      connect.call(this, room.tap);
      void rig().then(() => {
        if (room.tapped) return;
        room.tapped = true;
        asHeard(room.tap.stream, 1);
        if (room.echo) addEcho();
      });
    }
    return connect.call(this, target, ...more);
  };

  navigator.mediaDevices.getUserMedia = async () => {
    if (room.denied) throw new DOMException('as the test wants', room.denied);
    const context = await rig();
    const out = context.createMediaStreamDestination();
    out.channelCount = 1;
    room.mouth.connect(out);
    asHeard(out.stream, 0);
    room.track = out.stream.getAudioTracks()[0];
    room.wire = out;
    if (room.tapped && room.echo) addEcho();
    return out.stream;
  };

  function addEcho() {
    if (!room.wire || room.echoing) return;
    room.echoing = true;
    const { gain, delay_s } = room.echo;
    const source = room.context.createMediaStreamSource(room.tap.stream);
    const level = room.context.createGain();
    level.gain.value = gain;
    const delay = room.context.createDelay(1);
    delay.delayTime.value = delay_s;
    room.delay = delay;
    source.connect(level).connect(delay).connect(room.wire);
  }

  /** Samples as base64 of float32. Resolves with the rig's time at which the last of them was said. */
  room.say = async (base64, hz) => {
    const context = await rig();
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const samples = new Float32Array(bytes.buffer);
    const buffer = context.createBuffer(1, samples.length, hz);
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(room.mouth);
    const at = context.currentTime + 0.02;
    source.start(at);
    await new Promise((done) => { source.onended = done; });
    return at + buffer.duration;
  };

  /** What was said (0) or heard (1) since `from_s`, as base64 of 16 bit at the rig's rate. */
  room.taken = (channel, from_s = 0) => {
    const chunks = room.recorded.filter((each) => each.at >= from_s).map((each) => each.channels[channel]);
    const all = new Int16Array(chunks.reduce((sum, each) => sum + each.length, 0));
    let at = 0;
    for (const chunk of chunks) for (const value of chunk) all[at++] = Math.max(-32768, Math.min(32767, Math.round(value * 32767)));
    let text = '';
    const bytes = new Uint8Array(all.buffer);
    for (let index = 0; index < bytes.length; index += 32768) text += String.fromCharCode(...bytes.subarray(index, index + 32768));
    return { base64: btoa(text), from_s: room.recorded.find((each) => each.at >= from_s)?.at ?? 0, hz: room.context.sampleRate };
  };

  /** The microphone led straight to the ear, through the page's context: what the room itself adds to every answer. */
  room.loop = (on) => {
    room.looping ??= room.page.createGain();
    if (on) {
      room.loopback = room.page.createMediaStreamSource(room.wire.stream);
      room.loopback.connect(room.looping).connect(room.tap);
    } else room.loopback.disconnect();
  };

  /** From here on, what the last lines look like whenever that changes, with the rig's time. */
  room.watch = () => {
    let before = '';
    const look = () => {
      const lines = [...document.querySelectorAll('.line')].slice(-4).map((line) => ({
        who: line.classList.contains('user') ? 'user' : 'assistant',
        final: line.hasAttribute('data-final'),
        text: line.querySelector('.words').textContent,
      }));
      const now = JSON.stringify(lines);
      if (now !== before) room.watched.push({ at: room.context?.currentTime ?? 0, lines });
      before = now;
      requestAnimationFrame(look);
    };
    look();
  };

  /** For tests that last: what was heard and sent so far is not needed any more. */
  room.forget = () => {
    room.recorded = [];
    room.events = [];
    room.watched = [];
  };

  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...options) {
      super(...options);
      room.socket = this;
      this.addEventListener('message', ({ data }) => {
        const event = JSON.parse(data);
        if (event.type.endsWith('audio.delta')) event.delta = '';
        room.events.push({ way: 'in', at: room.context?.currentTime ?? 0, event });
      });
    }

    send(data) {
      const event = JSON.parse(data);
      if (event.type !== 'input_audio_buffer.append') room.events.push({ way: 'out', at: room.context?.currentTime ?? 0, event });
      else room.appended++;
      super.send(data);
    }
  };
})();
