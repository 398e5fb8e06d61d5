"""With a key set, nobody gets anything but health and readiness without it."""

from __future__ import annotations

import json

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime_server import serving

KEY = "a-secret"
ALLOWED = [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}]
REFUSED = [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}, {"Authorization": f"Bearer {KEY}x"}]


async def test_open_and_closed_paths() -> None:
    async with serving(key=KEY) as server, httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        for path in ("/", "/ping", "/health", "/ready"):
            assert (await http.get(path)).status_code == 200
        for path in ("/status", "/metrics", "/docs", "/openapi.json", "/performance", "/v1/models", "/v1/audio/voices"):
            for headers in REFUSED:
                answer = await http.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.json()["error"]["code"] == "unauthorized"
                assert KEY not in answer.text
            for headers in ALLOWED:
                assert (await http.get(path, headers=headers)).status_code == 200
        refused = await http.post("/v1/audio/speech", json={"input": "Hello."})
        assert refused.status_code == 401
        assert server.script.synthesizer.spoken == []


@pytest.mark.parametrize("headers", REFUSED)
async def test_a_socket_without_the_key_is_told_why_and_closed(headers: dict[str, str]) -> None:
    async with serving(key=KEY) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/v1/realtime", additional_headers=headers) as socket:
            error = json.loads(await socket.recv())
            assert (error["type"], error["error"]["code"]) == ("error", "unauthorized")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        assert server.script.understander.seen == []


@pytest.mark.parametrize("headers", ALLOWED)
async def test_a_socket_with_the_key_in_a_header_talks(headers: dict[str, str]) -> None:
    async with (
        serving(key=KEY) as server,
        connect(f"ws://127.0.0.1:{server.port}/v1/realtime", additional_headers=headers) as socket,
    ):
        assert json.loads(await socket.recv())["type"] == "session.created"


async def test_a_browser_shows_the_key_as_a_subprotocol() -> None:
    async with serving(key=KEY) as server:
        offered = ["realtime", f"openai-insecure-api-key.{KEY}"]
        async with connect(f"ws://127.0.0.1:{server.port}/v1/realtime", subprotocols=offered) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == "realtime"
            assert json.loads(await socket.recv())["type"] == "session.created"
