"""Voxtral's tokens: text in and out, and the markers of a prompt (mistral-common reads tekken.json)."""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

FILE = "tekken.json"


class Tokens:
    """The vocabulary. Its special tokens never come out of a text, whatever the text says."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds tekken.json. Raises OSError or ValueError when it is missing, damaged or not Voxtral's."""
        if not (folder / FILE).is_file():
            raise FileNotFoundError(f"{folder} holds no {FILE}")
        try:
            self._tekken = Tekkenizer.from_file(folder / FILE)
            special = self._tekken.get_special_token
            self.begin = special("<s>")
            self.end = special("</s>")
            self.instruction = special("[INST]")
            self.instruction_end = special("[/INST]")
            self.audio = special("[AUDIO]")
            self.audio_begin = special("[BEGIN_AUDIO]")
            self.transcribe = special("[TRANSCRIBE]")
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ValueError(f"{folder / FILE} is no vocabulary of a Voxtral ({why})") from error

    @property
    def count(self) -> int:
        return self._tekken.n_words

    def encode(self, text: str) -> list[int]:
        """No marker in front, none behind."""
        return self._tekken.encode(text, bos=False, eos=False) if text else []

    def piece(self, token: int) -> bytes:
        """The bytes of one token, which may end within a letter; none for a special token."""
        return self._tekken.id_to_byte_piece(token, SpecialTokenPolicy.IGNORE)


class Text:
    """Tokens one by one in, whole letters out. Bytes that are no letter are left out, and control characters:
    neither can be said."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def push(self, token: int) -> str:
        letters = self._decoder.decode(self._tokens.piece(token))
        return "".join(letter for letter in letters if letter in "\n\t" or unicodedata.category(letter) != "Cc")
