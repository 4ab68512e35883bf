"""Calls of functions, as chat records spell them: OpenAI's `tool_calls`, the same without its wrapping, JSON in a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from planish.data.fields import as_text, called, child, children, fault, fields, is_list, is_object, items, text
from planish.data.files.readers import Record
from planish.data.rows import ToolCall


def calls_of(turn: Record) -> tuple[ToolCall, ...]:
    """The field `tool_calls` of a message, or the older `function_call`, which holds one."""
    if fields(turn).get("tool_calls"):
        return tuple(map(_call, children(turn, "tool_calls")))
    return (_call(child(turn, "function_call")),) if fields(turn).get("function_call") else ()


def _call(record: Record) -> ToolCall:
    function = child(record, "function") if "function" in fields(record) else record
    return ToolCall(text(function, "name"), _arguments(function))


def _arguments(function: Record) -> Mapping[str, Any]:
    """An object, or the JSON text of one as OpenAI writes it. A call without arguments may leave them out."""
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


def calls_in(said: str) -> tuple[ToolCall, ...]:
    """The calls of a ShareGPT `function_call`: JSON of {name, arguments}, or a list of them. Any other text gives none."""
    try:
        value = _parsed(said)
        found = [_only_call(one) for one in (value if is_list(value) else [value])]
    except ValueError:
        return ()
    return tuple(found)


def _only_call(value: Any) -> ToolCall:
    """A ValueError for anything beside the name and the arguments, which would be lost."""
    if not is_object(value) or value.keys() != {"name", "arguments"} or not isinstance(value["name"], str):
        raise ValueError
    arguments: Any = _parsed(value["arguments"]) if isinstance(value["arguments"], str) else value["arguments"]
    if not is_object(arguments):
        raise ValueError
    return ToolCall(value["name"], arguments)


def tools_of(record: Record) -> tuple[Mapping[str, Any], ...]:
    """The field `tools`: JSON schemas in a list, or the JSON text of one."""
    given = _tools(record)
    return () if isinstance(given, str) else tuple(map(fields, items(Record(given, record.origin, "tools"))))


def tools_text(record: Record) -> str:
    """The field `tools` where it is a text but no list: functions described in words."""
    given = _tools(record)
    return given if isinstance(given, str) and given.strip() else ""


def _tools(record: Record) -> Any:
    value = fields(record).get("tools") or []
    if not isinstance(value, str):
        return value
    try:
        parsed = _parsed(value)
    except ValueError:
        return value
    return parsed if is_list(parsed) else value


def _parsed(said: str) -> Any:
    try:
        return json.loads(said, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"a key occurs twice in one object that holds {', '.join(value)}")
    return value
