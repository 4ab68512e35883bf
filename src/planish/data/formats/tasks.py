"""Instruction data from a table, as in FLAN (Wei et al. 2022): several phrasings of a task, filled in from its rows.

A task is a YAML file beside its table:

    table: rte.csv
    options: ["yes", "no"]
    labels: {label: {0: "yes", 1: "no"}}
    templates:
      - prompt: "{premise}\n\nDoes it follow that {hypothesis}?\n\n{options_}"
        completion: "{label}"

A field of the table is written in braces, a brace itself twice, and `{options_}` is the list of options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from planish.base.random import numpy_generator
from planish.data.fields import (
    as_text,
    called,
    child,
    children,
    fault,
    fields,
    is_list,
    is_object,
    items,
    optional_text,
    text,
)
from planish.data.files.readers import Record, read
from planish.data.formats.notes import MEDIA, READ, about
from planish.data.formats.registry import importer
from planish.data.formats.verdicts import left_out
from planish.data.rows import Demonstration, Dropped, Message

OPTIONS = "options_"
KNOWN = ("table", "templates", "options", "labels", "per_row", "seed")
PER_ROW = ("one", "all")

TemplatePart = tuple[str, str]  # fixed words, then the field that follows them, or ""


@dataclass(frozen=True, slots=True)
class Template:
    """A phrasing. `number` counts from 1."""

    number: int
    prompt: list[TemplatePart]
    completion: list[TemplatePart]

    @property
    def fields(self) -> set[str]:
        return {name for part in (self.prompt, self.completion) for _, name in part if name}


@dataclass(frozen=True, slots=True)
class TemplateTask:
    """`options` is a list of words, the column of such lists, or None; `labels` are words for the values of a column."""

    record: Record
    templates: list[Template]
    options: list[str] | str | None
    labels: Mapping[str, Mapping[str, str]]
    per_row: str
    seed: int

    def check(self, row: Record) -> None:
        """Raises if this row lacks a field of any template."""
        columns = fields(row)
        for template in self.templates:
            for name in sorted(template.fields - columns.keys() - {OPTIONS}):
                where = Record(None, self.record.origin, f"templates[{template.number - 1}]")
                known = ", ".join(columns)
                problem = (
                    f"the placeholder {{{name}}} of template {template.number} is no column of {row.origin}: {known}."
                )
                raise fault(where, problem)
            if OPTIONS in template.fields and self.options is None:
                where = Record(None, self.record.origin, "options")
                raise fault(where, f"missing, but template {template.number} uses {{{OPTIONS}}}. List them.")
        for name in [*self.labels, *([self.options] if isinstance(self.options, str) else [])]:
            child(row, name)

    def chosen(self, row: Record) -> list[Template]:
        if self.per_row == "all":
            return self.templates
        drawn = numpy_generator(self.seed, "template", row.origin.row).integers(len(self.templates))
        return [self.templates[drawn]]

    def fill(self, template: Template, row: Record) -> Demonstration:
        values = {name: self._value(row, name) for name in template.fields - {OPTIONS}}
        options = self._options(row) if OPTIONS in template.fields else []
        values[OPTIONS] = "\n- ".join(["OPTIONS:", *options])
        prompt, completion = (_filled(parts, values) for parts in (template.prompt, template.completion))
        answers = {completion, *(values[name] for _, name in template.completion if name)}
        if options and answers.isdisjoint(options):
            raise fault(row, f"the answer {completion[:40]!r} is not among the options {', '.join(options)}.")
        for part, filled in (("prompt", prompt), ("completion", completion)):
            as_text(Record(filled, row.origin, f"{part} of template {template.number}"))
        # The task and the phrasing win over columns of the same names.
        notes = about(row, *template.fields, *READ, *MEDIA, judged=False)
        more = {**notes, "task": Path(self.record.origin.file).stem, "template": template.number}
        return Demonstration((Message("user", prompt), Message("assistant", completion)), row.origin, about=more)

    def _value(self, row: Record, name: str) -> str:
        record = child(row, name)
        if name not in self.labels:
            return _word(record)
        words, value = self.labels[name], _spelt(record.value)
        if value not in words:
            raise fault(record, f"found {value[:40]!r}, which has no label; expected one of {', '.join(words)}.")
        return words[value]

    def _options(self, row: Record) -> list[str]:
        return list(map(_word, children(row, self.options))) if isinstance(self.options, str) else self.options or []


def _word(record: Record) -> str:
    """A text, or the text of a number."""
    if isinstance(record.value, bool) or not isinstance(record.value, str | int | float):
        raise fault(record, f"found {called(record.value)}, expected a text or a number. Give it words with `labels`.")
    return as_text(record, blank=True) if isinstance(record.value, str) else str(record.value)


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _filled(parts: list[TemplatePart], values: Mapping[str, str]) -> str:
    return "".join(words + (values[name] if name else "") for words, name in parts)


@importer("flan_task", Demonstration, recognized_by=("templates", "table"))
def flan_task(record: Record) -> Iterator[Demonstration | Dropped]:
    """Rows of the table in the words of a template, drawn by the seed and the row's number, or of each (`per_row`)."""
    task = _task(record)
    for number, row in enumerate(read(_table(record))):
        if not is_object(row.value):
            raise fault(row, f"found {called(row.value)}, expected a row with named columns.")
        if number == 0:
            task.check(row)
        if reason := left_out(row):
            yield Dropped(row.origin, reason)
            continue
        for template in task.chosen(row):
            yield task.fill(template, row)


