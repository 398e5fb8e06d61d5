"""Recorded computations. Without a GPU a recording is played by a stand-in that keeps its rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from test_voxtral import reply
from test_voxtral_prompt import CONVERSATIONS
from voxtral_voice.engines.graphs import Captured
from voxtral_voice.engines.voxtral import decoder, encoder
from voxtral_voice.engines.voxtral.engine import Voxtral
from voxtral_voice.engines.voxtral.tokens import Tokens


def test_off_cuda_a_function_is_called_on_the_static_inputs() -> None:
    static = torch.zeros(3)
    double = Captured(lambda tensor: tensor * 2, static)
    assert double(torch.arange(3.0)).tolist() == [0, 2, 4]
    assert static.tolist() == [0, 1, 2]
    assert double(static).tolist() == [0, 2, 4]


def test_a_shape_other_than_the_recorded_one_is_refused() -> None:
    double = Captured(lambda tensor: tensor * 2, torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        double(torch.zeros(4))


class Replayed(Captured):
    """A recording as CUDA plays it: the same work on the same places, the result where the first one lay, and results
    of other recordings gone, because all share one memory."""

    recorded: ClassVar[list[Replayed]] = []

    def __init__(self, function: Callable[..., Tensor], *inputs: Tensor, graph: bool = False, pool: Any = None) -> None:
        super().__init__(function, *inputs)
        if graph:
            self._output = function(*inputs).clone()
            self._graph = SimpleNamespace(replay=self._replay)  # type: ignore[assignment]
            self.recorded.append(self)

    def _replay(self) -> None:
        for other in self.recorded:
            assert other._output is not None
            other._output.fill_(torch.nan)
        assert self._output is not None
        self._output.copy_(self._function(*self._inputs))


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    Replayed.recorded = []
    monkeypatch.setattr(decoder, "Captured", Replayed)
    monkeypatch.setattr(encoder, "Captured", Replayed)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)


def test_voxtral_says_the_same_from_recordings(checkpoint: Path, replayed: None) -> None:
    plain, recorded = (Voxtral.load(checkpoint, context_tokens=2048, slots=2) for _ in range(2))
    with torch.inference_mode():
        recorded.encoder.capture()
        recorded.decoder.capture()
    assert len(Replayed.recorded) == 1 + 3 * 2 * 4  # the encoder; lanes, windows, and rows or one token
    for messages in CONVERSATIONS.values():
        assert reply(recorded, messages) == reply(plain, messages)


def test_what_is_recorded_asks_nothing_of_the_host(checkpoint: Path) -> None:
    """On the meta device there are no values: whatever looks at one, or lets it decide a shape, fails."""
    from bench import random_voxtral

    nowhere = Voxtral(random_voxtral.model("tiny", "meta"), Tokens(checkpoint), device="meta", slots=1)
    place = torch.zeros(1, dtype=torch.int64, device="meta")
    rows = torch.zeros(64, 64, device="meta")
    with torch.inference_mode():
        assert nowhere.decoder._step(0, 1024, place, place).shape == (8000,)
        assert nowhere.decoder._read(0, 1024, rows, place, place).shape == (8000,)
        assert nowhere.encoder._forward(torch.zeros(1, 128, 3000, device="meta")).shape == (375, 64)
