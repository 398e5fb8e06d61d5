"""One real turn through every engine: what is slow the first time is slow now, and what cannot work fails now."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

import numpy as np

from voxtral_voice import settings
from voxtral_voice.audio import Framer, resample
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.pipeline import Output, Spoken, respond
from voxtral_voice.speech import read_aloud
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, AudioPart, Finished, Heard, Message, Pcm, VoiceError

_SENTENCE = "Hello, can you hear me?"
_TOKENS = 32
"""Enough for a clause; what comes after it is the same work again."""


async def warm_up(engines: Engines, config: Config, *, understands: bool = True) -> None:
    """Speak a sentence, listen to it, answer it. Raises VoiceError("model_failed") when nothing comes of it.

    `understands`: demand that the sentence was understood and the answer makes a sound. A model with random weights
    goes through the same steps and says nothing that could be pronounced.
    """
    chosen = settings.SessionSettings.of(config)
    async with aclosing(read_aloud(_SENTENCE, chosen.voice, engines, config)) as parts:
        spoken = [pcm async for pcm in parts]
    if not spoken:
        raise VoiceError("model_failed", "the voice says nothing")
    heard = resample(np.concatenate(spoken), SPEAK_HZ, HEAR_HZ)
    likeliest = await engines.detect_worker.call(_likeliest_speech, engines, heard)
    if likeliest < config.vad.onset:
        raise VoiceError("model_failed", f"the voice detector takes the voice for noise ({likeliest:.2f})")
    await engines.endpoint_worker.call(engines.endpoint.probability, heard)
    outputs: list[Output] = []
    message = Message("user", (AudioPart(heard),))
    request = settings.request(chosen, config, (message,))
    request = replace(request, settings=replace(request.settings, max_tokens=_TOKENS))
    await respond(request, engines, settings.chunk_rules(config), outputs.append, _at_once)
    _require(outputs, understands)


def _require(outputs: list[Output], understands: bool) -> None:
    if understands and not any(isinstance(output, Heard) and output.text for output in outputs):
        raise VoiceError("model_failed", "the warm-up sentence was not understood")
    if not any(isinstance(output, Finished) and output.reply_tokens for output in outputs):
        raise VoiceError("model_failed", "the warm-up sentence got no answer")
    clauses = [output for output in outputs if isinstance(output, Spoken)]
    if not clauses or (understands and not any(len(clause.pcm) for clause in clauses)):
        raise VoiceError("model_failed", "the warm-up sentence got no spoken answer")


async def _at_once() -> None:
    return


def _likeliest_speech(engines: Engines, pcm: Pcm) -> float:
    state, likeliest = engines.detector.start(), 0.0
    for window in Framer(engines.detector.window_samples).push(pcm):
        probability, state = engines.detector.probability(window, state)
        likeliest = max(likeliest, probability)
    return likeliest
