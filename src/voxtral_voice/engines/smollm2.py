"""A small language model that answers on a CPU: SmolLM2-135M-Instruct.

Model: `SmolLM2-135M-Instruct.Q4_1.gguf` (Apache-2.0), https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct.
It speaks English, knows little and forgets much; its replies are cut to two sentences because it rambles.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from voxtral_voice.engines.causal_lm import Memory, load_gguf
from voxtral_voice.engines.context import Line, fit
from voxtral_voice.engines.slots import Slot, Slots
from voxtral_voice.engines.speakable import Speakable
from voxtral_voice.types import Cancel, Delta, Finished, Message, ReplySettings, Role

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_PREFILL_TOKENS = 256  # read at once: a cancelled reply stops after these at the latest (130 ms)
_CANDIDATES = 64  # of the vocabulary's 49152 from which is drawn; the others hold nothing worth drawing
_LOOP_TOKENS = 4  # so many in a row are said once in a reply, or the model circles


class SmolLM2:
    """A `cascade.TextReplier`. Its iterators may be stepped in turn by one thread; nothing is shared but the slots."""

    languages = frozenset({"en"})

    def __init__(
        self, folder: Path, *, context_tokens: int = 6144, slots: int = 4, dtype: torch.dtype | None = None
    ) -> None:
        """`folder` holds the GGUF file. `context_tokens`: prompt and reply together, at most the model's own 8192.

        `slots`: conversations whose keys and values are kept, 23 KB a token each. `dtype`: None for the faster of
        bfloat16 and float32 on this CPU. Threads: the caller's torch.set_num_threads. Raises OSError or ValueError.
        """
        self._model, self._tokenizer = load_gguf(folder, FILE, dtype or faster_dtype())
        self._end = int(self._tokenizer.eos_token_id)
        self._context_tokens = min(context_tokens, self._model.context_tokens)
        self._slots = Slots(slots, Memory)
        self._line = lru_cache(maxsize=4096)(self._written)

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Finished]:
        """One or two spoken sentences without markup, drawn with a seed that the conversation gives.

        Ends with Finished: "stop", "length" after `settings.max_tokens`, or "cancelled" within one token.
        """
        most = min(settings.max_tokens, self._context_tokens // 2)
        prompt = self._prompt(messages, settings.instructions, self._context_tokens - most)
        slot = self._slots.take(prompt)
        assert slot is not None  # they are as many as it takes
        try:
            yield from self._speak(slot, prompt, settings, most, cancel)
        finally:
            self._slots.give_back(slot)

    def _speak(
        self, slot: Slot[Memory], prompt: list[int], settings: ReplySettings, most: int, cancel: Cancel
    ) -> Iterator[Delta | Finished]:
        scores = self._prefill(slot, prompt, cancel)
        draw = torch.Generator().manual_seed(zlib.crc32(np.array(prompt, np.int32).tobytes()))
        said: list[int] = []
        shown = 0  # tokens of `said` whose text went out
        speakable = Speakable()
        reason = "length"
        while len(said) < most:
            if scores is None or cancel.is_set():
                yield Finished("cancelled", len(prompt), len(said))
                return
            token = choose(scores, said, settings.temperature, settings.top_p, draw)
            if token == self._end:
                reason = "stop"
                break
            said.append(token)
            text = self._tokenizer.decode(said[shown:])
            if not text.endswith("\ufffd"):  # half a letter: the rest of it is in the next token
                shown = len(said)
                if text := speakable.push(text):
                    yield Delta(text)
            if speakable.done:
                reason = "stop"
                break
            scores = self._read(slot, [token])
        if text := speakable.rest():
            yield Delta(text)
        yield Finished("stop" if reason == "stop" else "length", len(prompt), len(said))

    def _prefill(self, slot: Slot[Memory], prompt: list[int], cancel: Cancel) -> Tensor | None:
        """Read what the slot lacks; the scores of the first token, None when cancelled."""
        scores = None
        while len(slot.tokens) < len(prompt):
            if cancel.is_set():
                return None
            scores = self._read(slot, prompt[len(slot.tokens) : len(slot.tokens) + _PREFILL_TOKENS])
        return scores

    def _read(self, slot: Slot[Memory], tokens: Sequence[int]) -> Tensor:
        scores = self._model.read(tokens, slot.memory)
        slot.tokens.extend(tokens)
        return scores

    def _prompt(self, messages: tuple[Message, ...], instructions: str, budget: int) -> list[int]:
        texts: list[tuple[Role, str]] = [
            ("system", instructions),
            *((message.role, message.text) for message in messages),
        ]
        opening = self._encode("<|im_start|>assistant\n")
        lines = [self._line(role, text.strip()) for role, text in texts if text.strip()]
        kept = fit(lines, budget - len(opening)) if lines else ()
        return [token for line in kept for token in line.tokens] + opening

    def _encode(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def _written(self, role: Role, text: str) -> Line:
        # Markers in what somebody said must not end their turn.
        plain = text.replace("<|", "< |")
        return Line(role, tuple(self._encode(f"<|im_start|>{role}\n{plain}<|im_end|>\n")))


def choose(scores: Tensor, said: Sequence[int], temperature: float, top_p: float, draw: torch.Generator) -> int:
    """The next token. `scores`: [vocabulary]; 0 for `temperature` takes the likeliest."""
    best, tokens = scores.topk(_CANDIDATES)
    again = _repeating(said)
    if again:
        best = best.masked_fill(torch.isin(tokens, torch.tensor(sorted(again))), -torch.inf)
    if temperature <= 0:
        return int(tokens[best.argmax()])
    likely = (best / temperature).softmax(0)
    likely, order = likely.sort(descending=True)
    likely = likely.masked_fill(likely.cumsum(0) - likely >= top_p, 0.0)
    return int(tokens[order[torch.multinomial(likely, 1, generator=draw)]])


def _repeating(said: Sequence[int]) -> set[int]:
    """Tokens that would say the same four in a row a second time."""
    before = _LOOP_TOKENS - 1
    if len(said) < _LOOP_TOKENS:
        return set()
    last = tuple(said[-before:])
    return {said[index + before] for index in range(len(said) - before) if tuple(said[index : index + before]) == last}


def faster_dtype() -> torch.dtype:
    """bfloat16 halves what a token has to fetch from memory, but a CPU without instructions for it crawls."""
    return min((torch.bfloat16, torch.float32), key=_product_s)


def _product_s(dtype: torch.dtype) -> float:
    """Seconds of products like those of a token and of a short prompt, the best of three."""
    matrix, rows, row = (torch.ones(size, 576, dtype=dtype) for size in (3072, 32, 1))
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        for _ in range(8):
            torch.nn.functional.linear(row, matrix)
        torch.nn.functional.linear(rows, matrix)
        best = min(best, time.perf_counter() - start)
    return best
