"""The next token, chosen where the scores are, so that nobody waits for the host."""

from __future__ import annotations

import torch
from torch import Tensor

_CANDIDATES = 64  # of 131072; at temperature 0.2 what lies behind holds nothing worth drawing


class Chooser:
    """Draws the tokens of one reply. The same seed and scores give the same tokens on the same device."""

    def __init__(self, temperature: float, top_p: float, most: int, seed: int, device: torch.device) -> None:
        """`temperature`: 0 takes the likeliest. `most`: tokens that will be drawn."""
        self._temperature = temperature
        self._top_p = top_p
        self._drawn = 0
        self._noise: Tensor | None = None
        if temperature > 0:
            draw = torch.Generator(device).manual_seed(seed)
            self._noise = torch.empty(most + 1, _CANDIDATES, device=device).exponential_(generator=draw)

    @torch.inference_mode()
    def choose(self, scores: Tensor) -> Tensor:
        """`scores`: float32 [vocabulary]. Returns int64 [1] on the same device."""
        if self._noise is None:
            return scores.argmax(keepdim=True)
        best, tokens = scores.topk(min(_CANDIDATES, len(scores)))
        likely = (best / self._temperature).softmax(0)
        likely = likely.masked_fill(likely.cumsum(0) - likely >= self._top_p, 0.0)
        # The largest of probabilities divided by exponential noise falls on each as often as it is likely.
        winner = (likely / self._noise[self._drawn, : len(likely)]).argmax(keepdim=True)
        self._drawn += 1
        return tokens[winner]


class OnItsWay:
    """A token on its way to the host; the device works on meanwhile."""

    def __init__(self, token: Tensor) -> None:
        """`token`: int64 [1]."""
        self._event: torch.cuda.Event | None = None
        self._host = token
        if token.is_cuda:
            self._host = torch.empty(1, dtype=torch.int64, pin_memory=True)
            self._host.copy_(token, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def get(self) -> int:
        if self._event is not None:
            self._event.synchronize()
        return int(self._host[0])
