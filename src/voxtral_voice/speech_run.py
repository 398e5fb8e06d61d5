"""Speech that nothing has been made of yet: it may start a turn, take a pause back, or interrupt a reply."""

from __future__ import annotations

from collections import deque

from voxtral_voice.turn_rules import TurnRules


class SpeechRun:
    """Counts one run of it. A silence long enough makes it nothing; that is for its owner to say. In samples."""

    def __init__(self) -> None:
        self.samples = 0
        """Of speech in it, without the gaps; 0 when there is none."""
        self.onset = 0
        """Its first sample."""
        self.gap = 0
        """Silence since its last speech."""
        self._lately: deque[tuple[int, bool]] = deque()  # (samples, surely speech) of its windows
        self._lately_samples = 0
        self.sure = 0
        """Of what it lately had, surely speech."""

    def add(self, at: int, samples: int, *, speaking: bool, sure: bool, within: int) -> None:
        """One window that begins at `at`. `within`: how much of its speech is kept account of, a window at least."""
        if not speaking:
            self.gap += samples if self.samples else 0
            return
        if self.samples == 0:
            self.onset = at
        self.samples += samples
        self.gap = 0
        self._lately.append((samples, sure))
        self._lately_samples += samples
        self.sure += samples if sure else 0
        while self._lately_samples > within:
            gone, was_sure = self._lately.popleft()
            self._lately_samples -= gone
            self.sure -= gone if was_sure else 0

    def interrupts(self, rules: TurnRules) -> bool:
        """Whether a person is talking, by the sound alone: for long enough surely speech, and most of it lately.

        A voice is surely speech nearly from its first window on. A hum never is for long, and of music that sounds like
        a voice for a third of a second the rest does not.
        """
        return self.sure >= max(rules.barge_in, rules.barge_in_share * self._lately_samples)

    def end(self) -> None:
        """Forget it."""
        self.samples = self.gap = self.sure = self._lately_samples = 0
        self._lately.clear()
