from __future__ import annotations

import pytest

from voxtral_voice.models.kokoro_voices import VOICE_SHA256
from voxtral_voice.scripts import Script, runs
from voxtral_voice.types import VoiceError
from voxtral_voice.voices import OPENAI_NAMES, SPOKEN_LANGUAGES, VOICES, language_for, resolve, voice_for


def test_the_table_is_the_voices_that_are_fetched() -> None:
    assert len(VOICES) == 54
    assert set(VOICES) == set(VOICE_SHA256)
    assert {speaker.language.partition("-")[0].replace("cmn", "zh") for speaker in VOICES.values()} == SPOKEN_LANGUAGES
    assert (VOICES["hf_alpha"].language, VOICES["hf_alpha"].gender) == ("hi", "female")
    assert (VOICES["bm_george"].language, VOICES["bm_george"].gender) == ("en-gb", "male")


@pytest.mark.parametrize(
    ("asked", "voice"),
    [("af_heart", "af_heart"), ("AF_Heart ", "af_heart"), ("hf-alpha", "hf_alpha"), ("Alloy", "af_alloy")],
)
def test_names_in_any_case(asked: str, voice: str) -> None:
    assert resolve(asked) == voice


def test_every_openai_name_means_a_voice() -> None:
    wanted = {"alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer"}
    wanted.add("verse")
    assert all(resolve(name.upper()) in VOICES for name in wanted)
    assert wanted == set(OPENAI_NAMES)


@pytest.mark.parametrize(
    ("asked", "hint"), [("af_hart", "af_heart"), ("bela", "af_bella"), ("", "such as"), ("x", "such")]
)
def test_an_unknown_voice_is_refused_with_a_hint(asked: str, hint: str) -> None:
    with pytest.raises(VoiceError, match=hint) as refused:
        resolve(asked)
    assert (refused.value.code, refused.value.param) == ("unknown_voice", "voice")


@pytest.mark.parametrize(
    ("clause", "voice", "reader"),
    [
        ("नमस्ते, आप कैसे हैं?", "af_heart", "hf_alpha"),
        ("नमस्ते, आप कैसे हैं?", "am_adam", "hm_omega"),
        ("नमस्ते, आप कैसे हैं?", "hm_psi", "hm_psi"),
        ("Meeting kal सुबह 10 बजे है", "af_heart", "hf_alpha"),
        ("The word नमस्ते is a greeting in Hindi.", "af_heart", "af_heart"),
        ("Good morning!", "hf_alpha", "hf_alpha"),
        ("Good morning!", "ef_dora", "ef_dora"),
        ("こんにちは", "am_adam", "jm_kumo"),
        ("你好", "af_heart", "zf_xiaobei"),
        ("今日は東京", "af_heart", "jf_alpha"),
        ("東京", "jm_kumo", "jm_kumo"),
        ("10, 20 …", "af_heart", "af_heart"),
        ("", "af_heart", "af_heart"),
    ],
)
def test_the_voice_follows_the_script(clause: str, voice: str, reader: str) -> None:
    assert voice_for(clause, voice, "hf_alpha") == reader


def test_a_chosen_hindi_voice_reads_hindi_for_everyone() -> None:
    assert voice_for("नमस्ते", "am_adam", "hf_beta") == "hf_beta"


@pytest.mark.parametrize(
    ("script", "voice", "language"),
    [
        (Script.LATIN, "af_heart", "en-us"),
        (Script.LATIN, "bf_emma", "en-gb"),
        (Script.LATIN, "hf_alpha", "en-us"),
        (Script.LATIN, "zf_xiaobei", "en-us"),
        (Script.LATIN, "pf_dora", "pt-br"),
        (Script.DEVANAGARI, "ef_dora", "hi"),
        (Script.HAN, "jf_alpha", "ja"),
        (Script.HAN, "af_heart", "cmn"),
        (None, "ff_siwis", "fr-fr"),
        (Script.OTHER, "af_heart", None),
    ],
)
def test_the_language_follows_script_and_voice(script: Script | None, voice: str, language: str | None) -> None:
    assert language_for(script, VOICES[voice]) == language


def test_runs_keep_numbers_with_their_units() -> None:
    latin, hindi = Script.LATIN, Script.DEVANAGARI
    assert runs("Meeting kal सुबह 10 बजे है.") == [(latin, "Meeting kal "), (hindi, "सुबह 10 बजे है.")]
    assert runs("कल 5 PM, ठीक?") == [(hindi, "कल "), (latin, "5 PM, "), (hindi, "ठीक?")]
    assert runs("Meeting 10 बजे") == [(latin, "Meeting "), (hindi, "10 बजे")]
    assert runs("(२५) ₹500!") == [(hindi, "(२५) ₹500!")]
    assert runs("12:30?") == [(None, "12:30?")]
    assert runs("") == []


@pytest.mark.parametrize("text", ["aक1ख b", "…क?!b, 5 日本ですx", "Привет 5 hi"])
def test_runs_lose_nothing(text: str) -> None:
    assert "".join(run for _, run in runs(text)) == text
