"""Kokoro-82M's forward pass in two steps: text to durations, then a given number of frames to sound.

Between them the durations come to the host once, because they decide the shape of everything after. It follows
`kokoro.model.KModel.forward_with_tokens` (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxtral_voice.engines import packed
from voxtral_voice.engines.kokoro_blocks import (
    HOP_SAMPLES,
    Excerpt,
    Excitation,
    SnakeBlock,
    Spectra,
    StyledNorm,
)

FRAME_SAMPLES = 2 * HOP_SAMPLES
"""Of sound for a frame of the durations: 25 ms at 24 kHz."""
# Loudness above which the words begin and below which they end: voices rest at -10 to -5 and speak at 0 to 9. Of 81
# short clauses in 27 voices, no sound above 1.5 % of the peak came earlier, or later than a frame behind that.
_BEGINS, _ENDS = -5.0, -2.0
_PROSODY = 128  # a style's first half shapes the sound, its second half durations, pitch and loudness


@dataclass(frozen=True)
class Said:
    """A text as the network reads it."""

    durations: Tensor
    """Frames of each token, shape [tokens], whole numbers of at least 1, on the device."""
    prosody: Tensor
    """Shape [1, 640, tokens]."""
    sounds: Tensor
    """Shape [1, 512, tokens]."""

    def stretched(self, durations: Sequence[int]) -> tuple[Tensor, Tensor]:
        """`prosody` and `sounds` with each token as often as it has frames: shapes [1, 640 and 512, frames]."""
        device = self.prosody.device
        counts = torch.tensor(durations)
        places = torch.arange(len(counts)).repeat_interleave(counts).to(device, non_blocking=True)
        return self.prosody[:, :, places], self.sounds[:, :, places]


@dataclass(frozen=True)
class Margins:
    """Frames to be kept around the words."""

    before: int
    after: int

    def around(self, loudness: Tensor) -> Excerpt:
        """`loudness`: shape [2 * frames], the network's own plan of the sound."""
        frames = len(loudness) // 2
        level = loudness.reshape(frames, 2).amax(1)
        (begun,), (ending,) = (level > _BEGINS).nonzero(as_tuple=True), (level > _ENDS).nonzero(as_tuple=True)
        if not len(ending):
            return Excerpt(0, frames, frames)
        first, last = int(begun[0]) - self.before, int(ending[-1]) + 1 + self.after
        return Excerpt(max(0, first), min(frames, last), frames)


class Network(nn.Module):
    """Batches of one. Text and sound are worked out in `dtype`, what lies between in float32: durations, pitch."""

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32, *, pack: bool = False) -> None:
        """`model`: what `kokoro_weights.load` gives; its modules are taken over.

        `pack`: for a CPU: weights and signals lie in memory as oneDNN computes with them, where torch has it.
        """
        super().__init__()
        generator = model.decoder.generator
        self.excitation = Excitation(generator.m_source)
        self.spectra = Spectra(generator.post_n_fft, generator.stft.hop_length)
        del generator.m_source, generator.stft
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if type(child).__name__ == "AdaINResBlock1":
                    setattr(parent, name, SnakeBlock(child))
                elif type(child).__name__ == "AdaIN1d":
                    setattr(parent, name, StyledNorm(child))
        self.bert, self.bert_encoder = model.bert.to(dtype), model.bert_encoder
        self.text_encoder, self.predictor = model.text_encoder, model.predictor
        self.decoder = model.decoder.to(dtype)
        for module in self.decoder.modules():
            if isinstance(module, StyledNorm):  # products as small as theirs are slower in bfloat16
                module.float()
        if pack and packed.available():
            packed.pack(self, leave=(StyledNorm, Excitation))  # a product with one style is as quick in a plain layer
        self.dtype = dtype
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.spectra.window.device

    def read(self, tokens: Tensor, style: Tensor, speed: float) -> Said:
        """`tokens`: shape [1, 3 to 512], a pad at either end; `style`: shape [1, 256]."""
        count = torch.tensor([tokens.shape[1]])  # on the CPU, where packed sequences want it
        nothing = torch.zeros_like(tokens, dtype=torch.bool)
        prosodic = style[:, _PROSODY:]
        encoded = self.bert_encoder(self.bert(tokens).float()).transpose(1, 2)
        prosody = self.predictor.text_encoder(encoded, prosodic, count, nothing)
        hidden, _ = self.predictor.lstm(prosody)
        frames = self.predictor.duration_proj(hidden).sigmoid().sum(-1)[0] / speed
        durations = frames.round().clamp(min=1).long()
        return Said(durations, prosody.transpose(1, 2), self.text_encoder(tokens, count, nothing))

    def sound(self, prosody: Tensor, sounds: Tensor, style: Tensor, margins: Margins | None = None) -> Tensor:
        """What `Said.stretched` gives, and the style. Returns shape [frames * FRAME_SAMPLES], float32.

        `margins`: only the frames that hold the words and this much around them; not on CUDA, where the host would
        wait. Half the frames of a short clause are silence (0.9 s of 1.6 s), and this is where the time goes.
        """
        pitch_hz, loudness = self.predictor.F0Ntrain(prosody, style[:, _PROSODY:])
        decoder, timbre = self.decoder, style[:, :_PROSODY]
        sounds = sounds.to(self.dtype)
        curves = [decoder.F0_conv(pitch_hz[:, None].to(self.dtype)), decoder.N_conv(loudness[:, None].to(self.dtype))]
        rest = [decoder.asr_res(sounds), *curves]
        signal = decoder.encode(torch.cat([sounds, *curves], 1), timbre)
        for block in decoder.decode:
            signal = block(torch.cat([signal, *rest], 1), timbre)
        if margins is None:
            return self._generated(signal, timbre, pitch_hz)
        excerpt = margins.around(loudness[0])
        kept = slice(2 * excerpt.first, 2 * excerpt.last)
        return self._generated(signal[:, :, kept], timbre, pitch_hz[:, kept], excerpt)

    def silence(self, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Arguments for `sound` that say nothing, for trials and recordings of so many frames."""
        shapes = ((1, 640, frames), (1, 512, frames), (1, 256))
        prosody, sounds, style = (torch.zeros(shape, device=self.device) for shape in shapes)
        return prosody, sounds, style

    def _generated(self, signal: Tensor, timbre: Tensor, pitch_hz: Tensor, excerpt: Excerpt | None = None) -> Tensor:
        generator = self.decoder.generator
        source = self.spectra(self.excitation(pitch_hz)).to(self.dtype)
        blocks = len(generator.resblocks) // len(generator.ups)
        for index, up in enumerate(generator.ups):
            signal = up(F.leaky_relu(signal, 0.1))
            if index == len(generator.ups) - 1:
                signal = generator.reflection_pad(signal)
            signal = signal + generator.noise_res[index](generator.noise_convs[index](source), timbre, excerpt)
            every = generator.resblocks[index * blocks : (index + 1) * blocks]
            found = [block(signal, timbre, excerpt) for block in every]
            signal = sum(found[1:], found[0]) / blocks
        signal = generator.conv_post(F.leaky_relu(signal)).float()
        bins = generator.post_n_fft // 2 + 1
        return self.spectra.inverse(signal[:, :bins].exp(), signal[:, bins:].sin())[0]
