"""Kokoro-82M on the CPU through onnxruntime (`engines.protocols.Synthesizer`).

Measured on two cores: the int8 build beats one with its convolutions in 32-bit float by 12-28 %; optimisation level,
arena and denormals make no difference; a pool that spins loses as soon as something else wants a core.
The same clause, voice and speed give the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from voxtral_voice.config import VoiceChoice
from voxtral_voice.engines import kokoro
from voxtral_voice.engines.phonemes import Phonemizer
from voxtral_voice.onnx import open_model
from voxtral_voice.types import SPEAK_HZ, Cancel, Pcm, Voice, VoiceError
from voxtral_voice.voices import VOICES, resolve, voice_for

FILE = "kokoro-v1.0.int8.onnx"


class KokoroOnnx:
    """One model, its voices and its phonemizers, for every session."""

    sample_rate_hz = SPEAK_HZ

    def __init__(self, folder: Path, voices: Path, choice: VoiceChoice | None = None, *, threads: int = 1) -> None:
        """Loads and warms everything up; call it in the thread that will speak, whose niceness the pools inherit.

        `folder` holds FILE; `voices` holds NAME.bin for the 54 voices, each float32 [510, 1, 256]. `choice`: the
        `voice` section of the settings, None for the one in force. `threads`: CPU threads of the model.
        Raises VoiceError("unknown_voice") for a default voice that does not exist, VoiceError("model_failed") when
        phonemes cannot be had, and onnxruntime's or numpy's errors for damaged files.
        """
        if choice is None:
            from voxtral_voice import config

            choice = config.load().voice
        self._choice = choice
        self._voices = voices
        self._styles: dict[str, Pcm] = {}
        self._hindi_name = resolve(choice.hindi_name)
        default = VOICES[resolve(choice.name)]
        self._model = open_model(folder / FILE, threads)
        self._phonemizer = Phonemizer((default.language, "en-us", "hi"))
        for _ in self.speak("Hello.", Voice(default.name), Cancel()):
            pass

    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        """Yields one piece of sound for each part of at most `max_phonemes`, shape [samples], 24 kHz, trimmed.

        `voice.name`: one of VOICES or an OpenAI name; a clause in another script than the voice's is read as
        `voices.voice_for` says. Yields nothing for a clause without words. A set `cancel` also stops a part under way
        (within 10 ms measured). Raises VoiceError: "unknown_voice", "invalid_event" for a speed outside 0.5 to 2.0,
        "model_failed" when phonemes cannot be had.
        """
        asked = resolve(voice.name)
        if not 0.5 <= voice.speed <= 2.0:
            raise VoiceError("invalid_event", f"speed is 0.5 to 2.0, not {voice.speed:g}", param="speed")
        phonemes = self._phonemizer.phonemes(clause, asked)
        style = self._style(voice_for(clause, asked, self._hindi_name))
        for part in kokoro.parts(phonemes, self._choice.max_phonemes):
            if cancel.is_set():
                return
            pcm = self._synthesize(part, style, voice.speed, cancel)
            if pcm is None:
                return
            pcm = kokoro.trimmed(pcm, self._choice)
            if len(pcm):
                yield pcm

    def close(self) -> None:
        """End the phonemizers' processes; they also end with this process."""
        self._phonemizer.close()

    def _synthesize(self, part: str, style: Pcm, speed: float, cancel: Cancel) -> Pcm | None:
        """Shape [samples], 24 kHz; None when cancelled."""
        inputs = {
            "tokens": np.array([kokoro.tokens(part)], np.int64),
            "style": style[len(part) - 1],
            "speed": np.array([speed], np.float32),
        }
        options = onnxruntime.RunOptions()

        def stop() -> None:
            options.terminate = True

        forget = cancel.on_set(stop)
        try:
            (pcm,) = self._model.run(None, inputs, options)
        except Fail:  # how onnxruntime reports that it was told to stop
            if cancel.is_set():
                return None
            raise
        finally:
            forget()
        return np.asarray(pcm, np.float32).reshape(-1)

    def _style(self, name: str) -> Pcm:
        """Shape [510, 1, 256]."""
        if name not in self._styles:
            table = np.fromfile(self._voices / f"{name}.bin", np.float32)
            self._styles[name] = table.reshape(kokoro.STYLE_ROWS, 1, kokoro.STYLE_SIZE)
        return self._styles[name]
