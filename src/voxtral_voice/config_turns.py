"""The sections `vad` and `turns`: when somebody speaks, pauses, goes on and has finished."""

from __future__ import annotations

from pydantic import Field, model_validator

from voxtral_voice.config_section import Milliseconds, Probability, Section


class Vad(Section):
    onset: Probability
    offset: Probability
    sure: Probability

    @model_validator(mode="after")
    def _in_order(self) -> Vad:
        if self.offset > self.onset:
            raise ValueError("offset must not be above onset")
        if self.onset > self.sure:
            raise ValueError("onset must not be above sure")
        return self


class Grade(Section):
    probability: Probability
    silence_ms: Milliseconds


class Grades(Section):
    low: tuple[Grade, ...]
    medium: tuple[Grade, ...]
    high: tuple[Grade, ...]

    @model_validator(mode="after")
    def _ends(self) -> Grades:
        for name in ("low", "medium", "high"):
            if not any(grade.probability == 0 for grade in getattr(self, name)):
                raise ValueError(f"{name} needs a grade with probability 0: every silence must end the turn at last")
        return self


class Turns(Section):
    start_ms: Milliseconds
    prefix_ms: Milliseconds
    draft_ms: Milliseconds
    draft_early_ms: Milliseconds
    early_drafts_per_s: float = Field(ge=0, le=10)
    endpoint_first_ms: Milliseconds
    endpoint_every_ms: int = Field(ge=32, le=10_000)
    graded: Grades
    resume_ms: Milliseconds
    join_ms: Milliseconds
    max_turn_ms: int = Field(ge=1000, le=600_000)
    duck_ms: Milliseconds
    barge_in_ms: Milliseconds
    barge_in_share: Probability
    barge_in_within_ms: int = Field(ge=100, le=60_000)
    agreement_ms: Milliseconds
    gap_ms: Milliseconds
    partial_ms: int = Field(ge=200, le=60_000)
    stalled_ms: int = Field(ge=40, le=60_000)
    idle_ms: int = Field(ge=0, le=500)
