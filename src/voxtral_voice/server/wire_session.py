"""The Realtime session object and our settings: deep-merged updates in, the whole object out."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from voxtral_voice.config import Config
from voxtral_voice.history import Item, new_id
from voxtral_voice.server.client_events import ItemIn, Reference, ResponseIn
from voxtral_voice.server.items import item_of
from voxtral_voice.server.session_fields import Output, SemanticVad, ServerVad, SessionFields, Transcription
from voxtral_voice.server.sound import Format
from voxtral_voice.settings import Overrides, SessionSettings
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import Voice, VoiceError
from voxtral_voice.voices import VOICES, resolve

MODEL = "voxtral-voice"
P = TypeVar("P", bound=BaseModel)
_MOST_CHARS = 262_144  # of the whole object: it is sent back at every update, and a client may add to it each time


class WireSession:
    """One client's session object. `update` is all or nothing."""

    def __init__(self, config: Config, model: str, kind: Literal["realtime", "transcription"] = "realtime") -> None:
        self._config = config
        self.object: dict[str, Any] = {
            "type": kind,
            "object": "realtime.session",
            "id": new_id("sess"),
            "model": model,
            "output_modalities": ["audio"],
            "instructions": config.reply.instructions,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": None,
            "expires_at": int(time.time()) + round(config.limits.session_s),
            "audio": {
                "input": {
                    "format": Format().object,
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": {
                        "type": "semantic_vad",
                        "eagerness": "auto",
                        "create_response": True,
                        "interrupt_response": True,
                    },
                },
                "output": {
                    "format": Format().object,
                    "voice": config.voice.name,
                    "speed": config.voice.speed,
                },
            },
        }
        """The whole of it, whichever type; `shown` is what the client sees."""
        self._defaults = self.object
        self._parsed = SessionFields.model_validate(self.object)

    @property
    def id(self) -> str:
        """What the client and the log call the session."""
        return str(self.object["id"])

    @property
    def input(self) -> Format:
        """Of the sound that the client sends."""
        return self._parsed.audio.input.format.format

    def update(self, change: Mapping[str, Any], languages: frozenset[str]) -> None:
        """Deep merge: what is left out stays, null clears; what cannot be empty is then as it was at the start.

        `languages`: ISO 639 codes of what is heard. Raises VoiceError, nothing changed, when it does not fit.
        """
        change = {key: value for key, value in change.items() if key not in ("id", "object", "expires_at")}
        merged = _filled(_merge(self.object, change), self._defaults)
        parsed = _validated(SessionFields, merged, "session")
        _check_language(parsed.audio.input.transcription, languages)
        merged = _known(merged, self.object)
        merged["audio"] = _known(merged["audio"], self.object["audio"])
        for part, wanted in (("input", parsed.audio.input.format), ("output", parsed.audio.output.format)):
            merged["audio"][part] = _known(merged["audio"][part], self.object["audio"][part])
            merged["audio"][part]["format"] = wanted.format.object
        if (detection := parsed.audio.input.turn_detection) is not None:
            merged["audio"]["input"]["turn_detection"] = detection.model_dump()
        if len(json.dumps(merged, ensure_ascii=False)) > _MOST_CHARS:
            raise VoiceError("invalid_event", f"a session has at most {_MOST_CHARS} characters", param="session")
        self.object, self._parsed = merged, parsed

    def settings(self) -> SessionSettings:
        """What the session object asks of us."""
        session, audio, included = self._parsed, self._parsed.audio, set(self._parsed.include or ())
        detection = audio.input.turn_detection
        language = audio.input.transcription.code if audio.input.transcription else None
        base = SessionSettings.of(self._config)
        answers = session.type == "realtime"
        return replace(
            base,
            instructions=session.instructions,
            voice=self._voice(audio.output),
            language=language or base.language,
            spoken=session.output_modalities == ["audio"],
            max_tokens=self._most_tokens(session.max_output_tokens),
            rules=self._rules(detection),
            create_response=detection is not None and detection.create_response and answers,
            answers=answers,
            idle_ms=detection.idle_timeout_ms if isinstance(detection, ServerVad) else None,
            ducks="output.duck" in included,
            partials="input.partials" in included,
            metrics="turn.metrics" in included,
        )

    def overrides(self, response: ResponseIn) -> Overrides:
        """What one response does otherwise. Raises VoiceError when it does not fit."""
        limit, modalities = response.max_output_tokens, response.output_modalities
        asked: dict[str, Any] = {} if limit is None else {"max_output_tokens": limit}
        voice = None
        if response.audio is not None and response.audio.output is not None:
            before = self.object["audio"]["output"]
            written = response.audio.output.model_dump(exclude_none=True)
            output = _validated(Output, _merge(before, written), "response.audio.output")
            voice = self._voice(output)
            name = output.voice if isinstance(output.voice, str) else output.voice.id
            chosen = {"format": output.format.format.object, "voice": name}
            asked["audio"] = {"output": chosen}
        return Overrides(
            instructions=response.instructions,
            spoken=None if modalities is None else modalities == ["audio"],
            max_tokens=None if limit is None else self._most_tokens(limit),
            voice=voice,
            metadata=response.metadata,
            asked=asked,
            aside=response.conversation == "none",
            input=None if response.input is None else tuple(self._given(each) for each in response.input),
        )

    def _given(self, item: ItemIn | Reference) -> Item | str:
        """What comes along gets an id of ours: its words must not be taken for those of an item in the conversation."""
        return item.id if isinstance(item, Reference) else replace(item_of(item, self.input), id=new_id("item"))

    def _voice(self, output: Output) -> Voice:
        name = output.voice if isinstance(output.voice, str) else output.voice.id
        return Voice(voice_name(name, self._config), min(2.0, max(0.5, output.speed)))

    def _most_tokens(self, limit: int | Literal["inf"]) -> int:
        return self._config.reply.max_tokens if limit == "inf" else limit

    def _rules(self, detection: ServerVad | SemanticVad | None) -> TurnRules | None:
        turns, vad = self._config.turns, self._config.vad
        if detection is None:
            return None
        if isinstance(detection, SemanticVad):
            eagerness = "medium" if detection.eagerness == "auto" else detection.eagerness
            return TurnRules.semantic(turns, vad, eagerness, interrupts=detection.interrupt_response)
        return TurnRules.silence(
            turns,
            vad,
            threshold=detection.threshold,
            prefix_ms=detection.prefix_padding_ms,
            silence_ms=detection.silence_duration_ms,
            interrupts=detection.interrupt_response,
        )


