"""Voxtral's engine writes what transformers' own `generate` writes, whatever was read, rewound or cancelled before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from test_voxtral_prompt import CONVERSATIONS, answered, as_chat, said, turns
from voxtral_fixtures import GREEDY, PERSONA, Official, sound
from voxtral_voice.engines.voxtral.decoder import Decoder
from voxtral_voice.engines.voxtral.engine import Voxtral
from voxtral_voice.engines.voxtral.prompt import Clip, conversation, transcription
from voxtral_voice.engines.voxtral.reader import Reader
from voxtral_voice.engines.voxtral.sampling import Chooser
from voxtral_voice.engines.voxtral.tokens import Tokens
from voxtral_voice.types import Cancel, Delta, Finished, Heard, Message, ReplySettings, Step, VoiceError

TIE = 1e-3
"""Logits closer than this may change places between two ways to add up the same numbers."""


def written(reader: Reader, prompt: Any, most: int = 24) -> list[int]:
    greedy = Chooser(0.0, 1.0, most, 0, torch.device("cpu"))
    return [token for token in reader.write(prompt, greedy, most, Cancel()) if not isinstance(token, Step)]


def same_until_a_tie(ours: Sequence[int], theirs: Sequence[int], official: Official, inputs: Any) -> None:
    """The tokens are equal, or part where the official model itself can hardly choose."""
    if list(ours) == list(theirs):
        return
    place = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    assert place is not None, f"{len(ours)} tokens, not {len(theirs)}"
    ids = torch.tensor([[*inputs["input_ids"][0].tolist(), *theirs[:place]]])
    with torch.inference_mode():
        scores = official.model(input_ids=ids, input_features=inputs.get("input_features")).logits[0, -1]
    first, second = scores.topk(2).values.tolist()
    assert first - second < TIE, f"they part at {place} by {first - second}"


class Both:
    """Our engine's parts and the official model, over one checkpoint."""

    def __init__(self, voxtral: Voxtral, official: Official, checkpoint: Path) -> None:
        self.voxtral, self.official, self.tokens = voxtral, official, Tokens(checkpoint)

    def agree(self, messages: list[Message]) -> None:
        prompt = conversation(self.tokens, messages, PERSONA, audio_turns=9, budget=2000)
        inputs = self.official.chat(as_chat(messages))
        ours = written(self.voxtral.replies, prompt)
        same_until_a_tie(ours, self.official.generate(inputs, 24), self.official, inputs)


@pytest.fixture
def both(voxtral: Voxtral, official: Official, checkpoint: Path) -> Both:
    return Both(voxtral, official, checkpoint)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_greedy_words_are_those_of_generate(name: str, both: Both) -> None:
    both.agree(CONVERSATIONS[name])


def test_scores_are_those_of_the_official_model(both: Both) -> None:
    messages = CONVERSATIONS["three turns"]
    inputs = both.official.chat(as_chat(messages))
    with torch.inference_mode():
        theirs = both.official.model(**inputs).logits[0, -1]
    prompt = conversation(both.tokens, messages, PERSONA, audio_turns=9, budget=2000)
    replies = both.voxtral.replies
    slot = replies._slots.take(prompt.tokens)
    assert slot is not None
    while len(slot.tokens) < len(prompt.tokens):
        ours = replies._read(slot, prompt.tokens, prompt)
    replies._slots.give_back(slot)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_also_turn_after_turn_on_what_is_kept(both: Both) -> None:
    """Each prompt goes on from the lane of the one before."""
    messages: list[Message] = []
    for turn in range(3):
        messages += [said(sound(2, seed=turn)), answered(f"Answer number {turn}.")]
        both.agree(messages[:-1])


def test_also_after_the_end_of_an_answer_was_taken_back(both: Both) -> None:
    first = [said(sound(2)), answered("One two three four five."), said(sound(1, seed=1))]
    both.agree(first)
    both.agree([first[0], answered("One two"), said(sound(1, seed=2))])
    both.agree(first)


def test_a_transcript_is_that_of_generate(both: Both) -> None:
    pcm = sound(4)
    inputs = both.official.processor.apply_transcription_request(
        audio=pcm, language="en", model_id="any", sampling_rate=16_000, format=["WAV"]
    )
    ours = written(both.voxtral.transcripts, transcription(both.tokens, Clip.of(pcm), "en"))
    same_until_a_tie(ours, both.official.generate(inputs, 24), both.official, inputs)


def reply(voxtral: Voxtral, messages: list[Message], settings: ReplySettings = GREEDY) -> str:
    outputs = list(voxtral.reply(tuple(messages), settings, Cancel()))
    return "".join(output.text for output in outputs if isinstance(output, Delta))


def test_after_a_retraction_nothing_is_left_of_the_draft(checkpoint: Path) -> None:
    """The user went on: the draft was answered in part, then the longer turn as if it had never been."""
    begun = [said(sound(2)), answered("Yes."), said(sound(1, seed=1))]
    longer = [*begun[:2], said(sound(1, seed=1), sound(2, seed=2))]
    drafting = Voxtral.load(checkpoint, context_tokens=2048)
    reply(drafting, begun[:1])
    cancel = Cancel()
    outputs = drafting.reply(tuple(begun), GREEDY, cancel)
    for _ in range(5):
        next(outputs)
    cancel.set()
    assert Finished in {type(output) for output in outputs}
    never = Voxtral.load(checkpoint, context_tokens=2048)
    assert reply(drafting, longer) == reply(never, longer)


