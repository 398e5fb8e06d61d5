"""A Llama-shaped language model, token by token: plain torch, with a memory that can be rewound.

The same arithmetic as transformers' LlamaForCausalLM (a test compares the two). Written out because a 135 M model
spends half of its time in between the matrix products there, and because rewinding the keys and values of a
conversation to where a new one branches off is then an assignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    layers: int
    width: int
    heads: int
    kv_heads: int
    context_tokens: int
    norm_epsilon: float
    rope_base: float

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one layer; a matrix is [out, in]."""

    attention_norm: Tensor
    qkv: Tensor
    """Queries, keys and values in one product."""
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    embedding: Tensor
    """[vocabulary, width]"""
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Tensor
    """[vocabulary, width]; the embedding again where the two are tied."""


class Memory:
    """Keys and values of the tokens read so far. Rewinding is setting `length` lower."""

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        self.length = 0
        """Tokens held."""
        # [layer, key or value, head, token, channel]
        self._held = torch.empty(shape.layers, 2, shape.kv_heads, 256, shape.head_width, dtype=dtype)

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` in all."""
        capacity = self._held.shape[3]
        if tokens <= capacity:
            return
        while capacity < tokens:
            capacity *= 2
        grown = self._held.new_empty(*self._held.shape[:3], capacity, self._held.shape[4])
        grown[:, :, :, : self.length] = self._held[:, :, :, : self.length]
        self._held = grown

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add to a layer, each [head, token, channel], behind `length`; returns all of that layer's up to there."""
        end = self.length + keys.shape[1]
        held = self._held[layer]
        held[0, :, self.length : end] = keys
        held[1, :, self.length : end] = values
        return held[0, :, :end], held[1, :, :end]

    @torch.inference_mode()
    def copy_from(self, other: Memory, tokens: int) -> None:
        """Become the first `tokens` of `other`."""
        self.length = 0
        self.reserve(tokens)
        self._held[:, :, :, :tokens] = other._held[:, :, :, :tokens]
        self.length = tokens


class Llama:
    """Weights that read. Keeps nothing between calls: what was read is in the Memory."""

    def __init__(self, shape: Shape, weights: Weights) -> None:
        self.shape = shape
        self._weights = weights
        half = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
        angles = torch.outer(torch.arange(shape.context_tokens, dtype=torch.float32), shape.rope_base**-half)
        angles = torch.cat([angles, angles], dim=1)[:, None]
        self._cos = angles.cos().to(weights.embedding.dtype)
        self._sin = angles.sin().to(weights.embedding.dtype)

    def memory(self) -> Memory:
        return Memory(self.shape, self._weights.embedding.dtype)

    @torch.inference_mode()
    def read(self, tokens: Sequence[int], memory: Memory) -> Tensor:
        """Read `tokens` after what `memory` holds. Returns the scores of every possible next one, float32.

        Raises ValueError beyond `shape.context_tokens`.
        """
        end = memory.length + len(tokens)
        if end > self.shape.context_tokens:
            raise ValueError(f"{end} tokens are more than the {self.shape.context_tokens} this model can hold")
        memory.reserve(end)
        width, epsilon = (self.shape.width,), self.shape.norm_epsilon
        x = self._weights.embedding[torch.tensor(tokens)]
        mask = self._mask(len(tokens), memory.length)
        for index, layer in enumerate(self._weights.layers):
            seen = functional.rms_norm(x, width, layer.attention_norm, epsilon)
            x = x + functional.linear(self._attend(index, functional.linear(seen, layer.qkv), mask, memory), layer.out)
            seen = functional.rms_norm(x, width, layer.mlp_norm, epsilon)
            gate, up = functional.linear(seen, layer.gate_up).chunk(2, dim=-1)
            x = x + functional.linear(functional.silu(gate) * up, layer.down)
        memory.length = end
        return functional.linear(
            functional.rms_norm(x[-1], width, self._weights.norm, epsilon), self._weights.head
        ).float()

    def _attend(self, layer: int, qkv: Tensor, mask: Tensor | None, memory: Memory) -> Tensor:
        tokens = len(qkv)
        heads, kv_heads = self.shape.heads, self.shape.kv_heads
        states = qkv.view(tokens, heads + 2 * kv_heads, self.shape.head_width)
        turned = self._rotate(states[:, : heads + kv_heads], memory.length)
        keys, values = memory.write(
            layer, turned[:, heads:].transpose(0, 1), states[:, heads + kv_heads :].transpose(0, 1)
        )
        # The query heads that share a key head stand one after the other, as if they were more tokens.
        queries = turned[:, :heads].transpose(0, 1).reshape(kv_heads, -1, self.shape.head_width)
        mixed = functional.scaled_dot_product_attention(queries[None], keys[None], values[None], attn_mask=mask)
        return mixed.view(heads, tokens, self.shape.head_width).transpose(0, 1).reshape(tokens, -1)

    def _rotate(self, states: Tensor, start: int) -> Tensor:
        """Rotary position; `states`: [token, head, channel]."""
        end = start + len(states)
        first, second = states.chunk(2, dim=-1)
        return states * self._cos[start:end] + torch.cat([-second, first], dim=-1) * self._sin[start:end]

    def _mask(self, tokens: int, before: int) -> Tensor | None:
        """True where a token may look, [1, 1, query heads of a key head x tokens, all tokens]; None for one token."""
        if tokens == 1:
            return None
        group = self.shape.heads // self.shape.kv_heads
        may = torch.ones(tokens, before + tokens, dtype=torch.bool).tril(before)
        return may.repeat(group, 1)[None, None]
