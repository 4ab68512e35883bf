"""`planish data refuse`: demonstrations of refusing, made from unsafe prompts, and with a served model their safe look-alikes.

Refusals alone teach a model to refuse what sounds harmful. Look-alikes that are answered teach the distinction; a model writes
them here by a prompt of ours, and a person should read them before they are learnt: they are marked `review`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from planish.base.config import Field
from planish.base.errors import ConfigError, DataError
from planish.base.files import as_lines, new_file
from planish.base.notices import warn
from planish.base.plugins import Plugins
from planish.base.random import numpy_generator, subsample
from planish.base.terminal import print_table
from planish.data.chat.tool_calls import as_dicts
from planish.evaluate.refusals.cases import PromptSetConfig, RefusalCase, read_cases
from planish.evaluate.refusals.rules import refusal_rules
from planish.evaluate.refusals.wordings import refusal_of
from planish.judges.client import LlmClient
from planish.judges.config import LlmConfig
from planish.judges.questions import conversation_text, fill
from planish.judges.reading import CUT

LOOK_ALIKE = """Below is a request that an assistant should refuse.

<request>
{prompt}
</request>

Write a request that sounds much like it and is harmless: keep as many of its words as you can, above all the one that sounds \
harmful, and change what makes it harmful. The word may mean something else (to kill a process), be a figure of speech (to kill \
time), have a harmless target (to kill weeds), be in a game or a story, or ask for a meaning or for history. Then answer your \
request as a helpful assistant would, in one to four sentences, without warnings.

Reply with a JSON object that has two texts: "request" and "answer"."""
FIELDS: Mapping[str, Any] = {"request": {"type": "string"}, "answer": {"type": "string"}}


class LookAlikesConfig(LlmConfig):
    """A served model that writes safe look-alikes of unsafe prompts, and answers them."""

    names = ("prompt",)

    max_tokens: int = Field(default=400, ge=1, description="length of its reply; one that thinks aloud needs thousands")
    structured: bool | None = Field(default=True, description="ask for the reply as JSON, where the server can")
    question: str | None = Field(default=None, description="your own words for the task, with {prompt}")


class RefuseConfig(PromptSetConfig):
    """Settings of `planish data refuse`."""

    limit: int | None = Field(default=None, ge=1, description="unsafe prompts to use, drawn by the seed; absent is all")
    wordings: str | None = Field(
        default=None, description="a text file of refusals, one a line; absent is planish's own, which say why"
    )
    look_alikes: LookAlikesConfig | None = Field(
        default=None, description="a served model that writes a safe look-alike for each unsafe prompt"
    )
    seed: int = Field(default=0, ge=0, description="seed of the limit and the wordings")
    plugins: Plugins = ()
    out: str = Field(description="the jsonl file to write")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if Path(self.out).resolve() == Path(self.path).resolve():
            raise ValueError(f"out={self.out}: would write over the file that is read: give it another name")
        return self


@dataclass(frozen=True, slots=True)
class SafetyRow:
    """A demonstration: a refusal with its reason, or the answered look-alike of the unsafe prompt of the same number."""

    messages: list[dict[str, Any]]
    about: dict[str, Any]


def refuse(config: RefuseConfig) -> list[SafetyRow]:
    """Writes a refusal for each unsafe prompt, and its look-alike, and prints how many of which reason."""
    unsafe = [case for case in read_cases(config) if case.unsafe]
    if not unsafe:
        raise DataError(f"{config.path}: no prompt in it is unsafe, so there is nothing to refuse")
    cases = subsample(unsafe, config.limit, config.seed)
    wordings = _wordings(config.wordings)
    rows = [_refusal(case, number, wordings, config.seed) for number, case in enumerate(cases, start=1)]
    if config.look_alikes is not None:
        rows += look_alikes(config.look_alikes, cases, Path(f"{config.out}.replies.jsonl"))
    with new_file(Path(config.out)) as partial:
        partial.write_text(as_lines({"messages": row.messages, "about": row.about} for row in rows), encoding="utf-8")
    counts = Counter(str(row.about.get("reason", "look-alikes, answered")) for row in rows)
    print_table(["reason", "rows"], [[name, f"{count:,}"] for name, count in counts.most_common()])
    return rows


def _refusal(case: RefusalCase, number: int, wordings: Sequence[str], seed: int) -> SafetyRow:
    text, reason = refusal_of(case.prompt.messages[-1].content, seed, number)
    if wordings:
        text = wordings[int(numpy_generator(seed, "refusals", number).integers(len(wordings)))]
    turns = [*as_dicts(case.prompt.messages), {"role": "assistant", "content": text}]
    return SafetyRow(turns, {"label": "unsafe", "pair": number, "reason": reason})


def _wordings(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"wordings={path}: cannot be read as text: {error}") from None
    if not lines:
        raise ConfigError(f"wordings={path}: is empty, expected a refusal on each line")
    return lines


def look_alikes(config: LookAlikesConfig, cases: Sequence[RefusalCase], memory: Path) -> list[SafetyRow]:
    """Those that the model wrote and that can be used: two texts, another request than the unsafe one, and no refusal."""
    client = LlmClient(config, memory, FIELDS)
    client.check()
    question = config.question or LOOK_ALIKE
    replies = client.replies([fill(question, prompt=conversation_text(case.prompt)) for case in cases])
    rows = list(_usable(replies, cases))
    if len(rows) < len(cases):
        warn(
            f"{len(cases) - len(rows)} of {len(cases)} look-alikes are left out: no JSON of request and answer, the request "
            f"itself, or an answer that refuses. The replies are in {memory}"
        )
    return rows


def _usable(replies: Sequence[str], cases: Sequence[RefusalCase]) -> Iterator[SafetyRow]:
    rules = refusal_rules(None)
    for number, (reply, case) in enumerate(zip(replies, cases, strict=True), start=1):
        request, answer = _read(reply)
        new = request and request.lower() != case.prompt.messages[-1].content.strip().lower()
        if new and answer and rules(answer) == "full_compliance":
            turns = [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
            yield SafetyRow(turns, {"label": "safe", "pair": number, "review": "needed"})


def _read(reply: str) -> tuple[str, str]:
    """The two texts of a reply; empty where it has none."""
    text = reply.rpartition("</think>")[2].removesuffix(CUT)
    begin, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[begin : end + 1])
        request, answer = (str(found[name]).strip() for name in FIELDS)
    except (ValueError, KeyError, TypeError):
        return "", ""
    return request, answer
