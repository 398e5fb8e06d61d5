"""The command line: `voxtral-voice serve | talk | say | transcribe | job | verify | models`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxtral_voice import __version__, audio, config, logs
from voxtral_voice.config import Config, ConfigError
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm, Voice, VoiceError

_EPILOG = """\
Settings: config.yaml in the repository lists every key with its unit and reason. A file of your own (--config or
VOXTRAL_CONFIG) and environment variables (VOXTRAL_<SECTION>__<KEY>) override it.
Exit codes: 0 done, 1 it did not work (the message says why), 2 wrong usage or settings.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        settings = config.load(arguments.config, overrides=_overrides(arguments))
        logs.configure(settings.logging)
        run = arguments.run
        return int(run(arguments, settings) or 0)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except VoiceError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voxtral-voice",
        description="Speech in, speech out: a voice assistant with the OpenAI Realtime protocol.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"voxtral-voice {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="settings that override config.yaml (else VOXTRAL_CONFIG)")
    common.add_argument("--profile", choices=["auto", "gpu", "cpu"], help="which engines (auto: what fits)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[common], help="run the server")
    serve.add_argument("--host", help="address to listen on (default 0.0.0.0: all)")
    serve.add_argument("--port", type=int, help="TCP port (default 8000)")
    serve.set_defaults(run=_serve)

    talk = commands.add_parser("talk", parents=[common], help="say a recording to the program and hear its answer")
    talk.add_argument("file", type=Path, help="a recording of speech: wav, flac, ogg or mp3")
    talk.add_argument("-o", "--output", type=Path, metavar="OUT.wav", help="write the spoken answers there")
    talk.add_argument("--json", action="store_true", help="print everything that happened as JSON")
    talk.add_argument("--language", help="what the recording speaks: en, hi, … or auto")
    talk.set_defaults(run=_talk)

    say = commands.add_parser("say", parents=[common], help="read a text aloud")
    say.add_argument("text", help="what to say")
    say.add_argument("-o", "--output", type=Path, default=Path("out.wav"), metavar="OUT.wav", help="default: out.wav")
    say.add_argument("--voice", help="who speaks; `help` lists all (default af_heart, Hindi text hf_alpha)")
    say.add_argument("--speed", type=float, help="0.5 to 2.0")
    say.add_argument("--language", help="choose the default voice of this language: en, hi, es, fr, it, pt, ja, zh")
    say.set_defaults(run=_say)

    transcribe = commands.add_parser("transcribe", parents=[common], help="write down what a recording says")
    transcribe.add_argument("file", type=Path, help="wav, flac, ogg or mp3")
    transcribe.add_argument("--language", help="en, hi, de, … or auto (default: en)")
    transcribe.set_defaults(run=_transcribe)

    job = commands.add_parser("job", parents=[common], help="do a job for RunPod's queue here, and print its items")
    job.add_argument("file", type=Path, metavar="FILE.json", help='{"input": {"type": …}}, as it is sent to RunPod')
    job.add_argument("-o", "--output", type=Path, metavar="OUT.wav", help="write what was spoken there")
    job.set_defaults(run=_job)

    verify = commands.add_parser(
        "verify", parents=[common], help="say which engines will run on this machine, why, and what is missing"
    )
    verify.set_defaults(run=_verify)

    models = commands.add_parser("models", parents=[common], help="list the models, or fetch them")
    models.add_argument("action", choices=["list", "fetch"])
    models.add_argument("names", nargs="*", metavar="NAME", help="which to fetch (default: those the settings use)")
    models.set_defaults(run=_models)
    return parser


def _overrides(arguments: argparse.Namespace) -> dict[str, object]:
    given = vars(arguments)
    keys = {"host": "server.host", "port": "server.port", "profile": "engines.profile"}
    return {key: given.get(name) for name, key in keys.items()}


def _serve(_: argparse.Namespace, settings: Config) -> int:
    from voxtral_voice.server.run import serve

    return serve(settings)


def _talk(arguments: argparse.Namespace, settings: Config) -> int:
    from voxtral_voice import talk
    from voxtral_voice.settings import SessionSettings

    if arguments.output:
        _require_folder(arguments.output)
    pcm = audio.read(arguments.file, HEAR_HZ)
    chosen = replace(SessionSettings.of(settings), metrics=True)
    if arguments.language:
        chosen = replace(chosen, language=arguments.language)

    async def run() -> talk.Talk:
        async with talk.loaded(settings) as engines:
            print("talking …", file=sys.stderr)
            return await talk.talk(pcm, engines, settings, chosen)

    result = asyncio.run(run())
    sound = [answer.pcm for answer in result.answers]
    if arguments.output:
        arguments.output.write_bytes(audio.to_wav(np.concatenate([np.zeros(0, np.float32), *sound]), SPEAK_HZ))
    if arguments.json:
        print(json.dumps(result.as_json(), ensure_ascii=False, indent=2))
    else:
        print(f"you:   {' / '.join(result.heard) or '(nothing was understood)'}")
        for answer in result.answers:
            cut = f"   [{answer.status}]" if answer.status != "completed" else ""
            print(f"voice: {answer.text.strip()}{cut}")
        for failure in result.failures:
            print(failure, file=sys.stderr)
    return 0 if any(answer.status in ("completed", "incomplete") and answer.text for answer in result.answers) else 1


def _require_folder(output: Path) -> None:
    """Raises FileNotFoundError before any work is done for a file that cannot be written."""
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output}: there is no folder {output.parent}")


