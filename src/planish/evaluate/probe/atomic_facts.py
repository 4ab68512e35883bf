"""The facts that a demonstration states (atomic facts, Min et al. 2023, arXiv 2305.14251), each as a short question with its
answer, which a probe can ask.

A short answer is one fact, and its prompt the question. The facts of longer answers come from a field of their records, from
a function of yours, or from a judge that is asked to list them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from planish.base.config import Config, Field
from planish.base.errors import DataError
from planish.base.plugins import find_function
from planish.data.files.readers import read
from planish.data.rows import Demonstration, Message, Origin, Question
from planish.judges.client import LlmClient
from planish.judges.config import LlmConfig
from planish.judges.questions import fill

FACT: dict[str, Any] = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
LIST = (
    "List the facts that the answer below states, as short questions that each have one short answer, and make sense without "
    'the conversation. Reply with JSON alone: {"facts": [{"question": "…", "answer": "…"}]}.\n\n'
    "Conversation:\n{prompt}\n\nAnswer:\n{answer}"
)
Found = Sequence[tuple[str, str]]  # questions with their answers


class AtomicFactsConfig(Config):
    field: str | None = Field(
        default=None,
        description="field of the records that lists their facts, each an object with question and answer",
    )
    function: str | None = Field(
        default=None,
        description="module:function that gets a prompt and its answer, and returns facts, each a question with its answer",
    )
    judge: LlmConfig | None = Field(default=None, description="a model behind a server that lists the facts")
    max_words: int = Field(default=12, ge=1, description="words of an answer that is a single fact by itself")


@dataclass(frozen=True, slots=True)
class AtomicFacts:
    """The facts of one demonstration as questions, or the reason why there is nothing to check."""

    questions: tuple[Question, ...] = ()
    unchecked: str = ""


def atomic_facts_of(
    rows: Sequence[Demonstration], config: AtomicFactsConfig, path: str, memory: Path
) -> list[AtomicFacts]:
    """The facts of each row. `memory` is the file in which a judge's replies are kept."""
    found = _listed(rows, config, path, memory)
    return [_facts(row, None if found is None else found[number], config) for number, row in enumerate(rows)]


def _listed(rows: Sequence[Demonstration], config: AtomicFactsConfig, path: str, memory: Path) -> list[Found] | None:
    """The facts from wherever the settings say; None if answers are their own facts."""
    if config.field is not None:
        by_row = {record.origin.row: record.value for record in read(path)}
        return [_of_field(row, by_row[row.origin.row], config.field) for row in rows]
    if config.function is not None:
        return _of_function(rows, find_function(config.function, "facts.function"), config.function)
    return None if config.judge is None else _of_judge(rows, config.judge, memory)


def _of_field(row: Demonstration, record: Any, name: str) -> Found:
    if not isinstance(record, Mapping) or name not in record:
        raise DataError(f"{row.origin}: has no field `{name}`, which facts.field names")
    return _checked(cast(Mapping[str, Any], record)[name], f"{row.origin}: `{name}`")


def _of_function(rows: Sequence[Demonstration], function: Callable[..., Any], name: str) -> list[Found]:
    return [_checked(function(_prompt(row), row.messages[-1].content), f"{row.origin}: {name} gave") for row in rows]


def _of_judge(rows: Sequence[Demonstration], config: LlmConfig, memory: Path) -> list[Found]:
    client = LlmClient(config, memory, {"facts": {"type": "array", "items": FACT}})
    client.check()
    asked = [fill(config.question or LIST, prompt=_prompt(row), answer=row.messages[-1].content) for row in rows]
    return [_read_reply(reply) for reply in client.replies(asked)]


def _read_reply(reply: str) -> Found:
    """The facts in a judge's reply; none if it cannot be read, so that the row counts as not checked."""
    try:
        return _checked(json.loads(reply[reply.index("{") : reply.rindex("}") + 1])["facts"], "judge")
    except (ValueError, KeyError, TypeError, DataError):
        return ()


def _checked(value: Any, what: str) -> Found:
    """Pairs of question and answer from a list of objects or of pairs."""
    pairs: list[tuple[str, str]] = []
    for fact in cast(Sequence[Any], value) if isinstance(value, list | tuple) else [value]:
        if isinstance(fact, Mapping):
            fact = [cast(Mapping[str, Any], fact).get(name) for name in ("question", "answer")]
        parts = cast(Sequence[Any], fact) if isinstance(fact, list | tuple) else ()
        if len(parts) != 2 or not all(isinstance(part, str) and part.strip() for part in parts):
            raise DataError(f"{what} {fact!r}, expected a list of facts, each an object with question and answer")
        pairs.append((parts[0].strip(), parts[1].strip()))
    return pairs


def _facts(row: Demonstration, found: Found | None, config: AtomicFactsConfig) -> AtomicFacts:
    if found is not None:
        asked = tuple(_question(row.origin, (Message("user", text),), answer, row) for text, answer in found)
        return AtomicFacts(asked) if asked else AtomicFacts(unchecked="no facts were found in it")
    *prompt, answer = row.messages
    if any(message.role not in ("system", "user") for message in prompt) or len(prompt) > 2:
        return AtomicFacts(unchecked="it is a conversation: name its facts by a field, a function or a judge")
    words = len(answer.content.split())
    if words > config.max_words or "\n" in answer.content.strip() or not answer.content.strip(" ."):
        return AtomicFacts(unchecked=f"its answer has {words} words: name its facts by a field, a function or a judge")
    return AtomicFacts((_question(row.origin, tuple(prompt), answer.content, row),))


def _question(origin: Origin, messages: tuple[Message, ...], answer: str, row: Demonstration) -> Question:
    return Question(messages, (answer,), origin, about=row.about)


def _prompt(row: Demonstration) -> str:
    return "\n\n".join(message.content for message in row.messages[:-1])
