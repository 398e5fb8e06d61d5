"""A form with one file: kept in a file without a name, and never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from voxtral_voice.types import VoiceError

_FIELDS = 32
_FIELD_BYTES = 65_536
_CHARSETS = (b"utf-8", b"us-ascii")  # Python has others, and some of them take seconds for a field, on the event loop


@dataclass(frozen=True, slots=True)
class Form:
    file: IO[bytes]
    """With a descriptor, at its first byte. Nothing of the client's name for it is kept."""
    fields: dict[str, list[str]]
    """As written; a field may come more than once."""


@asynccontextmanager
async def form_of(request: Request) -> AsyncIterator[Form]:
    """The form of a request, whose `receive` limits its size and its time.

    Raises VoiceError: invalid_event, and what `receive` raises.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise VoiceError("invalid_event", "a recording comes as multipart/form-data with a `file`", param="file")
    if options.get(b"charset", b"utf-8").lower() not in _CHARSETS:
        raise VoiceError("invalid_event", "a form is written in UTF-8")
    try:
        given = await request.form(max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
    except HTTPException as error:
        raise VoiceError("invalid_event", f"the form cannot be read: {error.detail}") from None
    try:
        upload = given.get("file")
        if not isinstance(upload, UploadFile):
            raise VoiceError("invalid_event", "the form has no `file`", param="file")
        fields: dict[str, list[str]] = {}
        for name, value in given.multi_items():
            if isinstance(value, str):
                fields.setdefault(name.removesuffix("[]"), []).append(value)
        await run_in_threadpool(upload.file.fileno)  # a small one is still in memory: a child can read files alone
        await upload.seek(0)
        yield Form(upload.file, fields)
    finally:
        await given.close()
