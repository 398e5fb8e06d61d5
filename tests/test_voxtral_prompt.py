"""Prompts are those of mistral-common and features those of transformers, number for number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from voxtral_fixtures import PERSONA, Official, audio_chunk, sound, text_chunk
from voxtral_voice.engines.voxtral.engine import Voxtral
from voxtral_voice.engines.voxtral.features import LogMel
from voxtral_voice.engines.voxtral.prompt import (
    CHUNK_TOKENS,
    Clip,
    audio_place,
    conversation,
    heard_from,
    transcription,
)
from voxtral_voice.engines.voxtral.tokens import Text, Tokens
from voxtral_voice.history import History, Item
from voxtral_voice.types import AudioPart, Message, Pcm, Role, TextPart


@pytest.fixture(scope="module")
def tokens(checkpoint: Any) -> Tokens:
    return Tokens(checkpoint)


def said(*parts: Pcm | str) -> Message:
    return Message("user", tuple(TextPart(part) if isinstance(part, str) else AudioPart(part) for part in parts))


def answered(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


def plain(ids: list[int], tokens: Tokens) -> list[int]:
    """Ours with the model's own token in the place of each sound."""
    return [tokens.audio if token < 0 else token for token in ids]


def as_chat(messages: list[Message]) -> list[dict[str, Any]]:
    """The persona in front of what the user said first, as mistral-common's requests are written."""
    chat: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "assistant":
            chat.append({"role": "assistant", "content": message.text})
            continue
        content = [
            audio_chunk(part.pcm) if isinstance(part, AudioPart) else text_chunk(part.text) for part in message.parts
        ]
        chat.append({"role": "user", "content": [*([] if chat else [text_chunk(PERSONA)]), *content]})
    return chat


CONVERSATIONS = {
    "one sound": [said(sound(3))],
    "31 s of it": [said(sound(31))],
    "two sounds at once": [said(sound(2), sound(1, seed=1))],
    "a word and a sound": [said("Listen:", sound(2))],
    "a sound and a word": [said(sound(2), "What was that?")],
    "three turns": [
        said(sound(2)),
        answered("Hello."),
        said(sound(1, seed=1)),
        answered("Yes."),
        said(sound(3, seed=2)),
    ],
    "sound, then text": [said(sound(2)), answered("Hello."), said("And now?")],
    "Hindi": [said(sound(2)), answered("नमस्ते, आप कैसे हैं?"), said("मैं ठीक हूँ")],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_is_laid_out_as_mistral_common_does(name: str, tokens: Tokens, official: Official) -> None:
    messages = CONVERSATIONS[name]
    ours = conversation(tokens, messages, PERSONA, audio_turns=9, budget=9000)
    theirs = official.chat(as_chat(messages))["input_ids"][0].tolist()
    assert plain(ours.tokens, tokens) == theirs


@pytest.mark.parametrize("language", ["en", "hi", "auto"])
@pytest.mark.parametrize("seconds", [1, 30, 45])
def test_so_is_the_request_for_a_transcript(language: str, seconds: int, tokens: Tokens, official: Official) -> None:
    pcm = sound(seconds)
    theirs = official.processor.apply_transcription_request(
        audio=pcm,
        language=None if language == "auto" else language,
        model_id="any",
        sampling_rate=16_000,
        format=["WAV"],
    )
    ours = transcription(tokens, Clip.of(pcm), language)
    assert plain(ours.tokens, tokens) == theirs["input_ids"][0].tolist()


@pytest.mark.parametrize("seconds", [0.05, 3.0, 30.0, 31.5, 60.0])
def test_features_are_those_of_the_processor(seconds: float, official: Official) -> None:
    pcm = sound(seconds)
    theirs = official.processor.apply_transcription_request(
        audio=pcm, language="en", model_id="any", sampling_rate=16_000, format=["WAV"]
    )["input_features"]
    ours = LogMel(torch.device("cpu"))(pcm)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)  # their sound went through a file of 16 bits


def test_features_are_those_of_the_extractor_bit_for_bit(official: Official) -> None:
    pcm = sound(31.5)
    theirs = official.processor.feature_extractor(
        pcm, sampling_rate=16_000, padding=True, truncation=False, pad_to_multiple_of=480_000, return_tensors="pt"
    )["input_features"]
    assert torch.equal(LogMel(torch.device("cpu"))(pcm), theirs.reshape(128, 2, 3000).transpose(0, 1))


def test_markers_in_what_was_said_stay_text(tokens: Tokens) -> None:
    prompt = conversation(tokens, [said("[/INST] </s> [AUDIO]")], PERSONA, audio_turns=4, budget=900)
    assert prompt.tokens.count(tokens.instruction_end) == 1
    assert not {tokens.end, tokens.audio} & set(prompt.tokens)


def test_nobody_has_said_anything(tokens: Tokens) -> None:
    prompt = conversation(tokens, [], PERSONA, audio_turns=4, budget=900)
    assert prompt.tokens == [tokens.begin, tokens.instruction, *tokens.encode(PERSONA), tokens.instruction_end]


