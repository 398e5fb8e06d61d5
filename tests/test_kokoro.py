"""What every build of Kokoro promises, on each of them."""

from __future__ import annotations

import difflib
import re
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from faster_whisper import WhisperModel

from model_fixtures import model_folder
from voxtral_voice import audio
from voxtral_voice.config import load
from voxtral_voice.engines.kokoro import Kokoro, trimmed
from voxtral_voice.engines.kokoro_onnx import KokoroOnnx
from voxtral_voice.engines.kokoro_torch import KokoroTorch
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Cancel, Pcm, Voice, VoiceError
from voxtral_voice.voices import VOICES

pytestmark = pytest.mark.models
STORY = """
On the first morning of spring the old gardener opened the gate, carried his tools across the wet grass, and began to
dig a new bed for the roses. His neighbor, a retired doctor, watched from the kitchen window and drank her coffee.
By noon the sun was warm, the birds were loud, and a small black cat had fallen asleep on his coat. After lunch the
two of them sat on the bench, talked about the weather, and planned a trip to the coast in the summer. Nobody had asked
the cat, who opened one eye, looked at the sky, and went back to sleep.
"""
LONG = "The river runs past the old mill, under the bridge, and down to the harbour where the boats are waiting. "


@pytest.fixture(scope="module", params=[KokoroOnnx, KokoroTorch])
def engine(request: pytest.FixtureRequest) -> Iterator[Kokoro]:
    made = request.param(model_folder("kokoro_onnx"), model_folder("kokoro_voices"), threads=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def whisper() -> WhisperModel:
    return WhisperModel(str(model_folder("whisper_english")), compute_type="int8", cpu_threads=2)


def say(engine: Kokoro, clause: str, voice: str = "af_heart", speed: float = 1.0) -> Pcm:
    pieces = list(engine.speak(clause, Voice(voice, speed), Cancel()))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def heard(whisper: WhisperModel, pcm: Pcm) -> str:
    segments, _ = whisper.transcribe(audio.resample(pcm, SPEAK_HZ, HEAR_HZ), beam_size=1)
    return " ".join(re.findall(r"[a-z0-9]+", " ".join(segment.text for segment in segments).lower()))


def lead_ms(pcm: Pcm) -> float:
    """How long until 10 ms are above -45 dBFS."""
    frames = pcm[: len(pcm) // 240 * 240].reshape(-1, 240)
    return 10.0 * int(np.argmax(np.sqrt((frames**2).mean(axis=1)) > 10 ** (-45 / 20)))


@pytest.mark.parametrize("voice", ["af_heart", "bm_george", "hf_alpha"])
def test_what_is_said_can_be_understood(engine: Kokoro, whisper: WhisperModel, voice: str) -> None:
    said = heard(whisper, say(engine, "Sure, I can help. The library opens at nine tomorrow morning.", voice))
    assert re.sub(r"\b9\b", "nine", said) == "sure i can help the library opens at nine tomorrow morning"


@pytest.mark.parametrize(
    ("clause", "voice", "at_least_s"),
    [
        ("Sure.", "af_heart", 0.3),
        ("नमस्ते, आप कैसे हैं?", "hf_alpha", 1.0),
        ("नमस्ते, आप कैसे हैं?", "am_michael", 1.0),
        ("Meeting kal सुबह 10 बजे है, please समय पर आना।", "hf_alpha", 2.0),
        ("Yes.", "hf_alpha", 0.3),
    ],
)
def test_it_speaks_at_once(engine: Kokoro, clause: str, voice: str, at_least_s: float) -> None:
    pcm = say(engine, clause, voice)
    assert pcm.dtype == np.float32
    assert pcm.ndim == 1
    assert len(pcm) > at_least_s * SPEAK_HZ
    assert 0.05 < np.abs(pcm).max() <= 1.0
    assert lead_ms(pcm) < 60
    assert abs(pcm[0]) < 0.01
    assert abs(pcm[-1]) < 0.001


def test_a_clause_of_another_script_is_read_by_a_hindi_voice(engine: Kokoro) -> None:
    clause = "आज मौसम अच्छा है।"
    np.testing.assert_array_equal(say(engine, clause, "af_heart"), say(engine, clause, "hf_alpha"))


def test_speed_changes_the_length(engine: Kokoro) -> None:
    clause = "I can help you with that tomorrow."
    usual, slow, quick = (len(say(engine, clause, speed=speed)) for speed in (1.0, 0.5, 2.0))
    assert slow == pytest.approx(2 * usual, rel=0.25)
    assert quick == pytest.approx(usual / 2, rel=0.25)


@pytest.mark.parametrize("speed", [0.4, 2.1, float("nan")])
def test_a_speed_out_of_range_is_refused(engine: Kokoro, speed: float) -> None:
    with pytest.raises(VoiceError, match="speed") as refused:
        say(engine, "Hello.", speed=speed)
    assert refused.value.code == "invalid_event"


def test_an_unknown_voice_is_refused(engine: Kokoro) -> None:
    with pytest.raises(VoiceError, match="af_heart") as refused:
        say(engine, "Hello.", "af_hart")
    assert refused.value.code == "unknown_voice"


@pytest.mark.parametrize("clause", ["", "🎉👍🏽", "…", "— !"])
def test_nothing_to_say_is_nothing(engine: Kokoro, clause: str) -> None:
    assert list(engine.speak(clause, Voice("af_heart"), Cancel())) == []


def test_the_same_clause_gives_the_same_samples(engine: Kokoro) -> None:
    np.testing.assert_array_equal(say(engine, "Good morning."), say(engine, "Good morning."))


def test_a_clause_beyond_the_input_limit_plays_through(engine: Kokoro, whisper: WhisperModel) -> None:
    assert len(engine._phonemizer.phonemes(STORY, "af_heart")) > 510
    pieces = list(engine.speak(STORY, Voice("af_heart"), Cancel()))
    assert len(pieces) >= 2
    words = " ".join(heard(whisper, piece) for piece in pieces).split()
    wanted = re.findall(r"[a-z0-9]+", STORY.lower())
    same = difflib.SequenceMatcher(None, wanted, words, autojunk=False)
    assert sum(block.size for block in same.get_matching_blocks()) > 0.9 * len(wanted)
    assert words[-3:] == wanted[-3:]


def test_cancelling_stops_a_part_under_way(engine: Kokoro) -> None:
    took = []
    for _ in range(3):
        cancel, at = Cancel(), [0.0]

        def stop(cancel: Cancel = cancel, at: list[float] = at) -> None:
            at[0] = time.perf_counter()
            cancel.set()

        timer = threading.Timer(0.4, stop)
        timer.start()
        assert list(engine.speak(LONG * 2, Voice("af_heart"), cancel)) == []
        took.append(time.perf_counter() - at[0])
        timer.join()
        assert not cancel._callbacks
    assert min(took) < 0.2  # twice the bar
    assert len(say(engine, "Hello."))


def test_a_cancelled_clause_is_not_begun(engine: Kokoro) -> None:
    cancel = Cancel()
    cancel.set()
    start = time.perf_counter()
    assert list(engine.speak(LONG, Voice("af_heart"), cancel)) == []
    assert time.perf_counter() - start < 1.0  # speaking it takes several


def test_no_callback_is_left_behind(engine: Kokoro) -> None:
    cancel = Cancel()
    assert list(engine.speak("Yes.", Voice("af_heart"), cancel))
    assert not cancel._callbacks


@pytest.mark.parametrize(
    ("voice", "clause"),
    [
        ("am_adam", "Hello."),
        ("bf_emma", "Hello."),
        ("ef_dora", "Hola."),
        ("ff_siwis", "Bonjour."),
        ("hm_omega", "नमस्ते"),
        ("if_sara", "Ciao."),
        ("jf_alpha", "こんにちは"),
        ("pm_alex", "Olá."),
        ("zf_xiaobei", "你好"),
    ],
)
def test_every_language_speaks(engine: Kokoro, voice: str, clause: str) -> None:
    assert len(say(engine, clause, voice)) > 0.2 * SPEAK_HZ


def test_all_voices_load(engine: Kokoro) -> None:
    styles = [engine._style(name) for name in VOICES]
    assert all(style.shape == (510, 1, 256) and np.isfinite(style).all() for style in styles)
    assert len({style.tobytes() for style in styles}) == 54


def test_only_the_silence_around_the_words_is_cut() -> None:
    choice = load().voice
    word = np.sin(np.arange(2400) / 5).astype(np.float32)
    quiet = np.full(9600, 0.001, np.float32)
    cut = trimmed(np.concatenate([quiet, word, np.zeros(240, np.float32), word, quiet]), choice)
    keep, tail = choice.trim_keep_ms * 24, choice.trim_tail_keep_ms * 24
    assert len(cut) == pytest.approx(keep + 2 * 2400 + 240 + tail, abs=4)
    np.testing.assert_array_equal(cut[keep:][:2300], word[1:2301])  # the first sample of a sine is 0: below the level
    at_once = trimmed(np.concatenate([quiet, word]), choice)  # the pause behind it has not been worked out
    assert len(at_once) == pytest.approx(keep + 2400 + tail, abs=4)
    assert not at_once[keep + 2400 :].any()
    assert len(trimmed(np.zeros(100, np.float32), choice)) == 0
