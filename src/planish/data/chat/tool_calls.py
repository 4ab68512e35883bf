"""Messages and function calls for a chat template: as transformers' dicts, or in words for a template without calls.

The words are those of Hermes and Qwen, which vLLM's `hermes` parser reads back: `<tool_call>`, JSON, `</tool_call>`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planish.data.rows import Message, ToolCall

Tools = Sequence[Mapping[str, Any]]


def as_dicts(messages: Sequence[Message], arguments_as_text: bool = False) -> list[dict[str, Any]]:
    """The messages in the form of `apply_chat_template`. Ids link replies to calls, as some templates demand. OpenAI's servers
    give `arguments` as JSON text, and some templates (DeepSeek's) expect that."""
    turns: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []  # calls without a reply yet; replies come in their order
    count = 0
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            functions = [
                {"name": call.name, "arguments": _json(call.arguments) if arguments_as_text else dict(call.arguments)}
                for call in message.tool_calls
            ]
            ids = [f"call{count + at:05}" for at in range(len(functions))]  # nine letters and digits, for Mistral
            count += len(ids)
            waiting = [{"type": "function", "id": i, "function": call} for i, call in zip(ids, functions, strict=True)]
            turn["tool_calls"] = list(waiting)
        elif message.role == "tool" and waiting:
            call = waiting.pop(0)
            turn |= {"tool_call_id": call["id"], "name": call["function"]["name"]}
        turns.append(turn)
    return turns


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_schemas(tools: Tools) -> list[Any] | None:
    """The tools in the form that servers pass on, with bare functions wrapped."""
    return [
        dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)} for tool in tools
    ] or None


def in_words(messages: Sequence[Message], tools: Tools, *, replies_too: bool) -> list[Message]:
    """The conversation with its calls written into the content, and the tools into the system turn.

    With `replies_too`, replies of tools become turns of the user, for templates without a role for tools.
    """
    turns = [Message(m.role, _with_calls(m), m.trained) if m.tool_calls else m for m in messages]
    if replies_too:
        turns = list(_replies_by_the_user(turns))
    if tools:
        system = [message.content for message in turns[:1] if message.role == "system" and message.content]
        turns = turns[1:] if turns and turns[0].role == "system" else turns
        turns.insert(0, Message("system", "\n\n".join([*system, _listed(tools)])))
    return turns


def _with_calls(message: Message) -> str:
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
    written = [f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>" for call in calls]
    return "\n".join([message.content, *written] if message.content else written)


def _replies_by_the_user(messages: Sequence[Message]) -> Iterator[Message]:
    """The replies to one turn's calls become one turn, since many templates want user and assistant to alternate."""
    replies: list[str] = []
    for message in messages:
        if message.role == "tool":
            replies.append(f"<tool_response>\n{message.content}\n</tool_response>")
            continue
        if replies:
            yield Message("user", "\n".join(replies))
            replies = []
        yield message
    if replies:
        yield Message("user", "\n".join(replies))


def _listed(tools: Tools) -> str:
    schemas = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in as_schemas(tools) or [])
    return (
        f"You may call these functions:\n<tools>\n{schemas}\n</tools>\n\nTo call one, write its name and arguments as JSON:\n"
        '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>'
    )


def missing(calls: Sequence[ToolCall], text: str) -> list[str]:
    """The names and argument values of calls that a rendered turn lacks."""
    names = [call.name for call in calls]
    absent = [name for name in dict.fromkeys(names) if text.count(name) < names.count(name)]
    leaves = [leaf for call in calls for leaf in _leaves(call.arguments)]
    return absent + [str(leaf) for leaf in leaves if not written(leaf, text)]


def missing_of_tools(tools: Tools, text: str) -> list[str]:
    """The names, descriptions and parameters of functions that a rendered conversation lacks."""
    functions = [tool["function"] for tool in as_schemas(tools) or []]
    said = [function.get(key) or "" for function in functions for key in ("name", "description")]
    parameters = [(function.get("parameters") or {}).get("properties") or {} for function in functions]
    return [str(part) for part in [*said, *(name for names in parameters for name in names)] if not written(part, text)]


def written(value: Any, text: str) -> bool:
    """True if the text has the value, in one of the ways in which templates write it."""
    return any(spelling in text for spelling in _spellings(value))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for name, inside in value.items():
            yield name
            yield from _leaves(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _leaves(inside)
    else:
        yield value


def _spellings(leaf: Any) -> list[str]:
    """The value as JSON, with and without escapes, unchanged, and as Python writes it."""
    if isinstance(leaf, str):
        return [leaf, json.dumps(leaf, ensure_ascii=False)[1:-1], json.dumps(leaf)[1:-1], leaf.strip()]
    return [json.dumps(leaf), repr(leaf)]
