"""How turns are taken in one session: from config.yaml and what the client asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from voxtral_voice.config import Turns, Vad
from voxtral_voice.types import HEAR_HZ

_WINDOW_MS = 32  # of sound judged at once


@dataclass(frozen=True, slots=True)
class TurnRules:
    """Durations are in samples at 16 kHz."""

    onset: float
    offset: float
    sure: float
    """Speech probability from which a window is surely speech."""
    grades: tuple[tuple[float, int], ...]
    """(least end-of-turn probability, silence that then ends the turn)"""
    asks_endpoint: bool
    """False where the client fixed the silence: no end-of-turn model."""
    interrupts: bool
    """False: speech over the reply is a turn, and the reply plays on."""
    start: int
    prefix: int
    draft: int
    """Silence at which a draft is always made."""
    draft_early: int
    """Silence at which one is made while the turn has early ones left."""
    early_drafts_per_s: float
    """How many of those a turn gets for each second it lasts, beside the first."""
    endpoint_first: int
    endpoint_every: int
    resume: int
    join: int
    """Speech this soon after the end of a turn belongs to it."""
    longest: int
    duck: int
    barge_in: int
    """Sure speech over the reply that stops it,"""
    barge_in_share: float
    """where it is at least this much of the speech"""
    barge_in_within: int
    """in so much of it lately, a window more than `barge_in` at least; also how much undecided speech there is between
    two looks at its words."""
    agreement: int
    """Speech over the reply that stops it although its words agree."""
    gap: int

    @staticmethod
    def semantic(turns: Turns, vad: Vad, eagerness: str = "medium", *, interrupts: bool = True) -> TurnRules:
        """The graded rule; `eagerness` low, medium or high."""
        grades = tuple((grade.probability, _samples(grade.silence_ms)) for grade in getattr(turns.graded, eagerness))
        return _rules(turns, vad, grades, asks_endpoint=True, interrupts=interrupts)

    @staticmethod
    def silence(
        turns: Turns, vad: Vad, *, threshold: float, prefix_ms: int, silence_ms: int, interrupts: bool = True
    ) -> TurnRules:
        """A fixed silence, exactly as the client asked."""
        rules = _rules(
            turns, vad, ((0.0, _samples(silence_ms)),), asks_endpoint=False, interrupts=interrupts, prefix_ms=prefix_ms
        )
        sure = max(threshold, vad.sure)
        return replace(rules, onset=threshold, offset=threshold * vad.offset / vad.onset, sure=sure)


def _rules(
    turns: Turns,
    vad: Vad,
    grades: tuple[tuple[float, int], ...],
    *,
    asks_endpoint: bool,
    interrupts: bool,
    prefix_ms: int | None = None,
) -> TurnRules:
    return TurnRules(
        onset=vad.onset,
        offset=vad.offset,
        sure=vad.sure,
        grades=grades,
        asks_endpoint=asks_endpoint,
        interrupts=interrupts,
        start=_samples(turns.start_ms),
        prefix=_samples(turns.prefix_ms if prefix_ms is None else prefix_ms),
        draft=_samples(turns.draft_ms),
        draft_early=_samples(min(turns.draft_early_ms, turns.draft_ms)),
        early_drafts_per_s=turns.early_drafts_per_s,
        endpoint_first=_samples(turns.endpoint_first_ms),
        endpoint_every=_samples(turns.endpoint_every_ms),
        resume=_samples(turns.resume_ms),
        join=_samples(turns.join_ms),
        longest=_samples(turns.max_turn_ms),
        duck=_samples(turns.duck_ms),
        barge_in=_samples(turns.barge_in_ms),
        barge_in_share=turns.barge_in_share,
        barge_in_within=_samples(max(turns.barge_in_within_ms, turns.barge_in_ms + _WINDOW_MS)),
        agreement=_samples(turns.agreement_ms),
        gap=_samples(turns.gap_ms),
    )


def _samples(ms: int) -> int:
    return ms * HEAR_HZ // 1000
