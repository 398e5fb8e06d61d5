"""`python handler.py` with the real models, under RunPod's real SDK; and the same jobs by the command line."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from control_plane import ControlPlane
from model_fixtures import Recording
from pod import LIGHT
from realtime_server import ScriptedManager
from scripted import script
from test_worker import sound_of, wav
from voxtral_voice import audio, cli
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ
from voxtral_voice.worker import local
from worker_process import worker

pytestmark = pytest.mark.models

ANSWER = {**LIGHT, "VOXTRAL_LIMITS__JOBS": "3"}


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def test_a_spoken_question_is_heard_answered_and_the_answer_understood(speech: Recording) -> None:
    with ControlPlane(stop_poll_s=1) as plane, worker(plane, "handler.py", environment=ANSWER) as process:
        asked = {"type": "converse", "audio": wav(speech.pcm), "voice": "af_bella"}
        transcript, *sounds, reply, done = plane.do(asked)
        assert jiwer.wer(words(speech.text), words(transcript["text"])) <= 0.2
        assert {item["type"] for item in sounds} == {"audio"}
        assert " ".join("".join(item["text"] for item in sounds).split()) == " ".join(reply["text"].split())
        assert [said["role"] for said in done["history"]] == ["user", "assistant"]

        spoken = np.concatenate([sound_of(item)[0] for item in sounds])
        heard = plane.do({"type": "transcribe", "audio": wav(spoken, SPEAK_HZ), "language": "en"})
        assert jiwer.wer(words(reply["text"]), words(heard[0]["text"])) <= 0.2

        text = "The train to London leaves at noon. Please do not be late."
        *sounds, _ = plane.do({"type": "speak", "text": text, "language": "en", "output_format": "pcm16"})
        assert len(sounds) == 2
        spoken = audio.resample(np.concatenate([sound_of(item)[0] for item in sounds]), SPEAK_HZ, HEAR_HZ)
        samples = {"data": base64.b64encode(audio.to_pcm16(spoken)).decode(), "format": "pcm16"}
        heard = plane.do({"type": "transcribe", "audio": {**samples, "sample_rate_hz": HEAR_HZ}})
        assert jiwer.wer(words(text), words(heard[0]["text"])) <= 0.2

        silence = plane.do({"type": "converse", "audio": wav(np.zeros(HEAR_HZ, np.float32))})
        assert [item["type"] for item in silence] == ["transcript", "reply", "done"]
        assert (silence[0]["text"], silence[1]["reason"], silence[2]["history"]) == ("", "nothing_heard", [])

        info = plane.do({"type": "info"})[0]["info"]
        assert info["profile"] == "cpu"
        assert set(info["models"].values()) == {"ready"}
        assert {"en", "hi", "de"} <= set(info["languages"]["heard"])
        assert "Traceback" not in process.log

        process.terminate()
        assert process.process.wait(60) == 0
        with pytest.raises(ProcessLookupError):  # nor is one of its children left
            os.killpg(process.process.pid, 0)


def test_sigterm_while_the_models_load_ends_the_worker_too() -> None:
    with ControlPlane() as plane, worker(plane, "handler.py", ready=False) as process:
        deadline = time.monotonic() + 120
        while "profile: " not in process.log:
            assert time.monotonic() < deadline, process.log
            time.sleep(0.05)
        time.sleep(0.5)  # into the loading
        process.terminate()
        assert process.process.wait(60) == 0
        assert plane.polls == 0


def test_the_command_line_does_the_same_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, choice in LIGHT.items():
        monkeypatch.setenv(name, choice)
    job, out = tmp_path / "job.json", tmp_path / "out.wav"
    job.write_text(json.dumps({"input": {"type": "speak", "text": "Good morning. How are you?"}}))
    assert cli.main(["job", str(job), "-o", str(out)]) == 0
    items = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["type"] for item in items] == ["audio", "audio", "done"]
    assert re.fullmatch(r"\S{12}… \(\d+ characters\)", items[0]["data"])
    pcm, rate = soundfile.read(out)
    assert rate == SPEAK_HZ
    assert len(pcm) * 1000 // rate == pytest.approx(sum(item["duration_ms"] for item in items[:-1]), abs=2)

    job.write_text(json.dumps({"input": {"type": "speak", "text": "Hello.", "voice": "af_nobody"}}))
    parts = script()
    monkeypatch.setattr(local, "ModelManager", lambda _: ScriptedManager(parts, "ready"))
    assert cli.main(["job", str(job)]) == 1
    for idle in parts.workers:
        idle.close()
    (item,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert item["code"] == "unknown_voice"


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "info"}'])
def test_a_file_that_holds_no_job_is_told(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.json").write_text(content)
    assert cli.main(["job", str(tmp_path / "job.json")]) == 1
    assert "invalid_json" in capsys.readouterr().err
