"""The server's gate: what is refused before a page sees it, and the headers that every reply carries.

A page acts by the token in its address, never by a cookie, so another site has nothing to ride on; all the same, requests that
another site starts are refused, and so are hosts that the study does not know (DNS rebinding).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 256 * 1024  # bytes of a request
OWN_HOSTS = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
ENCODED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class TooLargeError(Exception):
    """A request of more than LARGEST bytes, which the application answers with 413."""


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self.app, self.hosts = app, {*OWN_HOSTS, *hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a websocket is closed without a word
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"server"]
                message["headers"] = [*kept, *ENCODED]
            await send(message)

        if (refusal := self._refusal(scope, headers)) is not None:
            await _refuse(guarded, *refusal)
            return
        await self.app(scope, _limited(receive), guarded)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if _name(host) not in self.hosts:
            return 421, "this host name is not served; the setting `hosts` names those of a proxy"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "no such method"
        if scope["method"] != "POST":
            return None
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > LARGEST:
            return 413, "the request is too large"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "expected JSON"
        origin = headers.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != host
        if is_foreign or headers.get("sec-fetch-site", "same-origin") != "same-origin" or "x-planish" not in headers:
            return 403, "the request comes from another site"
        return None


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _limited(receive: Receive) -> Receive:
    """Counts the bytes that come: a request without a length is not longer for it."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST:
            raise TooLargeError
        return message

    return counted


async def _refuse(send: Any, status: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
