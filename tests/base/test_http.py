"""The client of OpenAI-compatible servers, on servers of a few lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import ConfigError
from planish.base.http import HttpClient, HttpReply, NoAnswerError, ServerConfig


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """Answers the path and the body it was sent; it keeps the port of each connection."""
    ports: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open

        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(307)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path == "/slow":
                time.sleep(0.5)
            ports.append(self.client_address[1])
            sent = f"{self.path} {self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", ports
        finally:
            http.shutdown()


@pytest.mark.parametrize(
    ("path", "api"), [("", "/v1"), ("/", "/v1"), ("/v1", "/v1"), ("/v1/", "/v1"), ("/api/v1", "/v1"), ("/api/v3", "")]
)
def test_base_url_is_taken_with_and_without_v1(server: tuple[str, list[Any]], path: str, api: str) -> None:
    client = HttpClient(ServerConfig(base_url=server[0] + path, model="m"))
    assert client.api == api
    prefix = path.rstrip("/") or "/v1"
    assert client.ask(f"{client.api}/models") == HttpReply(200, f"{prefix}/models ")


def test_connections_are_kept_and_shared_by_threads(server: tuple[str, list[Any]]) -> None:
    url, ports = server
    client = HttpClient(ServerConfig(base_url=url, model="m", concurrency=3))
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda i: client.ask("/ask", str(i).encode()), range(30)))
    assert replies == [HttpReply(200, f"/ask {i}") for i in range(30)]
    assert len(set(ports)) <= 3


def test_redirects_are_not_followed(server: tuple[str, list[Any]]) -> None:
    assert HttpClient(ServerConfig(base_url=server[0], model="m")).ask("/moved") == HttpReply(307, "")


def test_no_answer_is_told_from_a_late_one(server: tuple[str, list[Any]]) -> None:
    with pytest.raises(NoAnswerError, match=r"no answer within timeout=0.1 seconds") as late:
        HttpClient(ServerConfig(base_url=server[0], model="m", timeout=0.1)).ask("/slow")
    with pytest.raises(NoAnswerError, match=r"no server answers there .*refused") as gone:
        HttpClient(ServerConfig(base_url="http://127.0.0.1:9", model="m")).ask("/v1/models")
    assert (late.value.late, gone.value.late) == (True, False)


def test_proxies_of_the_environment_are_used_where_they_are_allowed(
    server: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    config = ServerConfig(base_url=server[0], model="m")
    assert HttpClient(config).ask("/v1/models").status == 200
    with pytest.raises(NoAnswerError):
        HttpClient(config, proxies=True).ask("/v1/models")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://localhost:x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"no http://host:port|Port could not be cast"):
        load_config(ServerConfig, values={"base_url": url, "model": "m"})
