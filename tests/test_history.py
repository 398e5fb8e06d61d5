"""The conversation as it is kept, and as a model is shown it."""

from __future__ import annotations

import numpy as np
import pytest

from voxtral_voice.history import History, Item, new_id
from voxtral_voice.types import AudioPart, Role, TextPart, VoiceError


def said(item_id: str, text: str | None = None, *, joins: bool = False) -> Item:
    part = AudioPart(np.zeros(160, np.float32), text)
    return Item(item_id, "user", part, spoken=True, joins=joins)


def wrote(item_id: str, text: str, role: Role = "user", *, void: bool = False) -> Item:
    return Item(item_id, role, TextPart(text), void=void)


def history(*items: Item) -> History:
    made = History(most_items=1000, most_bytes=1 << 20)
    for item in items:
        made.add(item)
    return made


def ids(made: History) -> list[str]:
    return [item.id for item in made.items]


def test_items_are_added_at_the_end_behind_another_or_at_the_root() -> None:
    made = history()
    assert made.add(wrote("a", "one")) is None
    assert made.add(wrote("b", "two")) == "a"
    assert made.add(wrote("c", "three"), "a") == "a"
    assert made.add(wrote("d", "four"), "root") is None
    assert ids(made) == ["d", "a", "c", "b"]


def test_what_is_not_there_or_there_already_is_refused_and_nothing_changes() -> None:
    made = history(wrote("a", "one"))
    with pytest.raises(VoiceError, match="in the conversation already"):
        made.add(wrote("a", "again"))
    with pytest.raises(VoiceError, match="no item 'x'"):
        made.add(wrote("b", "two"), "x")
    with pytest.raises(VoiceError, match="no item 'x'"):
        made.delete("x")
    with pytest.raises(VoiceError, match="no item 'x'"):
        made.get("x")
    assert made.find("x") is None
    made.set_text("x", "of an item that was deleted meanwhile")
    made.replace(wrote("x", "likewise"))
    assert [(item.id, item.text) for item in made.items] == [("a", "one")]


def test_a_transcript_is_written_down_beside_the_sound() -> None:
    made = history(said("a"))
    made.set_text("a", "hello")
    part = made.get("a").part
    assert isinstance(part, AudioPart)
    assert (part.text, len(part.pcm)) == ("hello", 160)


def test_the_oldest_sound_is_forgotten_once_its_words_are_known() -> None:
    made = history(said("a", "one"), said("b"), said("c", "three"), wrote("d", "four"), said("e", "five"))
    made.forget_audio(2)  # and two at a time
    assert sum(isinstance(item.part, AudioPart) for item in made.items) == 4
    made.add(said("f", "six"))
    made.forget_audio(2)
    assert [type(item.part).__name__ for item in made.items] == [
        "TextPart",
        "AudioPart",  # nobody has written it down yet
        "TextPart",
        "TextPart",
        "AudioPart",
        "AudioPart",
    ]
    assert made.get("a").text == "one"
    assert made.get("a").spoken
    made.forget_audio(0)
    assert [item.id for item in made.items if isinstance(item.part, AudioPart)] == ["b"]


def test_a_turn_of_several_items_keeps_or_loses_the_sound_of_all() -> None:
    made = history(said("a", "I would"), said("b", "like", joins=True), said("c", "two"), said("d", "three"))
    made.forget_audio(2)
    assert sum(isinstance(item.part, AudioPart) for item in made.items) == 4
    made.add(said("e", "four"))
    made.forget_audio(2)
    assert [item.id for item in made.items if isinstance(item.part, AudioPart)] == ["d", "e"]
    made.add(said("f", joins=True))  # goes on from where the turn of "e" was cut
    made.forget_audio(1)
    assert [item.id for item in made.items if isinstance(item.part, AudioPart)] == ["d", "e", "f"]
    made.set_text("f", "at last")
    made.forget_audio(1)
    assert [item.id for item in made.items if isinstance(item.part, AudioPart)] == ["e", "f"]


def test_sound_without_words_is_forgotten_at_once() -> None:
    made = history(said("a", "one"), said("b"))
    made.set_text("b", "")
    made.forget_audio(4)
    assert [type(item.part).__name__ for item in made.items] == ["AudioPart", "TextPart"]


def test_a_model_is_shown_one_message_for_a_turn_that_was_cut_and_joined_again() -> None:
    made = history(
        said("a", "I would like"),
        Item("r", "assistant", TextPart("Yes?"), void=True),
        said("b", joins=True),
    )
    messages, parts = made.messages()
    assert [(message.role, len(message.parts)) for message in messages] == [("user", 2)]
    assert parts == (("a", "b"),)


def test_a_model_is_shown_the_draft_as_if_it_were_said_and_the_history_is_not() -> None:
    made = history(wrote("a", "hello"), wrote("b", "Hi!", "assistant"))
    messages, parts = made.messages(said("c"))
    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert parts == (("a",), ("b",), ("c",))
    assert ids(made) == ["a", "b"]


def test_void_and_empty_items_are_not_shown() -> None:
    made = history(
        wrote("a", "hello"), wrote("b", "Oh", "assistant", void=True), wrote("c", "", "assistant"), said("d")
    )
    messages, _ = made.messages()
    assert [message.text for message in messages] == ["hello", ""]  # the last has no transcript yet


def test_ids_look_like_those_of_the_api_and_differ() -> None:
    made = {new_id("item") for _ in range(1000)}
    assert len(made) == 1000
    assert all(each.startswith("item_") and len(each) == 25 for each in made)
