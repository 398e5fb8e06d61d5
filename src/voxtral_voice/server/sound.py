"""Sound on the wire: what a session's audio formats mean, both ways. One stateful resampler each way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from voxtral_voice import audio, g711
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm

Kind = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]


@dataclass(frozen=True, slots=True)
class Format:
    kind: Kind = "audio/pcm"
    hz: int = SPEAK_HZ

    @property
    def law(self) -> g711.Law | None:
        """Of G.711; None for plain 16-bit samples."""
        laws: dict[Kind, g711.Law | None] = {"audio/pcm": None, "audio/pcmu": "mu", "audio/pcma": "a"}
        return laws[self.kind]

    @property
    def sample_bytes(self) -> int:
        return 2 if self.law is None else 1

    @property
    def object(self) -> dict[str, Any]:
        """As the API writes it: G.711 has one rate, which is not said."""
        return {"type": self.kind, "rate": self.hz} if self.law is None else {"type": self.kind}

    @staticmethod
    def of(written: dict[str, Any]) -> Format:
        """`object` read back."""
        kind: Kind = written["type"]
        return Format(kind, written["rate"] if kind == "audio/pcm" else g711.HZ)

    def decode(self, data: bytes) -> Pcm:
        """Samples at the format's own rate. Raises VoiceError("invalid_audio") on half a sample."""
        return audio.from_pcm16(data) if self.law is None else g711.decode(data, self.law)

    def encode(self, pcm: Pcm) -> bytes:
        return audio.to_pcm16(pcm) if self.law is None else g711.encode(pcm, self.law)

    def clip(self, data: bytes) -> Pcm:
        """A whole recording at once: shape [samples], 16 kHz. Raises VoiceError("invalid_audio")."""
        return audio.resample(self.decode(data), self.hz, HEAR_HZ)


class Incoming:
    """A client's microphone."""

    def __init__(self, written: Format) -> None:
        self._format = written
        self._resampler = audio.Resampler(written.hz, HEAR_HZ)

    def push(self, data: bytes) -> Pcm:
        """Shape [samples], 16 kHz. Raises VoiceError("invalid_audio"), nothing taken, on half a sample."""
        return self._resampler.push(self._format.decode(data))


class Outgoing:
    """The voice of one response."""

    def __init__(self, written: Format) -> None:
        self.format = written
        self._resampler = audio.Resampler(SPEAK_HZ, written.hz)

    def push(self, pcm: Pcm, *, last: bool = False) -> Pcm:
        """Shape [samples], 24 kHz -> the format's rate. `last` returns what the filter still holds."""
        return self._resampler.push(pcm, last=last)
