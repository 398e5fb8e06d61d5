from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from voxtral_voice.engines import phonemes
from voxtral_voice.engines.kokoro import VOCABULARY, parts
from voxtral_voice.engines.phonemes import Phonemizer
from voxtral_voice.engines.spoken_text import spoken_text
from voxtral_voice.types import VoiceError


@pytest.fixture(scope="module")
def phonemizer() -> Iterator[Phonemizer]:
    made = Phonemizer(("en-us", "hi"))
    yield made
    made.close()


def children(of: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


def child_of(phonemizer: Phonemizer, language: str) -> subprocess.Popen[bytes]:
    process = phonemizer._children[language]._process
    assert process is not None
    return process._process


def test_english_is_misakis(phonemizer: Phonemizer, caplog: pytest.LogCaptureFixture) -> None:
    assert phonemizer.phonemes("Sure, I can help.", "af_heart") == "ʃˈʊɹ, ˌI kæn hˈɛlp."
    assert not caplog.records


def test_unknown_words_are_spelt_out_by_espeak(phonemizer: Phonemizer) -> None:
    assert phonemizer.phonemes("Vandemaataramji", "af_heart")


def test_hindi(phonemizer: Phonemizer) -> None:
    assert phonemizer.phonemes("नमस्ते, आप कैसे हैं?", "hf_alpha") == "nəmˈʌsteː, ˌaːp kˈɛːseː hɛ̃?"


def test_hinglish_is_read_by_two_languages_in_order(phonemizer: Phonemizer) -> None:
    spoken = phonemizer.phonemes("Meeting kal सुबह 10 बजे है.", "hf_alpha")
    assert spoken == "mˈiTɪŋ kˈæl sˈʊbəh dˈʌs bˈʌɟeː hɛː."


@pytest.mark.parametrize("clause", ["", " ", "…!?", "🎉👨‍👩‍👧👍🏽", "**", "---", "```\n```"])
def test_nothing_to_say(phonemizer: Phonemizer, clause: str) -> None:
    assert phonemizer.phonemes(clause, "af_heart") == ""


def test_a_script_that_no_voice_reads_is_reported(phonemizer: Phonemizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert phonemizer.phonemes("Привет world", "af_heart") == "wˈɜɹld"
    assert "no voice reads" in caplog.text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**Bold**, _it_, `code` and ~~gone~~.", "Bold, it, code and gone."),
        ("# Title\n\n- one\n- two", "Title, one, two"),
        ("[the docs](https://x.org/a) 😀!", "the docs !"),
        ("[word](/fˈoʊ/)", "word"),
        ("See https://www.example.com/docs?x=1.", "See example dot com slash docs."),
        ("Go to example.com, now.", "Go to example dot com, now."),
        ("Mail jo_b@mail.co.uk", "Mail jo b at mail dot co dot uk"),
        ("2 * 3 and 2*3", "2 times 3 and 2 times 3"),
        ("It is 10:30, 10:00 AM, 5:00 or 7:05 pm.", "It is 10 30, 10 AM, 5 o'clock or 7 oh 5 pm."),
        ("₹1,00,000 or 1,234.5", "100000 rupees or 1234.5"),
        ("snake_case 3.14 e.g. U.S.", "snake case 3.14 e.g. U.S."),
        ("<b>Hi</b> 25°C", "Hi 25°C"),
    ],
)
def test_what_is_written_is_said_sensibly(written: str, said: str) -> None:
    assert spoken_text(written, "en-us") == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("hi", "₹500 में 3.5 किलो।", "500 रुपये में 3 दशमलव 5 किलो."),
        ("hi", "क्\u200dष", "क्\u200dष"),  # the joiner shapes the letter
        ("es", "1.234,5 en ejemplo.com", "1234 coma 5 en ejemplo punto com"),
        ("cmn", "你好，世界。", "你好, 世界."),
    ],
)
def test_other_languages_use_their_own_words(language: str, written: str, said: str) -> None:
    assert spoken_text(written, language) == said


