"""JSON schemas by the package jsonschema, stricter in two ways: a word that the standard does not know is an error, and so is a
reference out of the schema, which nothing fetches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

Schema = Any
NAMED = (
    "properties",
    "patternProperties",
    "dependentSchemas",
    "$defs",
    "definitions",
)  # schemas by a name of one's own
VALUES = ("enum", "const", "default", "examples")  # hold values, and no schemas
SAYS_NOTHING = {
    "$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "title", "description", "default", "examples",
    "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "then", "else", "minContains", "maxContains",
}  # fmt: skip


def fits(value: Any, schema: Schema) -> bool:
    """True if a value is as a JSON schema says.

    >>> fits({"n": 3}, {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
    True
    """
    return _validator(schema).is_valid(value)


def check_schema(schema: Schema) -> None:
    """Raises ValueError for what is no JSON schema, has a word that nothing reads, or refers to what it does not hold."""
    kind = type(_validator(schema))
    for place, rules in _schemas(schema):
        if unknown := [word for word in rules if word not in kind.VALIDATORS and word not in SAYS_NOTHING]:
            known = ", ".join(sorted(kind.VALIDATORS))
            raise ValueError(f"{place} has {unknown[0]!r}, which is not known; there are {known}")
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{'.'.join(['the schema', *map(str, error.path)])}: {error.message}") from None
    found = Resource.from_contents(schema, specification_with(kind.META_SCHEMA["$schema"]))
    resolver = Registry().with_resource("", found).resolver()
    for place, rules in _schemas(schema):
        try:
            resolver.lookup(rules.get("$ref", "#"))
        except Unresolvable:
            raise ValueError(f"{place} refers to {rules['$ref']!r}, which the schema does not hold") from None


def _validator(schema: Schema) -> Validator:
    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def _schemas(schema: Schema, place: str = "the schema") -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and all within it, with where they stand."""
    if isinstance(schema, list):
        for each in cast(list[Any], schema):
            yield from _schemas(each, place)
    if isinstance(schema, dict):
        rules = cast(dict[str, Any], schema)
        yield place, rules
        for word, inner in rules.items():
            if word in NAMED and isinstance(inner, dict):
                for name, each in cast(dict[str, Any], inner).items():
                    yield from _schemas(each, f"{place}.{word}.{name}")
            elif word not in VALUES:
                yield from _schemas(inner, f"{place}.{word}")
