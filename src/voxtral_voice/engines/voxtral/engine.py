"""Voxtral-Mini-3B: the user's sound straight to the reply's text (`engines.protocols.Understander`).

The transcript is a second decoding from the same hearing. It waits for the reply's first clause, then both are written
in turn, so it costs the user nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from voxtral_voice.engines.device_faults import device_faults
from voxtral_voice.engines.speakable import Speakable
from voxtral_voice.engines.stretches import is_blank, stretches
from voxtral_voice.engines.voxtral import checkpoint
from voxtral_voice.engines.voxtral.decoder import Decoder
from voxtral_voice.engines.voxtral.eight_bit import make_eight_bit
from voxtral_voice.engines.voxtral.encoder import Encoder
from voxtral_voice.engines.voxtral.features import LogMel
from voxtral_voice.engines.voxtral.prompt import Clip, Prompt, conversation, heard_from, transcription
from voxtral_voice.engines.voxtral.reader import Hearing, Reader, Reason
from voxtral_voice.engines.voxtral.sampling import Chooser
from voxtral_voice.engines.voxtral.tokens import Text, Tokens
from voxtral_voice.types import (
    HEAR_HZ,
    AudioPart,
    Cancel,
    Delta,
    Finished,
    Heard,
    Message,
    Pcm,
    ReplySettings,
    Step,
    TextPart,
    VoiceError,
)
from voxtral_voice.voices import SPOKEN_LANGUAGES

LANGUAGES = frozenset({"en", "es", "fr", "pt", "hi", "de", "nl", "it"})
TRANSCRIPT_CONTEXT_TOKENS = 2048
"""Of the lane in which transcripts are written: a minute of sound and what can be said in it."""
_FIRST_CLAUSE_TOKENS = 12  # about eight words: by then the first clause is on its way to the voice
_MOST_TOKENS_PER_S = 12  # of speech; Hindi takes about nine
_TOKENS_EXTRA = 16
_NO_LIMIT = 1_000_000


class Voxtral:
    """One model for every session; the whole conversation comes with each call.

    Its iterators may be stepped in turn by one thread. A token is a step, so sessions share the device evenly.
    """

    languages = LANGUAGES

    def __init__(
        self,
        model: Any,
        tokens: Tokens,
        *,
        device: str = "cpu",
        weights: Literal["auto", "bf16", "int8"] = "auto",
        slots: int = 4,
        context_tokens: int = 4096,
        audio_turns: int = 4,
        without_voice: Literal["english", "text"] = "english",
        graphs: bool = True,
    ) -> None:
        """`model`: transformers' VoxtralForConditionalGeneration, which is taken apart. `graphs`: False calls on CUDA
        what is otherwise recorded, for comparison. The rest as in `load`."""
        place = torch.device(device)
        if place.type == "cuda":  # this thread's kernels do not wait for the voice's, but for the weights' arrival
            torch.cuda.synchronize(place)
            torch.cuda.set_stream(torch.cuda.Stream(place))  # type: ignore[no-untyped-call]
        spare = min(TRANSCRIPT_CONTEXT_TOKENS, context_tokens)
        parts = model.model
        self.tokens = tokens
        self.decoder = Decoder(
            parts.language_model,
            model.lm_head,
            lanes=[context_tokens] * slots + [spare],
            device=place,
            settle=make_eight_bit if weights == "int8" else None,
        )
        self.encoder = Encoder(parts.audio_tower.to(place), parts.multi_modal_projector.to(place))
        self.mel = LogMel(place)
        hearing = Hearing(self.mel, self.encoder)
        self.replies = Reader(hearing, self.decoder, range(slots), tokens.end)
        self.transcripts = Reader(hearing, self.decoder, range(slots, slots + 1), tokens.end)
        self.audio_turns = audio_turns
        self._without_voice = without_voice
        # On a CPU reading takes seconds, and would hold up the very turn that it is for.
        self.reads_ahead = place.type == "cuda"
        if place.type == "cuda" and graphs:
            self.encoder.capture()
            self.decoder.capture()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "cpu",
        weights: Literal["auto", "bf16", "int8"] = "auto",
        slots: int = 4,
        context_tokens: int = 4096,
        audio_turns: int = 4,
        without_voice: Literal["english", "text"] = "english",
    ) -> Voxtral:
        """`folder` holds config.json, tekken.json and *.safetensors. Call it in the thread that will run the model.

        `weights`: "auto" is the checkpoint's own type on a CPU and bf16 on CUDA; "int8" keeps the products of the text
        model in 8 bits. `slots`: conversations whose keys and values are kept, each of `context_tokens`. `audio_turns`:
        how many of the last spoken turns stay sound. `without_voice`: as in `cascade.Cascade`. On CUDA every shape is
        recorded here. Raises OSError or ValueError for a bad folder, torch.OutOfMemoryError.
        """
        tokens = Tokens(folder)
        model = checkpoint.load(folder, device, weights)
        return cls(
            model,
            tokens,
            device=device,
            weights=weights,
            slots=slots,
            context_tokens=context_tokens,
            audio_turns=audio_turns,
            without_voice=without_voice,
        )

    def close(self) -> None:
        """Nothing outlives the object itself."""

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Heard | Finished | Step]:
        """Yields the reply's text token by token, then Finished; Heard for each sound of the last message that has no
        transcript comes in between or, after a short reply, behind it.

        Raises VoiceError("out_of_memory"); the next reply works.
        """
        with self._faults():
            yield from self._reply(messages, settings, cancel)

    def transcribe(self, pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard | Step]:
        """Words of one stretch of at most 28 s after the other; stretches without words are left out.

        `pcm`: shape [samples], 16 kHz. `language`: one of `languages`, anything else is recognised.
        """
        with self._faults():
            for part, stretch in enumerate(stretches(pcm)):
                for output in self._write_down(stretch, part, language, cancel):
                    if isinstance(output, Step) or output.text:
                        yield output
                if cancel.is_set():
                    return

    def _reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Heard | Finished | Step]:
        most = min(settings.max_tokens, self.replies.context_tokens // 2)
        instructions = self._instructions(settings)
        budget = self.replies.context_tokens - most
        prompt = conversation(self.tokens, messages, instructions, audio_turns=self.audio_turns, budget=budget)
        seed = zlib.crc32(repr(prompt.tokens).encode())
        chooser = Chooser(settings.temperature, settings.top_p, most, seed, self.decoder.device)
        writing = self.replies.write(prompt, chooser, most, cancel)
        hearing = self._write_down_last(messages, settings.language, cancel)
        text, speakable = Text(self.tokens), Speakable(_NO_LIMIT, _NO_LIMIT)
        count, written = 0, ""
        with closing(writing), closing(hearing):
            while not isinstance(token := _next(writing), str):
                piece = ""
                if not isinstance(token, Step):
                    count += 1
                    piece = speakable.push(text.push(token))
                written += piece
                yield Delta(piece) if piece else Step()
                if count > _FIRST_CLAUSE_TOKENS:
                    yield next(hearing, Step())
            if piece := speakable.rest():
                yield Delta(piece)
            yield Finished(token, len(prompt.tokens), count)
            yield from hearing
        if self.reads_ahead and not cancel.is_set():
            yield from self._read_ahead(messages, written, instructions, prompt, budget, cancel)

    def _read_ahead(
        self,
        messages: tuple[Message, ...],
        written: str,
        instructions: str,
        before: Prompt,
        budget: int,
        cancel: Cancel,
    ) -> Iterator[Step]:
        """Where old sound becomes words with the next turn, read what the next prompt begins with while the voice
        still speaks: otherwise all of it would be read when the user waits."""
        turns, said = self.audio_turns, (*messages, Message("assistant", (TextPart(written),)))
        if heard_from(said, turns, coming=1) == heard_from(said, turns):
            return
        ahead = conversation(self.tokens, said, instructions, audio_turns=turns, budget=budget, coming=1)
        yield from self.replies.prepare(ahead, before, cancel)

    def _instructions(self, settings: ReplySettings) -> str:
        if self._without_voice == "text" or settings.language in SPOKEN_LANGUAGES:
            return settings.instructions
        mute = sorted(LANGUAGES.difference(SPOKEN_LANGUAGES))
        if settings.language == "auto":
            names = " or ".join({"de": "German", "nl": "Dutch"}.get(each, each) for each in mute)
            return f"{settings.instructions} To {names} answer in English.".strip()
        return f"{settings.instructions} Answer in English.".strip()

    def _write_down_last(
        self, messages: tuple[Message, ...], language: str, cancel: Cancel
    ) -> Generator[Heard | Step, None, None]:
        """The transcripts that the last message lacks; a Step wherever others may use the device."""
        if not messages or messages[-1].role != "user":
            return
        for index, part in enumerate(messages[-1].parts):
            if isinstance(part, AudioPart) and part.text is None:
                yield from self._write_down(part.pcm, index, language, cancel)

    def _write_down(self, pcm: Pcm, part: int, language: str, cancel: Cancel) -> Generator[Heard | Step, None, None]:
        """One Heard for all of `pcm`, which is heard in stretches that a lane has room for."""
        named = language if language in LANGUAGES else "auto"
        words: list[str] = []
        for stretch in stretches(pcm):
            if not is_blank(stretch):
                words.append((yield from self._words(stretch, named, cancel)))
            if cancel.is_set():
                return
        yield Heard(" ".join(each for each in words if each), part, "" if named == "auto" else named)

    def _words(self, pcm: Pcm, language: str, cancel: Cancel) -> Generator[Step, None, str]:
        prompt = transcription(self.tokens, Clip.of(pcm), language)
        room = self.transcripts.context_tokens - len(prompt.tokens)
        most = min(_TOKENS_EXTRA + int(_MOST_TOKENS_PER_S * len(pcm) / HEAR_HZ), room)
        greedy = Chooser(0.0, 1.0, most, 0, self.decoder.device)
        text, words = Text(self.tokens), ""
        with closing(self.transcripts.write(prompt, greedy, most, cancel)) as writing:
            for token in writing:
                words += "" if isinstance(token, Step) else text.push(token)
                yield Step()
        return words.strip()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What was read before memory ran out may be read in part only: it is not built upon."""
        try:
            with device_faults("voxtral"):
                yield
        except VoiceError as error:
            if error.code == "out_of_memory":
                self.replies.forget()
                self.transcripts.forget()
            raise


def _next(writing: Generator[int | Step, None, Reason]) -> int | Step | Reason:
    """The next token, or why there is none."""
    try:
        return next(writing)
    except StopIteration as end:
        reason: Reason = end.value
        return reason