def test_a_killed_child_is_started_again(phonemizer: Phonemizer, caplog: pytest.LogCaptureFixture) -> None:
    process = child_of(phonemizer, "hi")
    os.kill(process.pid, signal.SIGKILL)
    assert phonemizer.phonemes("हाँ", "hf_alpha")
    assert "starting it again" in caplog.text
    assert process.returncode == -signal.SIGKILL  # reaped: no zombie


def test_a_child_that_hangs_is_replaced(phonemizer: Phonemizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phonemes, "_TIMEOUT_S", 1.0)
    process = child_of(phonemizer, "hi")
    os.kill(process.pid, signal.SIGSTOP)
    assert phonemizer.phonemes("हाँ", "hf_alpha")
    assert process.returncode == -signal.SIGKILL


def test_a_language_that_cannot_be_started_is_an_error() -> None:
    with pytest.raises(VoiceError, match="tlh") as failed:
        Phonemizer(("tlh",))
    assert failed.value.code == "model_failed"


def test_without_spacy_english_is_espeaks_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spacy.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Phonemizer(("en-us",))
    assert made.phonemes("Sure, I can help.", "af_heart") == "ʃˈʊɹ, I kæn hˈɛlp."
    assert "espeak-ng, not misaki: ImportError: not here" in caplog.text
    made.close()


def test_kanji_without_a_dictionary_are_left_out_and_the_log_says_what_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "fugashi.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Phonemizer(("ja",))
    assert made.phonemes("こんにちは", "jf_alpha")
    assert made.phonemes("東京", "jf_alpha") == ""
    assert "2 characters were left out" in caplog.text
    assert "install fugashi" in caplog.text
    made.close()


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = Phonemizer(("it",))
    assert made.phonemes("Ciao.", "if_sara")
    assert list(tmp_path.iterdir()) == []
    made.close()


def test_children_end_with_a_killed_parent() -> None:
    code = (
        "from voxtral_voice.engines.phonemes import Phonemizer; import sys, time\n"
        "keep = Phonemizer(('hi', 'es')); sys.stdout.write('up\\n'); sys.stdout.flush(); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"up\n"
        pids = children(parent.pid)
        assert len(pids) == 2
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 30
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline, "orphans are left"
        time.sleep(0.02)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_forgotten_phonemizer_leaves_no_child() -> None:
    made = Phonemizer(("it",))
    process = child_of(made, "it")
    del made
    assert process.returncode is not None


def test_threads_may_share_it(phonemizer: Phonemizer) -> None:
    clauses = [(f"Yes, number {i}.", "af_heart") if i % 2 else (f"हाँ {i}", "hf_alpha") for i in range(40)]
    alone = [phonemizer.phonemes(*clause) for clause in clauses]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda clause: phonemizer.phonemes(*clause), clauses)) == alone


def test_a_warm_request_takes_milliseconds(phonemizer: Phonemizer) -> None:
    took = []
    for number in range(30):
        start = time.perf_counter()
        phonemizer.phonemes(f"The meeting number {number} starts tomorrow morning.", "af_heart")
        took.append(time.perf_counter() - start)
    assert min(took) < 0.030  # where a process that is started takes seconds


def test_kokoros_alphabet() -> None:
    assert len(VOCABULARY) == 114
    assert [VOCABULARY[char] for char in ";$ aˈᵻ".replace("$", "—")] == [1, 9, 16, 43, 156, 177]


def test_long_clauses_are_cut_at_the_best_place() -> None:
    sentence = "wˈʌn tˈu θɹˈi, fˈɔɹ fˈIv sˈɪks. "
    found = parts(sentence * 20, 100)
    assert all(part.endswith(".") and len(part) <= 100 for part in found)
    assert " ".join(found) == (sentence * 20).strip()
    assert all(part.endswith(",") or part.endswith(".") for part in parts("wˈʌn, " * 40, 100))
    words = parts("wˈʌn " * 40, 100)
    assert all(part.endswith("n") for part in words)
    assert [len(part) for part in parts("a" * 250, 100)] == [100, 100, 50]
    assert parts("…, . ˈ", 100) == []
    assert parts("a¿漢b", 100) == ["ab"]
