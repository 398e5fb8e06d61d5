"""Answers out of band: beside the conversation, of which they may know and which never knows of them.

Each has an item, a pace and an end of its own; neither speech nor the conversation's replies touch it.
"""

from __future__ import annotations

from collections.abc import Callable

from voxtral_voice.events import ReplyStarted
from voxtral_voice.mouth import Mouth
from voxtral_voice.reply import Reply
from voxtral_voice.types import VoiceError

_MOST = 4  # at once, in one session: they share the engines with everybody's replies


class Asides:
    """One session's; owned by its task."""

    def __init__(self, mouth: Callable[[], Mouth]) -> None:
        """`mouth` makes one that speaks into a history of nobody's."""
        self._mouth = mouth
        self._under_way: dict[Reply, Mouth] = {}

    def __contains__(self, reply: Reply) -> bool:
        return reply in self._under_way

    def __len__(self) -> int:
        return len(self._under_way)

    def find(self, response_id: str | None) -> Reply | None:
        return next((reply for reply in self._under_way if reply.response_id == response_id), None)

    def add(self, reply: Reply, now: float) -> None:
        """It is about to be set to work. Raises VoiceError when it is one too many."""
        if len(self._under_way) >= _MOST:
            raise VoiceError(
                "conversation_already_has_active_response",
                f"{_MOST} responses out of band are in progress: wait for one or cancel it",
            )
        reply.confirm(reply.turn, now)
        mouth = self._under_way[reply] = self._mouth()
        spoken = reply.request.spoken
        mouth.emit(ReplyStarted(reply.turn, reply.response_id, spoken, reply.metadata, reply.asked, aside=True))

    def play(self, now: float) -> None:
        """Let out what is due; close what has been let out."""
        for reply, mouth in tuple(self._under_way.items()):
            mouth.speak(reply, now)
            if reply.over:
                del self._under_way[reply]
                mouth.finish(reply)

    def next_at(self) -> float | None:
        """When `play` has something to do."""
        times = [at for reply in self._under_way if (at := reply.playout.next_at()) is not None]
        return min(times, default=None)

    def cancel(self, reply: Reply, now: float) -> None:
        """The client's wish; the engines are the caller's to stop."""
        mouth = self._under_way.pop(reply)
        mouth.fall_silent(reply, now, void=False)
        mouth.close(reply, "cancelled", "client_cancelled")

    def clear(self) -> list[Reply]:
        """Forget all of them; returns them."""
        left = list(self._under_way)
        self._under_way.clear()
        return left
