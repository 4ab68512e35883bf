"""An LLM as a judge: it is shown both answers, in both orders, and names the better one. Its replies are kept, so that nothing
is asked, or paid for, twice."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import Literal

from planish.base.errors import RunError
from planish.base.http import HttpClient, NoAnswerError
from planish.base.progress import track
from planish.data.rows import Prompt
from planish.judges.base import AnswerTexts, JudgedAnswers, Verdicts
from planish.judges.config import LlmConfig, LlmJudgeConfig

ATTEMPTS, PAUSE = 4, 2.0  # requests before giving up, and seconds before the second; doubled each time
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # HTTP states that may be gone at the next attempt

ASK = """Below are a conversation and two answers to its last turn. Decide which answer serves the user better: it does what was \
asked, what it says is true, and it leaves out what nobody needs. Neither its place nor its length counts.

<conversation>
{prompt}
</conversation>

<answer A>
{first}
</answer A>

<answer B>
{second}
</answer B>

Reply with one word: A, B, or tie."""
_WORD, _ECHO = re.compile(r"\b(A|B|tie)\b", re.IGNORECASE), re.compile(r"\bA, B,? or tie\b", re.IGNORECASE)

Choice = Literal["first", "second", "tie", "unread"]
SWAPPED: dict[str, Choice] = {"first": "second", "second": "first", "tie": "tie", "unread": "unread"}
OUTCOME: dict[str, float] = {"first": 1.0, "second": 0.0, "tie": 0.5}


class LlmJudge:
    """Judges by questions in words; gives no scores."""

    def __init__(self, config: LlmJudgeConfig, memory: Path) -> None:
        self.client = LlmClient(config, memory)

    def judge(self, prompts: Sequence[Prompt], answers: Mapping[str, AnswerTexts], baseline: str) -> JudgedAnswers:
        others = [name for name in answers if name != baseline]
        return JudgedAnswers({}, {name: self.verdicts(prompts, answers[name], answers[baseline]) for name in others})

    def verdicts(self, prompts: Sequence[Prompt], own: AnswerTexts, baseline: AnswerTexts) -> Verdicts:
        """Equal answers are a tie without a question. Two replies that name the same answer are a verdict; else a tie."""
        pairs = [
            (i, k, a, b)
            for i, (ours, theirs) in enumerate(zip(own, baseline, strict=True))
            for k, (a, b) in enumerate(zip(ours, theirs, strict=True))
            if a != b
        ]
        questions = [
            ASK.format(prompt=conversation_text(prompts[i]), first=first, second=second)
            for i, _, a, b in pairs
            for first, second in ((a, b), (b, a))
        ]
        choices = [read_reply(reply) for reply in self.client.replies(questions)]
        outcomes = [[0.5] * len(ours) for ours in own]
        split = unread = 0
        for (i, k, _, _), one, other in zip(pairs, choices[::2], choices[1::2], strict=True):
            if "unread" in (one, other):
                unread += 1
            elif one != SWAPPED[other]:
                split += 1
            else:
                outcomes[i][k] = OUTCOME[one]
        return Verdicts(outcomes, split, unread)


def conversation_text(prompt: Prompt) -> str:
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)


def read_reply(reply: str) -> Choice:
    """The last of the words A, B and tie: a judge that thinks aloud ends with its verdict. A quote of the question is none."""
    words = _WORD.findall(_ECHO.sub("", reply))
    # "a" is an article, too: a small one counts only as the whole reply
    words = [word for word in words if word != "a" or reply.strip(" .\n") == "a"]
    if not words:
        return "unread"
    choices: dict[str, Choice] = {"a": "first", "b": "second", "tie": "tie"}
    return choices[words[-1].lower()]


class LlmClient:
    """Asks a model many questions at once. `replies(questions)` come in their order; each is kept in the file `memory`, a line
    a reply."""

    def __init__(self, config: LlmConfig, memory: Path) -> None:
        self.config, self.memory = config, memory
        self.http = HttpClient(config, proxies=True)
        self.known = _read_memory(memory)

    def replies(self, questions: Sequence[str]) -> list[str]:
        requests = [self._request(question) for question in questions]
        keys = [hashlib.sha256(self.config.base_url.encode() + request).hexdigest() for request in requests]
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.known}
        if missing:
            self._ask_all(missing)
        return [self.known[key] for key in keys]

    def _ask_all(self, missing: Mapping[str, bytes]) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        pool, lock = ThreadPoolExecutor(self.config.concurrency), Lock()
        with self.memory.open("a", encoding="utf-8") as file:

            def ask(key: str, request: bytes) -> None:
                reply = self._ask(request)
                with lock:
                    self.known[key] = reply
                    file.write(json.dumps({"key": key, "reply": reply}) + "\n")
                    file.flush()

            futures = [pool.submit(ask, key, request) for key, request in missing.items()]
            try:
                for future in track(as_completed(futures), "judging", len(futures)):
                    future.result()
            finally:
                pool.shutdown(cancel_futures=True)  # those under way are still written

    def _request(self, question: str) -> bytes:
        body = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": self.config.max_tokens,
        }
        return json.dumps(body).encode()

    def _ask(self, body: bytes) -> str:
        path = f"{self.http.api}/chat/completions"
        for attempt in range(ATTEMPTS):
            try:
                status, text = self.http.ask(path, body)
                if status == 200:
                    return str(json.loads(text)["choices"][0]["message"]["content"] or "")
                reason, lasting = f"HTTP {status}: {text[:300]}", status not in PASSING
            except NoAnswerError as error:
                reason, lasting = str(error), False
            except (ValueError, KeyError, IndexError, TypeError) as error:
                reason, lasting = f"its reply is no chat completion ({type(error).__name__}: {error})", True
            if lasting or attempt == ATTEMPTS - 1:
                raise RunError(
                    f"judge {self.http.root}{path}: {reason}. Its replies so far are kept: the same command continues"
                )
            time.sleep(PAUSE * 2**attempt)
        raise AssertionError


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
        lines = [json.loads(line) for line in whole.splitlines()]
        return {line["key"]: line["reply"] for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: not the replies of a judge ({error}). Move it away, and they are asked for again"
        ) from None
