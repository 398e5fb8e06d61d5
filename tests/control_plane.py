"""RunPod's control plane on loopback: what a worker's SDK talks to on one side and a client on the other.

with ControlPlane() as plane, worker(plane) as process:
    job = plane.submit({"type": "info"})
    assert plane.result(job)["output"][-1]["type"] == "done"
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local_server import LocalServer, QuietHandler

KEY = "secret-of-the-worker"
_POLL_S = 1.0
_PATIENCE_S = 120.0

Json = dict[str, Any]


@dataclass
class Posted:
    """Something the worker sent about a job."""

    at_s: float
    """On the wall clock, as everything here: worker and tests are different processes."""
    kind: str
    """stream or done."""
    job: str
    body: Json
    size_bytes: int


class ControlPlane(LocalServer):
    """Jobs go out in the order they came; what the worker posts about them is kept in `posted`."""

    def __init__(self, stop_poll_s: float = 10.0) -> None:
        """`stop_poll_s`: how long a worker's question for stops is held; it ends no sooner."""
        self.posted: list[Posted] = []
        self.pings: list[dict[str, list[str]]] = []
        self.polls = 0
        """How often the worker asked for jobs."""
        self.takes: list[str] = []
        self.refuse: dict[tuple[str, str], int] = {}
        """(kind, job) -> how many of the next posts get a 500."""
        self.refused = 0
        self.hold: dict[tuple[str, str], threading.Event] = {}
        """(kind, job) -> posts are answered only once this is set."""
        self.held: dict[str, threading.Event] = {}
        """job -> set as soon as a post about it is held."""
        self.stopped_at_s: dict[str, float] = {}
        self._stop_poll_s = stop_poll_s
        self._changed = threading.Condition()
        self._queue: queue.Queue[Json] = queue.Queue()
        self._stops: queue.Queue[str] = queue.Queue()
        self._submitted: list[str] = []
        self._read: dict[str, int] = {}
        plane = self

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: the second would wait 40 ms for an acknowledgement

            def do_GET(self) -> None:
                plane._answer(self)

            def do_POST(self) -> None:
                plane._answer(self)

        super().__init__(Handler)

    @property
    def environment(self) -> dict[str, str]:
        """What RunPod sets in a worker's container."""
        base = f"{self.url}/v2/ep"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=FAKE",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=FAKE",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=FAKE",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu=FAKE",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_POD_ID": "w1",
            "RUNPOD_POD_HOSTNAME": "host-of-the-worker",
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_AI_API_KEY": KEY,
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    # What a test does.

    def submit(self, given: object, prepare: Callable[[str], None] | None = None) -> str:
        """Queue a job; `prepare` is told its id before a worker can take it."""
        job = f"job-{len(self._submitted)}"
        self._submitted.append(job)
        if prepare:
            prepare(job)
        self._queue.put({"id": job, "input": given})
        return job

    def do(self, given: object) -> list[Json]:
        """The items of a job, once it is completed."""
        output: list[Json] = self.result(self.submit(given))["output"]
        return output

    def stop(self, job: str) -> None:
        """The worker must have begun it: RunPod's SDK drops stops for jobs that it has not."""
        self._stops.put(job)

    def result(self, job: str, within_s: float = _PATIENCE_S) -> Json:
        """What the worker posted as the job's end."""
        self.wait(lambda: self.results(job), within_s)
        return self.results(job)[0]

    def results(self, job: str) -> list[Json]:
        return [each.body for each in list(self.posted) if each.kind == "done" and each.job == job]

    def streamed(self, job: str) -> list[Posted]:
        return [each for each in list(self.posted) if each.kind == "stream" and each.job == job]

    def items(self, job: str) -> list[Json]:
        """What was streamed of it so far."""
        return [each.body["output"] for each in self.streamed(job)]

    def wait(self, condition: Callable[[], object], within_s: float = _PATIENCE_S) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, within_s):
                raise AssertionError(f"nothing came of it in {within_s:g} s")

    # What a worker and a client see.

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        url = urlsplit(request.path)
        _, _, _, kind, *rest = url.path.split("/")
        worker_sides = {"job-take": self._take, "job-take-batch": self._take, "job-stop": self._stop}
        if kind in worker_sides or kind in ("job-stream", "job-done", "ping"):
            assert request.headers["Authorization"] == KEY
        else:
            assert request.headers["Authorization"].startswith("Bearer ")
        query = parse_qs(url.query)
        if kind in worker_sides:
            status, answer = worker_sides[kind](query, batch=kind.endswith("batch"))
        elif kind in ("job-stream", "job-done"):
            status, answer = self._post(kind.removeprefix("job-"), rest[1], body)
        elif kind == "ping":
            status, answer = 200, {}
            self._note(lambda: self.pings.append(query))
        else:
            status, answer = self._client(kind, rest, body)
        data = b"" if status == 204 else json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def _take(self, query: dict[str, list[str]], *, batch: bool) -> tuple[int, object]:
        def count() -> None:
            self.polls += 1

        self._note(count)
        jobs: list[Json] = []
        with suppress(queue.Empty):
            jobs.append(self._queue.get(timeout=_POLL_S))
            while batch and len(jobs) < int(query["batch_size"][0]):
                jobs.append(self._queue.get_nowait())
        self._note(lambda: self.takes.extend(job["id"] for job in jobs))
        return (200, jobs if batch else jobs[0]) if jobs else (204, None)

    def _stop(self, query: dict[str, list[str]], *, batch: bool) -> tuple[int, object]:
        try:
            job = self._stops.get(timeout=self._stop_poll_s)
        except queue.Empty:
            return 204, None
        self.stopped_at_s[job] = time.time()
        return 200, {"jobsToStop": [job]}

    def _post(self, kind: str, job: str, body: bytes) -> tuple[int, object]:
        if gate := self.hold.get((kind, job)):
            self.held.setdefault(job, threading.Event()).set()
            gate.wait(_PATIENCE_S)
        if self.refuse.get((kind, job), 0) > 0:
            self.refuse[kind, job] -= 1
            self.refused += 1
            return 500, {}
        self._note(lambda: self.posted.append(Posted(time.time(), kind, job, json.loads(body), len(body))))
        return 200, {}

    def _client(self, kind: str, rest: list[str], body: bytes) -> tuple[int, object]:
        """api.runpod.ai: run, runsync, status, stream, cancel."""
        if kind in ("run", "runsync"):
            job = self.submit(json.loads(body)["input"])
            if kind == "runsync":
                self.result(job)
            return 200, self._status(job)
        job = rest[0]
        if kind == "cancel":
            self.stop(job)
            return 200, {"id": job, "status": "CANCELLED"}
        if kind == "stream":
            seen, items, status = self._read.get(job, 0), self.items(job), self._status(job)["status"]
            self._read[job] = len(items)
            return 200, {"status": status, "stream": [{"output": item} for item in items[seen:]]}
        assert kind == "status", kind
        return 200, self._status(job)

    def _status(self, job: str) -> Json:
        results = self.results(job)
        if not results:
            return {"id": job, "status": "IN_PROGRESS" if job in self.takes else "IN_QUEUE"}
        return {"id": job, "status": "FAILED" if "error" in results[0] else "COMPLETED", **results[0]}
