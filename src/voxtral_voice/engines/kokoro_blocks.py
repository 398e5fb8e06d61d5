"""The parts of Kokoro's network that stand in for the `kokoro` package's own: the same sums, made for inference.

They read the signal fewer times, need no complex numbers back from a spectrum, never wait for the device (so that a
CUDA graph can record them), and take their noise from a table: the same input gives the same samples, and nobody
else's random numbers change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HOP_SAMPLES = 300
"""Of sound for each value of the pitch, two of which make a frame of the durations."""
_NOISE_SAMPLES = 1 << 19  # 22 s at 24 kHz: longer than nearly every part, and nobody hears noise repeat
_SEED = 82
_EDGE_FRAMES = 2  # of the silence worked out, that stand for the silence that is not


@dataclass(frozen=True)
class Excerpt:
    """The frames of a clause that are worked out: the words, and of the silence around them the part next to them."""

    first: int
    last: int
    """Behind the last one."""
    frames: int
    """Of the whole clause."""

    def moments(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over the whole clause, both shape [channels], float32.

        `signal`: shape [1, channels, steps], the excerpt's. Its outermost frames stand for the silence beyond them;
        without that the words would be norms to themselves and come out up to 5 dB quieter.
        """
        values = signal[0].t().to(torch.float32, copy=True)
        shares = _shares(self, signal.shape[2], signal.device)
        mean = shares @ values
        return mean, (shares @ values.square_() - mean.square()).clamp_min(0.0)


@lru_cache(4)
def _shares(excerpt: Excerpt, steps: int, device: torch.device) -> Tensor:
    """What each step of an excerpt counts for in a mean over the whole clause, shape [steps], float32."""
    frame = steps // (excerpt.last - excerpt.first)
    shares = torch.full((steps,), 1 / (excerpt.frames * frame))
    edge = _EDGE_FRAMES * frame
    shares[:edge] *= 1 + excerpt.first / _EDGE_FRAMES
    shares[steps - edge :] *= 1 + (excerpt.frames - excerpt.last) / _EDGE_FRAMES
    return shares.to(device)


class StyledNorm(nn.Module):
    """Instance norm over time, scaled and shifted by the style in the same pass (for `AdaIN1d`). Batches of one."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.norm, self.fc = source.norm, source.fc

    def forward(self, signal: Tensor, style: Tensor, excerpt: Excerpt | None = None) -> Tensor:
        """`signal`: shape [1, channels, steps], of all the clause or of `excerpt`; `style`: shape [1, 128], float32."""
        gain, shift = self.fc(style)[0].chunk(2)
        gain = 1 + gain
        weight, bias = gain * self.norm.weight, gain * self.norm.bias + shift
        flat = signal[:, :, None]  # the norms know images step by step, and no other signal
        if excerpt is None:
            return F.instance_norm(flat, weight=weight, bias=bias, eps=self.norm.eps)[:, :, 0]
        mean, variance = excerpt.moments(signal)
        return F.batch_norm(flat, mean, variance, weight, bias, eps=self.norm.eps)[:, :, 0]


class SnakeBlock(nn.Module):
    """Three pairs of convolutions with periodic activations (for `AdaINResBlock1`)."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            each for pair in zip(source.convs1, source.convs2, strict=True) for each in pair
        )
        self.norms = nn.ModuleList(
            StyledNorm(each) for pair in zip(source.adain1, source.adain2, strict=True) for each in pair
        )
        self.periods = nn.ParameterList(
            each for pair in zip(source.alpha1, source.alpha2, strict=True) for each in pair
        )

    def forward(self, signal: Tensor, style: Tensor, excerpt: Excerpt | None = None) -> Tensor:
        """`signal`: shape [1, channels, steps], of all the clause or of `excerpt`; `style`: shape [1, 128]."""
        inner = signal
        for index, (norm, period, convolution) in enumerate(
            zip(self.norms, self.periods, self.convolutions, strict=True)
        ):
            inner = convolution(_snake(norm(inner, style, excerpt), period))
            if index % 2:
                inner = signal = inner + signal
        return signal


def _snake(signal: Tensor, period: Tensor) -> Tensor:
    """signal + sin(period * signal)^2 / period. Overwrites `signal`."""
    wave = torch.mul(signal, period).sin_().square_()
    return signal.addcmul_(wave, period.reciprocal())


class Excitation(nn.Module):
    """What the voice is made from: harmonics of the pitch where there is one, and noise (for `SourceModuleHnNSF`).

    The noise is added after the harmonics are merged, with the variance that their weights would have given it.
    """

    noise: Tensor
    harmonics: Tensor

    def __init__(self, source: Any) -> None:
        super().__init__()
        sines = source.l_sin_gen
        self.merge = source.l_linear
        self.rate_hz, self.voiced_hz = sines.sampling_rate, sines.voiced_threshold
        self.amplitude, self.voiced_noise = sines.sine_amp, sines.noise_std
        self.register_buffer("harmonics", torch.arange(1.0, sines.dim + 1)[None, :, None], persistent=False)
        generator = torch.Generator().manual_seed(_SEED)
        self.register_buffer("noise", torch.randn(_NOISE_SAMPLES, generator=generator), persistent=False)

    def forward(self, pitch_hz: Tensor) -> Tensor:
        """`pitch_hz`: shape [1, values], one every HOP_SAMPLES. Returns shape [1, values * HOP_SAMPLES]."""
        turns = pitch_hz[:, None] * self.harmonics / self.rate_hz % 1
        phase = turns.cumsum(2) * 2 * torch.pi * HOP_SAMPLES
        waves = F.interpolate(phase, scale_factor=HOP_SAMPLES, mode="linear").sin_() * self.amplitude
        voiced = (pitch_hz > self.voiced_hz).float().repeat_interleave(HOP_SAMPLES, 1)
        weights = self.merge.weight
        level = (voiced * self.voiced_noise + (1 - voiced) * self.amplitude / 3) * weights.norm()
        samples = voiced.shape[1]
        noise = self.noise.repeat(-(-samples // _NOISE_SAMPLES))[:samples]
        merged: Tensor = (weights @ waves)[:, 0] * voiced + level * noise + self.merge.bias
        return merged.tanh_()


class Spectra(nn.Module):
    """Short-time spectra of 20 samples every 5, and back (for `TorchSTFT`)."""

    window: Tensor
    waves: Tensor
    overlap: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        window = torch.hann_window(size)
        bins = torch.arange(size // 2 + 1)[:, None]
        angle = 2 * torch.pi / size * bins * torch.arange(size)
        share = torch.full((size // 2 + 1, 1), 2.0 / size)  # every bin between the ends stands for two
        share[0] = share[-1] = 1.0 / size
        waves = torch.cat([angle.cos() * share, -angle.sin() * share]) * window
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("waves", waves[:, None], persistent=False)
        self.register_buffer("overlap", window.square()[None, None], persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """`signal`: shape [1, samples]. Returns [1, 2 * bins, samples / hop + 1]: magnitudes, then phases."""
        spectrum = torch.stft(signal, self.size, self.hop, window=self.window, return_complex=True)
        return torch.cat([spectrum.abs(), spectrum.angle()], 1)

    def inverse(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """Both shape [1, bins, steps]. Returns shape [1, (steps - 1) * hop], as torch.istft does."""
        parts = torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], 1)
        sound = F.conv_transpose1d(parts, self.waves, stride=self.hop)
        ones = torch.ones_like(parts[:, :1])
        sound = sound / F.conv_transpose1d(ones, self.overlap, stride=self.hop).clamp_min(1e-11)
        return sound[:, 0, self.size // 2 : -(self.size // 2)]