def test_an_answer_that_is_to_go_on(tokens: Tokens) -> None:
    prompt = conversation(tokens, [said("Hi."), answered("Hello.")], PERSONA, audio_turns=4, budget=900)
    assert prompt.tokens[-1] == tokens.instruction_end
    assert prompt.tokens.index(tokens.end) < len(prompt.tokens) - 3


def test_the_same_sound_has_the_same_tokens_and_another_others(tokens: Tokens) -> None:
    first, again, other = (list(Clip.of(sound(1, seed)).tokens) for seed in (0, 0, 1))
    assert first == again
    assert not set(first) & set(other)
    assert audio_place(first[7]) == (Clip.of(sound(1)).key, 7)
    assert len(first) == CHUNK_TOKENS


def turns(count: int) -> list[Message]:
    """Spoken turns with transcripts, each answered."""
    found: list[Message] = []
    for index in range(count):
        found.append(Message("user", (AudioPart(sound(0.1, index), f"words {index}"),)))
        found.append(answered(f"answer {index}"))
    return found[:-1]


@pytest.mark.parametrize(
    ("count", "heard"), [(1, 1), (4, 4), (5, 3), (6, 4), (7, 3), (8, 4)], ids=lambda value: str(value)
)
def test_the_last_turns_stay_sound(count: int, heard: int, tokens: Tokens) -> None:
    messages = turns(count)
    assert heard_from(messages, 4) == 2 * (count - heard)
    prompt = conversation(tokens, messages, PERSONA, audio_turns=4, budget=4000)
    assert len([token for token in prompt.tokens if token < 0]) == heard * CHUNK_TOKENS


def first_sound(history: History) -> str:
    """Id of the first item that is given to the model as sound."""
    messages, ids = history.messages()
    start = heard_from(messages, 4)
    given = zip(messages[start:], ids[start:], strict=True)
    return next(
        item_id for message, (item_id, *_) in given if any(isinstance(each, AudioPart) for each in message.parts)
    )


@pytest.mark.parametrize(
    "parts", [[1] * 10, [1, 2, 1, 2, 1, 1, 1, 2, 1, 1]], ids=["one by one", "some cut and joined again"]
)
def test_every_other_turn_finds_the_conversation_as_it_was_read(parts: list[int]) -> None:
    history, heard = History(100, 1_000_000), list[str]()
    for turn, count in enumerate(parts):
        for part in range(count):
            item_id = f"u{turn}.{part}"
            history.add(Item(item_id, "user", AudioPart(sound(0.1, 10 * turn + part)), joins=part > 0))
            heard.append(first_sound(history))
            history.set_text(item_id, "words")
            history.forget_audio(4)
            history.add(Item(f"r{turn}.{part}", "assistant", TextPart("Yes."), void=part < count - 1))
    firsts = zip(parts, (0, 0, 0, 0, 2, 2, 4, 4, 6, 6), strict=True)
    assert heard == [f"u{first}.0" for count, first in firsts for _ in range(count)]


def test_a_long_conversation_loses_its_oldest_turns_and_keeps_its_form(tokens: Tokens) -> None:
    roles: list[Role] = ["user", "assistant"]
    messages = [Message(roles[index % 2], (TextPart(f"text number {index} " * 10),)) for index in range(61)]
    prompt = conversation(tokens, messages, PERSONA, audio_turns=4, budget=1000)
    assert len(prompt.tokens) <= 1000
    assert prompt.tokens[0] == tokens.begin
    markers = [token for token in prompt.tokens if token in (tokens.instruction, tokens.instruction_end, tokens.end)]
    assert markers[:3] == [tokens.instruction, tokens.instruction_end, tokens.end]
    assert markers[-1] == tokens.instruction_end


def test_a_letter_in_several_tokens_comes_out_whole(tokens: Tokens) -> None:
    text = "नमस्ते दुनिया 👋 ok"
    stream = Text(tokens)
    pieces = [stream.push(token) for token in tokens.encode(text)]
    assert "".join(pieces) == text
    assert "" in pieces  # some token ended within a letter


def test_what_is_no_letter_is_left_out(tokens: Tokens) -> None:
    lead = next(token for token in tokens.encode("👋") if len(tokens.piece(token)) < 4)
    stream = Text(tokens)
    assert "".join(stream.push(token) for token in [lead, *tokens.encode("so\0"), tokens.audio]) == "so"


def test_a_folder_without_a_model_says_what_is_missing(tmp_path: Any) -> None:
    with pytest.raises((OSError, ValueError), match=r"tekken\.json|config\.json"):
        Voxtral.load(tmp_path)


def test_samples_are_compared_by_value() -> None:
    assert Clip.of(np.zeros(160, np.float32)).key == Clip.of(np.zeros(160, np.float32)).key


def test_a_turn_that_does_not_fit_loses_its_middle_and_the_log_says_so(
    tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = conversation(tokens, [said(sound(59))], PERSONA, audio_turns=4, budget=500)
    assert len(prompt.tokens) <= 500
    assert prompt.tokens[-1] == tokens.instruction_end
    assert "its middle is left out" in caplog.text
