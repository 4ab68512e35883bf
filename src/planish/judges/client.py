"""Questions to an LLM judge, many at once. Its replies are kept, so that nothing is asked, or paid for, twice.

{"key": …, "reply": "A", "tokens_in": 412, "tokens_out": 1, "seconds": 0.8}     a line of the file of replies
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from planish.base.errors import RunError
from planish.base.http import HttpClient, HttpReply, NoAnswerError
from planish.base.notices import warn
from planish.base.parallel import in_threads
from planish.base.progress import track
from planish.judges.config import LlmServerConfig
from planish.judges.questions import response_format
from planish.judges.reading import CUT

ATTEMPTS, PAUSE = 4, 2.0  # requests before giving up, and seconds before the second; doubled each time
LATE_ATTEMPTS = 2  # of a server that is silent: each costs the whole timeout
PATIENCE = 600.0  # seconds to wait in all where a server asks for it
FINISH = 10.0  # seconds for requests under way after one has failed: their replies are paid for
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # HTTP states that may be gone at the next attempt
NO_SUCH_SHAPE = {400, 404, 415, 422, 501}  # what servers say that know no structured answers


Messages = Sequence[Mapping[str, str]]  # {role, content}


@dataclass(frozen=True, slots=True)
class LlmReply:
    """What a model said, the tokens that it read and wrote by the server's count, if it tells, and how long that took."""

    reply: str
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0


class LlmClient:
    """Asks a model many questions at once: texts, or conversations to continue. `replies(questions)` come in their order; each is
    kept in the file `memory`, a line a reply. Where the server can, the reply is JSON with `fields`, if there are any; a reply
    that was cut ends in CUT."""

    def __init__(self, config: LlmServerConfig, memory: Path, fields: Mapping[str, Any] | None) -> None:
        self.config, self.memory = config, memory
        self.http = HttpClient(config, proxies=True)
        self.path = f"{self.http.api}/chat/completions"
        self.known = _read_memory(memory)
        self._shape = response_format(fields) if fields and config.asks_for_json else None
        self._plain = self._shape is None  # or the server has refused the shape
        self._lock, self._told, self._free_at = Lock(), False, 0.0
        self._turn, self._between = 0.0, 60 / config.requests_per_minute if config.requests_per_minute else 0.0

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

    def replies(self, questions: Sequence[str | Messages]) -> list[str]:
        return [found.reply for found in self.ask(questions)]

    def ask(
        self, questions: Sequence[str | Messages], told: Callable[[LlmReply], None] | None = None
    ) -> list[LlmReply]:
        """The replies with what they took. `told` hears of each that had to be asked for, and may raise to stop; without it a bar
        shows how far it is."""
        bodies = [self._body(question) for question in questions]
        keys = [self._key(body) for body in bodies]
        missing = {key: body for key, body in zip(keys, bodies, strict=True) if key not in self.known}
        if missing:
            self._ask_all(missing, told)
        return [self.known[key] for key in keys]

    def is_known(self, question: str | Messages) -> bool:
        """True if the reply is kept."""
        return self._key(self._body(question)) in self.known

    def _key(self, body: Mapping[str, Any]) -> str:
        return hashlib.sha256(json.dumps([body, self._shape]).encode()).hexdigest()

    def _body(self, question: str | Messages) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
        return {
            "model": self.config.model,
            "messages": [dict(message) for message in messages],
            "temperature": 0,
            "max_tokens": self.config.max_tokens,
        }

    def _ask_all(self, missing: Mapping[str, dict[str, Any]], told: Callable[[LlmReply], None] | None) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)

        def ask(item: tuple[str, dict[str, Any]]) -> LlmReply:
            begun, key = time.monotonic(), item[0]
            words, tokens_in, tokens_out = self._ask(item[1])
            found = LlmReply(words, tokens_in, tokens_out, round(time.monotonic() - begun, 3))
            with self._lock, self.memory.open("a", encoding="utf-8") as file:
                self.known[key] = found
                file.write(json.dumps({"key": key, **asdict(found)}) + "\n")
            return found

        items = list(missing.items())
        asked = in_threads(ask, items, self.config.concurrency, FINISH)
        for _, found in asked if told else track(asked, "judging", len(items)):
            if told:
                told(found)

    def _ask(self, body: Mapping[str, Any]) -> tuple[str, int, int]:
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
        """A server that asks one request to wait means all. Requests keep the distance that the settings ask for."""
        with self._lock:
            at = max(time.monotonic(), self._turn)
            self._turn = at + self._between
        time.sleep(max(0.0, at - time.monotonic()))
        while (left := self._free_at - time.monotonic()) > 0:
            time.sleep(left)

    def _tell(self, reason: str, pause: float) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            warn(f"judge {self.http.root}: {reason}; asking again in {pause:.0f} s")

    def _content(self, text: str) -> tuple[str, int, int]:
        """The words of a chat completion, and the tokens that were read and written."""
        try:
            reply = json.loads(text)
            choice = reply["choices"][0]
            words = str(choice["message"]["content"] or "")
            usage = reply.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise self._failed(f"its reply is no chat completion ({type(error).__name__}: {error})") from None
        return words + CUT if choice.get("finish_reason") == "length" else words, *tokens

    def _failed(self, reason: str) -> RunError:
        return RunError(
            f"judge {self.http.root}{self.path}: {reason}. Its replies so far are kept: the same command continues, also with "
            "another base_url, timeout or concurrency"
        )


def _read_memory(path: Path) -> dict[str, LlmReply]:
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
        return {line.pop("key"): LlmReply(**line) for line in lines}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}: not the replies of a judge ({error}). Move it away, and they are asked for again"
        ) from None
