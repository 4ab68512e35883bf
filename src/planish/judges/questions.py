"""The questions that an LLM judge is asked, and the shape in which a server that can is asked to answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from planish.data.rows import Prompt

COMPARE = """Below are a conversation and two answers to its last turn. Decide which answer serves the user better: it does what \
was asked, what it says is true, and it leaves out what nobody needs. Neither its place nor its length counts.

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

GRADE = """Below are a conversation and an answer to its last turn. Grade how well the answer serves the user: it does what was \
asked, what it says is true, and it leaves out what nobody needs.

<conversation>
{prompt}
</conversation>

<answer>
{answer}
</answer>

Reply with one number from 1 (useless or harmful) to 10 (could not be better)."""

VERDICT: Mapping[str, Any] = {"verdict": {"type": "string", "enum": ["A", "B", "tie"]}}
NUMBER: Mapping[str, Any] = {"grade": {"type": "number"}}


def fill(question: str, **texts: str) -> str:
    """The question with each {name} replaced; braces within the texts, and others of the question, stay as they are."""
    return re.sub(rf"\{{({'|'.join(texts)})\}}", lambda match: texts[match[1]], question)


def check_question(question: str, names: tuple[str, ...]) -> None:
    """Refuses a question that does not show the judge all that it judges."""
    if missing := [name for name in names if f"{{{name}}}" not in question]:
        raise ValueError(
            f"question: has no {{{missing[0]}}} in it; expected {', '.join(f'{{{name}}}' for name in names)}"
        )


def response_format(fields: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's structured outputs: JSON with exactly these fields."""
    schema = {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": next(iter(fields)), "strict": True, "schema": schema}}


def conversation_text(prompt: Prompt) -> str:
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)
