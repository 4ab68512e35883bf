"""Function calls in chat records: OpenAI's `tool_calls`, wrapped or bare, and JSON in a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from planish.data.fields import as_text, called, child, children, fault, fields, is_list, is_object, items, text
from planish.data.files.readers import Record
from planish.data.rows import ToolCall


def calls_of(turn: Record) -> tuple[ToolCall, ...]:
    """The calls in the field `tool_calls` of a message, or in the older `function_call`, which holds one."""
    if fields(turn).get("tool_calls"):
        return tuple(map(_call, children(turn, "tool_calls")))
    return (_call(child(turn, "function_call")),) if fields(turn).get("function_call") else ()


def _call(record: Record) -> ToolCall:
    function = child(record, "function") if "function" in fields(record) else record
    return ToolCall(text(function, "name"), _arguments(function))


def _arguments(function: Record) -> Mapping[str, Any]:
    """An object or, as OpenAI writes it, its JSON text. A call without arguments may leave them out."""
    value: Any = fields(function).get("arguments")
    if value in (None, ""):
        return {}
    record = child(function, "arguments")
    if isinstance(value, str):
        try:
            value = _parsed(as_text(record))
        except ValueError as error:
            raise fault(record, f"not valid JSON: {error}. Expected the JSON text of an object.") from None
    if not is_object(value):
        raise fault(record, f"found {called(value)}, expected an object of arguments.")
    return value


def calls_in(content: str) -> tuple[ToolCall, ...]:
    """The calls of a ShareGPT `function_call`: JSON of {name, arguments}, or a list of them. Any other text gives none."""
    try:
        value = _parsed(content)
        calls = [_only_call(one) for one in (value if is_list(value) else [value])]
    except ValueError:
        return ()
    return tuple(calls)


def _only_call(value: Any) -> ToolCall:
    """Raises ValueError for anything beside name and arguments, which would be lost."""
    if not is_object(value) or value.keys() != {"name", "arguments"} or not isinstance(value["name"], str):
        raise ValueError
    arguments: Any = _parsed(value["arguments"]) if isinstance(value["arguments"], str) else value["arguments"]
    if not is_object(arguments):
        raise ValueError
    return ToolCall(value["name"], arguments)


def tools_of(record: Record) -> tuple[Mapping[str, Any], ...]:
    """The field `tools`: a list of JSON schemas, or its JSON text."""
    tools = _tools(record)
    return () if isinstance(tools, str) else tuple(map(fields, items(Record(tools, record.origin, "tools"))))


def tools_text(record: Record) -> str:
    """The field `tools` if it is a text without a list: functions described in words."""
    tools = _tools(record)
    return tools if isinstance(tools, str) and tools.strip() else ""


def _tools(record: Record) -> Any:
    value = fields(record).get("tools") or []
    if not isinstance(value, str):
        return value
    try:
        parsed = _parsed(value)
    except ValueError:
        return value
    return parsed if is_list(parsed) else value


def _parsed(content: str) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"a key occurs twice in one object that holds {', '.join(value)}")
    return value