def _table(record: Record) -> Path:
    table = Path(record.origin.file).expanduser().parent / text(record, "table")
    if not table.exists():
        raise fault(child(record, "table"), f"there is no {table}. The path is relative to the folder of this file.")
    return table


def _task(record: Record) -> TemplateTask:
    for name in fields(record):
        if name not in KNOWN:
            raise fault(child(record, name), f"unknown; the fields of a task are {', '.join(KNOWN)}.")
    templates = [_template(number, part) for number, part in enumerate(children(record, "templates"), start=1)]
    if not templates:
        raise fault(child(record, "templates"), "empty, expected at least one {prompt, completion}.")
    per_row = optional_text(record, "per_row") or PER_ROW[0]
    if per_row not in PER_ROW:
        raise fault(child(record, "per_row"), f"found {per_row!r}, expected {' or '.join(PER_ROW)}.")
    return TemplateTask(record, templates, _options_of(record), _labels(record), per_row, _seed(record))


def _seed(record: Record) -> int:
    value: Any = fields(record).get("seed") or 0
    try:
        return int(value)  # YAML files are read as texts
    except (TypeError, ValueError):
        raise fault(child(record, "seed"), f"found {value!r}, expected a whole number.") from None


def _options_of(record: Record) -> list[str] | str | None:
    value = fields(record).get("options")
    if value is None:
        return None
    options = child(record, "options")
    if is_object(value) and value.keys() == {"column"}:
        return text(options, "column")
    if not is_list(value) or not value:
        raise fault(options, f"found {called(value)}, expected a list of words, or {{column: name}}.")
    return list(map(_word, items(options)))


def _labels(record: Record) -> dict[str, dict[str, str]]:
    if fields(record).get("labels") is None:
        return {}
    labels = child(record, "labels")
    return {
        column: {_spelt(value): _word(child(child(labels, column), value)) for value in fields(child(labels, column))}
        for column in fields(labels)
    }


def _template(number: int, record: Record) -> Template:
    if fields(record).keys() - {"prompt", "completion"}:
        raise fault(record, f"found the fields {', '.join(fields(record))}, expected prompt and completion.")
    return Template(number, _parts(child(record, "prompt")), _parts(child(record, "completion")))


def _parts(record: Record) -> list[TemplatePart]:
    try:
        parts = list(Formatter().parse(as_text(record)))
    except ValueError as error:
        raise fault(record, f"{error}. Write braces that are no placeholder twice.") from None
    for _, name, spec, conversion in parts:
        if name == "" or spec or conversion:
            raise fault(record, f"found {{{name}}} with a format; expected the name of a column alone in braces.")
    return [(words, name or "") for words, name, _, _ in parts]
