from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from model_fixtures import Recording, model_folder
from voxtral_voice.engines.cascade import Cascade
from voxtral_voice.engines.template import Template
from voxtral_voice.types import (
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
)

SETTINGS = ReplySettings("Be kind.")


class ScriptedListener:
    """Says, for a sound of n samples, what the script has for n, in stretches where it is divided by slashes."""

    languages = frozenset({"en", "hi", "de", "es"})

    def __init__(self, script: dict[int, tuple[str, str]]) -> None:
        self._script = script
        self.asked: list[tuple[int, str]] = []

    def stretches(self, pcm: Pcm, language: str) -> Iterator[tuple[str, str] | Step]:
        self.asked.append((len(pcm), language))
        text, heard = self._script.get(len(pcm), ("", ""))
        for index, stretch in enumerate(text.split("/")):
            if index:
                yield Step()
            yield stretch, heard


class RecordingReplier:
    """Keeps what it was given and says two words."""

    languages = frozenset({"en"})

    def __init__(self) -> None:
        self.messages: tuple[Message, ...] = ()
        self.settings = SETTINGS

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Finished]:
        self.messages, self.settings = messages, settings
        yield Delta("All")
        if cancel.is_set():
            yield Finished("cancelled")
            return
        yield Delta(" right.")
        yield Finished("stop")


def sound(samples: int, text: str | None = None) -> AudioPart:
    return AudioPart(np.zeros(samples, np.float32), text)


def run(
    script: dict[int, tuple[str, str]], *messages: Message, settings: ReplySettings = SETTINGS, **options: str
) -> tuple[list[object], RecordingReplier, ScriptedListener]:
    listener, replier = ScriptedListener(script), RecordingReplier()
    cascade = Cascade(listener, replier, **options)  # type: ignore[arg-type]
    return list(cascade.reply(messages, settings, Cancel())), replier, listener


def test_it_hears_each_part_without_text_then_answers_all_of_it() -> None:
    turn = Message("user", (sound(10), sound(20, "please"), sound(30), TextPart("now")))
    found, replier, listener = run({10: ("Turn on", "en"), 30: ("the lamp", "en")}, turn)
    assert found[:2] == [Heard("Turn on", 0, "en"), Heard("the lamp", 2, "en")]
    assert found[2:] == [Delta("All"), Delta(" right."), Finished("stop")]
    assert replier.messages[-1].text == "Turn on please the lamp now"
    assert listener.asked == [(10, "auto"), (30, "auto")]


def test_earlier_sounds_are_heard_once() -> None:
    earlier = Message("user", (sound(10), sound(30, "hello")))
    script = {10: ("Ada", "de"), 20: ("and you?", "en")}
    found, replier, listener = run(script, earlier, Message("user", (sound(20),)))
    assert found[:2] == [Heard("Ada", 0, "de", -2), Heard("and you?", 0, "en", -1)]
    assert listener.asked == [(10, "auto"), (20, "auto")]
    assert [message.text for message in replier.messages] == ["Ada hello", "and you?"]
    assert replier.settings.language == "en"  # of what is answered


def test_others_may_use_the_engine_between_two_stretches_of_a_long_speech() -> None:
    found, replier, _ = run({10: ("one/two//three", "en")}, Message("user", (sound(10),)))
    assert found[:4] == [Step(), Step(), Step(), Heard("one two three", 0, "en")]
    assert replier.messages[-1].text == "one two three"


def test_nothing_heard_is_not_answered() -> None:
    found, replier, _ = run({}, Message("user", (sound(10), sound(20))))
    assert found == [Heard("", 0, ""), Heard("", 1, ""), Finished("nothing_heard")]
    assert replier.messages == ()
    found, _, _ = run({}, Message("user", (sound(10, ""),)))
    assert found == [Finished("nothing_heard")]


def test_a_reply_without_a_new_user_turn_goes_straight_to_the_replier() -> None:
    found, replier, listener = run({}, Message("assistant", (TextPart("Hello."),)))
    assert found[-1] == Finished("stop")
    assert listener.asked == []
    assert run({})[0][-1] == Finished("stop")


