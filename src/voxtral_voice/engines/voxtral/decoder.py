"""Voxtral's text model with keys and values in fixed places, so that its steps can be recorded as CUDA graphs.

The arithmetic is that of transformers' Llama (https://huggingface.co/docs/transformers/model_doc/llama), whose weights
it takes over: query, key and value as one product, gate and up as one, because a token's time is the number of its
products as much as their size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxtral_voice.engines.graphs import Captured

WINDOWS = (1024, 2048, 4096, 8192, 16384)
"""How many places attention looks at: one recording each. 1024 places are 2 % of what a token fetches anyway."""
ROWS = (64, 256, 448)
"""How many tokens are read at once, likewise: 448 holds a sound of 30 s and a persona, 64 take as long as one."""


class Layer(nn.Module):
    """One of transformers' LlamaDecoderLayer, its products joined."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.eps = float(layer.input_layernorm.variance_epsilon)
        self.attention_norm: nn.Parameter = layer.input_layernorm.weight
        self.mlp_norm: nn.Parameter = layer.post_attention_layernorm.weight
        self.qkv = _joined(attention, "q_proj", "k_proj", "v_proj")
        self.out: nn.Module = attention.o_proj
        self.gate_up = _joined(mlp, "gate_proj", "up_proj")
        self.down: nn.Module = mlp.down_proj


