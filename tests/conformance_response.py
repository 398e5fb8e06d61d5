"""What a Realtime client may rely on in one response, from response.created to response.done."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from voxtral_voice.server.sound import Format

Message = dict[str, Any]

LETTERS = {
    "response.created": "c",
    "response.output_item.added": "a",
    "conversation.item.added": "A",
    "response.content_part.added": "p",
    "response.output_audio_transcript.delta": "t",
    "response.output_audio.delta": "w",
    "response.output_text.delta": "x",
    "response.output_audio.done": "W",
    "response.output_audio_transcript.done": "T",
    "response.output_text.done": "X",
    "response.content_part.done": "P",
    "conversation.item.done": "D",
    "response.output_item.done": "O",
    "response.done": "d",
}
_FOLLOWS = {"": "c", "c": "ad", "a": "A", "A": "p", "p": "twxWX", "t": "twW", "w": "twW", "x": "xX", "W": "T"}
_FOLLOWS |= {"T": "P", "X": "P", "P": "D", "D": "O", "O": "d", "d": ""}
_OUT_OF_BAND = {**_FOLLOWS, "a": "p", "P": "O"}
"""Its item is in no conversation."""
_REASONS = {"cancelled": {"turn_detected", "client_cancelled"}, "incomplete": {"max_output_tokens"}}


@dataclass
class Response:
    """Is told every event of one response, in order; a broken promise is an AssertionError."""

    created: Message
    first: int
    """Index of its first event among all, and of its last words or sound."""
    last_sound: int = -1
    told: str = ""
    """What came of it, a letter each."""
    words: str = ""
    sound_s: float = 0.0
    item_id: str = ""
    said: str = ""
    done: Message | None = None
    closing: list[int] = field(default_factory=list)

    @property
    def aside(self) -> bool:
        return self.created["conversation_id"] is None

    @property
    def format(self) -> Format:
        return Format.of(self.created["audio"]["output"]["format"])

    def check_beginning(self, asked: Message, session: Message) -> None:
        """`asked`: of its response.create, empty for one that the server began; `session`: as last told."""
        created = self.created
        assert (created["status"], created["output"]) == ("in_progress", [])
        assert session["type"] == "realtime", "a session that transcribes has answered"
        output = {**session["audio"]["output"], **asked.get("audio", {}).get("output", {})}
        if isinstance(output["voice"], dict):  # responses name it only
            output["voice"] = output["voice"]["id"]
        assert created["audio"]["output"] == {key: output[key] for key in ("format", "voice")}
        assert created["output_modalities"] == asked.get("output_modalities", session["output_modalities"])
        assert created["max_output_tokens"] == asked.get("max_output_tokens", session["max_output_tokens"])
        assert created["metadata"] == asked.get("metadata")
        assert self.aside == (asked.get("conversation") == "none")

    def follow(self, index: int, event: Message) -> str:
        """The `index`th event of all is about this response or its item. Returns its letter, "" for none of its own."""
        letter = LETTERS.get(event["type"], "")
        if not letter:  # retrieved, deleted, truncated
            return ""
        follows = _OUT_OF_BAND if self.aside else _FOLLOWS
        assert letter in follows[self.told[-1:]], f"{event['type']} behind {self.told}"
        self.told += letter
        if letter in "WTXPDOd":
            self.closing.append(index)
        if letter in "tw":
            self.last_sound = index
        if letter in "ptwxWTXP":
            assert (event["item_id"], event["output_index"], event["content_index"]) == (self.item_id, 0, 0)
        if letter == "a":
            self.item_id = event["item"]["id"]
        elif letter in "tx":
            self.words += event["delta"]
        elif letter == "w":
            self.sound_s += self.seconds(event)
        elif letter in "TX":
            self.said = event["transcript" if letter == "T" else "text"]
            assert self.said == self.words.strip(), "the words and their deltas differ"
        elif letter == "P":
            assert self.said == event["part"].get("transcript", event["part"].get("text"))
        elif letter == "d":
            self.done = event["response"]
        return letter

    def seconds(self, event: Message) -> float:
        """Of the sound in a delta."""
        seconds = len(base64.b64decode(event["delta"])) / self.format.sample_bytes / self.format.hz
        assert 0.0199 <= seconds <= 0.2, seconds
        return seconds

    def check_end(self, word_s: float, *, truncated: bool) -> None:
        """`word_s`: how long a word takes to say; `truncated`: the client has cut what was said."""
        done, closing = self.done, self.closing
        assert done is not None, "a response without an end"
        assert closing == list(range(closing[0], closing[-1] + 1)), "something else came in the middle of its end"
        assert done["metadata"] == self.created["metadata"]
        check_usage(done["usage"])
        status, reason = done["status"], (done["status_details"] or {}).get("reason")
        assert reason in _REASONS.get(status, {None}), (status, reason)
        assert len(done["output"]) == ("a" in self.told)
        if not done["output"]:
            return
        (item,) = done["output"]
        assert item["id"] == self.item_id
        assert item["status"] == ("completed" if status == "completed" else "incomplete")
        kept = item["content"][0].get("transcript", item["content"][0].get("text")).split()
        words = self.words.split()
        assert words[: len(kept)] == kept, "the item says what nobody said"
        if status in ("completed", "incomplete"):
            assert truncated or words == kept
            if "w" in self.told:
                assert abs(self.sound_s - len(words) * word_s) <= 0.03, "sound is missing"


def check_usage(usage: Message) -> None:
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    for side in ("input", "output"):
        details = usage[f"{side}_token_details"]
        assert usage[f"{side}_tokens"] == details["text_tokens"] + details["audio_tokens"]
