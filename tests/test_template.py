from __future__ import annotations

import pytest

from voxtral_voice.engines.template import Template, script_language
from voxtral_voice.types import Cancel, Delta, Finished, Message, ReplySettings, TextPart

SETTINGS = ReplySettings("Be kind.")


def reply(text: str, settings: ReplySettings = SETTINGS) -> tuple[list[str], Finished]:
    *deltas, end = Template().reply((Message("user", (TextPart(text),)),), settings, Cancel())
    assert isinstance(end, Finished)
    return [delta.text for delta in deltas if isinstance(delta, Delta)], end


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("turn on the lamp", "I heard you. You said: turn on the lamp."),
        ("How are you?", "I heard you. You said: How are you?"),
        ("नमस्ते", "मैंने सुन लिया। आपने कहा: नमस्ते।"),
        ("आप कैसे हैं?", "मैंने सुन लिया। आपने कहा: आप कैसे हैं?"),
        ("play नमस्ते", "मैंने सुन लिया। आपने कहा: play नमस्ते।"),
    ],
)
def test_it_says_what_it_heard_in_the_script_it_heard(heard: str, said: str) -> None:
    deltas, end = reply(heard)
    assert "".join(deltas) == said
    assert len(deltas[0].split()) <= 4
    assert end.reason == "stop"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_heard_nothing_said(text: str) -> None:
    assert reply(text) == ([], Finished("nothing_heard"))


def test_only_the_user_is_answered() -> None:
    found = list(Template().reply((Message("assistant", (TextPart("Hello."),)),), SETTINGS, Cancel()))
    assert found == [Finished("nothing_heard")]
    assert list(Template().reply((), SETTINGS, Cancel())) == [Finished("nothing_heard")]


def test_a_long_turn_is_cut_to_the_length_asked_for() -> None:
    deltas, end = reply("word " * 500, ReplySettings("", max_tokens=20))
    assert "".join(deltas).count("word") == 20
    assert end.reason == "length"
    deltas, _ = reply("क" * 100_000, ReplySettings("", max_tokens=20))
    assert len("".join(deltas)) < 400


def test_a_cancelled_reply_stops_after_the_sentence() -> None:
    cancel = Cancel()
    found = Template().reply((Message("user", (TextPart("Hello"),)),), SETTINGS, cancel)
    next(found)
    cancel.set()
    assert list(found) == [Finished("cancelled")]


@pytest.mark.parametrize(("text", "language"), [("", ""), ("hello", ""), ("नमस्ते ok", "hi"), ("123", "")])
def test_the_script_tells_hindi(text: str, language: str) -> None:
    assert script_language(text) == language
