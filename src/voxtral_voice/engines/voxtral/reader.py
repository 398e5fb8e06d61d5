"""Prompts in, tokens out: sound is heard, what a lane lacks is read, and the reply is written token by token."""

from __future__ import annotations

import time
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
from voxtral_voice.types import Cancel, Step

Reason = Literal["stop", "length", "cancelled"]
_WAIT_S = 0.0005  # while all lanes are at work: nobody waits for it, and it keeps a core from spinning
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
        self.ahead = decoder.device.type == "cuda"
        self.context_tokens = decoder.lanes[lanes[0]]

    def write(self, prompt: Prompt, chooser: Chooser, most: int, cancel: Cancel) -> Generator[int | Step, None, Reason]:
        """Yields at most `most` tokens, and a Step wherever others may use the device.

        A set `cancel` ends it within one step: 448 tokens read, or one written.
        """
        tokens = list(prompt.tokens)  # to be read before the next one is chosen
        slot: Slot[Lane] | None = None
        token: Tensor | None = None
        reason: Reason = "cancelled"
        try:
            while not cancel.is_set():
                if slot is None or slot.lost:
                    slot = self._slots.take(tokens)
                    if slot is None:
                        time.sleep(_WAIT_S)
                        yield Step()
                        continue
                self._slots.touch(slot)
                if len(slot.tokens) < len(tokens):
                    scores = self._read(slot, tokens, prompt)
                    if len(slot.tokens) < len(tokens):
                        yield Step()
                        continue
                    token = chooser.choose(scores) if token is None else token
                assert token is not None
                # On a GPU the next step is under way before this token has reached the host.
                coming = OnItsWay(token)
                last = len(tokens) + 1 == len(prompt.tokens) + most
                following = self._follow(slot, token, chooser) if self.ahead and not last else None
                value = coming.get()
                if following is not None:
                    slot.tokens.append(value)
                if value == self._end:
                    reason = "stop"
                    return reason
                tokens.append(value)
                yield value
                if cancel.is_set():
                    break
                if last:
                    reason = "length"
                    return reason
                if following is None and not slot.lost:
                    following = self._follow(slot, token, chooser)
                    slot.tokens.append(value)
                token = following
            return reason
        finally:
            if slot is not None:
                self._slots.give_back(slot, useless=reason == "cancelled")

    def prepare(self, prompt: Prompt, before: Prompt, cancel: Cancel) -> Iterator[Step]:
        """Read `prompt` ahead of the turn that will go on from it, in the place of `before`."""
        slot = self._slots.take(prompt.tokens, like=before.tokens)
        if slot is None:
            return
        try:
            while len(slot.tokens) < len(prompt.tokens) and not (slot.lost or cancel.is_set()):
                self._slots.touch(slot)
                self._read(slot, prompt.tokens, prompt)
                yield Step()
        finally:
            self._slots.give_back(slot)

    def forget(self) -> None:
        """Trust nothing that was read before."""
        self._slots.forget()
        self._hearing.forget()

    def _follow(self, slot: Slot[Lane], token: Tensor, chooser: Chooser) -> Tensor:
        return chooser.choose(self._decoder.step(slot.memory.index, token, len(slot.tokens)))

    def _read(self, slot: Slot[Lane], tokens: list[int], prompt: Prompt) -> Tensor:
        """Read the next piece of what the slot lacks of `tokens`; the scores of the token behind it."""
        start = len(slot.tokens)
        piece = tokens[start : start + ROWS[-1]]
        scores = self._decoder.read(slot.memory.index, self._embedded(piece, prompt), start)
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
