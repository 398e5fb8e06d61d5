"""Written text -> text to read aloud: no emoji, no markup, addresses and numbers in words a reader would say."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

# Kept although Unicode calls them symbols of the emoji kind: the phonemizers read them.
_READ_SYMBOLS = frozenset("°©®™№")
_EMOJI_JOINERS = re.compile(r"[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
# A joiner after a letter shapes Devanagari; any other held an emoji together.
_STRAY_JOINERS = re.compile(r"(?<![\u0900-\u097f])[\u200c\u200d]+")
_FENCE = re.compile(r"```[\w+-]*|~~~")
_IMAGE_OR_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_LINE_START = re.compile(r"(?m)^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-*+•][ \t]+)+")
_RULE_LINE = re.compile(r"(?m)^[ \t]*(?:[-*_=|:][ \t]*){3,}$")
_TIMES = re.compile(r"(?<=\d)\s*[*×]\s*(?=\d)")
_EMPHASIS = re.compile(r"[*`]+|~~|(?<!\w)_+|_+(?!\w)")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'()]+", re.IGNORECASE)
_EMAIL = re.compile(r"\b([\w.+-]+)@((?:[\w-]+\.)+[A-Za-z]{2,})\b")
_DOMAIN = re.compile(
    r"(?<![\w@.])((?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|ai|app|edu|gov|info|in|uk|de|fr|es|it|br))\b(/[\w./-]*)?",
    re.IGNORECASE,
)
_RUPEES = re.compile(r"₹\s?(\d[\d,.]*\d|\d)")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{2,3})*,\d{3}(?![\d,])")
_GROUPED_BY_POINT = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3})+(?![\d.])")
_DECIMAL = re.compile(r"(?<=\d)[.,](?=\d)")
_CLOCK = re.compile(r"\b(\d{1,2}):(\d{2})(?!\d|:)(\s*[ap]\.?m\b)?", re.IGNORECASE)
_LONG_PATH_CHARS = 40
_PUNCTUATION = str.maketrans(
    {
        "।": ".",
        "॥": ".",
        "。": ". ",
        "．": ". ",
        "、": ", ",
        "，": ", ",
        "！": "! ",
        "？": "? ",
        "：": ": ",
        "；": "; ",
        "「": " “",
        "」": "” ",
        "（": " (",
        "）": ") ",
        "•": ", ",
        "\u200b": "",
        "\ufeff": "",
    }
)


@dataclass(frozen=True, slots=True)
class _Words:
    """What a language calls the signs of addresses and numbers."""

    dot: str
    slash: str
    at: str
    decimal: str
    times: str
    rupees: str


_ENGLISH = _Words("dot", "slash", "at", "point", "times", "rupees")
_WORDS = {
    "hi": _Words("dot", "slash", "at", "दशमलव", "गुणा", "रुपये"),
    "es": _Words("punto", "barra", "arroba", "coma", "por", "rupias"),
    "fr-fr": _Words("point", "slash", "arobase", "virgule", "fois", "roupies"),
    "it": _Words("punto", "barra", "chiocciola", "virgola", "per", "rupie"),
    "pt-br": _Words("ponto", "barra", "arroba", "vírgula", "vezes", "rúpias"),
}


def spoken_text(text: str, language: str) -> str:
    """`text` as it is to be read in `language` (espeak-ng's name). Empty when nothing in it can be said."""
    words = _WORDS.get(language, _ENGLISH)
    text = unicodedata.normalize("NFC", text)
    text = _without_markup(text, words)
    text = _addresses(text, words)
    text = _numbers(text, language, words)
    text = _without_emoji(text).translate(_PUNCTUATION)
    text = re.sub(r"(?<=\w)_(?=\w)", " ", text)
    text = re.sub(r"(?<=[^\s.,;:!?…—])\s*\n\s*", ", ", text)  # an item of a list or a heading: a pause after it
    text = re.sub(r"\s+", " ", text).strip()
    return text if any(char.isalnum() for char in text) else ""


def _without_markup(text: str, words: _Words) -> str:
    text = _FENCE.sub(" ", text)
    text = _IMAGE_OR_LINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _RULE_LINE.sub("", text)
    text = _LINE_START.sub("", text)
    text = _TIMES.sub(f" {words.times} ", text)
    text = re.sub(r"[ \t]*\|[ \t]*", ", ", text.replace("||", "|"))
    text = _EMPHASIS.sub("", text)
    # What is left of brackets would be taken for misaki's notation of given phonemes.
    return re.sub(r"[\[\]{}\\^<>|]", " ", text)


def _addresses(text: str, words: _Words) -> str:
    def spell(address: str) -> str:
        spelt = address.replace(".", f" {words.dot} ").replace("/", f" {words.slash} ")
        return re.sub(r"[_-]+", " ", spelt)

    def url(match: re.Match[str]) -> str:
        whole = match[0]
        end = whole[len(whole.rstrip(".,;:!?")) :]
        address = re.sub(r"^(?:https?://)?(?:www\.)?", "", whole[: len(whole) - len(end)], flags=re.IGNORECASE)
        host, _, path = re.split(r"[?#]", address, maxsplit=1)[0].strip("/").partition("/")
        # Nobody listens to the rest of a long one.
        return spell(f"{host}/{path}" if path and len(path) <= _LONG_PATH_CHARS else host.partition(":")[0]) + end

    def domain(match: re.Match[str]) -> str:
        path = match[2] or ""
        end = "." if path.endswith(".") else ""
        return spell(match[1] + path.rstrip("./")) + end

    text = _URL.sub(url, text)
    text = _EMAIL.sub(lambda match: f"{spell(match[1])} {words.at} {spell(match[2])}", text)
    return _DOMAIN.sub(domain, text)


def _numbers(text: str, language: str, words: _Words) -> str:
    english = words is _ENGLISH
    text = _RUPEES.sub(rf"\1 {words.rupees}", text)
    if language in ("es", "it", "pt-br"):
        text = _GROUPED_BY_POINT.sub(lambda match: match[0].replace(".", ""), text)
    else:
        text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)

    def clock(match: re.Match[str]) -> str:
        hour, minute, half = match[1], match[2], match[3] or ""
        if minute == "00":
            return f"{hour}{half}" if half or not english else f"{hour} o'clock"
        if minute[0] == "0" and english:
            return f"{hour} oh {minute[1]}{half}"
        return f"{hour} {int(minute)}{half}"

    text = _CLOCK.sub(clock, text)
    # espeak's backend takes the sign between digits for the end of a clause; misaki reads English decimals itself.
    return text if english else _DECIMAL.sub(f" {words.decimal} ", text)


def _without_emoji(text: str) -> str:
    text = _EMOJI_JOINERS.sub("", text)
    kept = (
        " " if unicodedata.category(char) in ("So", "Co", "Cs", "Cn") and char not in _READ_SYMBOLS else char
        for char in text
    )
    return _STRAY_JOINERS.sub("", "".join(kept))
