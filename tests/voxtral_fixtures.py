"""A Voxtral of random weights and the official ways to drive it. Whoever asks for neither waits for no import."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from voxtral_voice.types import HEAR_HZ, Pcm, ReplySettings

if TYPE_CHECKING:
    from voxtral_voice.engines.voxtral.engine import Voxtral

PERSONA = "You are brief."
GREEDY = ReplySettings(PERSONA, language="en", max_tokens=24, temperature=0.0)


def sound(seconds: float, seed: int = 0) -> Pcm:
    """Noise that swells and fades, 16 kHz, in steps of 16 bits: files on the way change nothing."""
    count = int(seconds * HEAR_HZ)
    swell = 0.1 + 0.1 * np.sin(np.arange(count) / HEAR_HZ * 7)
    noise = (np.random.default_rng(seed).normal(0, 1, count) * swell).clip(-1, 0.99)
    return (np.round(noise * 32768) / 32768).astype(np.float32)


def audio_chunk(pcm: Pcm) -> dict[str, str]:
    """As transformers' chat template takes it."""
    file = io.BytesIO()
    soundfile.write(file, pcm, HEAR_HZ, format="WAV", subtype="FLOAT")
    return {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()}


def text_chunk(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@dataclass(frozen=True)
class Official:
    """transformers' own Voxtral of a folder."""

    model: Any
    processor: Any

    def chat(self, conversation: list[dict[str, Any]]) -> Any:
        return self.processor.apply_chat_template(conversation)

    def generate(self, inputs: Any, count: int) -> list[int]:
        """The likeliest `count` tokens, the end not among them."""
        import torch

        with torch.inference_mode():
            sequences = self.model.generate(**inputs, max_new_tokens=count, do_sample=False)
        written: list[int] = sequences[0, inputs["input_ids"].shape[1] :].tolist()
        return written[: written.index(2)] if 2 in written else written


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from bench import random_voxtral

    torch.set_num_threads(1)  # its products are so small that a second thread only waits
    return random_voxtral.write(tmp_path_factory.mktemp("voxtral"))


@pytest.fixture(scope="session")
def official(checkpoint: Path) -> Official:
    import torch
    from transformers import AutoProcessor, VoxtralForConditionalGeneration

    model = VoxtralForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    return Official(model, AutoProcessor.from_pretrained(checkpoint))


@pytest.fixture(scope="session")
def voxtral(checkpoint: Path) -> Voxtral:
    from voxtral_voice.engines.voxtral.engine import Voxtral

    return Voxtral.load(checkpoint, context_tokens=2048)
