"""A connection whose client has stopped reading."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn

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
