"""Function calls in chat records: OpenAI's `tool_calls`, wrapped or bare, and JSON in a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planish.base.errors import DataError
from planish.data.fields import (
    as_text,
    called,
    child,
    children,
    fault,
    fields,
    is_blank,
    is_list,
    is_object,
    items,
    refuse_odd_numbers,
    text,
)
from planish.data.files.json_stream import RefusedError, parse_json
from planish.data.files.readers import Record
from planish.data.formats.notes import TOOLS, ignore_rest
from planish.data.rows import ToolCall


def calls_of(turn: Record) -> tuple[ToolCall, ...]:
    """The calls in the field `tool_calls` of a message, or in the older `function_call`, which holds one."""
    if fields(turn).get("tool_calls"):
        return tuple(map(_call, children(turn, "tool_calls")))
    return (_call(child(turn, "function_call")),) if fields(turn).get("function_call") else ()


def _call(record: Record) -> ToolCall:
    function = child(record, "function") if "function" in fields(record) else record
    ignore_rest(record, "function", "name", "arguments", "id", "type", "index")
    if function is not record:
        ignore_rest(function, "name", "arguments")
    return ToolCall(text(function, "name"), _arguments(function))


def _arguments(function: Record) -> Mapping[str, Any]:
    """An object or, as OpenAI writes it, its JSON text. A call without arguments may leave them out."""
    value: Any = fields(function).get("arguments")
    if value in (None, ""):
        return {}
    record = child(function, "arguments")
    if isinstance(value, str):
        value = json_of(record, "an object")
    if not is_object(value):
        raise fault(record, f"found {called(value)}, expected an object of arguments.")
    refuse_odd_numbers(record.inside(value, ""))
    return value


def json_of(record: Record, expected: str) -> Any:
    """The value of a JSON text in a field, by the rules of a JSON file."""
    try:
        return parse_json(as_text(record))
    except RefusedError as error:
        raise DataError(f"{record.origin}, field {record.field}{error}") from None
    except ValueError as error:
        raise fault(record, f"not valid JSON: {error}. Expected the JSON text of {expected}.") from None


def calls_in(record: Record) -> tuple[ToolCall, ...]:
    """The calls of a ShareGPT `function_call`: JSON of {name, arguments}, or a list of them. Any other text gives none."""
    value = _parsed(record)
    try:
        calls = [_only_call(one, record) for one in (value if is_list(value) else [value])]
    except ValueError:
        return ()
    return tuple(calls)


def _only_call(value: Any, record: Record) -> ToolCall:
    """Raises ValueError for anything beside name and arguments, which would be lost."""
    if not is_object(value) or value.keys() != {"name", "arguments"} or not isinstance(value["name"], str):
        raise ValueError
    written: Any = value["arguments"]
    arguments: Any = _parsed(record.inside(written, "arguments")) if isinstance(written, str) else written
    if not is_object(arguments):
        raise ValueError
    return ToolCall(value["name"], arguments)


def tools_of(record: Record) -> tuple[Mapping[str, Any], ...]:
    """The schemas in one of the fields TOOLS: a list, or its JSON text."""
    tools = _tools(record)
    if tools is None or isinstance(tools.value, str):
        return ()
    refuse_odd_numbers(tools)
    return tuple(map(fields, items(tools)))


def tools_text(record: Record) -> str:
    """The tools if they are a text without a list: functions described in words."""
    tools = _tools(record)
    return tools.value if tools is not None and isinstance(tools.value, str) else ""


def _tools(record: Record) -> Record | None:
    """The tools of a record, read from JSON where they are its text; None if it has none."""
    named = [name for name in TOOLS if not is_blank(fields(record).get(name))]
    if not named:
        return None
    tools, *others = [child(record, name) for name in named]
    if different := next((other for other in others if other.value != tools.value), None):
        raise fault(different, f"differs from `{tools.field}`; expected one list of functions. Join them.")
    if isinstance(tools.value, str):
        as_text(tools)
        parsed = _parsed(tools)
        return tools.inside(parsed, "") if is_list(parsed) else tools
    return tools


def _parsed(record: Record) -> Any:
    """The value of a JSON text; the text itself if it is no JSON. Raises for JSON that a file may not hold."""
    try:
        return parse_json(record.value)
    except RefusedError as error:
        raise DataError(f"{record.origin}, field {record.field}{error}") from None
    except ValueError:
        return record.value
