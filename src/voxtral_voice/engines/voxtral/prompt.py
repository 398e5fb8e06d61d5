"""What Voxtral reads, token by token, as mistral-common's encoder for tekken v7 lays it out.

    <s>[INST] persona, [BEGIN_AUDIO] 375 x [AUDIO] for each begun 30 s, text [/INST] reply </s>[INST] ...

There is no system prompt beside audio (https://huggingface.co/mistralai/Voxtral-Mini-3B-2507), so the persona is text
in front of the first thing said. In our lists the place of each [AUDIO] holds a number below zero that says which clip
and which of its tokens it stands for: two prompts that begin with the same numbers have the same keys and values.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from voxtral_voice.engines.context import Line, fit
from voxtral_voice.engines.voxtral.tokens import Tokens
from voxtral_voice.types import HEAR_HZ, AudioPart, Message, Pcm, Role, TextPart

log = logging.getLogger(__name__)

CHUNK_SAMPLES = 30 * HEAR_HZ
"""Sound is padded to a multiple of this."""
CHUNK_TOKENS = 375
_GO_ON = "Go on."
_INDEX_BITS = 20


@dataclass(frozen=True, slots=True)
class Clip:
    """A sound in a prompt."""

    key: int
    """The same for the same samples."""
    pcm: Pcm
    """Shape [samples], 16 kHz."""

    @staticmethod
    def of(pcm: Pcm) -> Clip:
        return Clip(int.from_bytes(hashlib.blake2b(pcm.tobytes(), digest_size=8).digest()), pcm)

    @property
    def tokens(self) -> Iterator[int]:
        chunks = max(1, -(-len(self.pcm) // CHUNK_SAMPLES))
        return (-((self.key << _INDEX_BITS) + index) - 1 for index in range(chunks * CHUNK_TOKENS))


def audio_place(token: int) -> tuple[int, int]:
    """(key of the clip, index of its token) of a number below zero."""
    return (-token - 1) >> _INDEX_BITS, (-token - 1) & ((1 << _INDEX_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Prompt:
    tokens: list[int]
    clips: dict[int, Clip] = field(default_factory=dict)
    """By key; also of clips whose tokens fell out of a long conversation."""


def transcription(tokens: Tokens, clip: Clip, language: str) -> Prompt:
    """Asks for the words of `clip`. `language`: ISO 639-1 code, or "auto"."""
    named = tokens.encode(f"lang:{language}") if language != "auto" else []
    ids = [tokens.begin, tokens.instruction, tokens.audio_begin, *clip.tokens, tokens.instruction_end]
    return Prompt([*ids, *named, tokens.transcribe], {clip.key: clip})


def conversation(
    tokens: Tokens, messages: Sequence[Message], instructions: str, *, audio_turns: int, budget: int, coming: int = 0
) -> Prompt:
    """Asks for the next reply to `messages`, in at most `budget` tokens.

    Of what the user said the last turns stay sound (`heard_from` says which), older ones become their transcripts; the
    oldest turns of a conversation that is too long are left out as `context.fit` says. `coming`: spoken turns that
    will follow, for what can be read before they are there.
    """
    blocks = _blocks(messages, heard_from(messages, audio_turns, coming))
    if not blocks or blocks[0][0] != "user":
        blocks.insert(0, ("user", []))
    blocks[0][1].insert(0, TextPart(instructions))
    if blocks[-1][0] != "user":
        blocks.append(("user", [TextPart(_GO_ON)]))
    clips: dict[int, Clip] = {}
    lines = []
    for role, parts in blocks:
        ids = _content(tokens, parts, clips)
        ids = [tokens.instruction, *ids, tokens.instruction_end] if role == "user" else [*ids, tokens.end]
        lines.append(Line(role, tuple(ids)))
    kept = fit(lines, budget - 1)
    if kept[-1] is not lines[-1]:
        log.warning("what was said last takes %d tokens, more than there is room for: its middle is left out", len(ids))
    return Prompt([tokens.begin, *(token for line in kept for token in line.tokens)], clips)


def heard_from(messages: Sequence[Message], audio_turns: int, coming: int = 0) -> int:
    """Index of the first message whose sound is still sound.

    It moves by two turns at a time, so that every other reply finds the whole conversation read already: between
    `audio_turns - 1` and `audio_turns` of the last spoken turns stay.
    """
    spoken = [index for index, message in enumerate(messages) if _is_spoken(message)]
    count = len(spoken) + coming
    if count <= audio_turns:
        return 0
    step = 2 if audio_turns > 1 else 1
    dropped = -(-(count - audio_turns) // step) * step
    return spoken[dropped] if dropped < len(spoken) else len(messages)


def _is_spoken(message: Message) -> bool:
    return message.role == "user" and any(isinstance(part, AudioPart) for part in message.parts)


def _blocks(messages: Sequence[Message], first_heard: int) -> list[tuple[Role, list[AudioPart | TextPart]]]:
    """Runs of what the user (or the client's system) said and of what was answered; empty parts are left out."""
    blocks: list[tuple[Role, list[AudioPart | TextPart]]] = []
    for index, message in enumerate(messages):
        role: Role = "assistant" if message.role == "assistant" else "user"
        parts = [_as_heard(part, index >= first_heard) for part in message.parts]
        parts = [part for part in parts if isinstance(part, AudioPart) or part.text.strip()]
        if not parts:
            continue
        if blocks and blocks[-1][0] == role:
            blocks[-1][1].extend(parts)
        else:
            blocks.append((role, parts))
    return blocks


def _as_heard(part: AudioPart | TextPart, heard: bool) -> AudioPart | TextPart:
    """Old sound becomes its words; sound whose words nobody wrote down stays what it is."""
    if isinstance(part, AudioPart) and not heard and part.text is not None:
        return TextPart(part.text)
    return part


def _content(tokens: Tokens, parts: Sequence[AudioPart | TextPart], clips: dict[int, Clip]) -> list[int]:
    """Texts that follow each other are paragraphs of one text."""
    ids: list[int] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
            continue
        clip = Clip.of(part.pcm)
        clips[clip.key] = clip
        ids += [*tokens.encode("\n\n".join(texts)), tokens.audio_begin, *clip.tokens]
        texts = []
    return [*ids, *tokens.encode("\n\n".join(texts))]
