"""A server that plays a judge: tests say what it replies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Sent:
    """What the server sends: a chat completion with these words, or another status. `drips` sends a byte every 20 ms, for a
    second."""

    words: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    finish: str = "stop"
    drips: bool = False
    sleeps: float = 0.0
    usage: dict[str, int] | None = None


@dataclass
class LlmServer:
    url: str
    bodies: list[dict[str, Any]]  # of the questions, as they came
    asked: list[tuple[str, str]]  # their paths, and the keys that came with them


@contextmanager
def llm_server(reply: Callable[[dict[str, Any], int], Sent]) -> Generator[LlmServer]:
    """Replies to each body and its number, from 0."""
    bodies: list[dict[str, Any]] = []
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            asked.append((self.path, self.headers.get("Authorization", "")))
            sent = reply(body, len(bodies) - 1)
            time.sleep(sent.sleeps)
            choice = {"message": {"content": sent.words}, "finish_reason": sent.finish}
            usage = {} if sent.usage is None else {"usage": sent.usage}
            text = json.dumps({"choices": [choice], **usage}).encode() if sent.status == 200 else sent.words.encode()
            self.send_response(sent.status)
            for name, value in sent.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text) + 50 * sent.drips))
            self.end_headers()
            for _ in range(50 * sent.drips):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.02)
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that went away is what some tests are about
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield LlmServer(f"http://127.0.0.1:{http.server_port}/v1", bodies, asked)
        finally:  # a server whose socket is closed and that goes on would keep a processor busy
            http.shutdown()
