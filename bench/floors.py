"""The least time that arithmetic and memory allow: what a measured figure is held against.

    python -m bench.floors

prints computed figures for cards that were not at hand; none of them is a measurement.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bench.random_voxtral import configuration

PROMPT_TOKENS = 399
"""24 of a persona and its markers, 375 of up to 30 s of sound."""
CLAUSE_TOKENS = 10
CLAUSE_S = 1.5
"""Of sound, the first clause."""
_KOKORO_FLOP_PER_S = 54.4e9
"""Of one second of sound, as counted over all its products."""


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    bf16_flop_per_s: float
    fp32_flop_per_s: float
    bytes_per_s: float


# Peak rates of the makers' data sheets (dense bf16 with fp32 sums, fp32, memory), of which 75 % of the arithmetic and
# 85 % of the memory's rate are taken for what a real kernel reaches.
CARDS = tuple(
    Card(name, 0.75 * bf16 * 1e12, 0.75 * fp32 * 1e12, 0.85 * memory * 1e9)
    for name, bf16, fp32, memory in (
        ("H100 SXM", 989, 67, 3350),
        ("RTX 4090", 165, 82.6, 1008),
        ("RTX A4500", 94.6, 23.7, 640),
    )
)


@dataclass(frozen=True, slots=True)
class Floors:
    """Milliseconds."""

    encoder: float
    prefill: float
    decode: float
    kokoro: float

    @property
    def clause(self) -> float:
        """Hearing, reading and the first clause's tokens, of which the first comes with the reading."""
        return self.encoder + self.prefill + (CLAUSE_TOKENS - 1) * self.decode

    @property
    def first_pcm(self) -> float:
        return self.clause + self.kokoro


def floors(config: Any, card: Card, weight_bytes: int = 2) -> Floors:
    """`config`: transformers' VoxtralConfig. `weight_bytes`: of the text model's layers; all else is bf16."""
    audio, text = config.audio_config, config.text_config
    width, inner, frames = audio.hidden_size, audio.intermediate_size, audio.max_source_positions
    layer = 4 * width * width + 2 * width * inner
    convolutions = 3 * audio.num_mel_bins * width * 2 + 3 * width * width
    encoder = 2 * frames * (audio.num_hidden_layers * (layer + 2 * frames * width) + convolutions)
    heard_tokens = frames * width // inner
    adapter = 2 * heard_tokens * (inner * text.hidden_size + text.hidden_size**2)

    products = _layer_weights(text) * text.num_hidden_layers
    attended = text.num_hidden_layers * 2 * PROMPT_TOKENS * text.num_attention_heads * text.head_dim
    head = text.hidden_size * text.vocab_size
    prefill = 2 * PROMPT_TOKENS * (products + attended / 2) + 2 * head
    fetched = products * weight_bytes + 2 * head
    return Floors(
        encoder=1000 * (encoder + adapter) / card.bf16_flop_per_s,
        prefill=1000 * max(prefill / card.bf16_flop_per_s, fetched / card.bytes_per_s),
        decode=1000 * fetched / card.bytes_per_s,
        kokoro=1000 * CLAUSE_S * _KOKORO_FLOP_PER_S / card.fp32_flop_per_s,
    )


def _layer_weights(text: Any) -> int:
    hidden, heads, kv_heads, size = text.hidden_size, text.num_attention_heads, text.num_key_value_heads, text.head_dim
    return int(hidden * (2 * heads + 2 * kv_heads) * size + 3 * hidden * text.intermediate_size)


def measured(device: torch.device) -> Card:
    """What this device reaches in large products and in a large copy, the best of several."""
    from bench.stopwatch import best_s

    cuda = device.type == "cuda"
    size = 8192 if cuda else 1024
    rates = {}
    for dtype in (torch.bfloat16, torch.float32):
        square = torch.randn(size, size, dtype=dtype, device=device)
        rates[dtype] = 2 * size**3 / best_s(partial(torch.matmul, square, square), device)
    source = torch.ones(2**30 if cuda else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() / best_s(partial(target.copy_, source), device)
    name = torch.cuda.get_device_name(device) if cuda else "this CPU"
    return Card(name, rates[torch.bfloat16], rates[torch.float32], moved)


def main() -> int:
    config = configuration("full")
    print("Computed floors of Voxtral-Mini-3B and Kokoro in ms, not measured\n")
    print(
        f"{'card':<12}{'weights':<9}{'encoder':>9}{'prefill':>9}{'token':>8}{'clause':>9}{'Kokoro':>8}{'first PCM':>11}"
    )
    for card in CARDS:
        for weights, size in (("bf16", 2), ("int8", 1)):
            each = floors(config, card, size)
            figures = f"{each.encoder:9.1f}{each.prefill:9.1f}{each.decode:8.1f}{each.clause:9.1f}{each.kokoro:8.1f}"
            print(f"{card.name:<12}{weights:<9}{figures}{each.first_pcm:11.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
