"""What of a reply goes out when, and what of it was heard. Times are seconds of an imagined clock."""

from __future__ import annotations

import numpy as np
import pytest

from voxtral_voice.playout import Playout, audible
from voxtral_voice.types import SPEAK_HZ, Pcm


def sound(seconds: float) -> Pcm:
    return np.full(round(seconds * SPEAK_HZ), 0.3, np.float32)


def playout(*clauses: tuple[str, float], lead_ms: int = 300) -> Playout:
    out = Playout(packet_ms=40, lead_ms=lead_ms)
    for text, seconds in clauses:
        out.add(text, sound(seconds))
    return out


def run(out: Playout, until: float) -> list[tuple[float, str, float]]:
    """(when, words, seconds) of every packet, taken at the moment it was due."""
    log = []
    while (at := out.next_at()) is not None and at <= until:
        log += [(round(at, 3), packet.text, len(packet.pcm) / SPEAK_HZ) for packet in out.release(at)]
    return log


def test_nothing_goes_out_before_the_turn_is_certain() -> None:
    out = playout(("Hello.", 1.0))
    assert out.next_at() is None
    assert out.release(100.0) == []
    assert (out.heard_until(), out.played_ms(100.0), out.unsent_ms) == (0.0, 0, 1000)


@pytest.mark.parametrize("lead_ms", [300, 120])
def test_sound_stays_just_ahead_of_real_time(lead_ms: int) -> None:
    out = playout(("Hello.", 2.0), lead_ms=lead_ms)
    out.start(10.0)
    first = out.release(10.0)
    assert sum(len(packet.pcm) for packet in first) / SPEAK_HZ == pytest.approx(lead_ms / 1000, abs=0.04)
    sent = sum(len(packet.pcm) for packet in first) / SPEAK_HZ
    for at, _, seconds in run(out, 20.0):
        sent += seconds
        assert sent - (at - 10.0) <= lead_ms / 1000 + 1e-6
    assert sent == pytest.approx(2.0)
    assert out.heard_until() == pytest.approx(12.0)
    assert out.empty


def test_packets_are_40_ms_and_a_crumb_goes_along_with_the_last() -> None:
    out = playout(("Hello.", 0.130))
    out.start(0.0)
    assert [seconds for _, _, seconds in run(out, 9.0)] == pytest.approx([0.04, 0.04, 0.05])
    out = playout(("Hello.", 0.145))
    out.start(0.0)
    assert [seconds for _, _, seconds in run(out, 9.0)] == pytest.approx([0.04, 0.04, 0.04, 0.025])


@pytest.mark.parametrize("seconds", [0.130, 0.145, 0.335, 0.355, 0.379])
def test_a_packet_with_its_crumb_runs_no_further_ahead(seconds: float) -> None:
    out = playout(*[("Hello.", seconds)] * 4)
    out.start(0.0)
    sent = 0.0
    for at, _, length in run(out, 20.0):
        assert 0.02 <= length <= 0.06
        sent += length
        assert sent - at <= 0.3 + 1e-3  # `run` rounds times to milliseconds


def test_a_reply_may_be_heard_once_the_loudspeaker_is_free() -> None:
    out = playout(("Hello.", 1.0))
    out.start(10.2)  # another one is heard until then
    assert sum(len(packet.pcm) for packet in out.release(10.0)) / SPEAK_HZ == pytest.approx(0.1, abs=0.021)
    assert (out.played_ms(10.0), out.played_ms(10.2)) == (0, 0)
    assert out.played_ms(10.25) == 50


def test_words_go_out_with_the_first_of_their_sound() -> None:
    out = playout(("Hello there. ", 0.08), ("\N{WAVING HAND SIGN} ", 0.0), ("How are you?", 0.08))
    out.start(0.0)
    assert [text for _, text, _ in run(out, 9.0)] == ["Hello there. ", "", "\N{WAVING HAND SIGN} ", "How are you?", ""]


def test_the_clock_goes_on_from_a_late_clause() -> None:
    out = playout(("One.", 0.2))
    out.start(0.0)
    out.release(0.0)
    out.add("Two.", sound(0.2))
    out.release(1.0)
    assert out.heard_until() == pytest.approx(1.2)
    assert out.played_ms(1.1) == 300


def test_what_was_played_is_what_was_sent_less_what_is_still_to_come() -> None:
    out = playout(("Hello.", 1.0))
    out.start(0.0)
    run(out, 0.5)
    assert [out.played_ms(at) for at in (0.0, 0.25, 0.5)] == [0, 250, 500]
    assert out.sent_ms() == pytest.approx(800, abs=41)
    assert out.played_ms(9.0) == out.sent_ms()


def test_a_silenced_loudspeaker_plays_nothing_more() -> None:
    out = playout(("Hello.", 1.0))
    out.start(0.0)
    run(out, 0.5)
    out.stop(0.5)
    assert (out.next_at(), out.empty) == (None, True)
    assert out.heard_until() == 0.5
    assert out.sent_ms() > 500  # a client that knows better may still say so: up to what it was sent
    out.stop(3.0)
    assert out.heard_until() == 0.5


@pytest.mark.parametrize(
    ("played_ms", "heard"),
    [
        (0, ""),
        (240, ""),
        (250, "One"),
        (999, "One two three"),
        (1000, "One two three four."),
        (1600, "One two three four. Five"),
        (2000, "One two three four. Five six."),
        (9000, "One two three four. Five six."),
    ],
)
def test_the_words_heard_are_the_share_of_the_clause_that_was_played(played_ms: int, heard: str) -> None:
    assert playout(("One two three four. ", 1.0), ("Five six.", 1.0)).heard_text(played_ms) == heard


def test_a_clause_spoken_in_parts_counts_as_one() -> None:
    out = playout(("One two three four. ", 0.5), ("", 0.5), ("Five.", 1.0))
    assert out.heard_text(500) == "One two"
    assert out.heard_text(1000) == "One two three four."


def test_words_without_sound_were_heard_once_what_precedes_them_was() -> None:
    out = playout(("Hello. ", 1.0), ("\N{WAVING HAND SIGN}", 0.0))
    assert out.heard_text(500) == ""
    assert out.heard_text(1001) == "Hello. \N{WAVING HAND SIGN}"


def test_audible_is_the_first_10_ms_above_minus_45_dbfs() -> None:
    quiet, loud = 10 ** (-50 / 20), 10 ** (-40 / 20)
    assert not audible(np.full(960, quiet, np.float32))
    assert not audible(np.zeros(0, np.float32))
    burst = np.full(960, quiet, np.float32)
    burst[480:720] = loud
    assert audible(burst)