def test_hindi_is_answered_by_the_template_where_the_model_speaks_only_english() -> None:
    found, replier, _ = run({10: ("आप कैसे हैं?", "hi")}, Message("user", (sound(10),)))
    assert found[1:3] == [Delta("मैंने सुन लिया।"), Delta(" आपने कहा: आप कैसे हैं?")]
    assert replier.messages == ()
    typed, _, _ = run({}, Message("user", (TextPart("नमस्ते"),)))
    assert typed[0] == Delta("मैंने सुन लिया।")


@pytest.mark.parametrize("language", ["de", "es"])
def test_other_languages_are_answered_in_english(language: str) -> None:
    _, replier, _ = run({10: ("words", language)}, Message("user", (sound(10),)))
    assert replier.settings.instructions == "Be kind. Answer in English."
    assert replier.settings.language == language


def test_a_language_without_a_voice_may_be_answered_in_writing() -> None:
    _, replier, _ = run({10: ("Worte", "de")}, Message("user", (sound(10),)), without_voice="text")
    assert replier.settings.instructions == "Be kind."
    _, replier, _ = run({10: ("palabras", "es")}, Message("user", (sound(10),)), without_voice="text")
    assert replier.settings.instructions == "Be kind. Answer in English."


def test_the_language_asked_for_reaches_the_listener() -> None:
    _, replier, listener = run(
        {10: ("hello", "en")}, Message("user", (sound(10),)), settings=ReplySettings("", language="en")
    )
    assert listener.asked == [(10, "en")]
    assert replier.settings.language == "en"


def test_a_cancel_while_hearing_ends_before_the_next_part() -> None:
    cancel = Cancel()
    cascade = Cascade(ScriptedListener({10: ("one", "en")}), RecordingReplier())
    found = cascade.reply((Message("user", (sound(10), sound(20))),), SETTINGS, cancel)
    assert next(found) == Heard("one", 0, "en")
    cancel.set()
    assert list(found) == [Finished("cancelled")]


def test_a_cancel_reaches_the_replier() -> None:
    cancel = Cancel()
    found = Cascade(ScriptedListener({}), RecordingReplier()).reply(
        (Message("user", (TextPart("hello"),)),), SETTINGS, cancel
    )
    assert next(found) == Delta("All")
    cancel.set()
    assert list(found) == [Finished("cancelled")]


def test_transcription_comes_in_stretches_without_the_empty_ones() -> None:
    cascade = Cascade(ScriptedListener({9: ("one//two", "en")}), Template())
    assert list(cascade.transcribe(np.zeros(9, np.float32), "en", Cancel())) == [
        Heard("one", 0, "en"),
        Step(),
        Step(),
        Heard("two", 2, "en"),
    ]
    cancel = Cancel()
    found = cascade.transcribe(np.zeros(9, np.float32), "en", cancel)
    assert next(found) == Heard("one", 0, "en")
    cancel.set()
    assert list(found) == []


def test_a_cancel_between_two_stretches_ends_the_hearing() -> None:
    cancel = Cancel()
    cascade = Cascade(ScriptedListener({10: ("one/two", "en")}), RecordingReplier())
    found = cascade.reply((Message("user", (sound(10),)),), SETTINGS, cancel)
    assert next(found) == Step()
    cancel.set()
    assert list(found) == [Finished("cancelled")]


@pytest.mark.models
def test_a_spoken_question_is_heard_and_repeated(speech: Recording) -> None:
    from voxtral_voice.engines.whisper import Hearing, Whisper

    english = Whisper(model_folder("whisper_english"), threads=2)
    cascade = Cascade(Hearing(english, Whisper(model_folder("whisper_multilingual"), threads=2)), Template())
    turn = Message("user", (AudioPart(speech.pcm),))
    found = list(cascade.reply((turn,), ReplySettings("", language="en"), Cancel()))
    assert isinstance(found[0], Heard)
    assert "bridge" in found[0].text.lower()
    assert "bridge" in "".join(item.text for item in found if isinstance(item, Delta)).lower()
