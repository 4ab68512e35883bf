"""The HTTP client of OpenAI-compatible servers: judges, and servers that sample.

    client = HttpClient(config)                                  # a ServerConfig
    reply = client.ask(f"{client.api}/models")                   # GET
    reply = client.ask(f"{client.api}/chat/completions", body)   # POST

Connections are kept and may be used from several threads. Redirects are not followed: prompts and key go to the server that is
named and nowhere else.
"""

from __future__ import annotations

import os
import time
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self
from urllib.parse import urlsplit

import httpx2
from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.errors import ConfigError, RunError

KEPT = 2.0  # seconds that an idle connection is kept: less than servers do, which would close it under a request


class ServerConfig(Config):
    """An OpenAI-compatible server and how it is asked."""

    base_url: str = Field(description="an OpenAI-compatible server: http://127.0.0.1:8000, with or without /v1")
    model: str = Field(description="the name under which it serves the model")
    api_key_env: str | None = Field(default=None, description="the environment variable that holds the server's key")
    concurrency: int = Field(default=4, ge=1, description="requests at once")
    timeout: float = Field(default=120.0, gt=0, description="seconds to wait for a whole reply")
    changeable = Config.changeable | {"base_url", "api_key_env", "concurrency", "timeout"}

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
            raise ValueError(f"base_url={self.base_url!r} is no http://host:port")
        return self


class NoAnswerError(RunError):
    """No answer came: no server is there, or, if `late`, not within the timeout."""

    def __init__(self, reason: str, *, late: bool) -> None:
        super().__init__(reason)
        self.late = late


@dataclass(frozen=True, slots=True)
class HttpReply:
    status: int
    text: str
    retry_after: float | None = None  # seconds that the server asks to wait


class HttpClient:
    """Asks one server. With `proxies` those of the environment are used, which then see what is asked."""

    def __init__(self, config: ServerConfig, *, proxies: bool = False) -> None:
        headers = {"Content-Type": "application/json"}
        if config.api_key_env is not None:
            if not (key := os.environ.get(config.api_key_env)):
                raise ConfigError(f"api_key_env={config.api_key_env}: there is no such environment variable")
            headers["Authorization"] = f"Bearer {key}"
        address = config.base_url.rstrip("/")
        self.root = address.removesuffix("/v1")
        self.api = "/v1" if self.root != address or not urlsplit(address).path else ""  # some serve below /api/v3
        self._timeout = config.timeout
        self._client = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(config.timeout, pool=None),
            limits=httpx2.Limits(max_connections=config.concurrency, keepalive_expiry=KEPT),
            trust_env=proxies,
        )
        weakref.finalize(self, self._client.close)

    def ask(self, path: str, body: bytes | None = None) -> HttpReply:
        """Answer to a GET, or to a POST where there is a body. `api` begins the paths of OpenAI's API."""
        begun, text, late = (
            time.monotonic(),
            bytearray(),
            NoAnswerError(f"no answer within timeout={self._timeout:g} seconds", late=True),
        )
        try:
            with self._client.stream("GET" if body is None else "POST", self.root + path, content=body) as response:
                for part in response.iter_bytes():
                    text += part
                    if time.monotonic() - begun > self._timeout:  # a byte now and then keeps no request open
                        raise late
        except httpx2.TimeoutException:
            raise late from None
        except httpx2.RequestError as error:
            raise NoAnswerError(f"no server answers there ({str(error) or type(error).__name__})", late=False) from None
        wait = seconds_to_wait(response.headers.get("Retry-After"))
        return HttpReply(response.status_code, text.decode("utf-8", "replace"), wait)


def seconds_to_wait(retry_after: str | None) -> float | None:
    """The header Retry-After: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())
