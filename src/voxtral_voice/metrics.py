"""Marks of a turn -> how long each stage took: Prometheus, and medians over the last turns."""

from __future__ import annotations

from collections import deque

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_RECENT = 512


class Marks:
    """When the stages of one turn were reached, on the event loop's clock; the first time counts."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def set(self, stage: str, at_s: float) -> None:
        self._at.setdefault(stage, at_s)

    def since(self, origin: str) -> dict[str, float]:
        """Milliseconds from `origin` to each later stage; empty when `origin` was never reached."""
        start = self._at.get(origin)
        if start is None:
            return {}
        return {stage: round((at - start) * 1000, 1) for stage, at in self._at.items() if stage != origin}


class Metrics:
    """One process's counters; thread-free, written on the event loop."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._recent: dict[str, deque[float]] = {}
        self._latency = Histogram(
            "voice_turn_latency_seconds",
            "From the end of speech",
            ["stage"],
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self.sessions_active = Gauge("voice_sessions_active", "Conversations open", registry=self.registry)
        self.turns = Counter("voice_turns", "Replies by how they ended", ["outcome"], registry=self.registry)
        self.drafts = Counter("voice_drafts", "Drafts by what became of them", ["outcome"], registry=self.registry)
        self.barge_ins = Counter("voice_barge_ins", "Replies interrupted by speech", registry=self.registry)
        self.joins = Counter("voice_joined_turns", "Turns that went on after their end", registry=self.registry)
        self.unspoken = Counter("voice_clauses_without_sound", "Words shown and not spoken", registry=self.registry)
        self.errors = Counter("voice_errors", "Errors told to clients", ["code"], registry=self.registry)

    def turn(self, marks: Marks) -> dict[str, float]:
        """Count one answered turn. Returns its stages in milliseconds after `speech_end`."""
        stages = marks.since("speech_end")
        if "first_sent" in stages:
            stages["voice_to_voice_sent_ms"] = stages["first_sent"]
        for stage, ms in stages.items():
            self._latency.labels(stage).observe(ms / 1000)
            self._recent.setdefault(stage, deque(maxlen=_RECENT)).append(ms)
        return stages

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Stage -> p50, p95 and count over the last turns."""
        return {
            stage: {
                "p50": round(float(np.percentile(values, 50)), 1),
                "p95": round(float(np.percentile(values, 95)), 1),
                "n": len(values),
            }
            for stage, values in self._recent.items()
        }

    def prometheus(self) -> bytes:
        return generate_latest(self.registry)
