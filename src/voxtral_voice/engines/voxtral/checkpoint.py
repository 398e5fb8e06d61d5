"""Voxtral's weights: from a folder into memory, in the type that is wanted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import VoxtralForConditionalGeneration
from transformers.utils import logging as transformers_logging

from voxtral_voice.types import VoiceError

_MOST_NAMES = 3


def load(folder: Path, device: str, weights: Literal["auto", "bf16", "int8"]) -> Any:
    """A VoxtralForConditionalGeneration, still in its files: the decoder brings it to its device layer by layer.

    Put onto a card as a whole, what the joined products no longer need would stay in a pool that nothing else can use.
    Raises OSError or ValueError for a bad folder, VoiceError("model_failed") where config.json is not a Voxtral's or
    the weights are not those it asks for: transformers would make up what is missing, and run.
    """
    _require_voxtral(folder)
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # its report on every tensor; what matters of it is said below
    own = device == "cpu" and weights == "auto"
    model, report = VoxtralForConditionalGeneration.from_pretrained(
        folder,
        local_files_only=True,
        dtype="auto" if own else torch.bfloat16,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused here, by name
    )
    _require_fit(folder, report)
    return model


def _require_voxtral(folder: Path) -> None:
    """A config.json of another model, or without its sections, would be filled up with the full-size model's."""
    path = folder / "config.json"
    if not path.is_file():  # otherwise the name would be looked up on a hub
        raise ValueError(f"{folder} holds no config.json")
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(written, dict) or written.get("model_type") != "voxtral":
        kind = json.dumps(written.get("model_type")) if isinstance(written, dict) else "missing"
        raise VoiceError("model_failed", f'{path}: model_type is {kind} and should be "voxtral"')
    for section in ("text_config", "audio_config"):
        if not isinstance(written.get(section), dict):
            raise VoiceError("model_failed", f"{path} holds no {section}")


def _require_fit(folder: Path, report: dict[str, Any]) -> None:
    """`report`: transformers' own, of what it found and did not."""
    others = [name for name, _, _ in report["mismatched_keys"]]
    beyond = [name for name in report["unexpected_keys"] if ".layers." in name]
    for names, said in (
        (report["missing_keys"], "the weights lack {}, which config.json asks for"),
        (others, "the weights do not have the shapes of config.json: {}"),
        (beyond, "the weights have layers that config.json does not know: {}"),
    ):
        if names:
            raise VoiceError("model_failed", f"{folder} holds no whole Voxtral: {said.format(_some(names))}")


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - _MOST_NAMES} more" if len(ordered) > _MOST_NAMES else ""
    return ", ".join(ordered[:_MOST_NAMES]) + rest
