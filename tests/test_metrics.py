"""Marks of a turn, and what becomes of them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from voxtral_voice.metrics import Marks, Metrics


def marked(**stages: float) -> Marks:
    marks = Marks()
    for stage, at in stages.items():
        marks.set(stage, at)
    return marks


def samples(metrics: Metrics) -> dict[str, float]:
    """As Prometheus reads them: name and labels -> value."""
    families = text_string_to_metric_families(metrics.prometheus().decode())
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_marks_are_milliseconds_after_the_end_of_speech_and_the_first_time_counts() -> None:
    marks = marked(speech_end=10.0, turn_end=10.2, first_sent=10.4567)
    marks.set("first_sent", 99.0)
    assert marks.since("speech_end") == {"turn_end": 200.0, "first_sent": 456.7}


def test_a_turn_without_speech_has_no_latency() -> None:
    metrics = Metrics()
    assert metrics.turn(marked(turn_end=1.0, first_sent=2.0)) == {}
    assert metrics.latency_ms() == {}


def test_the_headline_is_when_the_first_audible_sample_was_sent() -> None:
    metrics = Metrics()
    stages = metrics.turn(marked(speech_end=0.0, first_pcm=0.3, first_sent=0.5))
    assert stages["voice_to_voice_sent_ms"] == stages["first_sent"] == 500.0


def test_medians_are_of_the_last_turns() -> None:
    metrics = Metrics()
    for ms in range(1, 1001):
        metrics.turn(marked(speech_end=0.0, first_sent=ms / 1000))
    figures = metrics.latency_ms()["first_sent"]
    assert figures["n"] == 512
    assert figures["p50"] == pytest.approx(744.5, abs=1)
    assert figures["p95"] == pytest.approx(974.5, abs=2)


def test_prometheus_reads_the_names_that_are_promised() -> None:
    metrics = Metrics()
    metrics.sessions_active.inc()
    metrics.turns.labels("completed").inc()
    metrics.barge_ins.inc()
    metrics.errors.labels("invalid_json").inc()
    metrics.turn(marked(speech_end=0.0, first_sent=0.45))
    read = samples(metrics)
    assert read["voice_sessions_active"] == 1
    assert read["voice_turns_total{outcome=completed}"] == 1
    assert read["voice_barge_ins_total"] == 1
    assert read["voice_errors_total{code=invalid_json}"] == 1
    assert read["voice_turn_latency_seconds_count{stage=first_sent}"] == 1
    assert read["voice_turn_latency_seconds_sum{stage=first_sent}"] == pytest.approx(0.45)
    assert read["voice_turn_latency_seconds_bucket{le=0.45}{stage=first_sent}"] == 1
    assert read["voice_turn_latency_seconds_bucket{le=0.3}{stage=first_sent}"] == 0


def test_two_processes_worth_of_metrics_do_not_share_a_registry() -> None:
    one, other = Metrics(), Metrics()
    one.barge_ins.inc()
    assert samples(other)["voice_barge_ins_total"] == 0
