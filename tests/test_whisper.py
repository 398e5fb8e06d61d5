from __future__ import annotations

import numpy as np
import pytest

from model_fixtures import Recording, model_folder, noise, recordings, tone
from voxtral_voice.engines.stretches import is_blank, stretches
from voxtral_voice.engines.whisper import (
    Hearing,
    Whisper,
    context_for,
    has_looped,
    is_nothing,
    unlooped,
)
from voxtral_voice.types import HEAR_HZ, Pcm, Step


def test_the_smallest_context_that_leaves_room_after_the_words() -> None:
    seconds = (0.0, 9.5, 9.6, 14.5, 19.0, 25.0, 40.0)
    assert [context_for(int(second * HEAR_HZ)) for second in seconds] == [10, 10, 15, 15, 20, 30, 30]


def test_long_audio_is_cut_where_it_is_quiet_and_nothing_is_lost() -> None:
    pcm = noise(70.0, 0.1)
    pcm[int(24.0 * HEAR_HZ) : int(24.4 * HEAR_HZ)] = 0.0
    found = stretches(pcm)
    assert 24.0 < len(found[0]) / HEAR_HZ < 24.4
    assert all(len(piece) <= 28 * HEAR_HZ for piece in found)
    np.testing.assert_array_equal(np.concatenate(found), pcm)
    assert len(stretches(pcm[: 28 * HEAR_HZ])) == 1
    assert len(stretches(pcm[:0])) == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Call me Abi. You can call me Abi. You can call me Abi.", "Call me Abi. You can call me Abi."),
        ("go ten meters, go ten meters. Go ten meters.", "go ten meters,"),
        ("no no no", "no no no"),
        ("What time is it?", "What time is it?"),
        ("", ""),
    ],
)
def test_repeats_at_the_end_are_found_and_taken_away(text: str, kept: str) -> None:
    assert unlooped(text) == kept
    assert has_looped(text) == (text != kept)


def test_a_text_that_compresses_too_well_has_looped() -> None:
    assert has_looped("ख" * 100)


@pytest.mark.parametrize(
    ("text", "no_speech", "log_probability", "nothing"),
    [
        ("Turn on the lamp.", 0.02, -0.3, False),
        ("Yeah.", 0.82, -0.88, False),
        ("I'm so happy.", 0.89, -1.87, True),
        ("music", 0.3, -2.2, True),
        ("you", 0.99, -0.65, True),
        ("Thank you.", 0.82, -0.97, True),
        ("Thank you.", 0.16, -0.18, False),
        ("...", 0.1, -0.2, True),
    ],
)
def test_words_over_noise_are_nothing(text: str, no_speech: float, log_probability: float, nothing: bool) -> None:
    assert is_nothing(text, no_speech, log_probability) == nothing


@pytest.mark.parametrize(
    "pcm", [np.zeros(0), np.zeros(HEAR_HZ), np.full(HEAR_HZ, np.nan), np.ones(100), np.full(HEAR_HZ, 5e-4)]
)
def test_silence_is_blank(pcm: Pcm) -> None:
    assert is_blank(pcm.astype(np.float32))


@pytest.fixture(scope="module")
def hearing() -> Hearing:
    return Hearing(
        Whisper(model_folder("whisper_english"), threads=2), Whisper(model_folder("whisper_multilingual"), threads=2)
    )


@pytest.mark.models
@pytest.mark.parametrize("language", ["en", "auto", "unheard of"])
def test_a_question_is_written_down(hearing: Hearing, speech: Recording, language: str) -> None:
    text, heard = hearing.transcribe(speech.pcm, language)
    assert heard == "en"
    assert word_error_rate([speech.text], [text]) <= 0.2


@pytest.mark.models
@pytest.mark.parametrize("language", ["en", "auto"])
@pytest.mark.parametrize("pcm", [np.zeros(HEAR_HZ, np.float32), noise(2.0), noise(3.0, 0.002), tone(2.0)])
def test_what_is_not_speech_has_no_words(hearing: Hearing, pcm: Pcm, language: str) -> None:
    assert hearing.transcribe(pcm, language)[0] == ""


@pytest.mark.models
def test_hindi_is_written_in_devanagari(hearing: Hearing, speech: Recording) -> None:
    """Whatever is said: forced to Hindi, no other letters are left to write with."""
    text, language = hearing.transcribe(speech.pcm, "hi")
    assert language == "hi"
    assert not any(letter.isascii() and letter.isalpha() for letter in text)


@pytest.mark.models
def test_long_audio_comes_in_stretches(hearing: Hearing, speech: Recording) -> None:
    pause = np.zeros(HEAR_HZ, np.float32)
    times = int(35 * HEAR_HZ / (len(speech.pcm) + len(pause))) + 1
    pcm = np.concatenate([part for _ in range(times) for part in (speech.pcm, pause)])
    found = list(hearing.stretches(pcm, "en"))
    first, between, second = found
    assert between == Step()
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert f"{first[0]} {second[0]}" == hearing.transcribe(pcm, "en")[0]
    assert "bridge" in second[0].lower()


@pytest.mark.models
def test_the_short_context_costs_no_words(hearing: Hearing, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [clip for clip in recordings() if clip.wer_usable and len(clip.pcm) < 9 * HEAR_HZ]
    if not clips:
        pytest.skip("VOXTRAL_TEST_AUDIO names no recordings to count words on")
    texts = [clip.text for clip in clips]
    short = word_error_rate(texts, [hearing.transcribe(clip.pcm, "en")[0] for clip in clips])
    monkeypatch.setattr("voxtral_voice.engines.whisper.CONTEXTS_S", (30,))
    padded = word_error_rate(texts, [hearing.transcribe(clip.pcm, "en")[0] for clip in clips])
    assert short <= 0.08
    assert short <= padded + 0.01


def word_error_rate(said: list[str], heard: list[str]) -> float:
    """Pooled, after Whisper's normaliser for English."""
    import jiwer
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    normalise = EnglishTextNormalizer({})
    return float(jiwer.wer([normalise(text) for text in said], [normalise(text) for text in heard]))
