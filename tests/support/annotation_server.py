"""The page's server on a free port, in a thread or in a process of its own, and a client that speaks to it as the page does."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from planish.feedback.people import add_annotator, token_of
from planish.feedback.server import create_app
from planish.feedback.store import Store

PATIENCE = 60  # seconds until a server counts as stuck


@dataclass
class Reply:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Client:
    """A person at the page. `post` sends what the script would; attacks change that."""

    port: int
    token: str
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, {**self.headers, **named})
            reply = connection.getresponse()
            return Reply(reply.status, reply.read().decode(), {k.lower(): v for k, v in reply.getheaders()})
        finally:
            connection.close()

    def get(self, path: str = "") -> Reply:
        return self.request("GET", f"/a/{self.token}{path}")

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        usual = {"Content_Type": "application/json", "X_Planish": "1"}
        return self.request("POST", f"/a/{self.token}{path}", sent, **{**usual, **headers})

    def task(self) -> dict[str, Any] | None:
        """What the script reads of the next item; None at the end."""
        page = self.get().text
        found = dict(re.findall(r'data-(key-of-judgement|assignment|revision|guideline|answers)="([^"]*)"', page))
        if "assignment" not in found:
            return None
        numbers = {name: int(found[name]) for name in ("assignment", "revision")}
        return {"key": found["key-of-judgement"], "guideline": found["guideline"], **numbers}

    def judgement(self, **more: Any) -> dict[str, Any]:
        task = self.task()
        assert task is not None
        return {**task, "verdict": "ranked", "ranks": [0, 1], "strength": "clearly", **more}

    def begin(self) -> None:
        assert self.post("/welcome", {"profile": {}}).status == 200


@contextmanager
def serving(store: Store) -> Iterator[int]:
    """The port of a server in a thread."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app: Any = create_app(store, command="planish feedback export feedback.db --out comparisons.jsonl")
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + PATIENCE
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def token(store: Store, name: str, **more: Any) -> str:
    with store.writing() as session:
        return token_of(session, add_annotator(session, name, **more))


class Process:
    """`planish annotate` as a user starts it, which can be killed."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "planish",
            "annotate",
            *arguments,
            "--out",
            str(folder / "feedback.db"),
            "port=0",
        ]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.addresses: dict[str, str] = {}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, _, address = line.strip().partition(":")
            self.addresses[name] = address.strip()
            if name == arguments[-1].removeprefix("invite=[").removesuffix("]") or not arguments:
                break
        if not self.addresses:
            self.kill()
            raise AssertionError("the command printed no address")

    def client(self, name: str = "owner") -> Client:
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/a/(\S+)", self.addresses[name])
        assert match is not None
        return Client(int(match[1]), match[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def new_key() -> str:
    return secrets.token_hex(16)
