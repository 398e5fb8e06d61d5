"""What a few words said over a reply mean: an interruption, or "mm" and "I see".

For speech too short or too faint for its sound to decide. Most of that is agreement, and what a recogniser makes of an
"hm" may be any one word ("Emma"): so a single word interrupts where it is known to, and several do unless they agree.
"""

from __future__ import annotations

import re

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
    "cool really true exactly absolutely totally indeed i see know get got it that is that's it's all of course",
    "thanks thank you very so well alright perfect sounds makes sense",
    "sí ya vale claro bueno bien oui ouais d'accord sûr certo bene va sim tá bom ja genau gut klar goed hoor",
    "हाँ हां जी अच्छा ठीक है सही",
)


def _each(lines: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_calls, _unspaced_calls, _agreement = _each(_CALLS), _each(_UNSPACED_CALLS), _each(_AGREEMENT)
_UNSPACED = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")  # kana and Chinese characters; two of them count as a word
_BETWEEN = re.compile("[^\\w'\u0900-\u097f]+")  # Hindi's vowel signs are part of its words


def interrupts(text: str) -> bool:
    """Whether `text`, the words of what was said over a reply, asks for the floor. Nothing said does not."""
    words = [word for word in _BETWEEN.split(text.lower().replace("’", "'").replace("।", " ")) if word]
    if any(word in _calls for word in words) or any(call in text for call in _unspaced_calls):
        return True
    others = [word for word in words if word not in _agreement and not _UNSPACED.search(word)]
    return len(others) + len(_UNSPACED.findall(text)) // 2 >= _ENOUGH_WORDS
