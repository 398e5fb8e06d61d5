"""GET /docs: the endpoints of /openapi.json as a page that runs nothing and fetches nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

Schema = Mapping[str, Any]

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Voxtral Voice: endpoints</title>
<h1>Endpoints</h1>
<p>The conversation is a WebSocket: <code>/v1/realtime</code>, and <code>/ws</code> for small clients. These answer over
HTTP; <a href="/openapi.json">/openapi.json</a> is the same for programs.</p>
"""


def router(schema: Callable[[], Schema]) -> APIRouter:
    """`schema`: what /openapi.json answers."""
    routes = APIRouter()

    @routes.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(schema()), headers={"Content-Security-Policy": "default-src 'none'"})

    return routes


def page(schema: Schema) -> str:
    """HTML of an OpenAPI document."""
    parts = [_HEAD]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>\n")
            parts.append(f"<p>{escape(operation.get('description') or operation['summary'])}</p>\n")
            parts += _body(operation, schema)
    return "".join(parts)


def _body(operation: Schema, schema: Schema) -> Iterator[str]:
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        body = content["schema"]
        if "$ref" in body:
            body = schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        yield f"<p>Takes <code>{escape(kind)}</code>:</p>\n<ul>\n"
        for name, field in body["properties"].items():
            needed = " (needed)" if name in body.get("required", ()) else ""
            usual = field.get("default")
            default = f"; left out, {json.dumps(usual)}" if usual not in (None, "", []) else ""
            yield f"<li><code>{escape(name)}</code>{needed}: {escape(_values(field) + default)}</li>\n"
        yield "</ul>\n"


def _values(field: Schema) -> str:
    """What a field may be."""
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " or ".join(_values(each) for each in field["anyOf"] if each.get("type") != "null")
    if "items" in field:
        return f"list of {_values(field['items'])}"
    limits = [f"{word} {field[key]:g}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in field]
    return " ".join([str(field.get("format") or field["type"]), *limits])
