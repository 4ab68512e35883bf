"""Questions to an LLM judge, many at once. Its replies are kept, so that nothing is asked, or paid for, twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from planish.base.errors import RunError
from planish.base.http import HttpClient, HttpReply, NoAnswerError
from planish.base.notices import warn
from planish.base.parallel import in_threads
from planish.base.progress import track
from planish.judges.config import LlmConfig
from planish.judges.questions import response_format
from planish.judges.reading import CUT

ATTEMPTS, PAUSE = 4, 2.0  # requests before giving up, and seconds before the second; doubled each time
LATE_ATTEMPTS = 2  # of a server that is silent: each costs the whole timeout
PATIENCE = 600.0  # seconds to wait in all where a server asks for it
FINISH = 10.0  # seconds for requests under way after one has failed: their replies are paid for
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # HTTP states that may be gone at the next attempt
NO_SUCH_SHAPE = {400, 404, 415, 422, 501}  # what servers say that know no structured answers


class LlmClient:
    """Asks a model many questions at once. `replies(questions)` come in their order; each is kept in the file `memory`, a line
    a reply. Where the server can, the reply is JSON with `fields`; a reply that was cut ends in CUT."""

    def __init__(self, config: LlmConfig, memory: Path, fields: Mapping[str, Any]) -> None:
        self.config, self.memory = config, memory
        self.http = HttpClient(config, proxies=True)
        self.path = f"{self.http.api}/chat/completions"
        self.known = _read_memory(memory)
        self._shape = response_format(fields) if config.asks_for_json else None
        self._plain = self._shape is None  # or the server has refused the shape
        self._lock, self._told, self._free_at = Lock(), False, 0.0

    def check(self) -> None:
        """Finds out, before anything is done, that nobody answers there or the key is refused."""
        if self.known:
            return  # all that will be asked may have been answered
        try:
            reply = self.http.ask(f"{self.http.api}/models")
        except NoAnswerError as error:
            if not error.late:
                raise self._failed(str(error)) from None
            return
        if reply.status in (401, 403):
            raise self._failed(f"HTTP {reply.status}: {reply.text[:300]}")

    def replies(self, questions: Sequence[str]) -> list[str]:
        bodies = [self._body(question) for question in questions]
        keys = [hashlib.sha256(json.dumps([body, self._shape]).encode()).hexdigest() for body in bodies]
        missing = {key: body for key, body in zip(keys, bodies, strict=True) if key not in self.known}
        if missing:
            self._ask_all(missing)
        return [self.known[key] for key in keys]

    def _body(self, question: str) -> dict[str, Any]:
        return {
            "model": self.config.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": self.config.max_tokens,
        }

    def _ask_all(self, missing: Mapping[str, dict[str, Any]]) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)

        def ask(item: tuple[str, dict[str, Any]]) -> None:
            key, reply = item[0], self._ask(item[1])
            with self._lock, self.memory.open("a", encoding="utf-8") as file:
                self.known[key] = reply
                file.write(json.dumps({"key": key, "reply": reply}) + "\n")

        items = list(missing.items())
        for _ in track(in_threads(ask, items, self.config.concurrency, FINISH), "judging", len(items)):
            pass

    def _ask(self, body: Mapping[str, Any]) -> str:
        """One question, again where that may help: twice in all if no reply comes, four times if the server fails, and for
        as long as it asks to wait."""
        waited, attempt, late = 0.0, 0, 0
        while True:
            self._wait_until_free()
            try:
                reply = self._send(body)
                if reply.status == 200:
                    return self._content(reply.text)
                reason, again = f"HTTP {reply.status}: {reply.text[:300]}", reply.status in PASSING
                pause = reply.retry_after
            except NoAnswerError as error:
                reason, pause, late = str(error), None, late + error.late
                again = late < LATE_ATTEMPTS
            if pause is not None and again:
                if (waited := waited + pause) > PATIENCE:
                    raise self._failed(f"{reason}. It asks to wait {pause:,.0f} seconds")
            else:
                attempt += 1
                pause = PAUSE * 2 ** (attempt - 1)
                if not again or attempt == ATTEMPTS:
                    raise self._failed(reason)
            self._tell(reason, pause)
            self._free_at = max(self._free_at, time.monotonic() + pause)

    def _send(self, body: Mapping[str, Any]) -> HttpReply:
        """With the shape, and without it from the first reply on that refuses it."""
        if self._plain:
            return self._post(body)
        reply = self._post({**body, "response_format": self._shape})
        if reply.status in NO_SUCH_SHAPE:
            plain = self._post(body)
            self._plain = self._plain or plain.status == 200
            return plain
        return reply

    def _post(self, body: Mapping[str, Any]) -> HttpReply:
        return self.http.ask(self.path, json.dumps(body).encode())

    def _wait_until_free(self) -> None:
        """A server that asks one request to wait means all."""
        while (left := self._free_at - time.monotonic()) > 0:
            time.sleep(left)

    def _tell(self, reason: str, pause: float) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            warn(f"judge {self.http.root}: {reason}; asking again in {pause:.0f} s")

    def _content(self, text: str) -> str:
        """The words of a chat completion."""
        try:
            choice = json.loads(text)["choices"][0]
            words = str(choice["message"]["content"] or "")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._failed(f"its reply is no chat completion ({type(error).__name__}: {error})") from None
        return words + CUT if choice.get("finish_reason") == "length" else words

    def _failed(self, reason: str) -> RunError:
        return RunError(
            f"judge {self.http.root}{self.path}: {reason}. Its replies so far are kept: the same command continues, also with "
            "another base_url, timeout or concurrency"
        )


def _read_memory(path: Path) -> dict[str, str]:
    """Whole lines; a last one without its end was cut by a kill, and is taken out so that the next begins on a new line."""
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        lines = [json.loads(line) for line in whole.split(b"\n")[:-1]]
        return {line["key"]: line["reply"] for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: not the replies of a judge ({error}). Move it away, and they are asked for again"
        ) from None
