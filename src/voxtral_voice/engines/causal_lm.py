"""A text model of transformers, one read at a time, with a memory that can be rewound and copied."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GgufConfig

log = logging.getLogger(__name__)

_CONVERTED = "transformers"


class Memory:
    """Keys and values of the tokens read so far."""

    def __init__(self) -> None:
        self.cache = DynamicCache()

    @property
    def length(self) -> int:
        """Tokens held."""
        return int(self.cache.get_seq_length())

    def rewind(self, tokens: int) -> None:
        """Forget all but the first `tokens`."""
        if tokens == 0:
            self.cache = DynamicCache()
        elif tokens < self.length:
            self.cache.crop(tokens - self.length)

    def copy_from(self, other: Memory, tokens: int) -> None:
        """Become the first `tokens` of `other`."""
        self.cache = DynamicCache()
        for index, layer in enumerate(other.cache.layers):
            self.cache.update(layer.keys[:, :, :tokens].clone(), layer.values[:, :, :tokens].clone(), index)


class CausalLm:
    """Weights that read. Keeps nothing between calls: what was read is in the Memory."""

    def __init__(self, model: Any) -> None:
        """`model`: a causal language model of transformers."""
        self._model = model.eval()
        self.context_tokens = int(model.config.max_position_embeddings)

    @torch.inference_mode()
    def read(self, tokens: Sequence[int], memory: Memory) -> Tensor:
        """Read `tokens` after what `memory` holds. Returns the scores of every possible next one, float32.

        Raises ValueError beyond `context_tokens`.
        """
        end = memory.length + len(tokens)
        if end > self.context_tokens:
            raise ValueError(f"{end} tokens are more than the {self.context_tokens} this model can hold")
        output = self._model(
            input_ids=torch.tensor([tokens]), past_key_values=memory.cache, use_cache=True, logits_to_keep=1
        )
        scores: Tensor = output.logits[0, -1].float()
        return scores


def load_gguf(folder: Path, file: str, dtype: torch.dtype) -> tuple[CausalLm, Any]:
    """The model and its tokenizer. Raises OSError or ValueError for a bad file.

    Unpacking a GGUF file takes 18 s, so the result is kept beside it where the folder can be written to.
    """
    converted = folder / _CONVERTED
    if not (converted / "config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        unpack = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=dtype, quantization_config=unpack)
        _keep(model, tokenizer, converted)
        return CausalLm(model), tokenizer
    tokenizer = AutoTokenizer.from_pretrained(converted)
    return CausalLm(AutoModelForCausalLM.from_pretrained(converted, dtype=dtype)), tokenizer


def _keep(model: Any, tokenizer: Any, converted: Path) -> None:
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".converting-", dir=converted.parent))
    except OSError as error:
        log.info("the unpacked model is not kept, so every start unpacks it again: %s", error)
        return
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(converted)
    except OSError as error:  # a full disk, or another process was first
        log.info("the unpacked model is not kept: %s", error)
        shutil.rmtree(temporary, ignore_errors=True)
