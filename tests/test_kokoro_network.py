"""The network against the `kokoro` package's own modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_fixtures import model_folder
from voxtral_voice.engines import kokoro_weights
from voxtral_voice.engines.kokoro import styles, tokens
from voxtral_voice.engines.kokoro_blocks import HOP_SAMPLES, Excitation, SnakeBlock, Spectra
from voxtral_voice.engines.kokoro_network import FRAME_SAMPLES, Network

pytestmark = pytest.mark.models
CLAUSE = "ðə lˈIbɹˌɛɹi ˈOpᵊnz æt nˈIn təmˈɑɹO mˈɔɹnɪŋ."


@pytest.fixture(scope="module")
def model() -> Any:
    """kokoro.model.KModel."""
    return kokoro_weights.load(model_folder("kokoro_onnx"))


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(kokoro_weights.load(model_folder("kokoro_onnx")))


class _Source(nn.Module):
    """An Excitation in the place of kokoro's, whose noise differs at every call."""

    def __init__(self, excitation: Excitation) -> None:
        super().__init__()
        self.excitation = excitation

    def forward(self, pitch_hz: Tensor) -> tuple[Tensor, None, None]:
        return self.excitation(pitch_hz[:, ::HOP_SAMPLES, 0])[..., None], None, None


@torch.inference_mode()
@pytest.mark.parametrize("speed", [1.0, 1.4])
def test_the_forward_pass_is_kokoros(network: Network, speed: float) -> None:
    model = kokoro_weights.load(model_folder("kokoro_onnx"))
    model.decoder.generator.m_source = _Source(network.excitation)
    ids = torch.tensor([tokens(CLAUSE)])
    style = torch.from_numpy(styles(model_folder("kokoro_voices"), "af_heart")[len(CLAUSE) - 1])
    wanted, durations = model.forward_with_tokens(ids, style, speed)
    said = network.read(ids, style, speed)
    assert said.durations.tolist() == durations.tolist()
    pcm = network.sound(*said.stretched(said.durations.tolist()), style)
    assert pcm.shape == wanted.shape == (FRAME_SAMPLES * int(durations.sum()),)
    # A phase of many turns is only exact to a few hundredths of one, so single samples may differ a little.
    error = (pcm - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
    assert error < 0.01


@torch.inference_mode()
def test_a_block_is_kokoros(model: Any) -> None:
    source = model.decoder.generator.resblocks[4]
    generator = torch.Generator().manual_seed(1)
    signal, style = (torch.randn(shape, generator=generator) for shape in ((1, 128, 400), (1, 128)))
    torch.testing.assert_close(SnakeBlock(source)(signal.clone(), style), source(signal, style), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_the_excitation_of_a_voiced_sound_is_kokoros(model: Any) -> None:
    source = model.decoder.generator.m_source
    excitation = Excitation(source)
    excitation.voiced_noise = source.l_sin_gen.noise_std = 0.0
    pitch_hz = torch.linspace(90, 300, 50)[None]
    wanted, _, _ = source(pitch_hz.repeat_interleave(HOP_SAMPLES, 1)[..., None])
    torch.testing.assert_close(excitation(pitch_hz), wanted[..., 0], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_an_unvoiced_sound_is_noise_as_loud_as_kokoros(model: Any) -> None:
    source = model.decoder.generator.m_source
    silent_hz = torch.zeros(1, 200)
    wanted, _, _ = source(silent_hz.repeat_interleave(HOP_SAMPLES, 1)[..., None])
    found = Excitation(source)(silent_hz)
    assert found.mean().item() == pytest.approx(wanted.mean().item(), abs=1e-3)
    assert found.std().item() == pytest.approx(wanted.std().item(), rel=0.02)
    long = Excitation(source)(torch.zeros(1, 2000))  # 25 s: longer than the table of noise
    assert long.std().item() == pytest.approx(wanted.std().item(), rel=0.02)


def test_spectra_are_torchs_and_lead_back() -> None:
    spectra = Spectra(20, 5)
    signal = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3000)).astype(np.float32))
    magnitude, phase = spectra(signal).chunk(2, 1)
    wanted = torch.istft(torch.polar(magnitude, phase), 20, 5, window=torch.hann_window(20))
    found = spectra.inverse(magnitude, phase)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, signal, rtol=1e-4, atol=1e-5)
