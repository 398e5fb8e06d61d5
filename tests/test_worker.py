"""The queue worker with RunPod's real SDK: every type of job, its stream and its result."""

from __future__ import annotations

import base64
import io
import threading
from typing import Any

import numpy as np
import soundfile

from voxtral_voice import __version__, audio
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm
from voxtral_voice.voices import VOICES
from worker_process import Deployed

Json = dict[str, Any]


def level(hundredths: int, seconds: float = 1.0) -> Pcm:
    """What scripted engines hear as "word…"."""
    return np.full(int(seconds * HEAR_HZ), hundredths / 100, np.float32)


def wav(pcm: Pcm, rate_hz: int = HEAR_HZ) -> Json:
    return {"data": base64.b64encode(audio.to_wav(pcm, rate_hz)).decode(), "format": "wav"}


def sound_of(item: Json) -> tuple[Pcm, int]:
    data = base64.b64decode(item["data"])
    if item["format"] == "pcm16":
        return audio.from_pcm16(data), item["sample_rate_hz"]
    pcm, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return pcm, rate


def test_speech_is_heard_answered_and_spoken_clause_by_clause(deployed: Deployed) -> None:
    job = deployed.plane.submit({"type": "converse", "audio": wav(level(42))})
    output = deployed.plane.result(job)["output"]
    assert [item["type"] for item in output] == ["transcript", "audio", "reply", "done"]
    transcript, spoken, reply, done = output
    assert (transcript["text"], transcript["language"]) == ("word42", "en")
    assert spoken["text"].strip() == reply["text"] == "word42"
    assert reply["reason"] == "stop"
    assert done["history"] == [{"role": "user", "text": "word42"}, {"role": "assistant", "text": "word42"}]
    assert 0 < done["latency_ms"]["transcript"] < done["latency_ms"]["first_pcm"] <= done["latency_ms"]["total"]
    pcm, rate = sound_of(spoken)
    assert (rate, spoken["sample_rate_hz"]) == (SPEAK_HZ, SPEAK_HZ)
    assert spoken["duration_ms"] == len(pcm) * 1000 // rate == 120


def test_the_stream_and_the_result_say_the_same(deployed: Deployed) -> None:
    job = deployed.plane.submit({"type": "speak", "text": "One clause here. And here is another one. The third."})
    output = deployed.plane.result(job)["output"]
    assert output == deployed.plane.items(job)
    assert [item["seq"] for item in output] == list(range(len(output)))
    assert [item["type"] for item in output] == ["audio", "audio", "audio", "done"]
    assert "".join(item["text"] for item in output[:-1]) == "One clause here. And here is another one. The third."


def test_the_first_clause_is_streamed_while_the_second_is_made(deployed: Deployed) -> None:
    plane = deployed.plane
    job = plane.submit({"type": "speak", "text": "This comes at once. And this one comes calmly."})
    latency_ms = plane.result(job)["output"][-1]["latency_ms"]
    first, _, _ = plane.streamed(job)
    assert first.at_s < deployed.worker.notes("free", "this one comes calmly")[0]
    assert latency_ms["first_pcm"] < latency_ms["total"] - 1000


def test_text_is_answered_aloud_and_sound_can_be_bare_samples(deployed: Deployed) -> None:
    asked = {"type": "converse", "text": "Say this again.", "output_format": "pcm16", "voice": "alloy", "speed": 1.5}
    spoken, reply, done = deployed.plane.do(asked)
    assert spoken["format"] == "pcm16"
    pcm, _ = sound_of(spoken)
    assert len(pcm) == round(3 * 0.12 * SPEAK_HZ)
    assert reply["text"] == done["history"][-1]["text"] == "Say this again."


def test_a_conversation_goes_on_with_the_history_that_the_last_job_returned(deployed: Deployed) -> None:
    before = deployed.plane.do({"type": "converse", "text": "My name is Ada."})[-1]["history"]
    pcm16 = base64.b64encode(audio.to_pcm16(level(7, 2.0))).decode()
    sound = {"data": pcm16, "format": "pcm16", "sample_rate_hz": HEAR_HZ}
    done = deployed.plane.do({"type": "converse", "audio": sound, "history": before})[-1]
    assert done["history"] == [
        {"role": "user", "text": "My name is Ada."},
        {"role": "assistant", "text": "My name is Ada."},
        {"role": "user", "text": "word7"},
        {"role": "assistant", "text": "word7"},
    ]
    assert deployed.worker.notes("asked", r"^user: My name is Ada\. \| assistant: My name is Ada\. \| user: $")


def test_a_recording_is_written_down(deployed: Deployed) -> None:
    transcript, done = deployed.plane.do({"type": "transcribe", "audio": wav(level(13), HEAR_HZ), "language": "en"})
    assert transcript["text"] == "word13 word13 word13"
    assert transcript["language"] == "en"
    assert done["history"] == []


def test_the_worker_says_what_it_is(deployed: Deployed) -> None:
    (done,) = deployed.plane.do({"type": "info"})
    info = done["info"]
    assert info["version"] == __version__
    assert info["profile"] == "scripted"
    assert info["models"] == {"scripted": "ready"}
    assert {voice["name"] for voice in info["voices"]} == set(VOICES)
    assert info["languages"]["heard"] == ["en"]
    assert "fr" in info["languages"]["spoken"]


def test_a_long_clause_is_sent_in_parts_that_the_platform_does_not_split(deployed: Deployed) -> None:
    job = deployed.plane.submit({"type": "speak", "text": "forever."})
    *sounds, _ = deployed.plane.result(job)["output"]
    assert [item["duration_ms"] for item in sounds] == [10_000, 10_000, 10_000]
    assert [item["text"] for item in sounds] == ["forever.", "", ""]
    assert max(each.size_bytes for each in deployed.plane.streamed(job)) < 1e6


def test_a_result_that_the_platform_would_refuse_ends_with_an_error(deployed: Deployed) -> None:
    text = " ".join(f"Sentence {number} lasts forever." for number in range(4))
    job = deployed.plane.submit({"type": "speak", "text": text})
    output = deployed.plane.result(job)["output"]
    assert output[-1]["type"] == "error"
    assert output[-1]["code"] == "message_too_large"
    assert output == deployed.plane.items(job)
    (size,) = (each.size_bytes for each in deployed.plane.posted if each.job == job and each.kind == "done")
    assert 8e6 < size < 10e6


def test_the_worker_pings_with_the_jobs_it_holds(deployed: Deployed) -> None:
    gate = threading.Event()
    job = deployed.plane.submit(
        {"type": "speak", "text": "This is said."}, lambda job: deployed.plane.hold.update({("done", job): gate})
    )
    deployed.plane.wait(lambda: any(job in ping.get("job_id", [""])[0] for ping in deployed.plane.pings))
    gate.set()
    deployed.plane.result(job)


def test_nothing_that_was_said_is_in_the_log(deployed: Deployed) -> None:
    text = "Nobody else may read that the treasure lies under the oak."
    deployed.plane.do({"type": "converse", "text": text, "history": [{"role": "user", "text": "My pin is 4711."}]})
    deployed.plane.wait(lambda: "Finished." in deployed.worker.log)
    log = deployed.worker.log
    assert "treasure" not in log
    assert "4711" not in log
