"""Speech to text: Whisper through CTranslate2 (faster-whisper), without the 30 s of padding.

Models: `whisper_english` (tiny.en) and `whisper_multilingual` (base), int8 on a CPU; Whisper's licence is MIT.
An utterance is encoded in the smallest of four contexts that holds it: 10 s instead of 30 s costs a quarter at the
same word error rate. Below 10 s Whisper starts to loop, so there is no smaller one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_ctranslate2_storage

from voxtral_voice.engines.stretches import is_blank, stretches
from voxtral_voice.mel import Mel
from voxtral_voice.types import HEAR_HZ, Pcm, Step

log = logging.getLogger(__name__)

CONTEXTS_S = (10, 15, 20, 30)
_TAIL_S = 0.5  # of silence a context must still hold after the words: an utterance cut at its edge loops

# Whisper's own thresholds (openai/whisper, transcribe.py).
_NO_SPEECH = 0.6
_LOG_PROBABILITY = -1.0
_COMPRESSION = 2.4
# Below this the words are invented: real speech of the recordings tested stays above -0.7, music and noise are below.
_HOPELESS_LOG_PROBABILITY = -1.5

# What Whisper writes over silence and music, surer of it than of other inventions; said by people it scores above -0.2.
_INVENTED = ("you", "thank you", "thanks for watching")
_INVENTED_LOG_PROBABILITY = -0.4

# Whisper base writes spoken Hindi in Arabic letters. What it "heard before" in Devanagari, and no other letters to
# choose from, turn it round; the penalty keeps it from circling on one syllable.
_HINDI_PROMPT = " नमस्ते, आप कैसे हैं? मैं ठीक हूँ। आज क्या करना है, मुझे बताओ।"
_HINDI_REPETITION_PENALTY = 1.15
_HINDI_BEAM = 2  # of Kokoro's Hindi 19-26 % of the letters come back wrong, with 1 25-29 %, at half again the time
# Tokens per second of the fastest speech: Devanagari takes about three tokens a letter, English one a word.
_TOKENS_PER_S = {"en": 10, "hi": 30}
_TOKENS_PER_S_ELSE = 20
_TOKENS_EXTRA = 16


@dataclass(frozen=True, slots=True)
class _Decoded:
    text: str
    nothing: bool
    """Made up over silence or noise."""
    looped: bool


class Whisper:
    """One Whisper model. Blocking; one caller at a time."""

    def __init__(self, folder: Path, threads: int = 0, device: str = "cpu") -> None:
        """`folder` holds a CTranslate2 Whisper: config.json, model.bin, tokenizer.json, vocabulary.

        `threads`: of the CPU, 0 for the library's choice. Raises RuntimeError or ValueError for a bad folder.
        """
        if not (folder / "model.bin").is_file():  # otherwise the name would be looked up on a hub
            raise ValueError(f"{folder} holds no model.bin")
        compute = "int8" if device == "cpu" else "float16"
        self._model = WhisperModel(str(folder), device=device, compute_type=compute, cpu_threads=threads)
        self._mel = Mel()
        self._tokenizers: dict[str, Tokenizer] = {}
        self.languages: frozenset[str] = frozenset(self._model.supported_languages)
        """ISO 639-1 codes, mostly."""
        self._suppressed = self._suppressions()

    def transcribe(self, pcm: Pcm, language: str = "auto") -> tuple[str, str]:
        """Words of `pcm` (shape [samples], 16 kHz, any length) and their language.

        `language`: ISO 639-1, or "auto"; one the model does not know counts as "auto". Nothing said gives "".
        """
        texts = []
        for piece in stretches(pcm):
            text, language = self._piece(piece, language)
            texts.append(text)
        return " ".join(text for text in texts if text), "" if language == "auto" else language

    def stretches(self, pcm: Pcm, language: str = "auto") -> Iterator[tuple[str, str] | Step]:
        """The same piece by piece, at most 28 s each, as they are ready; a Step between two of them."""
        for index, piece in enumerate(stretches(pcm)):
            if index:
                yield Step()
            text, language = self._piece(piece, language)
            yield text, "" if language == "auto" else language

    def _piece(self, pcm: Pcm, language: str) -> tuple[str, str]:
        if is_blank(pcm):
            return "", language
        encoded = self._encode(pcm, context_for(len(pcm)))
        if language not in self.languages:
            language = self._recognised(encoded)
        decoded = self._decode(encoded, len(pcm) / HEAR_HZ, language)
        if decoded.looped and not decoded.nothing and context_for(len(pcm)) < CONTEXTS_S[-1]:
            log.debug("whisper looped over %d samples, once more with the full context", len(pcm))
            decoded = self._decode(self._encode(pcm, CONTEXTS_S[-1]), len(pcm) / HEAR_HZ, language)
        rounds = decoded.looped and not any(letter.isalpha() for letter in decoded.text)  # "1,5,5,5,5": heard in noise
        if decoded.nothing or rounds:
            return "", language
        return unlooped(decoded.text) if decoded.looped else decoded.text, language

    def _encode(self, pcm: Pcm, context_s: int) -> Any:
        samples = context_s * HEAR_HZ
        mel = self._mel(pcm[:samples], samples)
        return self._model.model.encode(get_ctranslate2_storage(mel[None]), to_cpu=False)

    def _recognised(self, encoded: Any) -> str:
        if not self._model.model.is_multilingual:
            return "en"
        language: str = self._model.model.detect_language(encoded)[0][0][0][2:-2]
        # Spoken Urdu is spoken Hindi to this model as often as not, and only Hindi can be answered aloud.
        return "hi" if language == "ur" else language

    def _decode(self, encoded: Any, seconds: float, language: str) -> _Decoded:
        tokenizer = self._tokenizer(language)
        before = [tokenizer.sot_prev, *tokenizer.encode(_HINDI_PROMPT)] if language == "hi" else []
        prompt = [*before, *tokenizer.sot_sequence, tokenizer.no_timestamps]
        most = _TOKENS_EXTRA + int(_TOKENS_PER_S.get(language, _TOKENS_PER_S_ELSE) * seconds)
        (result,) = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=_HINDI_BEAM if language == "hi" else 1,
            max_length=min(len(prompt) + most, self._model.max_length),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppressed.get(language, [-1]),
            repetition_penalty=_HINDI_REPETITION_PENALTY if language == "hi" else 1.0,
        )
        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens).strip(" \ufffd")
        mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
        nothing = is_nothing(text, result.no_speech_prob, mean)
        return _Decoded(text, nothing, looped=len(tokens) >= most or has_looped(text))

    def _tokenizer(self, language: str) -> Tokenizer:
        if language not in self._tokenizers:
            multilingual = self._model.model.is_multilingual
            self._tokenizers[language] = Tokenizer(self._model.hf_tokenizer, multilingual, "transcribe", language)
        return self._tokenizers[language]

    def _suppressions(self) -> dict[str, list[int]]:
        """Tokens a language must not use, beside -1: the model's own list of annotations and markers."""
        if not self._model.model.is_multilingual:
            return {}
        vocabulary = self._model.hf_tokenizer.get_vocab()
        special = self._tokenizer("hi").eot
        foreign = [index for token, index in vocabulary.items() if index < special and _is_latin_or_arabic(token)]
        return {"hi": [-1, *sorted(foreign)]}


