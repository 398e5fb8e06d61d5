"""Which web pages may use this server.

A browser lets any page open a socket to any server and names that page in `Origin`. Programs send no Origin; to them
only the key applies.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

_DEFAULT_PORTS = {"http": 80, "https": 443}
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


def foreign(scope: Scope, allowed: Collection[str], *, only_this_machine: bool) -> str | None:
    """The Origin of a page that is neither ours nor among `allowed`; None for everybody else.

    `only_this_machine`: our own pages are only those at a loopback address. A name that an attacker owns can point to
    127.0.0.1 as well, and a server without a key has nothing else to tell his page from ours by.
    """
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or origin in allowed:
        return None
    asked = headers.get("x-forwarded-host", "").partition(",")[0].strip() or headers.get("host", "")
    page, ours = _host_and_port(origin), _host_and_port(f"{origin.partition(':')[0]}://{asked}")
    same = page is not None and page == ours
    if same and only_this_machine:
        assert page is not None
        same = page[0] in _THIS_MACHINE
    return None if same else origin


def _host_and_port(origin: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname else None
