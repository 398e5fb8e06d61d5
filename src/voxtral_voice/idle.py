"""Nobody has said anything since the last reply was heard out: the conversation is taken up again."""

from __future__ import annotations

from voxtral_voice.dialogue import Dialogue
from voxtral_voice.ear import Ear
from voxtral_voice.events import TimeoutTriggered, Transcribed
from voxtral_voice.history import Item, new_id
from voxtral_voice.settings import Overrides
from voxtral_voice.types import HEAR_HZ, TextPart

_CUE = "The user has said nothing for a while: say something short that takes the conversation up again."


class Idle:
    """Owned by the session's task, which looks here after everything that happens."""

    def __init__(self, dialogue: Dialogue, ear: Ear) -> None:
        self._dialogue = dialogue
        self._ear = ear
        self._since: float | None = None  # when the last reply has been heard out
        self._from = 0  # and its sample

    def due_at(self, now: float) -> float | None:
        """When the silence has lasted long enough; None while there is none, or nobody asked."""
        idle_ms, heard_until = self._dialogue.settings.idle_ms, self._dialogue.heard_out_at
        if idle_ms is None or heard_until is None or self._ear.waiting or not self._dialogue.settings.create_response:
            self._since = None
            return None
        if self._since is None:
            self._since = max(now, heard_until)
            self._from = self._ear.recording.end + round((self._since - now) * HEAR_HZ)
        return self._since + idle_ms / 1000

    def look(self, now: float) -> None:
        """Commit the silence and answer it, once it has lasted long enough."""
        due = self.due_at(now)
        if due is None or now < due:
            return
        self._since = None
        dialogue, recording = self._dialogue, self._ear.recording
        item = Item(new_id("item"), "user", TextPart(""), spoken=True)
        turn, end = dialogue.open_turn(item.id), recording.end
        start_ms, end_ms = recording.client_ms(min(self._from, end)), recording.client_ms(end)
        dialogue.emit(TimeoutTriggered(turn, item.id, start_ms, end_ms))
        dialogue.commit(item, answer=False, speech_end_at=now, now=now)
        dialogue.emit(Transcribed(turn, item.id, "", (end_ms - start_ms) / 1000))
        cue = Item(new_id("item"), "system", TextPart(_CUE))  # the model's alone: it is no part of the conversation
        dialogue.respond(Overrides(input=(*dialogue.history.items, cue)), now)
