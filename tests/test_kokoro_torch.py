from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from faster_whisper import WhisperModel

from model_fixtures import model_folder
from voxtral_voice import audio
from voxtral_voice.engines.kokoro import Kokoro, styles
from voxtral_voice.engines.kokoro_network import FRAME_SAMPLES
from voxtral_voice.engines.kokoro_torch import KokoroTorch, TorchBuild, drawn_out
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Cancel, Pcm, Voice, VoiceError

pytestmark = pytest.mark.models
log = logging.getLogger(__name__)

VOICES = ("af_heart", "af_bella", "am_michael", "bf_emma", "bm_george")
SENTENCES = (
    "Sure, I can help with that.",
    "The library opens at nine tomorrow morning.",
    "It will be cold tonight, so take a warm coat with you.",
    "My sister lives in a small house near the river.",
    "Please turn left after the second bridge and then go straight on.",
    "We had bread, cheese and apples for lunch.",
    "The train was late again because of the snow.",
    "Would you like to hear another story before you go to sleep?",
)
SIX_SECONDS = "The river runs past the old mill, under the bridge, and down to the harbour where the boats are waiting."


def made(**options: object) -> KokoroTorch:
    return KokoroTorch(model_folder("kokoro_onnx"), model_folder("kokoro_voices"), threads=2, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain() -> Iterator[KokoroTorch]:
    engine = made(dtype=torch.float32)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def half_in_buckets() -> Iterator[KokoroTorch]:
    engine = made(dtype=torch.bfloat16, bucket_frames=8, recorded_frames=(80, 88, 96))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def whisper() -> WhisperModel:
    return WhisperModel(str(model_folder("whisper_english")), compute_type="int8", cpu_threads=2)


def say(engine: Kokoro, clause: str, voice: str = "af_heart") -> Pcm:
    return np.concatenate(list(engine.speak(clause, Voice(voice), Cancel())))


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", re.sub(r"\b9\b", "nine", text.lower())))


def heard(whisper: WhisperModel, pcm: Pcm) -> str:
    segments, _ = whisper.transcribe(audio.resample(pcm, SPEAK_HZ, HEAR_HZ), beam_size=5)
    return words(" ".join(segment.text for segment in segments))


@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.slow), "half_in_buckets"])
def test_five_voices_are_understood(name: str, request: pytest.FixtureRequest, whisper: WhisperModel) -> None:
    """Each voice says all of it, or by default every second sentence, the others those between."""
    engine = request.getfixturevalue(name)
    said = [(voice, sentence) for voice in VOICES for sentence in SENTENCES]
    if name != "plain":
        said = [each for number, each in enumerate(said) if (number + number // len(SENTENCES)) % 2 == 0]
    wanted = [words(sentence) for _, sentence in said]
    found = [heard(whisper, say(engine, sentence, voice)) for voice, sentence in said]
    rate = jiwer.wer(wanted, found)
    log.info("%s: word error rate %.2f %% over %d clauses", name, 100 * rate, len(wanted))
    assert rate <= 0.05, [pair for pair in zip(wanted, found, strict=True) if pair[0] != pair[1]]


def test_drawing_a_clause_out_to_a_bucket_keeps_the_words(plain: KokoroTorch, whisper: WhisperModel) -> None:
    bucketed = made(dtype=torch.float32, bucket_frames=16)
    try:
        for sentence in SENTENCES[:2]:
            alone, drawn = say(plain, sentence), say(bucketed, sentence)
            assert -0.1 * SPEAK_HZ < len(drawn) - len(alone) < 0.5 * SPEAK_HZ
            assert heard(whisper, drawn) == heard(whisper, alone) == words(sentence)
    finally:
        bucketed.close()


@pytest.mark.parametrize("multiple", [1, 8, 16, 64])
def test_durations_are_drawn_out_evenly(multiple: int) -> None:
    durations = [16, 2, 3, 1, 1, 7, 4, 1, 6, 1]
    drawn = drawn_out(durations, multiple)
    assert sum(drawn) == -(-sum(durations) // multiple) * multiple
    longer = sum(drawn) / sum(durations)
    assert all(
        abs(each - longer * before) < 1 and each >= before for each, before in zip(drawn, durations, strict=True)
    )
    assert drawn_out(durations, 0) == durations


def test_a_prepared_bucket_sounds_like_one_that_is_not() -> None:
    folder = model_folder("kokoro_onnx")
    part = "ʃˈʊɹ, ˈI kæn hˈɛlp."
    style = styles(model_folder("kokoro_voices"), "af_heart")[len(part) - 1]
    usual = TorchBuild(folder, dtype=torch.float32, bucket_frames=96, threads=2)
    prepared = TorchBuild(folder, dtype=torch.float32, bucket_frames=96, recorded_frames=(96,), threads=2)
    first, second = (build.synthesize(part, style, 1.0, Cancel()) for build in (usual, prepared))
    assert first is not None
    assert second is not None
    assert len(first) == 96 * FRAME_SAMPLES
    np.testing.assert_array_equal(first, second)


def test_half_precision_repeats_itself_and_nobody_elses_random_numbers_change(half_in_buckets: KokoroTorch) -> None:
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = say(half_in_buckets, "Good morning.")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.rand(5)
    np.testing.assert_array_equal(say(half_in_buckets, "Good morning."), first)


def test_a_cancelled_clause_of_six_seconds_stops_within_a_step(plain: KokoroTorch) -> None:
    assert len(say(plain, SIX_SECONDS)) > 5 * SPEAK_HZ
    took = []
    for delay_s in (0.05, 0.2, 0.4, 0.6, 0.8):
        cancel, at = Cancel(), [0.0]

        def stop(cancel: Cancel = cancel, at: list[float] = at) -> None:
            at[0] = time.perf_counter()
            cancel.set()

        timer = threading.Timer(delay_s, stop)
        timer.start()
        assert list(plain.speak(SIX_SECONDS, Voice("af_heart"), cancel)) == []
        took.append(time.perf_counter() - at[0])
        timer.join()
    log.info("stopped after %s ms", " ".join(f"{each * 1e3:.0f}" for each in took))
    assert sorted(took)[len(took) // 2] < 0.3
    assert len(say(plain, "Hello.")) > 0.2 * SPEAK_HZ


def test_the_faster_type_is_chosen_on_a_cpu() -> None:
    build = TorchBuild(model_folder("kokoro_onnx"), threads=2)
    assert build.dtype in (torch.float32, torch.bfloat16)
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert build.dtype == torch.float32


def test_spacy_and_misaki_stay_out_of_the_process() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from voxtral_voice.engines.kokoro_torch import TorchBuild\n"
        "import torch\n"
        "TorchBuild(Path(sys.argv[1]), dtype=torch.float32)\n"
        "print(sorted({'kokoro', 'spacy', 'misaki', 'phonemizer'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(model_folder("kokoro_onnx"))]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_folder_without_kokoro_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="holds neither") as refused:
        TorchBuild(tmp_path)
    assert refused.value.code == "model_failed"
