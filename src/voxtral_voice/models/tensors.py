"""Which tensors a Voxtral consists of: those of its files against those that its config.json asks for.

A tensor that is not there would be made up of random numbers by whoever loads it, and nobody would be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from voxtral_voice.models.checkpoint import Dimensions

Shape = tuple[int, ...]
_LAYER = re.compile(r"(language_model|audio_tower)\.layers\.(\d+)\.")
_MOST_NAMES = 3


def misfit(dimensions: Dimensions, found: Mapping[str, Shape], *, tied: bool = False) -> str:
    """Why tensors of these names and shapes are not those of `dimensions`, as words; empty when they are.

    `tied`: the head is the embedding, and the files hold it once.
    """
    asked = expected(dimensions)
    if tied:
        del asked["language_model.lm_head.weight"]
    plain = {_plain(name): shape for name, shape in found.items()}
    wanted = {_plain(name): shape for name, shape in asked.items()}
    if absent := [name for name in wanted if name not in plain]:
        return f"the weights lack {some(absent)}, which config.json asks for"
    if other := [name for name, shape in wanted.items() if plain[name] != shape]:
        first = other[0]
        return (
            f"the weights do not have the shapes of config.json: {some(other)} "
            f"({first} is {list(plain[first])} and should be {list(wanted[first])})"
        )
    if beyond := [name for name in plain if name not in wanted and _is_beyond(name, dimensions)]:
        return f"the weights have layers that config.json does not know: {some(beyond)}"
    return ""


def expected(dimensions: Dimensions) -> dict[str, Shape]:
    """Name to shape, under the names that the hub's files have."""
    return {**_encoder(dimensions), **_adapter(dimensions), **_decoder(dimensions)}


def some(names: Sequence[str]) -> str:
    """A few of them, and how many more."""
    rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + rest


def _plain(name: str) -> str:
    """The files of transformers' releases differ in where they say `model`; all of them are read."""
    inside = name.removeprefix("model.").replace("language_model.model.", "language_model.", 1)
    return inside.replace("language_model.lm_head.", "lm_head.", 1)


def _is_beyond(name: str, dimensions: Dimensions) -> bool:
    found = _LAYER.match(name)
    if found is None:
        return False
    return int(found[2]) >= (dimensions.layers if found[1] == "language_model" else dimensions.audio_layers)


def _encoder(d: Dimensions) -> dict[str, Shape]:
    size, inner = d.audio_hidden, d.audio_inner
    layer = {
        "self_attn.k_proj.weight": (size, size),
        **_linear("self_attn.q_proj", size, size),
        **_linear("self_attn.v_proj", size, size),
        **_linear("self_attn.out_proj", size, size),
        **_norm("self_attn_layer_norm", size),
        **_linear("fc1", inner, size),
        **_linear("fc2", size, inner),
        **_norm("final_layer_norm", size),
    }
    whole = {
        "conv1.weight": (size, d.mels, 3),
        "conv1.bias": (size,),
        "conv2.weight": (size, size, 3),
        "conv2.bias": (size,),
        "embed_positions.weight": (d.positions, size),
        **_norm("layer_norm", size),
        **_repeated(layer, d.audio_layers),
    }
    return {f"audio_tower.{name}": shape for name, shape in whole.items()}


def _adapter(d: Dimensions) -> dict[str, Shape]:
    return {
        "multi_modal_projector.linear_1.weight": (d.hidden, d.audio_inner),
        "multi_modal_projector.linear_2.weight": (d.hidden, d.hidden),
    }


def _decoder(d: Dimensions) -> dict[str, Shape]:
    queries, keys = d.heads * d.head, d.kv_heads * d.head
    layer = {
        "input_layernorm.weight": (d.hidden,),
        "self_attn.q_proj.weight": (queries, d.hidden),
        "self_attn.k_proj.weight": (keys, d.hidden),
        "self_attn.v_proj.weight": (keys, d.hidden),
        "self_attn.o_proj.weight": (d.hidden, queries),
        "post_attention_layernorm.weight": (d.hidden,),
        "mlp.gate_proj.weight": (d.inner, d.hidden),
        "mlp.up_proj.weight": (d.inner, d.hidden),
        "mlp.down_proj.weight": (d.hidden, d.inner),
    }
    whole = {
        "model.embed_tokens.weight": (d.vocabulary, d.hidden),
        "model.norm.weight": (d.hidden,),
        "lm_head.weight": (d.vocabulary, d.hidden),
        **{f"model.{name}": shape for name, shape in _repeated(layer, d.layers).items()},
    }
    return {f"language_model.{name}": shape for name, shape in whole.items()}


def _repeated(layer: Mapping[str, Shape], count: int) -> dict[str, Shape]:
    return {f"layers.{index}.{name}": shape for index in range(count) for name, shape in layer.items()}


def _linear(name: str, rows: int, columns: int) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, size: int) -> dict[str, Shape]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}
