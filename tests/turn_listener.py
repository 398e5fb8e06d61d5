"""A TurnTaker that listens to pictures of speech. One letter is one window of 32 ms."""

from __future__ import annotations

from voxtral_voice import config
from voxtral_voice.interjections import Meaning
from voxtral_voice.signals import AskEndpoint, AskWords, Signal
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.turns import TurnTaker

WINDOW = 512
MS = 32


def graded(*grades: tuple[float, int]) -> list[dict[str, float]]:
    return [{"probability": probability, "silence_ms": silence_ms} for probability, silence_ms in grades]


# For what the machine does, not for how it is tuned: that is what the bench of turn taking is for.
CONFIG = config.load(
    environ={},
    overrides={
        "turns.graded.low": graded((0.0, 1200)),
        "turns.graded.medium": graded((0.9, 200), (0.5, 300), (0.15, 400), (0.0, 1000)),
        "turns.graded.high": graded((0.5, 200), (0.0, 700)),
        "turns.start_ms": 96,
        "turns.draft_ms": 96,
        "turns.draft_early_ms": 96,
        "turns.endpoint_first_ms": 96,
        "turns.endpoint_every_ms": 96,
        "turns.resume_ms": 64,
        "turns.duck_ms": 96,
        "turns.barge_in_ms": 300,
        "turns.barge_in_share": 0.6,
        "turns.barge_in_within_ms": 1000,
        "turns.agreement_ms": 1000,
        "turns.gap_ms": 160,
    },
)
RULES = TurnRules.semantic(CONFIG.turns, CONFIG.vad)
SPEECH = {"#": 0.95, "~": 0.7, "+": 0.4, ".": 0.02}
"""Surely speech; speech; between the thresholds; silence."""


class Listener:
    """Feeds a TurnTaker and answers its questions."""

    def __init__(self, rules: TurnRules = RULES, finished: float | None = None, meaning: Meaning | None = None) -> None:
        """`finished`: what the end-of-turn model says; `meaning`: what any words mean. None: nobody answers."""
        self.taker = TurnTaker(rules)
        self.finished = finished
        self.meaning = meaning
        self.log: list[Signal] = []

    def hear(self, picture: str, *, over_reply: bool = False) -> Listener:
        for letter in picture:
            signals = self.taker.window(SPEECH[letter], WINDOW, reply_heard=over_reply)
            self.log += signals
            for signal in signals:
                if isinstance(signal, AskEndpoint) and self.finished is not None:
                    self.log += self.taker.verdict(self.finished, signal.at)
                elif isinstance(signal, AskWords) and self.meaning is not None:
                    self.log += self.taker.words(signal.at, self.meaning)
        return self

    def story(self) -> list[tuple[str, int]]:
        """(signal, milliseconds at which it became known), without the questions."""
        return [(type(s).__name__, s.at // 16) for s in self.log if not isinstance(s, AskEndpoint | AskWords)]

    def of(self, kind: type[Signal]) -> list[Signal]:
        return [signal for signal in self.log if isinstance(signal, kind)]