def context_for(samples: int) -> int:
    """Seconds of the smallest context that holds an utterance of so many samples."""
    return next((context for context in CONTEXTS_S if samples / HEAR_HZ + _TAIL_S <= context), CONTEXTS_S[-1])


def is_nothing(text: str, no_speech: float, log_probability: float) -> bool:
    """Whether `text` was made up over silence or noise. The scores are Whisper's own, the second a mean per token."""
    if not any(letter.isalnum() for letter in text):
        return True
    if log_probability < _HOPELESS_LOG_PROBABILITY:
        return True
    surest = _INVENTED_LOG_PROBABILITY if text.lower().strip(" .!") in _INVENTED else _LOG_PROBABILITY
    return no_speech > _NO_SPEECH and log_probability < surest


def has_looped(text: str) -> bool:
    """Whether the decoder went in circles: compresses too well, or ends by saying its last words twice."""
    return get_compression_ratio(text) > _COMPRESSION or unlooped(text) != text


def unlooped(text: str) -> str:
    """`text` without the repeats at its end; single words may be said twice ("no no")."""
    words = text.split()
    plain = [word.lower().strip(".,!?।") for word in words]
    for size in range(2, len(words) // 2 + 1):
        end = len(words)
        while end >= 2 * size and plain[end - size : end] == plain[end - 2 * size : end - size]:
            end -= size
        if end < len(words):
            return " ".join(words[:end])
    return text


def _is_latin_or_arabic(token: str) -> bool:
    """`token` in GPT-2's byte alphabet, where "Ø" to "Û" stand for 0xD8-0xDB, the lead bytes of Arabic letters."""
    return any(letter.isascii() and letter.isalpha() or "Ø" <= letter <= "Û" for letter in token)


class Hearing:
    """The English model for English, the multilingual one for everything else, "auto" included."""

    def __init__(self, english: Whisper, multilingual: Whisper) -> None:
        self._english = english
        self._multilingual = multilingual
        self.languages = english.languages | multilingual.languages

    def transcribe(self, pcm: Pcm, language: str) -> tuple[str, str]:
        """`pcm`: shape [samples], 16 kHz. Returns the words, "" for nothing said, and their ISO 639-1 language."""
        return self._model(language).transcribe(pcm, language)

    def stretches(self, pcm: Pcm, language: str) -> Iterator[tuple[str, str] | Step]:
        """Words and language of one stretch of at most 28 s after the other; a Step between two of them."""
        return self._model(language).stretches(pcm, language)

    def _model(self, language: str) -> Whisper:
        return self._english if language == "en" else self._multilingual
