"""JSON schemas, as far as they are used to describe answers. A word of a schema that is not known here is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

Schema = Any
Check = Callable[[Any, Any, Schema, Schema], bool]  # of a value, a word's own value, the schema and the root
SAYS_NOTHING = {
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "format",
}
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: TYPES["number"](value) and value == int(value),
}


def of(kind: str, holds: Callable[[Any, Any], bool]) -> Check:
    """A check of values of one type; others pass."""
    return lambda value, rule, schema, root: not TYPES[kind](value) or holds(value, rule)


def _listed(rule: Any) -> list[Any]:
    return cast(list[Any], rule) if isinstance(rule, list) else [rule]


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _properties(value: Any, rule: Any, schema: Schema, root: Schema) -> bool:
    return not isinstance(value, dict) or all(
        fits(value[name], inner, root) for name, inner in rule.items() if name in value
    )


def _additional(value: Any, rule: Any, schema: Schema, root: Schema) -> bool:
    known = schema.get("properties", {})
    return not isinstance(value, dict) or all(
        fits(inner, rule, root) for name, inner in cast(dict[str, Any], value).items() if name not in known
    )


CHECKS: dict[str, Check] = {
    "type": lambda value, rule, schema, root: any(TYPES[name](value) for name in _listed(rule)),
    "enum": lambda value, rule, schema, root: any(_same(value, each) for each in rule),
    "const": lambda value, rule, schema, root: _same(value, rule),
    "minimum": of("number", lambda value, rule: value >= rule),
    "maximum": of("number", lambda value, rule: value <= rule),
    "exclusiveMinimum": of("number", lambda value, rule: value > rule),
    "exclusiveMaximum": of("number", lambda value, rule: value < rule),
    "multipleOf": of("number", lambda value, rule: value % rule == 0),
    "minLength": of("string", lambda value, rule: len(value) >= rule),
    "maxLength": of("string", lambda value, rule: len(value) <= rule),
    "pattern": of("string", lambda value, rule: re.search(rule, value) is not None),
    "minItems": of("array", lambda value, rule: len(value) >= rule),
    "maxItems": of("array", lambda value, rule: len(value) <= rule),
    "uniqueItems": of("array", lambda value, rule: not rule or all(value.count(each) == 1 for each in value)),
    "items": lambda value, rule, schema, root: (
        not isinstance(value, list) or all(fits(each, rule, root) for each in cast(list[Any], value))
    ),
    "minProperties": of("object", lambda value, rule: len(value) >= rule),
    "maxProperties": of("object", lambda value, rule: len(value) <= rule),
    "required": of("object", lambda value, rule: all(name in value for name in rule)),
    "properties": _properties,
    "additionalProperties": _additional,
    "allOf": lambda value, rule, schema, root: all(fits(value, each, root) for each in rule),
    "anyOf": lambda value, rule, schema, root: any(fits(value, each, root) for each in rule),
    "oneOf": lambda value, rule, schema, root: sum(fits(value, each, root) for each in rule) == 1,
    "not": lambda value, rule, schema, root: not fits(value, rule, root),
    "$ref": lambda value, rule, schema, root: fits(value, _referred(rule, root), root),
}


def fits(value: Any, schema: Schema, root: Schema | None = None) -> bool:
    """True if a value is as a JSON schema says.

    >>> fits({"n": 3}, {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
    True
    """
    if isinstance(schema, bool):
        return schema
    root = schema if root is None else root
    return all(CHECKS[word](value, rule, schema, root) for word, rule in schema.items() if word not in SAYS_NOTHING)


def check_schema(schema: Any, root: Any = None, place: str = "the schema") -> None:
    """Raises ValueError for what `fits` could not read."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise ValueError(f"{place} is {schema!r}, expected an object")
    rules = cast(dict[str, Any], schema)
    if unknown := [word for word in rules if word not in CHECKS and word not in SAYS_NOTHING]:
        raise ValueError(f"{place} has {unknown[0]!r}, which is not known here; there are {', '.join(CHECKS)}")
    if odd := [name for name in _listed(rules.get("type", [])) if name not in TYPES]:
        raise ValueError(f"{place} has the type {odd[0]!r}; there are {', '.join(TYPES)}")
    if "$ref" in rules:
        _referred(rules["$ref"], root)
    for word, inner in _inner(rules):
        check_schema(inner, root, f"{place}.{word}")


def _inner(rules: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The schemas within a schema."""
    several = [(word, each) for word in ("allOf", "anyOf", "oneOf") for each in rules.get(word, [])]
    named = [
        (f"{word}.{name}", each)
        for word in ("properties", "$defs", "definitions")
        for name, each in rules.get(word, {}).items()
    ]
    return [(w, rules[w]) for w in ("items", "additionalProperties", "not") if w in rules] + several + named


def _referred(reference: str, root: Schema) -> Schema:
    """The part of the root that "#/$defs/name" names."""
    found: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        found = cast(dict[str, Any], found).get(name) if isinstance(found, dict) else None
    if found is None or not reference.startswith("#"):
        raise ValueError(f"the schema refers to {reference!r}, which it does not hold")
    return found
