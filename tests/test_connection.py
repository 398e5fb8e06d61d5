"""Connections whose clients do not read, or do not come to an end."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from realtime_server import serving
from voxtral_voice.server.connection import protocol


async def test_who_reads_nothing_of_an_answer_is_cut_off() -> None:
    gone = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        waiting = asyncio.create_task(until_gone())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.is_set():
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
            await asyncio.sleep(0)
        await waiting

    listening = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(endless, lifespan="off", log_level="critical", http=protocol(10, 0.2))
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    _, writer = await asyncio.open_connection(*listening.getsockname())  # which holds little of what nobody reads
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(gone.wait(), 60)
    writer.close()
    server.should_exit = True
    await serving


ENDLESS = {
    "a header": (b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Long: ", b"x"),
    "headers": (b"GET /ping HTTP/1.1\r\nHost: x\r\n", b"X-Short: x\r\n"),
    "an address": (b"GET /", b"x"),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_the_head_of_a_request_has_an_end(name: str) -> None:
    first, more = ENDLESS[name]
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(first + more * (1 + 65_536 // len(more)))
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b'"message_too_large"' in answer
        for _ in range(10):  # what comes then is dropped
            writer.write(more * (100_000 // len(more)))
            await writer.drain()
        writer.close()


async def test_a_long_head_and_a_longer_body_are_no_longer_than_they_may_be() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = b'{"input": "Hello.", "x": "' + b"x" * 500_000 + b'"}'
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        head += b"X-Long: %s\r\nContent-Length: %d\r\n\r\n" % (b"x" * 60_000, len(body))
        for start in range(0, len(head), 1000):
            writer.write(head[start : start + 1000])
            await asyncio.sleep(0)
        writer.write(body)
        assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_nor_do_headers_behind_a_body_go_on_without_end() -> None:
    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n")
        with pytest.raises(ConnectionError):  # noqa: PT012
            while True:
                writer.write(b"X-More: x\r\n" * 1000)
                await asyncio.wait_for(writer.drain(), 60)
        writer.close()