def _say(arguments: argparse.Namespace, settings: Config) -> int:
    from voxtral_voice import speech, talk, voices

    if arguments.voice == "help":
        for voice in voices.VOICES.values():
            print(f"{voice.name:16} {voice.language:6} {voice.gender}")
        return 0
    name = voices.resolve(arguments.voice) if arguments.voice else speech.default_voice(arguments.language, settings)
    _require_folder(arguments.output)
    speed = settings.voice.speed if arguments.speed is None else arguments.speed
    if not 0.5 <= speed <= 2.0:
        raise ConfigError(f"--speed: {speed} is not between 0.5 and 2.0")

    async def run() -> list[Pcm]:
        async with (
            talk.loaded(settings) as engines,
            aclosing(speech.read_aloud(arguments.text, Voice(name, speed), engines, settings)) as parts,
        ):
            return [pcm async for pcm in parts]

    parts = asyncio.run(run())
    if not parts:
        raise VoiceError("invalid_event", "there is nothing in this text that can be spoken")
    pcm = np.concatenate(parts)
    arguments.output.write_bytes(audio.to_wav(pcm, SPEAK_HZ))
    print(f"{arguments.output}: {len(pcm) / SPEAK_HZ:.1f} s, {name}")
    return 0


def _transcribe(arguments: argparse.Namespace, settings: Config) -> int:
    from voxtral_voice import talk
    from voxtral_voice.transcript import write_down

    pcm = audio.read(arguments.file, HEAR_HZ)
    language = arguments.language or settings.voice.language

    async def run() -> None:
        async with talk.loaded(settings) as engines, aclosing(write_down(pcm, language, engines)) as stretches:
            async for heard in stretches:
                print(heard.text)

    asyncio.run(run())
    return 0


def _job(arguments: argparse.Namespace, settings: Config) -> int:
    from voxtral_voice.worker import local
    from voxtral_voice.worker.items import Item

    if arguments.output:
        _require_folder(arguments.output)
    given = local.read_file(arguments.file)

    async def run() -> list[Item]:
        done: list[Item] = []
        async with aclosing(local.do(given, settings)) as items:
            async for item in items:
                print(local.line(item), flush=True)
                done.append(item)
        return done

    items = asyncio.run(run())
    if arguments.output:
        arguments.output.write_bytes(audio.to_wav(local.sound(items), SPEAK_HZ))
    return 0 if items[-1]["type"] == "done" else 1


def _models(arguments: argparse.Namespace, settings: Config) -> int:
    from voxtral_voice.models import choice, commands
    from voxtral_voice.models.store import from_config

    store = from_config(settings)
    if arguments.action == "list":
        print(commands.list_models(store))
        return 0
    if arguments.names:
        return commands.fetch_models(store, arguments.names)
    plan = choice.choose(settings, store, store.fetch)
    return commands.fetch_models(store, plan.models(settings.engines.reply))


def _verify(_: argparse.Namespace, settings: Config) -> int:
    from voxtral_voice.models import choice, requirements

    lines = choice.requirements_of(settings)
    print(requirements.report(lines))
    return 0 if requirements.met(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
