"""Voxtral's ears: Whisper's encoder and the adapter to the text model, 375 embeddings per 30 s."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from voxtral_voice.engines.graphs import Captured
from voxtral_voice.engines.voxtral.features import CHUNK_FRAMES, MELS


class Encoder:
    def __init__(self, tower: Any, adapter: nn.Module) -> None:
        """`tower`: transformers' VoxtralEncoder. `adapter`: its VoxtralMultiModalProjector."""
        self._tower = tower.eval()
        self._adapter = adapter.eval()
        self._width = int(tower.config.intermediate_size)
        weight = tower.conv1.weight
        self._chunk = torch.zeros(1, MELS, CHUNK_FRAMES, dtype=weight.dtype, device=weight.device)
        self._run = Captured(self._forward, self._chunk, graph=False)

    def capture(self) -> None:
        """Record the one shape there is. For CUDA, once, before the first use."""
        self._run = Captured(self._forward, self._chunk, graph=True)

    @torch.inference_mode()
    def encode(self, mel: Tensor) -> Tensor:
        """`mel`: float32 [chunks, 128, 3000]. Returns [chunks * 375, hidden] in the model's own type."""
        return torch.cat([self._run(chunk[None].to(self._chunk.dtype)).clone() for chunk in mel])

    def _forward(self, mel: Tensor) -> Tensor:
        heard = self._tower(mel).last_hidden_state
        adapted: Tensor = self._adapter(heard.reshape(-1, self._width))
        return adapted