@pytest.mark.parametrize("after", [0, 1, 7])
def test_cancel_stops_within_one_step(after: int, voxtral: Voxtral, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [0]
    step, read = Decoder.step, Decoder.read

    def counted(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            steps[0] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(Decoder, "step", counted(step))
    monkeypatch.setattr(Decoder, "read", counted(read))
    cancel = Cancel()
    outputs = voxtral.reply((said(sound(1, seed=9)),), replace(GREEDY, max_tokens=100), cancel)
    for _ in range(after):
        next(outputs)
    before = steps[0]
    cancel.set()
    rest = list(outputs)
    assert steps[0] - before <= 1
    finished = [output for output in rest if isinstance(output, Finished)]
    assert [each.reason for each in finished] == ["cancelled"]
    assert not any(isinstance(output, Delta) and output.text.strip() for output in rest[:-1])


def test_what_comes_out(voxtral: Voxtral) -> None:
    outputs = list(voxtral.reply((said(sound(3)),), replace(GREEDY, max_tokens=40), Cancel()))
    heard = [index for index, output in enumerate(outputs) if isinstance(output, Heard)]
    deltas = [index for index, output in enumerate(outputs) if isinstance(output, Delta)]
    assert len(heard) == 1
    assert heard[0] > deltas[3]  # the first clause goes first
    (finished,) = [output for output in outputs if isinstance(output, Finished)]
    assert finished.reason in ("stop", "length")
    assert finished.prompt_tokens > 375
    assert 0 < finished.reply_tokens <= 40
    text = "".join(output.text for output in outputs if isinstance(output, Delta | Heard))
    assert "\ufffd" not in text


def test_each_sound_of_a_joined_turn_has_its_transcript(voxtral: Voxtral) -> None:
    outputs = list(voxtral.reply((said(sound(1), sound(2, seed=1)),), GREEDY, Cancel()))
    assert [output.part for output in outputs if isinstance(output, Heard)] == [0, 1]


def test_sound_that_is_written_down_already_is_not_again(voxtral: Voxtral) -> None:
    outputs = list(voxtral.reply(tuple(turns(1)), GREEDY, Cancel()))
    assert not any(isinstance(output, Heard) for output in outputs)


def test_max_tokens_end_a_reply(voxtral: Voxtral) -> None:
    *_, finished = (
        output
        for output in voxtral.reply(tuple(turns(1)), replace(GREEDY, max_tokens=3), Cancel())
        if isinstance(output, Finished)
    )
    assert finished == Finished("length", finished.prompt_tokens, 3)


def test_drawn_words_are_the_same_for_the_same_conversation(voxtral: Voxtral) -> None:
    warm = replace(GREEDY, temperature=0.9)
    messages = [said(sound(2))]
    assert reply(voxtral, messages, warm) == reply(voxtral, messages, warm) != reply(voxtral, messages)


def test_transcribe_takes_any_length(voxtral: Voxtral) -> None:
    heard = [each for each in voxtral.transcribe(sound(70), "hi", Cancel()) if not isinstance(each, Step)]
    assert 1 <= len(heard) <= 3
    assert {each.language for each in heard} == {"hi"}


def test_silence_has_no_words(voxtral: Voxtral) -> None:
    silence = sound(1) * 0
    assert not [each for each in voxtral.transcribe(silence, "en", Cancel()) if not isinstance(each, Step)]


@pytest.mark.parametrize("context_tokens", [1500, 820], ids=["", "up to a lane's end"])
def test_a_gpus_shapes_and_pace_change_no_word(context_tokens: int, checkpoint: Path) -> None:
    """Rows padded to a few sizes, windows of a few widths, a step launched before its token is known. Run plainly."""
    exact, fixed = (Voxtral.load(checkpoint, context_tokens=context_tokens) for _ in range(2))
    fixed.decoder.fixed_shapes = True
    fixed.replies.ahead = fixed.transcripts.ahead = True
    for messages in CONVERSATIONS.values():
        assert reply(fixed, messages) == reply(exact, messages)


def test_a_lane_that_is_full_says_so(voxtral: Voxtral) -> None:
    decoder = voxtral.decoder
    with pytest.raises(ValueError, match="2048"):
        decoder.read(0, decoder.embed(torch.zeros(10, dtype=torch.int64)), 2040)


def test_eight_bits_say_nearly_the_same(checkpoint: Path) -> None:
    """Scores of the next token, in bf16 and with the products of the layers in 8 bits."""
    scores = []
    kinds: tuple[Literal["bf16"], Literal["int8"]] = ("bf16", "int8")
    for weights in kinds:
        voxtral = Voxtral.load(checkpoint, weights=weights, context_tokens=512, slots=1)
        decoder = voxtral.decoder
        ids = torch.arange(1000, 1040)
        scores.append((decoder.read(0, decoder.embed(ids), 0).clone(), decoder.step(0, ids[:1], 40).clone()))
    for exact, rounded in zip(*scores, strict=True):
        assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.99
        assert not torch.equal(exact, rounded)


def test_memory_that_runs_out_fails_one_reply(voxtral: Voxtral, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it left half written is not built upon."""
    expected = reply(voxtral, [said(sound(2))])
    read = Decoder.read

    def full(decoder: Decoder, *_: Any) -> Any:
        for lane in decoder._memory:
            for layer in lane:
                layer.fill_(torch.nan)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Decoder, "read", full)
    with pytest.raises(VoiceError) as caught:
        reply(voxtral, [said(sound(2)), answered("Well."), said("And?")])
    assert caught.value.code == "out_of_memory"
    monkeypatch.setattr(Decoder, "read", read)
    assert reply(voxtral, [said(sound(2))]) == expected
