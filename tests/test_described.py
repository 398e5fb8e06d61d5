"""What the server says of its own endpoints."""

from __future__ import annotations

import re

import httpx

from realtime_server import serving


async def test_the_endpoints_and_their_fields_are_described_without_anything_from_elsewhere() -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as http:
        schema = (await http.get("/openapi.json")).json()
        answer = await http.get("/docs")
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-security-policy"] == "default-src 'none'"
        page = answer.text
        assert re.findall(r'(?:src|href)\s*=\s*"?([^">\s]*)', page) == ["/openapi.json"]
        assert "//" not in page
        assert "<script" not in page
        assert {path for path in schema["paths"] if f" {path}</code></h2>" not in page} == set()
        assert "<code>input</code> (needed): string" in page
        assert "<code>speed</code>: number from 0.25 to 4; left out, 1.0" in page
        assert "<code>file</code> (needed): binary" in page
        assert "<code>stream</code>: boolean; left out, false" in page
        assert (await http.get("/redoc")).status_code == 404
