"""A small HTTP server that speaks an OpenAI-compatible API, misbehaves on command, and keeps the bill.

    with serving(["ok", "429", …]) as server:
        … server.url, server.requests, server.paid

A fault is what one request gets. `server.plan(row, turn)` says which: row is the token in the request,
turn how often it has been asked about so far.
"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What the service does without answering: nothing is charged for.
UNPAID = ("429 with Retry-After", "429 with a date", "429", "500", "503", "stall", "reset")
# Here it has done its work, and the answer is lost on the way.
LOST = ("half a body", "drip")
# Answers that are charged for and are not what was asked for.
WRONG = (
    "half JSON", "not JSON", "other vocabulary", "too long", "another row", "extra key", "missing key",
    "refusal", "cut off", "no choices", "empty",
)  # fmt: skip
FAULTS = (*UNPAID, *LOST, *WRONG)
TOKENS = (100, 40)  # that each answer is charged for


def of_schema(body: dict[str, Any]) -> dict[str, Any]:
    """A valid answer to a request: the first value of every vocabulary, and a short text."""
    properties = body["response_format"]["json_schema"]["schema"]["properties"]
    return {name: p["enum"][0] if "enum" in p else f"a {name}" for name, p in properties.items()} | {
        "row": token(body)
    }


def token(body: dict[str, Any]) -> str:
    """The row's token in a request."""
    asked = next(m["content"] for m in body["messages"] if m["role"] == "user")
    found = re.search(r'"row": "([0-9a-f]{8})"', asked)
    assert found, asked
    return found[1]


@dataclass
class Server:
    """What was asked and charged. answer: what the model would say; delay: seconds that it thinks."""

    plan: Callable[[str, int], str] = lambda row, turn: "ok"
    answer: Callable[[dict[str, Any]], Any] = of_schema
    delay: float = 0.0
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    turns: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)  # fault → how often
    paid: Counter[str] = field(default_factory=Counter)  # row → answers charged for
    good: Counter[str] = field(default_factory=Counter)  # row → answers charged for that were valid
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        """The bill, for a test in another process."""
        state: Server = self.server.state
        with state.lock:
            bill = {
                "requests": len(state.requests),
                "given": state.given,
                "paid": state.paid,
                "good": state.good,
            }
            self._send(200, bill, {})

    def do_POST(self) -> None:
        state: Server = self.server.state
        with suppress(BrokenPipeError, ConnectionResetError):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            row = token(body)
            with state.lock:
                state.requests.append(body)
                state.headers.append({k.lower(): v for k, v in self.headers.items()})
                state.times.append(time.monotonic())
                state.turns[row] += 1
                fault = state.plan(row, state.turns[row])
                state.given[fault] += 1
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                time.sleep(state.delay)
                self._reply(fault, row, body)
            finally:
                with state.lock:
                    state.at_once -= 1

    def _reply(self, fault: str, row: str, body: dict[str, Any]) -> None:
        state: Server = self.server.state
        status = re.match(r"\d{3}", fault)
        if status:
            headers = {}
            if "Retry-After" in fault:
                headers["Retry-After"] = "0.2" if fault.endswith("Retry-After") else fault.split()[-1]
            if "date" in fault:
                headers["Retry-After"] = formatdate(time.time() + 1, usegmt=True)
            self._send(int(status[0]), {"error": {"message": f"misbehaving: {fault}", "code": None}}, headers)
            return
        if fault == "stall":
            time.sleep(self.server.patience)
            self.close_connection = True
            return
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        said = state.answer(body)
        content: Any = said if isinstance(said, str) else json.dumps(said)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": message}
        choices = [choice]
        first = next((n for n in said if n != "row"), "") if isinstance(said, dict) else ""
        last = list(said)[-1] if isinstance(said, dict) else ""
        match fault:
            case "half JSON":
                message["content"] = content[: len(content) // 2]
            case "not JSON":
                message["content"] = f"Sure! Here is what I think:\n```json\n{content}\n```"
            case "other vocabulary":
                message["content"] = json.dumps({**said, first: "whale"})
            case "too long":
                message["content"] = json.dumps({**said, last: "very " * 500 + "long"})
            case "another row":
                message["content"] = json.dumps({**said, "row": "00000000"})
            case "extra key":
                message["content"] = json.dumps({**said, "rank": 1, "id": "7"})
            case "missing key":
                message["content"] = json.dumps({k: v for k, v in said.items() if k != first})
            case "refusal":
                message |= {"content": None, "refusal": "I cannot help with that."}
            case "cut off":
                message["content"] = content[: len(content) // 2]
                choice["finish_reason"] = "length"
            case "no choices":
                choices = []
            case "empty":
                message["content"] = ""
        usage = {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
        whole = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        }
        with state.lock:
            state.paid[row] += 1
            state.good[row] += fault not in WRONG and fault not in LOST
        if fault == "half a body":
            raw = json.dumps(whole).encode()
            self._start(200, len(raw), {})
            self.wfile.write(raw[: len(raw) // 2])
            self.close_connection = True
        elif fault == "drip":
            raw = json.dumps(whole).encode()
            self._start(200, len(raw), {})
            for byte in raw:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(self.server.patience / 20)
        else:
            self._send(200, whole, {})

    def _start(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(length),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, value: Any, headers: dict[str, str]) -> None:
        raw = json.dumps(value).encode()
        self._start(status, len(raw), headers)
        self.wfile.write(raw)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        pass  # a client that was killed in the midst of a request


@contextmanager
def serving(
    plan: Callable[[str, int], str] | list[str] | None = None,
    answer: Callable[[dict[str, Any]], Any] = of_schema,
    delay: float = 0.0,
    patience: float = 1.0,
) -> Iterator[Server]:
    """A running server. plan: a function, or what a row's first, second, … request gets, then `ok`.

    patience: seconds that a stall lasts.
    """
    if isinstance(plan, list):
        given = list(plan)
        plan = lambda row, turn: given[turn - 1] if turn <= len(given) else "ok"  # noqa: E731
    state = Server(answer=answer, delay=delay)
    if plan is not None:
        state.plan = plan
    httpd = _Server(("127.0.0.1", 0), _Handler)
    httpd.state, httpd.patience = state, patience  # type: ignore[attr-defined]
    state.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()


def at_random(
    seed: int, faults: tuple[str, ...] = FAULTS, share: float = 0.4, most: int = 3
) -> Callable[[str, int], str]:
    """A plan in which any request but every `most`-th of a row may go wrong; the same for the same seed."""

    def plan(row: str, turn: int) -> str:
        draw = random.Random(f"{seed}/{row}/{turn}")
        if turn % (most + 1) == 0 or draw.random() >= share:
            return "ok"
        return draw.choice(faults)

    return plan
