"""An engine that fails in mid-conversation: logged, told where it matters, and the conversation goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from conversation import Conversation, converse, one_turn, statuses, texts
from scripted import Script
from voxtral_voice import config
from voxtral_voice.events import Committed, Failed, PartialTranscript, ReplyBegun, ReplyText, UserStarted, UserStopped
from voxtral_voice.types import AudioPart, Cancel, Heard, Pcm, Voice, VoiceError


def logged(caplog: pytest.LogCaptureFixture) -> set[tuple[str, str]]:
    return {(record.name, record.getMessage()) for record in caplog.records if record.levelno >= logging.ERROR}


def test_without_the_end_of_turn_model_the_longest_silence_ends_the_turn(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(script: Script) -> None:
        def probability(turn_audio: Pcm) -> float:
            raise RuntimeError("broken")

        script.endpoint.probability = probability  # type: ignore[method-assign]

    c = converse(one_turn, prepare=breaks)
    assert statuses(c) == [("completed", "")]
    longest_s = max(grade.silence_ms for grade in config.load(environ={}).turns.graded.medium) / 1000
    assert c.times(UserStopped)[0] == pytest.approx(1.5 + longest_s, abs=0.07)
    assert logged(caplog) == {("voxtral_voice.session", "an engine failed beside the conversation")}


def test_a_partial_transcript_that_fails_does_not_end_all_of_them(caplog: pytest.LogCaptureFixture) -> None:
    def fails_once(script: Script) -> None:
        transcribe, calls = script.understander.transcribe, list[int]()

        def partly(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            calls.append(len(pcm))
            if len(calls) == 1:
                raise VoiceError("out_of_memory", "no memory left")
            yield from transcribe(pcm, language, cancel)

        script.understander.transcribe = partly  # type: ignore[method-assign]

    async def story(c: Conversation) -> None:
        await c.say(4.0)
        await c.hush(5.0)

    c = converse(story, prepare=fails_once, partials=True)
    assert len(c.all(PartialTranscript)) >= 2
    assert statuses(c) == [("completed", "")]
    assert logged(caplog) == {("voxtral_voice.scribe", "a transcript failed")}


@pytest.mark.parametrize("unspeakable", [("bat",), ("bat", "said", "know", "indeed")])
def test_words_without_sound_are_shown_in_their_place_and_the_reply_ends_as_any_other(
    unspeakable: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    def partly_mute(script: Script) -> None:
        speak = script.synthesizer.speak

        def speaks(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
            if not any(word in clause for word in unspeakable):
                yield from speak(clause, voice, cancel)

        script.synthesizer.speak = speaks  # type: ignore[method-assign]
        script.understander.answer = lambda said: f"You said {said}. (bat) (bat). That is all I know. Yes indeed."

    caplog.set_level(logging.INFO)
    c = converse(one_turn, prepare=partly_mute)
    assert statuses(c) == [("completed", "")]
    assert "".join(event.text for event in c.all(ReplyText)).strip() == texts(c)[-1][1]
    assert texts(c)[-1][1] == "You said word42. (bat) (bat). That is all I know. Yes indeed."
    (begun,) = c.all(ReplyBegun)
    assert begun.spoken
    assert (c.audio_s(begun.response_id) > 0) == (len(unspeakable) == 1)
    mute = sum(record.getMessage().startswith("a clause has no sound") for record in caplog.records)
    assert mute == (1 if len(unspeakable) == 1 else len(c.all(ReplyText)))
    assert c.metrics.prometheus().decode().count(f"voice_clauses_without_sound_total {float(mute)}") == 1


def test_a_detector_that_is_broken_for_seconds_is_told_once_a_second_and_the_next_turn_lies_where_it_was_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken_at_first(script: Script) -> None:
        working, seen = script.detector.probability, list[int]()

        def probability(window: Pcm, state: object) -> tuple[float, object]:
            seen.append(len(window))
            if len(seen) <= 34:  # 3.3 s: three windows at a time while nobody speaks
                raise RuntimeError("broken")
            return working(window, state)

        script.detector.probability = probability  # type: ignore[method-assign]

    async def story(c: Conversation) -> None:
        await c.hush(4.0)
        await c.say(1.0)
        await c.hush(5.0)

    c = converse(story, prepare=broken_at_first)
    assert [event.code for event in c.all(Failed)] == ["internal_error"] * 4
    assert logged(caplog) == {("voxtral_voice.session", "a command failed")}
    assert statuses(c) == [("completed", "")]
    assert c.all(UserStarted)[0].at_ms == pytest.approx(4000 - 500, abs=40)
    part = c.script.understander.seen[-1][0].parts[0]
    assert isinstance(part, AudioPart)
    assert np.count_nonzero(part.pcm) == 16_000


def test_a_window_that_the_detector_trips_over_is_told_and_the_turn_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def trips(script: Script) -> None:
        seen: list[int] = []

        def probability(window: Pcm, state: object) -> tuple[float, object]:
            seen.append(len(window))
            if len(seen) == 30:
                raise RuntimeError("broken")
            return float(np.mean(np.abs(window) > 0.05) > 0.5), None

        script.detector.probability = probability  # type: ignore[method-assign]

    c = converse(one_turn, prepare=trips)
    assert [event.code for event in c.all(Failed)] == ["internal_error"]
    assert len(c.all(Committed)) == 1
    assert statuses(c) == [("completed", "")]
    assert logged(caplog) == {("voxtral_voice.session", "a command failed")}
