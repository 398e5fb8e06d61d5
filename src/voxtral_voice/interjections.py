"""What a few words said over a reply mean: an interruption, or "mm" and "I see".

What is too short or too faint for its sound to decide is agreement for the most part, and what a recogniser makes of an
"hm" may be any one word ("Emma"): so a single word interrupts where it is known to, and several do unless they agree.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_ENOUGH_WORDS = 3

# What one says to be listened to, in the languages that are spoken and in those that are heard besides.
_CALLS = (
    "stop wait hey no nope what why who where when how pause hold cancel quiet silence shut hush enough sorry excuse",
    "louder slower faster repeat again next back skip help listen actually but hello",
    "para pare espera espere alto basta silencio cállate qué cómo cuándo dónde quién oye pero perdón perdona más",
    "arrête arrêtez attends attendez non quoi pourquoi comment assez mais pardon",
    "ferma fermati aspetta aspetti cosa perché scusa scusi silenzio",
    "não chega quê silêncio desculpe desculpa",
    "stopp halt warte warten moment nein was warum wer wie wo wann genug ruhe leise entschuldigung aber",
    "wacht nee wat waarom waar wanneer genoeg stil maar",
    "रुको रुकिए ठहरो ठहरिए नहीं बस क्या क्यों कौन कब कहाँ सुनो सुनिए",
)
_UNSPACED_CALLS = (
    "待って 待て 止めて やめて ストップ 違う ちがう 何 なに なぜ もう一度 すみません",
    "停 等 不 别 別 什么 什麼 为什么 谁 够了 安静 再说",
)
_AGREEMENT = (
    "mm mmm mhm hm hmm hmmm uh huh um ah aha oh ooh ow wow yeah yes yep yup okay ok right sure fine good great nice",
    "cool really true exactly absolutely totally indeed see got course thanks thank alright perfect sense",
    "sí ya vale claro bueno bien oui ouais d'accord sûr certo bene sim tá bom ja genau gut klar goed hoor",
    "हाँ हां जी अच्छा ठीक सही",
)
_BESIDE_AGREEMENT = ("i know get it that is that's it's all of you very so well makes va है",)
_UNSPACED_AGREEMENT = (
    "そうですね そうですか そうか そう なるほど うん はい ええ",
    "嗯 好的 好 对 對 是的 是 知道了 明白",
)


def _each(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for line in lines for word in line.split())


_calls, _agreement = frozenset(_each(_CALLS)), frozenset(_each(_AGREEMENT))
_beside = _agreement | set(_each(_BESIDE_AGREEMENT))
_unspaced_calls = _each(_UNSPACED_CALLS)
_unspaced_agreement = re.compile("|".join(_each(_UNSPACED_AGREEMENT)))
_UNSPACED = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")  # kana and Chinese characters; two of them count as a word
_BETWEEN = re.compile("[^\\w'\u0900-\u097f]+")  # Hindi's vowel signs are part of its words


def _words(text: str) -> list[str]:
    return [word for word in _BETWEEN.split(text.lower().replace("’", "'").replace("।", " ")) if word]


class Meaning(Enum):
    CALL = auto()
    """It asks for the floor."""
    AGREEMENT = auto()
    """It leaves the floor to the reply, so far."""
    NOTHING = auto()
    """No words, or not enough of them to tell."""


def meaning(text: str, reply: str = "") -> Meaning:
    """Of `text`, the words of what was said over a reply, or of its beginning.

    `reply`: its own words. What only repeats them is its echo out of the loudspeaker, but for a single word that asks
    for the floor: replies are full of "no" and "what", and an echo is hardly ever that word alone.
    """
    words = _words(text)
    calls = len(words) == 1 and words[0] in _calls
    if words and not calls and f" {' '.join(words)} " in f" {' '.join(_words(reply))} ":
        return Meaning.NOTHING
    if any(word in _calls for word in words) or any(call in text for call in _unspaced_calls):
        return Meaning.CALL
    rest = _unspaced_agreement.sub("", text)
    others = [word for word in words if word not in _beside and not _UNSPACED.search(word)]
    if len(others) + len(_UNSPACED.findall(rest)) // 2 >= _ENOUGH_WORDS:
        return Meaning.CALL
    agrees = rest != text or any(word in _agreement for word in words)
    return Meaning.AGREEMENT if agrees and not others and not _UNSPACED.search(rest) else Meaning.NOTHING