class Decoder(nn.Module):
    """Reads tokens into one of its lanes and says what may come next. Not for two threads at once."""

    def __init__(
        self,
        model: Any,
        head: nn.Linear,
        *,
        lanes: Sequence[int],
        device: torch.device,
        settle: Callable[[nn.Module], object] | None = None,
    ) -> None:
        """`model`: transformers' LlamaModel, which is taken apart. `head`: its scores.

        `lanes`: tokens that each conversation held may have; keys and values of all are allocated here. `settle` is
        called with each layer once it is on `device`, to make it smaller. Raises torch.OutOfMemoryError.
        """
        super().__init__()
        config = model.config
        self._eps = float(config.rms_norm_eps)
        self._heads = int(config.num_attention_heads)
        self._kv_heads = int(config.num_key_value_heads)
        self._head_size = int(config.head_dim)
        self.embedding = model.embed_tokens.to(device)
        self.norm = model.norm.to(device).weight
        self.head = head.to(device)
        self.layers: list[Layer] = []
        while len(model.layers):  # one by one, so that no layer is there twice but the one at work
            layer = Layer(model.layers.pop(0).to(device))
            if settle is not None:
                settle(layer)
            self.layers.append(layer)
        dtype = self.embedding.weight.dtype
        self.lanes = tuple(lanes)
        # The last place of a lane takes what a padded row writes.
        shapes = [(2, self._kv_heads, tokens + 1, self._head_size) for tokens in lanes]
        self._memory = [[torch.zeros(shape, dtype=dtype, device=device) for _ in self.layers] for shape in shapes]
        self._every = torch.arange(max(lanes) + 1, device=device)
        cos, sin = model.rotary_emb.to(device)(self.embedding.weight[:1, None], self._every[None])
        self._cos, self._sin = cos[0].to(dtype), sin[0].to(dtype)
        self._sin[:, : self._head_size // 2].neg_()
        self._recorded: dict[tuple[int, int, int], Captured] = {}
        self.fixed_shapes = False
        """Pad what is read to ROWS and what is looked at to WINDOWS: a must for recordings, a waste without them."""

    @property
    def device(self) -> torch.device:
        return self._every.device

    @property
    def memory_bytes(self) -> int:
        """Of the keys and values."""
        return sum(each.numel() * each.element_size() for lane in self._memory for each in lane)

    def capture(self) -> None:
        """Record every shape, for CUDA. Afterwards every shape is one of these."""
        self.fixed_shapes = True
        pool = torch.cuda.graph_pool_handle()
        size, dtype = self.embedding.embedding_dim, self.embedding.weight.dtype
        token, start, last = (torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(3))
        embedded = {rows: torch.zeros(rows, size, dtype=dtype, device=self.device) for rows in ROWS}
        for lane in range(len(self.lanes)):
            for window in self._windows(lane):
                step = partial(self._step, lane, window)
                self._recorded[lane, window, 1] = Captured(step, token, start, graph=True, pool=pool)
                for rows in (rows for rows in ROWS if rows <= window):
                    read = partial(self._read, lane, window)
                    inputs = (embedded[rows], start, last)
                    self._recorded[lane, window, rows] = Captured(read, *inputs, graph=True, pool=pool)

    @torch.inference_mode()
    def embed(self, tokens: Tensor) -> Tensor:
        """`tokens`: int64 [rows]. Returns [rows, hidden]."""
        embedded: Tensor = self.embedding(tokens)
        return embedded

    @torch.inference_mode()
    def read(self, lane: int, embedded: Tensor, start: int) -> Tensor:
        """Read `embedded` ([rows, hidden]) into `lane` behind its first `start` tokens.

        Returns the scores of every possible next token, float32 [vocabulary], valid until the next call. Raises
        ValueError beyond the lane's end.
        """
        rows = len(embedded)
        self._check(lane, start + rows)
        padded = self._padded(lane, rows)
        if padded > rows:
            embedded = functional.pad(embedded, (0, 0, 0, padded - rows))
        window = self._window(lane, start + padded)
        inputs = (embedded, self._every[start : start + 1], self._every[rows - 1 : rows])
        recorded = self._recorded.get((lane, window, padded)) if padded > 1 else None
        return recorded(*inputs) if recorded is not None else self._read(lane, window, *inputs)

    @torch.inference_mode()
    def step(self, lane: int, token: Tensor, start: int) -> Tensor:
        """`read` of one token that is on the device already (int64 [1]), without waiting for the host."""
        self._check(lane, start + 1)
        window = self._window(lane, start + 1)
        inputs = (token, self._every[start : start + 1])
        recorded = self._recorded.get((lane, window, 1))
        return recorded(*inputs) if recorded is not None else self._step(lane, window, *inputs)

    @torch.inference_mode()
    def copy(self, source: int, target: int, tokens: int) -> None:
        """Make the first `tokens` of lane `target` those of `source`."""
        for there, here in zip(self._memory[source], self._memory[target], strict=True):
            here[:, :, :tokens] = there[:, :, :tokens]

    def _check(self, lane: int, end: int) -> None:
        if end > self.lanes[lane]:
            raise ValueError(f"{end} tokens are more than the {self.lanes[lane]} there is room for")

    def _windows(self, lane: int) -> list[int]:
        places = self.lanes[lane]
        return [*(window for window in WINDOWS if window < places), places]

    def _window(self, lane: int, end: int) -> int:
        places = self.lanes[lane]
        if not self.fixed_shapes:
            return min(end, places)
        return next((window for window in self._windows(lane) if window >= end), places)

    def _padded(self, lane: int, rows: int) -> int:
        if not self.fixed_shapes:
            return rows
        return next((bucket for bucket in ROWS if rows <= bucket <= self.lanes[lane]), rows)

    def _step(self, lane: int, window: int, token: Tensor, start: Tensor) -> Tensor:
        return self._forward(lane, window, self.embedding(token), start, None)

    def _read(self, lane: int, window: int, embedded: Tensor, start: Tensor, last: Tensor) -> Tensor:
        return self._forward(lane, window, embedded, start, last)

    def _forward(self, lane: int, window: int, hidden: Tensor, start: Tensor, last: Tensor | None) -> Tensor:
        """`hidden`: [rows, hidden]; `start`: its place, [1]; `last`: the row whose scores are wanted, [1]."""
        places = start + self._every[: len(hidden)]
        seen = self._every[:window][None] <= places[:, None]
        bias = torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, -torch.inf)
        written = places.clamp(max=self.lanes[lane])
        cos, sin = self._cos[written], self._sin[written]
        for layer, memory in zip(self.layers, self._memory[lane], strict=True):
            normed = functional.rms_norm(hidden, hidden.shape[-1:], layer.attention_norm, layer.eps)
            hidden = hidden + self._attend(layer, memory, normed, cos, sin, written, bias)
            normed = functional.rms_norm(hidden, hidden.shape[-1:], layer.mlp_norm, layer.eps)
            gate, up = layer.gate_up(normed).chunk(2, dim=-1)
            hidden = hidden + layer.down(functional.silu(gate) * up)
        if last is not None:
            hidden = hidden.index_select(0, last)
        hidden = functional.rms_norm(hidden, hidden.shape[-1:], self.norm, self._eps)
        scores: Tensor = self.head(hidden)[0].float()
        return scores

    def _attend(
        self, layer: Layer, memory: Tensor, hidden: Tensor, cos: Tensor, sin: Tensor, written: Tensor, bias: Tensor
    ) -> Tensor:
        """`memory`: [2, kv heads, places, head size], of which a window is looked at; `bias`: [rows, window]."""
        rows, window = bias.shape
        heads, kv_heads, size = self._heads, self._kv_heads, self._head_size
        both = layer.qkv(hidden).view(rows, heads + 2 * kv_heads, size).transpose(0, 1)
        turned = _turned(both[: heads + kv_heads], cos, sin)
        memory[0].index_copy_(1, written, turned[heads:])
        memory[1].index_copy_(1, written, both[heads + kv_heads :])
        keys, values = memory[0, :, :window], memory[1, :, :window]
        # Heads that share keys stand below each other as rows of one head: nothing is repeated.
        groups = heads // kv_heads
        query = turned[:heads].reshape(kv_heads, groups * rows, size)
        if rows == 1:  # two plain products keep more of a GPU busy than a kernel that takes a block for each head
            looked_at = torch.baddbmm(bias[None], query, keys.transpose(1, 2), alpha=size**-0.5).softmax(-1) @ values
        else:
            looked_at = functional.scaled_dot_product_attention(
                query[None], keys[None], values[None], attn_mask=bias.repeat(groups, 1)
            )
        joined = looked_at.view(heads, rows, size).transpose(0, 1).reshape(rows, heads * size)
        out: Tensor = layer.out(joined)
        return out


def _turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions. `heads`: [heads, rows, size]; `cos`, `sin`: [rows, size], the first half of `sin` negated."""
    first, second = heads.chunk(2, dim=-1)
    return torch.addcmul(heads * cos, torch.cat((second, first), dim=-1), sin)


def _joined(module: nn.Module, *names: str) -> nn.Linear:
    """One product in place of several of `module`, which gives them up."""
    weight = torch.cat([getattr(module, name).weight.data for name in names])
    for name in names:
        delattr(module, name)
    joined = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    joined.weight = nn.Parameter(weight, requires_grad=False)
    return joined
