"""The network against the `kokoro` package's own modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_fixtures import model_folder
from voxtral_voice.config import load
from voxtral_voice.engines import kokoro_weights
from voxtral_voice.engines.kokoro import styles, tokens
from voxtral_voice.engines.kokoro_blocks import HOP_SAMPLES, Excerpt, Excitation, SnakeBlock, Spectra
from voxtral_voice.engines.kokoro_network import FRAME_SAMPLES, Margins, Network
from voxtral_voice.engines.kokoro_torch import margins_for

pytestmark = pytest.mark.models
CLAUSE = "ðə lˈIbɹˌɛɹi ˈOpᵊnz æt nˈIn təmˈɑɹO mˈɔɹnɪŋ."


@pytest.fixture(scope="module")
def model() -> Any:
    """kokoro.model.KModel."""
    return kokoro_weights.load(model_folder("kokoro_onnx"))


@pytest.fixture(scope="module", params=["plain", "packed"])
def network(request: pytest.FixtureRequest) -> Network:
    return Network(kokoro_weights.load(model_folder("kokoro_onnx")), pack=request.param == "packed")


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


def test_an_excerpt_has_the_moments_of_the_whole_where_silence_is_even() -> None:
    words = torch.randn((1, 3, 40), generator=torch.Generator().manual_seed(2)) + 4
    quiet = torch.tensor([[[-1.0], [0.5], [0.0]]])
    whole = torch.cat([quiet.expand(1, 3, 60), words, quiet.expand(1, 3, 90)], 2)
    excerpt = Excerpt(first=4, last=12, frames=19)  # of ten steps each
    mean, variance = excerpt.moments(whole[:, :, 40:120])
    torch.testing.assert_close(mean, whole[0].mean(1))
    torch.testing.assert_close(variance, whole[0].var(1, correction=0))


def test_words_are_found_by_their_loudness() -> None:
    margins = Margins(before=2, after=3)
    planned = torch.full((20,), -8.0)
    planned[8:12] = 5.0
    assert margins.around(planned.repeat_interleave(2)) == Excerpt(6, 15, 20)
    planned[[0, 19]] = 5.0
    assert margins.around(planned.repeat_interleave(2)) == Excerpt(0, 20, 20)
    assert margins.around(torch.full((20,), -8.0)) == Excerpt(0, 10, 10)


@torch.inference_mode()
def test_leaving_the_silence_out_changes_neither_the_words_nor_their_loudness(network: Network) -> None:
    clause, margins = "ˈI hˈɜɹd ju.", margins_for(load().voice)
    ids = torch.tensor([tokens(clause)])
    style = torch.from_numpy(styles(model_folder("kokoro_voices"), "af_heart")[len(clause) - 1])
    said = network.read(ids, style, 1.0)
    stretched = said.stretched(said.durations.tolist())
    whole = network.sound(*stretched, style).numpy()
    part = network.sound(*stretched, style, margins).numpy()
    assert len(part) < 0.7 * len(whole)
    # Where they overlap best: the part's words begin where the whole's do.
    lag = int(np.abs(np.correlate(np.abs(whole), np.abs(part), mode="valid")).argmax())
    inside = whole[lag : lag + len(part)]
    assert 20 * np.log10(np.std(part) / np.std(inside)) == pytest.approx(0.0, abs=0.6)
    heard = [(np.std(inside[at : at + 2400]), np.std(part[at : at + 2400])) for at in range(0, len(part) - 2400, 2400)]
    loudest = max(there for there, _ in heard)
    assert all(here / there == pytest.approx(1.0, abs=0.25) for there, here in heard if there > loudest / 5), heard
    outside = np.concatenate([whole[:lag], whole[lag + len(part) :]])
    assert np.abs(outside).max() < 0.015 * np.abs(whole).max()
