"""Who is refused at the door is told why, and no model has done anything for it."""

from __future__ import annotations

import asyncio
import json
import socket as stream
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as sync_connect
from websockets.typing import Subprotocol

from realtime_server import ScriptedManager, Served, serving
from scripted_process import scripted_process
from voxtral_voice.server.origin import foreign

KEY = "a-secret_of.32~characters-or-more"
SHOWN = {"Authorization": f"Bearer {KEY}"}
PAGE = "https://app.example.com"


@pytest.fixture
def idle_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the engines fails the test."""

    def asked(_: ScriptedManager) -> NoReturn:
        raise AssertionError("the engines were asked for")

    monkeypatch.setattr(ScriptedManager, "engines", property(asked))


async def refusals(server: Served, headers: dict[str, str], query: str = "") -> AsyncIterator[tuple[int, str, str]]:
    """(status or close code, error code, message) of HTTP and of the socket."""
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        for answer in (
            await http.post(f"/v1/audio/speech{query}", json={"input": "Hello."}),
            await http.get(f"/status{query}"),
            await http.get(f"/v1/models{query}"),
        ):
            error = answer.json()["error"]
            yield answer.status_code, error["code"], error["message"]
    async with connect(server.socket_url + query, additional_headers=headers) as socket:
        told = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.reason == told["error"]["code"]
        yield closed.value.rcvd.code, told["error"]["code"], told["error"]["message"]


@pytest.mark.usefixtures("idle_models")
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": KEY[:-1]}])
async def test_without_the_key_nobody_gets_to_the_models(headers: dict[str, str]) -> None:
    async with serving(key=KEY) as server:
        seen = [each async for each in refusals(server, headers)]
        assert [(status, code) for status, code, _ in seen] == [(401, "unauthorized")] * 3 + [(1008, "unauthorized")]
        assert all("a key is needed" in message for _, _, message in seen)
        assert 'voice_errors_total{code="unauthorized"} 4.0' in await metrics(server)


async def metrics(server: Served) -> str:
    async with httpx.AsyncClient(base_url=server.url, headers=SHOWN) as http:
        return (await http.get("/metrics")).text


@pytest.mark.usefixtures("idle_models")
@pytest.mark.parametrize(
    "origin", [PAGE, "null", "http://localhost.example.com", "https://127.0.0.1", "garbage", "http://[::1"]
)
async def test_pages_of_others_are_refused_with_and_without_a_key(origin: str) -> None:
    for key in (KEY, None):
        async with serving(key=key) as server:
            seen = [each async for each in refusals(server, {"Origin": origin, **SHOWN})]
            expected = [(403, "forbidden_origin")] * 3 + [(1008, "forbidden_origin")]
            assert [(status, code) for status, code, _ in seen] == expected
            assert all("server.origins" in message for _, _, message in seen)


@pytest.mark.usefixtures("idle_models")
async def test_the_key_in_the_query_is_no_key() -> None:
    async with serving(key=KEY) as server:
        seen = [each async for each in refusals(server, {}, f"?key={KEY}&api_key={KEY}&token={KEY}")]
        assert [status for status, _, _ in seen] == [401, 401, 401, 1008]


async def test_our_own_page_and_those_allowed_come_in() -> None:
    async with serving(key=KEY, overrides={"server.origins": [PAGE]}) as server:
        own = server.url
        forwarded = {"Origin": "https://pod-8000.proxy.example", "X-Forwarded-Host": "pod-8000.proxy.example"}
        for headers in ({"Origin": own}, {"Origin": PAGE}, forwarded):
            async with (
                httpx.AsyncClient(base_url=own, headers={**headers, **SHOWN}) as http,
                connect(server.socket_url, additional_headers={**headers, **SHOWN}) as socket,
            ):
                assert (await http.get("/v1/models")).status_code == 200
                assert json.loads(await socket.recv())["type"] == "session.created"


async def test_a_browser_on_an_allowed_page_may_ask_with_the_key() -> None:
    question = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with (
        serving(key=KEY, overrides={"server.origins": [PAGE]}) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        allowed = await http.options("/v1/audio/speech", headers=question)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        answer = await http.post("/v1/audio/speech", json={"input": "Hello."}, headers={"Origin": PAGE, **SHOWN})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        other = await http.options("/v1/audio/speech", headers={**question, "Origin": "https://evil.example"})
        assert other.status_code == 400


ORIGINS = {
    # (Origin, Host, X-Forwarded-Host): whether it is ours
    ("http://localhost:8000", "localhost:8000", None): True,
    ("https://a.example", "a.example", None): True,
    ("https://a.example", "a.example:443", None): True,
    ("https://A.example", "a.EXAMPLE", None): True,
    ("http://a.example", "10.0.0.7:8000", "a.example, inner.example"): True,
    ("http://[::1]:8000", "[::1]:8000", None): True,
    ("https://a.example", "a.example:8443", None): False,
    ("https://a.example.evil.example", "a.example", None): False,
    ("https://a.example@evil.example", "a.example", None): False,
    ("https://evil.example", "10.0.0.7:8000", "a.example, evil.example"): False,
    ("file://", "a.example", None): False,
    ("null", "", None): False,
    ("http://a.example:99999", "a.example:99999", None): False,
    ("http://[::1", "a.example", None): False,
    ("http://[zz]", "a.example", None): False,
    ("http://a]b", "a.example", None): False,
    ("http://a.example", "[::1", None): False,
    ("HTTP://a.example", "a.example", None): True,
    ("", "", None): False,
}


def test_what_is_our_own_page() -> None:
    for (origin, host, forwarded), ours in ORIGINS.items():
        headers = [(b"origin", origin.encode()), (b"host", host.encode())]
        if forwarded:
            headers.append((b"x-forwarded-host", forwarded.encode()))
        scope = {"type": "http", "headers": headers}
        assert (foreign(scope, (), only_this_machine=False) is None) == ours, (origin, host)


async def test_a_name_that_points_here_is_no_page_of_ours_where_no_key_tells_them_apart() -> None:
    """DNS rebinding: evil.example resolves to 127.0.0.1, and Origin and Host agree."""
    async with serving() as server:
        headers = {"Origin": f"http://evil.example:{server.port}", "Host": f"evil.example:{server.port}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
            assert (await http.get("/v1/models")).status_code == 403
            assert (await http.get("/v1/models", headers={"Origin": server.url})).status_code == 403
            ours = {"Origin": server.url, "Host": f"127.0.0.1:{server.port}"}
            assert (await http.get("/v1/models", headers=ours)).status_code == 200


@pytest.mark.usefixtures("idle_models")
async def test_a_body_over_the_limit_is_refused_whether_its_size_is_named_or_not() -> None:
    body = json.dumps({"input": "x" * 5000}).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    async with (
        serving(overrides={"server.message_bytes": 4096}) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        for content in (body, in_pieces()):
            answer = await http.post("/v1/audio/speech", content=content)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "message_too_large")


async def test_what_is_open_is_open_to_look_at_alone() -> None:
    async with serving(key=KEY) as server, httpx.AsyncClient(base_url=server.url) as http:
        for path in ("/ping", "/health", "/ready", "/"):
            assert (await http.post(path)).status_code == 401
            assert (await http.get(path)).status_code == 200
            head = await http.head(path)
            assert (head.status_code, head.content) == (200, b"")
        allowed = await http.post("/health", headers=SHOWN)
        assert (allowed.status_code, allowed.json()["error"]["code"]) == (405, "method_not_allowed")
        assert "GET" in allowed.headers["allow"]
        for nowhere in ("/nope", "/web/nope.js"):
            answer = await http.get(nowhere, headers=SHOWN)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


async def answered(server: Served, sent: bytes) -> tuple[bytes, float]:
    """What comes back before the server closes the connection, and after how many seconds."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    async with asyncio.timeout(30):
        back = await reader.read()
    writer.close()
    return back, time.monotonic() - began


