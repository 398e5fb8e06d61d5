"""Items of a conversation: as the Realtime API writes them <-> ours."""

from __future__ import annotations

from typing import Any

from voxtral_voice.history import Item, new_id
from voxtral_voice.server import client_events as client
from voxtral_voice.server.sound import Format
from voxtral_voice.types import AudioPart, TextPart, VoiceError


def item_object(item: Item) -> dict[str, Any]:
    """An item as the API shows it."""
    if isinstance(item.part, AudioPart) or (item.spoken and item.role == "user"):
        content = {"type": "input_audio", "transcript": item.part.text}
    elif item.role == "assistant" and item.spoken:
        content = {"type": "output_audio", "transcript": item.text}
    else:
        content = {"type": "output_text" if item.role == "assistant" else "input_text", "text": item.text}
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "message",
        "status": item.status,
        "role": item.role,
        "content": [content],
    }


def item_of(item: client.ItemIn, sound: Format) -> Item:
    """A client's item as ours; its sound is in the session's input format.

    Raises VoiceError: "invalid_event" when its content makes no sense, "invalid_audio".
    """
    item_id = item.id or new_id("item")
    sounds = [content for content in item.content if content.audio is not None]
    if sounds and item.role == "user":
        data = b"".join(client.audio_bytes(content.audio or "") for content in sounds)
        if not data or any(content.text for content in item.content):
            raise VoiceError("invalid_event", "an item is either text or sound, and not empty", param="item.content")
        words = " ".join(content.transcript for content in sounds if content.transcript) or None
        return Item(item_id, "user", AudioPart(sound.clip(data), words), spoken=True)
    words = " ".join(part for content in item.content if (part := content.text or content.transcript))
    if not words:
        raise VoiceError("invalid_event", "the item has neither text nor audio", param="item.content")
    return Item(item_id, item.role, TextPart(words), spoken=any("audio" in c.type for c in item.content))
