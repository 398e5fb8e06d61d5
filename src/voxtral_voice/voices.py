"""The 54 voices of Kokoro-82M v1.0: their names, languages, and which of them reads a clause.

Source: https://huggingface.co/hexgrad/Kokoro-82M/blob/main/VOICES.md. The first letter of a name is the language, the
second the gender.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from voxtral_voice.scripts import Script, letters
from voxtral_voice.types import VoiceError

_LANGUAGES = {
    "a": "en-us",
    "b": "en-gb",
    "e": "es",
    "f": "fr-fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-br",
    "z": "cmn",
}
_NAMES = """
af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky
am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa
bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis
ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola
jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa
zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang
"""

SPOKEN_LANGUAGES = frozenset({"en", "es", "fr", "hi", "it", "ja", "pt", "zh"})
"""ISO 639-1 codes of the languages that some voice speaks."""

_DEFAULT_HINDI = "hf_alpha"
# Who reads a script that the chosen voice does not: (female, male).
_NATIVE = {
    Script.DEVANAGARI: (_DEFAULT_HINDI, "hm_omega"),
    Script.JAPANESE: ("jf_alpha", "jm_kumo"),
    Script.HAN: ("zf_xiaobei", "zm_yunjian"),
}
# Below this share of a clause's letters a foreign word is a quotation, read by the voice that is speaking.
_NATIVE_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Speaker:
    name: str
    language: str
    """As espeak-ng names it: en-us, en-gb, es, fr-fr, hi, it, ja, pt-br or cmn."""
    gender: Literal["female", "male"]


VOICES: Mapping[str, Speaker] = MappingProxyType(
    {name: Speaker(name, _LANGUAGES[name[0]], "female" if name[1] == "f" else "male") for name in _NAMES.split()}
)

OPENAI_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "alloy": "af_alloy",
        "ash": "am_michael",
        "ballad": "bm_lewis",
        "cedar": "am_fenrir",
        "coral": "af_bella",
        "echo": "am_echo",
        "fable": "bm_fable",
        "marin": "af_heart",
        "nova": "af_nova",
        "onyx": "am_onyx",
        "sage": "af_sarah",
        "shimmer": "af_sky",
        "verse": "am_puck",
    }
)
"""What clients written for OpenAI ask for -> the voice that comes nearest."""


def resolve(name: str) -> str:
    """The voice `name` means: one of ours or one of OpenAI's, in any case. Raises VoiceError("unknown_voice")."""
    wanted = name.strip().lower().replace("-", "_")
    if wanted in VOICES:
        return wanted
    if wanted in OPENAI_NAMES:
        return OPENAI_NAMES[wanted]
    # Without its prefix too: who writes "bela" means af_bella.
    known = {voice.partition("_")[2]: voice for voice in list(VOICES)[::-1]} | {voice: voice for voice in VOICES}
    close = list(dict.fromkeys(known[match] for match in difflib.get_close_matches(wanted, known, n=3)))
    hint = f"did you mean {' or '.join(close)}?" if close else "such as af_heart, am_michael, bf_emma or hf_alpha."
    raise VoiceError("unknown_voice", f"there is no voice {name!r}: {hint}", param="voice")


def voice_for(clause: str, voice: str, hindi_name: str) -> str:
    """Who reads `clause` when `voice` (one of VOICES) was asked for.

    Devanagari goes to `hindi_name`, or while that is the default to the Hindi voice of the same gender; Japanese and
    Chinese likewise. A voice reads a foreign word or two itself, and every voice reads Latin script.
    """
    found = letters(clause)
    script = max((script for script in found if script in _NATIVE), key=lambda script: found[script], default=None)
    if script is None or found[script] < _NATIVE_SHARE * found.total():
        return voice
    speaker = VOICES[voice]
    if speaker.language == language_for(script, speaker):
        return voice
    if script is Script.DEVANAGARI and hindi_name != _DEFAULT_HINDI:
        return hindi_name
    return _NATIVE[script][speaker.gender == "male"]


def language_for(script: Script | None, speaker: Speaker) -> str | None:
    """In which language (espeak-ng's name) `speaker` reads `script`; None when nobody can.

    `speaker` is the voice asked for, also when `voice_for` gave the clause to another: the Latin script of a clause in
    Hindi is then read as the voice would have. Hindi, Japanese and Chinese voices read it as English.
    """
    match script:
        case Script.DEVANAGARI:
            return "hi"
        case Script.JAPANESE:
            return "ja"
        case Script.HAN:
            return "ja" if speaker.language == "ja" else "cmn"
        case Script.LATIN:
            return "en-us" if speaker.language in ("hi", "ja", "cmn") else speaker.language
        case Script.OTHER:
            return None
        case None:
            return speaker.language