LATE: dict[str, object] = {"server.head_timeout_s": 0.5, "server.body_timeout_s": 1}
HALF = b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{"


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /ping HTTP/1.1\r\nHost"])
async def test_a_connection_that_does_not_ask_is_closed(sent: bytes) -> None:
    async with serving(overrides=LATE) as server:
        back, after_s = await answered(server, sent)
        assert back == b""
        assert 0.4 < after_s < 9  # without these settings it would be 10 s


@pytest.mark.parametrize("sent", [HALF, b"GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"])
async def test_a_body_that_does_not_come_is_given_up(sent: bytes) -> None:
    async with serving(overrides=LATE) as server:
        back, after_s = await answered(server, sent)
        assert back.startswith(b"HTTP/1.1 408")
        assert b'"request_timeout"' in back
        assert 0.9 < after_s < 25  # and 30 s


async def test_a_conversation_and_a_slow_answer_outlast_the_time_for_a_request() -> None:
    async with (
        serving(overrides=LATE) as server,
        connect(server.socket_url) as socket,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        server.script.synthesizer.clause_s = 2.0
        answer = await http.post("/v1/audio/speech", json={"input": "Hello."})
        assert answer.status_code == 200
        assert json.loads(await socket.recv())["type"] == "session.created"
        assert (await http.get("/ping")).status_code == 200
        await socket.send("garbage")
        assert json.loads(await socket.recv())["error"]["code"] == "invalid_json"


async def test_who_leaves_before_the_end_of_a_body_gets_no_work_done() -> None:
    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HALF + b'"input": "Hello."}')
        await asyncio.sleep(0.2)
        writer.close()
        await asyncio.sleep(0.2)
        assert (await server.get("/ping")).status_code == 200
        assert server.script.synthesizer.spoken == []


def test_a_half_sent_request_does_not_hold_the_end_up(tmp_path: Path) -> None:
    with scripted_process(tmp_path) as server, stream.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(HALF)
        time.sleep(0.3)
        server.popen.terminate()
        began = time.monotonic()
        assert server.popen.wait(60) == 0
        assert time.monotonic() - began < 25  # it would be given up after 30 s
        assert "Traceback" not in server.written()


async def test_a_body_in_pieces_arrives_whole() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"input": "Good '
        yield b'morning."}'

    async with serving() as server, httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/v1/audio/speech", content=pieces(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 200
        assert server.script.synthesizer.spoken == ["Good morning."]


def test_the_key_is_in_no_log_not_even_in_that_of_a_debugger(tmp_path: Path) -> None:
    with scripted_process(tmp_path, VOXTRAL_API_KEY=KEY, VOXTRAL_LOGGING__LEVEL="debug") as server:
        offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{KEY}")]
        with sync_connect(f"{server.socket_url}?key={KEY}", subprotocols=offered) as socket:
            assert json.loads(socket.recv())["type"] == "session.created"
            socket.send("garbage")
            assert json.loads(socket.recv())["error"]["code"] == "invalid_json"
        for headers in (SHOWN, {"X-API-Key": f"{KEY}x"}):
            answer = httpx.get(f"http://127.0.0.1:{server.port}/status?key={KEY}", headers=headers)
            assert answer.status_code in (200, 401)
            assert KEY not in answer.text
        server.popen.terminate()
        assert server.popen.wait(60) == 0
        written = server.written()
        assert "Voxtral Voice is at" in written
        assert KEY not in written
