"""Prompts in, tokens out: sound is heard, what a lane lacks is read, and the reply is written token by token."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from voxtral_voice.engines.slots import Slot, Slots
from voxtral_voice.engines.voxtral.decoder import ROWS, Decoder
from voxtral_voice.engines.voxtral.encoder import Encoder
from voxtral_voice.engines.voxtral.features import LogMel
from voxtral_voice.engines.voxtral.prompt import Clip, Prompt, audio_place
from voxtral_voice.engines.voxtral.sampling import Chooser, OnItsWay
from voxtral_voice.types import Cancel

Reason = Literal["stop", "length", "cancelled"]
_SOUNDS_KEPT = 16  # 2.3 MB each per 30 s; a reply, its transcript and a repeated draft hear the same sound


class Hearing:
    """Clips -> embeddings. A clip that was heard lately is not heard again."""

    def __init__(self, mel: LogMel, encoder: Encoder) -> None:
        self._mel = mel
        self._encoder = encoder
        self._kept: OrderedDict[int, Tensor] = OrderedDict()

    def hear(self, clip: Clip) -> Tensor:
        """Returns [tokens of the clip, hidden]."""
        if clip.key not in self._kept:
            self._kept[clip.key] = self._encoder.encode(self._mel(clip.pcm))
        self._kept.move_to_end(clip.key)
        while len(self._kept) > _SOUNDS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[clip.key]

    def forget(self) -> None:
        self._kept.clear()


@dataclass(eq=False, slots=True)
class Lane:
    """A `slots.Memory`: one lane of the decoder. What lies behind the tokens read is never looked at."""

    decoder: Decoder
    index: int

    def rewind(self, tokens: int) -> None:
        pass

    def copy_from(self, other: Lane, tokens: int) -> None:
        self.decoder.copy(other.index, self.index, tokens)


class Reader:
    """Several replies may be written in turn by one thread."""

    def __init__(self, hearing: Hearing, decoder: Decoder, lanes: range, end: int) -> None:
        """`lanes`: those of the decoder that are this reader's. `end`: the token that ends a reply."""
        indexes = iter(lanes)
        self._hearing = hearing
        self._decoder = decoder
        self._end = end
        self._slots = Slots(len(lanes), lambda: Lane(decoder, next(indexes)), fixed=True)
        self._ahead = decoder.device.type == "cuda"
        self.context_tokens = decoder.lanes[lanes[0]]

    def write(self, prompt: Prompt, chooser: Chooser, most: int, cancel: Cancel) -> Generator[int, None, Reason]:
        """Yields at most `most` tokens. A set `cancel` ends it within one step: 448 tokens read, or one written."""
        slot = self._slots.take(prompt.tokens)
        said: list[int] = []
        try:
            scores = self._read(slot, prompt.tokens, prompt, cancel)
            token = chooser.choose(scores) if scores is not None else None
            while token is not None:
                # On a GPU the next step is under way before this token has reached the host.
                coming = OnItsWay(token)
                following = self._follow(slot, token, chooser) if self._ahead and len(said) + 1 < most else None
                value = coming.get()
                if following is not None:
                    slot.tokens.append(value)
                if value == self._end:
                    return "stop"
                said.append(value)
                yield value
                if cancel.is_set():
                    return "cancelled"
                if len(said) == most:
                    return "length"
                if slot.lost:
                    slot = self._slots.take([*prompt.tokens, *said])
                    scores = self._read(slot, [*prompt.tokens, *said], prompt, cancel)
                    if scores is None:
                        return "cancelled"
                    following = chooser.choose(scores) if following is None else following
                self._slots.touch(slot)
                if following is None:
                    following = self._follow(slot, token, chooser)
                    slot.tokens.append(value)
                token = following
            return "cancelled"
        finally:
            self._slots.give_back(slot)

    def prepare(self, prompt: Prompt, cancel: Cancel) -> None:
        """Read `prompt` ahead of the turn that will go on from it."""
        slot = self._slots.take(prompt.tokens)
        try:
            self._read(slot, prompt.tokens, prompt, cancel)
        finally:
            self._slots.give_back(slot)

    def forget(self) -> None:
        """Trust nothing that was read before."""
        self._slots.forget()
        self._hearing.forget()

    def _follow(self, slot: Slot[Lane], token: Tensor, chooser: Chooser) -> Tensor:
        return chooser.choose(self._decoder.step(slot.memory.index, token, len(slot.tokens)))

    def _read(self, slot: Slot[Lane], tokens: list[int], prompt: Prompt, cancel: Cancel) -> Tensor | None:
        """Read what the slot lacks of `tokens`; the scores of the next one, None when cancelled."""
        scores = None
        while len(slot.tokens) < len(tokens):
            if cancel.is_set():
                return None
            piece = tokens[len(slot.tokens) : len(slot.tokens) + ROWS[-1]]
            scores = self._decoder.read(slot.memory.index, self._embedded(piece, prompt), len(slot.tokens))
            slot.tokens.extend(piece)
        return scores

    @torch.inference_mode()
    def _embedded(self, tokens: list[int], prompt: Prompt) -> Tensor:
        """Returns [tokens, hidden]: words looked up, sound heard."""
        words = torch.tensor([max(token, 0) for token in tokens], device=self._decoder.device)
        embedded = self._decoder.embed(words)
        for key, first, place, count in _sounds(tokens):
            embedded[place : place + count] = self._hearing.hear(prompt.clips[key])[first : first + count]
        return embedded


def _sounds(tokens: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """(key of the clip, first of its tokens, place in `tokens`, how many) of each stretch of sound."""
    place = 0
    while place < len(tokens):
        if tokens[place] >= 0:
            place += 1
            continue
        key, first = audio_place(tokens[place])
        count = 1
        while place + count < len(tokens) and tokens[place + count] == tokens[place] - count:
            count += 1
        yield key, first, place, count
        place += count