def shown(session: Mapping[str, Any]) -> dict[str, Any]:
    """The session object as its client sees it: one that only transcribes has no voice."""
    if session["type"] == "realtime":
        return dict(session)
    kept = {key: session[key] for key in ("type", "id", "expires_at", "include")}
    return {**kept, "object": "realtime.transcription_session", "audio": {"input": session["audio"]["input"]}}


def voice_name(asked: str, config: Config) -> str:
    """The voice that a client means: what comes nearest to a name of ours, the default voice for anybody else's."""
    try:
        return resolve(asked)
    except VoiceError:
        near = difflib.get_close_matches(asked.lower(), VOICES, n=1)
        return near[0] if near else config.voice.name


def _validated(model: type[P], written: Mapping[str, Any], where: str) -> P:
    """Raises VoiceError("invalid_event") that says which field does not fit."""
    try:
        return model.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join([where, *(str(part) for part in first["loc"])])
        raise VoiceError("invalid_event", f"{param}: {first['msg']}", param=param) from None


def _check_language(transcription: Transcription | None, languages: frozenset[str]) -> None:
    code = transcription.code if transcription is not None else None
    if code not in (None, "auto", *languages):
        heard = ", ".join(sorted(languages))
        raise VoiceError(
            "invalid_event",
            f"{code!r} is not heard; auto and these are: {heard}",
            param="session.audio.input.transcription.language",
        )


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and _same_kind(before, value):
            merged[key] = _merge(before, value)
        else:
            merged[key] = value
    return merged


def _filled(merged: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """With the defaults of what must not be empty and is; turn detection may be."""
    filled = dict(merged)
    for key, default in defaults.items():
        if filled.get(key) is None and key != "turn_detection":
            filled[key] = default
        elif isinstance(default, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _filled(filled[key], default) if key in ("audio", "input", "output") else filled[key]
    return filled


def _known(merged: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what we have never heard of: the session must not grow by whatever a client makes up."""
    return {key: value for key, value in merged.items() if key in fields}


def _same_kind(before: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Another kind of turn detection or format starts from that kind's own defaults."""
    return "type" not in value or "type" not in before or before["type"] == value["type"]
