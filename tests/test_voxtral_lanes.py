"""Conversations share Voxtral's lanes: nothing is read twice, nobody waits for ever, and no word changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from test_voxtral import reply
from test_voxtral_prompt import answered, said, turns
from voxtral_fixtures import GREEDY, sound
from voxtral_voice.engines import slots
from voxtral_voice.engines.voxtral.decoder import Decoder
from voxtral_voice.engines.voxtral.engine import Voxtral
from voxtral_voice.types import Cancel, Delta, Message


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each reading took."""
    found: list[int] = []
    read = Decoder.read

    def counted(decoder: Decoder, lane: int, embedded: Any, start: int) -> Any:
        found.append(len(embedded))
        return read(decoder, lane, embedded, start)

    monkeypatch.setattr(Decoder, "read", counted)
    return found


def in_turn(voxtral: Voxtral, conversations: list[list[Message]]) -> list[str]:
    """All at once, a step of one after a step of the other."""
    running = {index: voxtral.reply(tuple(each), GREEDY, Cancel()) for index, each in enumerate(conversations)}
    texts = [""] * len(running)
    while running:
        for index in list(running):
            output = next(running[index], None)
            if output is None:
                del running[index]
            elif isinstance(output, Delta):
                texts[index] += output.text
    return texts


@pytest.mark.parametrize("pause_s", [600.0, 0.0], ids=["they wait for each other", "they take each other's lanes"])
def test_more_conversations_than_lanes_are_each_answered_as_if_alone(
    pause_s: float, checkpoint: Path, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_PAUSE_S", pause_s)
    conversations = [[said(sound(1, seed=index))] for index in range(4)]
    alone = [reply(Voxtral.load(checkpoint, context_tokens=1024), each) for each in conversations]
    crowded = Voxtral.load(checkpoint, context_tokens=1024, slots=2)
    rows.clear()
    assert in_turn(crowded, conversations) == alone
    if pause_s:
        assert len(rows) == 8  # nobody's reply or transcript is read twice


def test_a_reply_that_pauses_gives_its_lane_up_and_goes_on(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voxtral = Voxtral.load(checkpoint, context_tokens=1024, slots=1)
    first, second = [said(sound(1))], [said(sound(1, seed=1))]
    expected = [reply(voxtral, first), reply(voxtral, second)]
    paused = voxtral.reply(tuple(first), GREEDY, Cancel())
    begun = [next(paused) for _ in range(5)]
    monkeypatch.setattr(slots, "_PAUSE_S", 0.0)
    assert reply(voxtral, second) == expected[1]
    assert "".join(each.text for each in (*begun, *paused) if isinstance(each, Delta)) == expected[0]


def test_an_abandoned_reply_leaves_its_lane(voxtral: Voxtral) -> None:
    for index in range(6):  # more than there are lanes
        outputs = voxtral.reply((said(sound(1, seed=index)),), GREEDY, Cancel())
        next(outputs)
        outputs.close()  # type: ignore[attr-defined]
    assert not voxtral.replies._slots._busy
    assert not voxtral.transcripts._slots._busy


def test_a_taken_back_draft_costs_no_other_conversation_its_lane(checkpoint: Path, rows: list[int]) -> None:
    voxtral = Voxtral.load(checkpoint, context_tokens=1024, slots=2)
    other = [said(sound(1, seed=9))]
    answer = reply(voxtral, other)
    for index in range(3):
        cancel = Cancel()
        outputs = voxtral.reply((said(sound(1, seed=index)),), GREEDY, cancel)
        next(output for output in outputs if isinstance(output, Delta))
        cancel.set()
        list(outputs)
    rows.clear()
    reply(voxtral, [*other, answered(answer), said("And?")])
    assert rows[0] < 60  # the sound is still there


def test_what_the_next_turn_begins_with_is_read_while_the_voice_speaks(checkpoint: Path, rows: list[int]) -> None:
    """With the fifth spoken turn the first two become words; that prompt is read when the fourth has been answered."""
    new_tokens, texts = [], []
    for ahead in (False, True):
        voxtral = Voxtral.load(checkpoint)
        voxtral.reads_ahead = ahead
        answer = reply(voxtral, turns(4))
        rows.clear()
        texts.append(reply(voxtral, [*turns(4), answered(answer), *turns(5)[-1:]]))
        new_tokens.append(sum(rows))
    assert texts[0] == texts[1]
    assert new_tokens[0] > 1100  # three sounds and the words
    assert new_tokens[1] < 450  # the new sound alone
