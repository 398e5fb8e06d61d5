"""The key of clients: where they may show it, and whether it is the right one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from starlette.types import Scope

_SUBPROTOCOL = "openai-insecure-api-key."


def admits(key: str | None, scope: Scope) -> bool:
    """Whether the request carries `key`: as a bearer token, as X-API-Key, or from a browser as a subprotocol.

    Never in the query: addresses end up in logs and histories.
    """
    if key is None:
        return True
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    scheme, _, token = headers.get("authorization", "").partition(" ")
    offered = [token.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
    offered += _from_subprotocols(scope.get("subprotocols") or [])
    # Every one is compared, in constant time: how long it takes says nothing.
    return sum(secrets.compare_digest(each.encode(), key.encode()) for each in offered) > 0


def _from_subprotocols(subprotocols: Iterable[str]) -> list[str]:
    return [each.removeprefix(_SUBPROTOCOL) for each in subprotocols if each.startswith(_SUBPROTOCOL)]
