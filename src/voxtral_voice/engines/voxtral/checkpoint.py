"""Voxtral's weights: from a folder into memory, in the type that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import VoxtralForConditionalGeneration
from transformers.utils import logging as transformers_logging


def load(folder: Path, device: str, weights: Literal["auto", "bf16", "int8"]) -> Any:
    """A VoxtralForConditionalGeneration, still in its files: the decoder brings it to its device layer by layer.

    Put onto a card as a whole, what the joined products no longer need would stay in a pool that nothing else can use.
    Raises OSError or ValueError for a bad folder.
    """
    if not (folder / "config.json").is_file():  # otherwise the name would be looked up on a hub
        raise ValueError(f"{folder} holds no config.json")
    transformers_logging.disable_progress_bar()
    own = device == "cpu" and weights == "auto"
    return VoxtralForConditionalGeneration.from_pretrained(
        folder,
        local_files_only=True,
        dtype="auto" if own else torch.bfloat16,
    )
