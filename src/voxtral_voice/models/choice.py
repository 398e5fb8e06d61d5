"""From the settings to a plan: what is wanted, what is known of its size, and which models that takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from voxtral_voice.config import Config
from voxtral_voice.models import checkpoint, machine
from voxtral_voice.models.machine import Machine
from voxtral_voice.models.profile import UNKNOWN, Checkpoint, Plan, Refusal, Wanted, decide
from voxtral_voice.models.requirements import SUBSTITUTES, Line, ModelAt, check, installed_packages
from voxtral_voice.models.store import ModelUnavailable, Store, from_config
from voxtral_voice.models.tensors import misfit
from voxtral_voice.types import VoiceError


def choose(config: Config, store: Store, fetch: Callable[[str], Path], facts: Machine | None = None) -> Plan:
    """The plan for this machine, or for one with these `facts`. Blocks: looking at a GPU imports torch.

    `fetch` brings a model where its size must be known and is not published. Raises VoiceError("model_failed") with
    what to do when nothing can run.
    """
    facts = facts or look(config)
    found = decide(wanted(config, store), facts)
    if found is UNKNOWN:
        fetch("voxtral")
        found = decide(wanted(config, store), facts)
    if isinstance(found, Refusal):
        raise VoiceError("model_failed", str(found))
    return found


def requirements_of(config: Config) -> list[Line]:
    """What these settings need of this machine, met or not. Blocks."""
    facts, store = look(config), from_config(config)
    try:
        decision = decide(wanted(config, store), facts)
    except VoiceError as error:
        decision = Refusal(error.message, "Mend or delete that folder, or name another one under models.voxtral.")
    names = decision.models(config.engines.reply) if isinstance(decision, Plan) else ()
    models = [_where(store, name, getattr(config.models, name)) for name in names]
    return check(facts, decision, models, installed_packages())


def _where(store: Store, name: str, chosen: str | None) -> ModelAt:
    model = store.catalog[name]
    try:
        found = store.find(name)
    except ModelUnavailable as error:
        return ModelAt(model, problem=error.message)
    # Whoever names a model wants that one and no other.
    instead = "" if chosen else SUBSTITUTES.get(name, "")
    return ModelAt(model, f"{found.path} ({found.origin})" if found else "", instead=instead)


def look(config: Config) -> Machine:
    """The facts that these settings need. Blocks."""
    return machine.look(config.models.root, gpus=config.engines.profile != "cpu")


def wanted(config: Config, store: Store) -> Wanted:
    """What the settings ask for. Raises VoiceError("model_failed") for a folder that holds no Voxtral."""
    engines = config.engines
    return Wanted(
        profile=engines.profile,
        understander=engines.understander,
        synthesizer=engines.synthesizer,
        weights=engines.weights,
        slots=engines.slots,
        context_tokens=engines.context_tokens,
        reply=engines.reply,
        checkpoint=None if engines.understander == "cascade" else _checkpoint(store),
    )


def _checkpoint(store: Store) -> Checkpoint | None:
    """Of the folder where it is there, else as published. Raises VoiceError("model_failed") for files that are not a
    Voxtral's or do not belong together."""
    folder = store.locate("voxtral")
    if folder is None:
        known = checkpoint.PUBLISHED.get(store.catalog["voxtral"].repo)
        return Checkpoint(known, 2 * known.parameters) if known else None
    try:
        found = checkpoint.dimensions(folder)
        tied = checkpoint.configuration(folder)["text_config"].get("tie_word_embeddings") is True
        if why := misfit(found, checkpoint.shapes(folder), tied=tied):
            raise ValueError(why)
        checkpoint.check_vocabulary(folder)
        return Checkpoint(found, checkpoint.size_bytes(folder))
    except (OSError, ValueError) as error:
        raise VoiceError("model_failed", f"{folder} holds no Voxtral that can be read: {error}") from None
