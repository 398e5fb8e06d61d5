"""What a Realtime client may rely on, checked over everything that went over one wire (`stranger.Stranger`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from conformance_response import LETTERS, Message, Response
from realtime_client import check
from stranger import Stranger

LEAD_S = 0.3
ASIDES = 4
EXPECTED_ERRORS = {
    "invalid_event",
    "conversation_already_has_active_response",
    "response_cancel_not_active",
    "input_audio_buffer_commit_empty",
    "item_retrieve_invalid_item_id",
}
ANSWERED_BY = {
    "session.update": "session.updated",
    "conversation.item.retrieve": "conversation.item.retrieved",
    "conversation.item.delete": "conversation.item.deleted",
    "conversation.item.truncate": "conversation.item.truncated",
}


class Conformance:
    """Reads one story from its first event to its last; every broken promise is an AssertionError."""

    def __init__(self, story: Stranger) -> None:
        self.story = story
        included = {extra for _, sent in story.sent for extra in sent.get("session", {}).get("include", ())}
        self.log = [(at, check(text, included)) for at, text in story.log]
        self.responses: dict[str, Response] = {}
        self.of_item: dict[str, Response] = {}
        self.live: list[str] = []
        self.open: set[str] = set()
        self.turn: str | None = None
        self.turn_start_ms = 0
        self.started = -1  # index of the last speech_started
        self.committed: dict[str, int] = {}
        self.written: Counter[str] = Counter()
        self.deleted: set[str] = set()
        self.truncated: set[str] = set()
        self.session: Message = {}
        self.errors: dict[str, str] = {}
        refused = {event["error"]["event_id"] for _, event in self.log if event["type"] == "error"}
        self.created: dict[str, list[Message]] = defaultdict(list)  # an item's id -> the wishes for it, in order
        for _, sent in story.sent:
            if sent["type"] == "conversation.item.create" and sent["event_id"] not in refused:
                self.created[sent["item"]["id"]].append(sent)
        self.counts: Counter[str] = Counter()
        self.play_end = 0.0
        self.ducked = False

    def check(self) -> None:
        assert self.log[0][1]["type"] == "session.created"
        ids = [event["event_id"] for _, event in self.log]
        assert len(ids) == len(set(ids)), "an event_id was used twice"
        for index, (at, event) in enumerate(self.log):
            self.counts[event["type"]] += 1
            self._one(index, at, event)
        for response in self.responses.values():
            if response.done is not None or not self.story.leaves_early:
                response.check_end(self.story.word_s, truncated=response.item_id in self.truncated)
        self._wishes()
        if not self.story.leaves_early:
            self._end()
            self._last_turn()

    def _one(self, index: int, at: float, event: Message) -> None:
        kind = event["type"]
        item_id = event.get("item_id") or event.get("item", {}).get("id", "")
        if kind.startswith("response.") or item_id in self.of_item:
            self._of_response(index, at, event)
        if kind in ("session.created", "session.updated"):
            self.session = event["session"]
        elif kind == "conversation.item.added":
            self._added(index, event)
        elif kind == "conversation.item.done":
            self.open.remove(item_id)
        elif kind == "conversation.item.deleted":
            self.live.remove(item_id)
            self.of_item.pop(item_id, None)  # another item may have its id
            self.deleted.add(item_id)
        elif kind == "conversation.item.truncated":
            assert item_id in self.live
            self.truncated.add(item_id)
        elif kind == "conversation.item.retrieved":
            assert item_id in self.live
        elif kind.startswith("conversation.item.input_audio_transcription."):
            self._words(event)
        elif kind.startswith("input_audio_buffer."):
            self._buffer(index, at, event)
        elif kind == "error":
            error = event["error"]
            assert error["code"] in EXPECTED_ERRORS, error
            assert error["event_id"] not in (None, *self.errors), error
            self.errors[error["event_id"]] = error["code"]
        elif kind in ("voxtral.output.duck", "voxtral.output.unduck"):
            assert self.ducked == (kind == "voxtral.output.unduck")
            self.ducked = not self.ducked

    # Responses.

    def _of_response(self, index: int, at: float, event: Message) -> None:
        response_id = event.get("response_id") or event.get("response", {}).get("id")
        if event["type"] == "response.created":
            assert response_id not in self.responses
            self.responses[response_id] = Response(event["response"], index)
            self._begins(self.responses[response_id])
        response = self.responses[response_id] if response_id else self.of_item[item_of(event)]
        letter = response.follow(index, event)
        if letter == "a":
            self.of_item[response.item_id] = response
        elif letter == "w" and not response.aside:
            self.play_end = max(self.play_end, at) + response.seconds(event)
            # A resampler holds back up to 37 ms of what counts as sent.
            ahead_s, exact = self.play_end - at, all(each.format.hz == 24_000 for each in self.responses.values())
            assert ahead_s <= LEAD_S + (0.001 if exact else 0.039), f"sound runs {ahead_s:.3f} s ahead of real time"
        elif letter == "d" and event["response"]["status"] == "cancelled" and not response.aside:
            self.play_end = min(self.play_end, at)
            by_speech = event["response"]["status_details"]["reason"] == "turn_detected"
            if by_speech and response.first < self.started:  # else it was asked for in the middle of a turn
                assert response.last_sound < self.started, "sound of a reply that had been interrupted"

    def _begins(self, response: Response) -> None:
        active = [each for each in self.responses.values() if each.done is None and each.aside == response.aside]
        assert len(active) <= (ASIDES if response.aside else 1), "too many responses at once"
        event_id = (response.created["metadata"] or {}).get("event")
        wishes = (sent["response"] for _, sent in self.story.sent if sent["event_id"] == event_id)
        response.check_beginning(next(wishes, {}), self.session)

    # The conversation.

    def _added(self, index: int, event: Message) -> None:
        item_id, previous = item_of(event), event["previous_item_id"]
        assert item_id not in self.live
        last = self.live[-1] if self.live else None
        if item_id in self.of_item:  # behind what it answers, which may be gone
            assert previous is not None or last is None
        else:
            spoken = self.committed.get(item_id) == index - 1
            asked = {} if spoken else self.created[item_id].pop(0)
            behind = asked.get("previous_item_id", last)
            assert previous == (None if behind == "root" else behind)
        self.live.insert(0 if previous is None else self.live.index(previous) + 1, item_id)
        self.open.add(item_id)

    def _words(self, event: Message) -> None:
        if event["type"].endswith((".completed", ".failed")):
            item_id = event["item_id"]
            assert item_id in self.live
            self.written[item_id] += 1

    def _buffer(self, index: int, at: float, event: Message) -> None:
        kind, item_id = event["type"].removeprefix("input_audio_buffer."), event.get("item_id")
        if kind == "speech_started":
            assert self.turn is None, "two turns of the user at once"
            self.turn, self.turn_start_ms, self.started = item_id, event["audio_start_ms"], index
            self.play_end = min(self.play_end, at)
        elif kind == "speech_stopped":
            assert item_id == self.turn
            assert self.turn_start_ms <= event["audio_end_ms"] <= self.story.sent_ms + 60
        elif kind == "timeout_triggered":
            assert self.turn is None
            assert 0 <= event["audio_start_ms"] <= event["audio_end_ms"] <= self.story.sent_ms + 60
            assert self.log[index + 1][1]["type"] == "input_audio_buffer.committed"
        elif kind == "committed":
            assert self.turn in (None, item_id)
            self.turn = None
            following = [(each["type"], item_of(each)) for _, each in self.log[index + 1 : index + 3]]
            assert following == [("conversation.item.added", item_id), ("conversation.item.done", item_id)]
            assert self.log[index + 1][1]["previous_item_id"] == event["previous_item_id"]
            self.committed[item_id or ""] = index
        elif kind == "cleared":
            self.turn = None

    # What was asked for, and the end.

    def _wishes(self) -> None:
        sent = {event["event_id"]: event for _, event in self.story.sent}
        assert set(self.errors) <= set(sent)
        granted = [event for event_id, event in sent.items() if event_id not in self.errors]
        answered = Counter(event["type"] for event in granted)
        of_metadata = Counter((each.created["metadata"] or {}).get("event") for each in self.responses.values())
        assert all(count == 1 for event_id, count in of_metadata.items() if event_id)
        if self.story.leaves_early:
            return
        for kind, answer in ANSWERED_BY.items():
            assert self.counts[answer] == answered[kind], f"{kind} was asked for {answered[kind]} times"
        asked = {event["event_id"] for event in granted if event["type"] == "response.create"}
        assert asked == {event_id for event_id in of_metadata if event_id}
        reasons = [(each.done or {}).get("status_details") for each in self.responses.values()]
        stopped = sum(1 for reason in reasons if reason and reason.get("reason") == "client_cancelled")
        assert stopped >= answered["response.cancel"]
        assert self.counts["input_audio_buffer.cleared"] >= answered["input_audio_buffer.clear"]
        assert self.counts["input_audio_buffer.committed"] >= answered["input_audio_buffer.commit"]
        added = {item_of(event) for _, event in self.log if event["type"] == "conversation.item.added"}
        assert {event["item"]["id"] for event in granted if event["type"] == "conversation.item.create"} <= added
        updates = [event["session"] for event in granted if event["type"] == "session.update"]
        told = [event["session"] for _, event in self.log if event["type"] in ("session.created", "session.updated")]
        for update, before, after in zip(updates, told[:-1], told[1:], strict=True):
            check_update(leaves(update), leaves(before), leaves(after))

    def _end(self) -> None:
        assert self.story.closed is None
        assert not self.open, f"added and never done: {self.open}"
        assert self.turn is None
        assert not self.ducked
        sounds = {
            event["item"]["id"]
            for _, event in self.story.sent
            if event["event_id"] not in self.errors
            and event["type"] == "conversation.item.create"
            and "audio" in event["item"]["content"][0]
        }
        for item_id in self.live:
            spoken = item_id in self.committed or (item_id in sounds and item_id not in self.of_item)
            assert self.written[item_id] == (item_id in self.deleted or spoken) or item_id in self.deleted, item_id
        looked = [item_of(event) for _, event in self.log if event["type"] == "conversation.item.retrieved"]
        assert set(self.live) <= set(looked[-len(self.live) :])

    def _last_turn(self) -> None:
        events = [event for _, event in self.log[self.story.quiet_from :]]
        letters = "".join(LETTERS.get(event["type"], "") for event in events)
        plain = "".join(letter for n, letter in enumerate(letters) if letter not in "tw" or letters[n - 1] not in "tw")
        assert plain == "ADcaAptWTPDOd", plain
        kinds = [event["type"].rpartition(".")[2] for event in events if event["type"].startswith("input_audio_buffer")]
        assert kinds == ["speech_started", "speech_stopped", "committed"]
        last = next(event["response"] for event in reversed(events) if event["type"] == "response.done")
        assert (last["status"], last["output"][0]["content"][0]["transcript"]) == ("completed", "It works.")


def item_of(event: Message) -> str:
    item_id: str = event.get("item_id") or event.get("item", {}).get("id", "")
    return item_id


def leaves(value: Message, path: str = "") -> dict[str, Any]:
    """Dotted path -> value."""
    found: dict[str, Any] = {}
    for key, inside in value.items():
        found |= leaves(inside, f"{path}{key}.") if isinstance(inside, dict) else {f"{path}{key}": inside}
    return found


def check_update(asked: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    """What was asked for is there, and nothing else has changed; of another type of detection or format all may."""
    shown = {path for path in after if after["type"] == "realtime" or path.startswith(("audio.input", "include"))}
    for path in asked.keys() & shown:
        assert after[path] == asked[path], path
    renewed = {path.rpartition(".")[0] for path in asked if path.endswith(".type")} | {
        path for path in asked if path.endswith("turn_detection")
    }
    for path in (before.keys() & after.keys()) - asked.keys() - {"object"}:
        if not path.startswith(tuple(renewed)) if renewed else True:
            assert after[path] == before[path], path
