"""Kokoro-82M as the `kokoro` package's network with its weights, from the hub's folder or from the packaged build."""

from __future__ import annotations

import json
import pickle
import re
import sys
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm

from voxtral_voice.types import VoiceError

ORIGINAL = "kokoro-v1_0.pth"
PACKAGED = "kokoro-v1.0.int8.onnx"

# https://huggingface.co/hexgrad/Kokoro-82M/blob/main/config.json (Apache-2.0), for the packaged build, which has none.
_SHAPE: Mapping[str, Any] = {
    "dropout": 0.2,
    "hidden_dim": 512,
    "max_dur": 50,
    "n_layer": 3,
    "n_mels": 80,
    "n_token": 178,
    "style_dim": 128,
    "text_encoder_kernel_size": 5,
    "istftnet": {
        "gen_istft_hop_size": 5,
        "gen_istft_n_fft": 20,
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        "resblock_kernel_sizes": [3, 7, 11],
        "upsample_initial_channel": 512,
        "upsample_kernel_sizes": [20, 12],
        "upsample_rates": [10, 6],
    },
    "plbert": {
        "dropout": 0.1,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
    },
    "vocab": {},  # `kokoro.VOCABULARY` has it
}
# What checkpoints lack: the instance norms have weight 1 and bias 0, since the style scales and shifts after them.
_IMPLIED = re.compile(r"\.norm\.(weight|bias)$")


def load(folder: Path) -> Any:
    """The network (`kokoro.model.KModel`) on the CPU in float32, weight norm folded, for inference only.

    `folder` holds config.json and ORIGINAL, or PACKAGED. Raises VoiceError("model_failed") when it holds neither, or a
    file that is damaged or of another model.
    """
    original, packaged = folder / ORIGINAL, folder / PACKAGED
    try:
        if original.is_file():
            network = _empty(json.loads((folder / "config.json").read_text(encoding="utf-8")))
            _fill(network, _saved(original))
            _fold(network)
        elif packaged.is_file():
            from voxtral_voice.engines.kokoro_dequantized import dequantized

            network = _empty(_SHAPE)
            _fold(network)
            _fill(network, dequantized(packaged))
        else:
            raise VoiceError("model_failed", f"{folder} holds neither {ORIGINAL} nor {PACKAGED}")
    except (OSError, ValueError, LookupError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise VoiceError("model_failed", f"{folder} holds no usable Kokoro-82M: {error}") from error
    return network.eval().requires_grad_(False)


def _empty(shape: Mapping[str, Any]) -> Any:
    """The network without weights."""
    checkpoint = BytesIO()  # KModel fetches one from the hub unless it is given one
    torch.save({}, checkpoint)
    checkpoint.seek(0)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # of torch, that weight norm is old and that one layer cannot drop out
        return _network_class()(repo_id="local", config=dict(shape), model=checkpoint)


def _network_class() -> Any:
    """kokoro.model.KModel, without what `import kokoro` brings: spaCy and misaki (they run in processes of their own)
    and a log handler that writes to stderr.
    """
    if "kokoro" in sys.modules:
        from kokoro.model import KModel

        return KModel
    spec = find_spec("kokoro")
    assert spec is not None
    bare = ModuleType("kokoro")
    bare.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["kokoro"] = bare
    try:
        from kokoro.model import KModel
    finally:
        del sys.modules["kokoro"]  # whoever imports it later gets the whole package
    from loguru import logger

    logger.disable("kokoro")
    return KModel


def _saved(file: Path) -> dict[str, Tensor]:
    """The hub's checkpoint: one dictionary a module, saved from a data-parallel run."""
    modules = torch.load(file, map_location="cpu", weights_only=True)
    return {
        f"{module}.{name.removeprefix('module.')}": tensor
        for module, tensors in modules.items()
        for name, tensor in tensors.items()
    }


def _fill(network: Any, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError when something is missing, RuntimeError when a shape differs."""
    network.bert.pooler = None  # its output is not used, so not every checkpoint has it
    missing, _ = network.load_state_dict(weights, strict=False, assign=True)
    for name in filter(_IMPLIED.search, missing):
        module, _, kind = name.rpartition(".")
        value = torch.ones if kind == "weight" else torch.zeros
        setattr(network.get_submodule(module), kind, nn.Parameter(value(network.get_parameter(name).shape)))
    if lost := [name for name in missing if not _IMPLIED.search(name)]:
        raise ValueError(f"{len(lost)} weights are missing, {lost[0]} first")
    _compute_constants(network)


def _compute_constants(network: Any) -> None:
    """What no checkpoint holds: ALBERT's positions and the window of the spectra."""
    embeddings = network.bert.embeddings
    places = torch.arange(network.bert.config.max_position_embeddings)[None]
    embeddings.position_ids, embeddings.token_type_ids = places, torch.zeros_like(places)
    spectra = network.decoder.generator.stft
    spectra.window = torch.hann_window(spectra.win_length)


def _fold(network: Any) -> None:
    """Weight norm into the weights; it would be worked out in every forward pass otherwise."""
    for module in network.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
