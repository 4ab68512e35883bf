"""A model behind an OpenAI-compatible server, asked many things at once; what it answers is kept, so that nothing is asked, or
paid for, twice."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock

from planish.base.config import Config, Field
from planish.base.errors import ConfigError, RunError
from planish.base.progress import track

ATTEMPTS, PAUSE = 4, 2.0  # of a request that fails, and seconds before the second; doubled each time
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # HTTP states that may be gone at the next attempt


class LlmConfig(Config):
    base_url: str = Field(description="an OpenAI-compatible server: http://127.0.0.1:8000/v1")
    model: str = Field(description="the name that the server knows it by")
    api_key_env: str | None = Field(default=None, description="the environment variable that holds the server's key")
    max_tokens: int = Field(default=16, ge=1, description="of its reply; one that thinks aloud needs thousands")
    concurrency: int = Field(default=4, ge=1, description="requests at once")
    timeout: float = Field(default=120.0, gt=0, description="seconds to wait for a reply")


class ChatServer:
    """`replies(questions)` in their order; each is kept in the file `memory`, a line a reply."""

    def __init__(self, config: LlmConfig, memory: Path) -> None:
        self.config, self.memory = config, memory
        self.key = os.environ.get(config.api_key_env) if config.api_key_env else None
        if config.api_key_env and not self.key:
            raise ConfigError(f"api_key_env: the environment has no {config.api_key_env}")
        self.known = _read_memory(memory)

    def replies(self, questions: Sequence[str]) -> list[str]:
        requests = [self._request(question) for question in questions]
        keys = [hashlib.sha256(self.config.base_url.encode() + request).hexdigest() for request in requests]
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.known}
        if missing:
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            pool, lock = ThreadPoolExecutor(self.config.concurrency), Lock()
            with self.memory.open("a", encoding="utf-8") as file:

                def ask(key: str, request: bytes) -> None:
                    reply = self._ask(request)
                    with lock:
                        self.known[key] = reply
                        file.write(json.dumps({"key": key, "reply": reply}) + "\n")
                        file.flush()

                asked = [pool.submit(ask, *each) for each in missing.items()]
                try:
                    for future in track(as_completed(asked), "judging", len(asked)):
                        future.result()
                finally:
                    pool.shutdown(cancel_futures=True)  # those under way are still written
        return [self.known[key] for key in keys]

    def _request(self, question: str) -> bytes:
        body = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": self.config.max_tokens,
        }
        return json.dumps(body).encode()

    def _ask(self, body: bytes) -> str:
        url = f"{self.config.base_url.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        for attempt in range(ATTEMPTS):
            try:
                request = urllib.request.Request(url, body, headers)
                with urllib.request.urlopen(request, timeout=self.config.timeout) as response:
                    return str(json.load(response)["choices"][0]["message"]["content"] or "")
            except urllib.error.HTTPError as error:
                said = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
                lasting = error.code not in PASSING
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                said, lasting = str(getattr(error, "reason", error)), False
            except (ValueError, KeyError, IndexError, TypeError) as error:
                said, lasting = f"its reply is no chat completion ({type(error).__name__}: {error})", True
            if lasting or attempt == ATTEMPTS - 1:
                raise RunError(f"judge {url}: {said}. What it has answered is kept: the same command carries on")
            time.sleep(PAUSE * 2**attempt)
        raise AssertionError


def _read_memory(path: Path) -> dict[str, str]:
    """Whole lines; a last one without its end was cut by a kill, and is taken out so that the next begins anew."""
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        return {line["key"]: line["reply"] for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: not the replies of a judge ({error}). Move it away, and they are asked for anew"
        ) from None
