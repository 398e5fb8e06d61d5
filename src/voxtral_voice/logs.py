"""Logging: plain or JSON lines on stderr and, if wanted, in a rotated file. Nothing that was said, unless asked for."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler

from voxtral_voice.config import Logging

_QUIET = ("httpx", "mistral_common", "httpx2", "huggingface_hub", "urllib3", "numba", "uvicorn.error", "asyncio")
_CONTEXT = ("session", "turn")
"""Fields that a log call may pass in `extra`."""

session: ContextVar[str | None] = ContextVar("session", default=None)
"""Whose work is being done; every line logged meanwhile says so, those of the engines too."""


class _Whose(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "session", None) is None:
            record.session = session.get()
        return True


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name in _CONTEXT if (value := getattr(record, name, None)) is not None},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        where = [f"{name} {value}" for name in _CONTEXT if (value := getattr(record, name, None)) is not None]
        line = super().format(record)
        return f"{line} [{', '.join(where)}]" if where else line


def configure(choice: Logging) -> None:
    """Set up logging for this process."""
    formatter = _Json() if choice.format == "json" else _Plain("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if choice.file is not None:
        choice.file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(
            RotatingFileHandler(
                choice.file, maxBytes=choice.file_bytes, backupCount=choice.file_count, encoding="utf-8"
            )
        )
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_Whose())
    logging.basicConfig(level=choice.level.upper(), handlers=handlers, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
