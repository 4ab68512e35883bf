"""Conversion of any known format into the common ones: a JSON object for each row, with its origin.

The formats messages, text, comparison, judged, prompt and question read the result back. A row keeps its `about`;
`origin` is its file and row. Parquet has one schema for all rows, so values that differ from row to row (`about`, tools
and their arguments) are JSON text there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from planish.base.config import Config, Field
from planish.base.errors import ConfigError, DataError
from planish.base.files import json_line, new_file
from planish.base.plugins import Plugins
from planish.base.progress import track
from planish.base.random import subsample
from planish.data.cleaning.run import Cleaning, CleaningConfig, RowSource, clean
from planish.data.formats.mapping import Columns, ColumnsSetting
from planish.data.formats.registry import KINDS, open_files, stream_rows
from planish.data.rows import (
    Comparison,
    Demonstration,
    Dropped,
    Judged,
    Message,
    Prompt,
    Question,
    Row,
    Text,
    values_of,
)

KindName = Literal["demonstrations", "documents", "comparisons", "judged", "prompts", "questions"]
KIND_NAMES = {name.split()[0]: kind for kind, name in KINDS.items()}
ENDINGS = (".jsonl", ".parquet")
CLEANED: tuple[KindName, ...] = ("demonstrations", "documents", "comparisons")
FEW = 20  # left-out rows that are shown
GROUP = 10_000  # rows of a parquet row group

Line = dict[str, Any]


@dataclass(slots=True)
class Converted:
    """The result of a conversion. All rows left out are in the file `dropped_file`, the first also here."""

    out: Path
    kind: KindName
    rows: int = 0
    dropped: int = 0
    first_dropped: list[Dropped] = field(default_factory=list[Dropped])
    leaks: list[Dropped] = field(default_factory=list[Dropped])  # rows of an evaluation set, written or not

    @property
    def dropped_file(self) -> Path:
        """A file beside `out`. Its ending is not read as data, so a folder of converted files can be a source."""
        return self.out.with_name(f"{self.out.name}.dropped")


class ConvertConfig(Config):
    files: tuple[str, ...] = Field(min_length=1, description="files to read, in this order")
    out: str = Field(description="path of the .jsonl or .parquet file to write")
    kind: KindName | None = Field(default=None, description="kind of rows to write; absent is the files' only kind")
    plugins: Plugins = ()
    format: str = Field(default="auto", description="name of the format; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    cleaning: CleaningConfig | None = Field(default=None, description="rows to leave out; none by default")
    pairs: bool = Field(
        default=False,
        description="a row for each pair of a comparison whose completions are not tied; ties alone give none",
    )
    where: dict[str, tuple[str, ...]] = Field(
        default={}, description="values of fields of `about`, {category: [Unknown]}; rows with others are not written"
    )
    limit: int | None = Field(
        default=None, ge=1, description="number of rows to write, drawn by the seed; absent is all"
    )
    by: str | None = Field(
        default=None, description="field of `about` each of whose values gets an equal part of the limit"
    )
    seed: int = Field(default=0, ge=0, description="seed of the limit")


def convert(config: ConvertConfig) -> Converted:
    """Writes the rows of one kind to `config.out`, which is there as a whole or not at all."""
    paths, out, rules = config.files, Path(config.out), config.cleaning
    _check_out(paths, out)
    done = Converted(out, config.kind or _only_kind(paths, config.format, config.columns))
    files = [
        _File(path, KIND_NAMES[done.kind], config.format, config.columns, config.kind is not None) for path in paths
    ]
    if rules is not None and done.kind not in CLEANED:
        raise ConfigError(f"{done.kind} cannot be cleaned; {', '.join(CLEANED)} can")
    cleaning = clean(cast("list[RowSource]", files), rules) if rules else Cleaning([{} for _ in files], [])
    done.leaks = [Dropped(leak.origin, leak.reason) for leaks in cleaning.leaks for leak in leaks]
    with new_file(out) as partial, new_file(done.dropped_file) as dropped:
        with _writer(out, partial, done.kind) as write, dropped.open("w", encoding="utf-8") as left_out:
            for row in track(choose(_kept(files, cleaning), config), "converting"):
                if isinstance(row, Dropped):
                    _note(done, row)
                    left_out.write(json_line(row.as_record))
                else:
                    for part in _pairs(row) if config.pairs else (row,):
                        write(line(part))
                        done.rows += 1
        if not done.rows:
            first = f"; the first because: {done.first_dropped[0].reason}" if done.dropped else ""
            first += f"; `where` is {config.where}" if config.where else ""
            raise DataError(f"{', '.join(paths)}: no row to write: {done.dropped} were left out{first}")
    if not done.dropped:
        done.dropped_file.unlink()
    return done


def choose(rows: Iterable[Row | Dropped], config: ConvertConfig) -> Iterator[Row | Dropped]:
    """The rows that `where` and `limit` leave; those that are dropped pass."""
    wanted = (row for row in rows if isinstance(row, Dropped) or _fits(row, config.where))
    if config.limit is None:
        yield from wanted
        return
    chosen: list[Row] = []
    for row in wanted:
        if isinstance(row, Dropped):
            yield row
        else:
            chosen.append(row)
    if config.by is None or not chosen:
        yield from subsample(chosen, config.limit, config.seed)
        return
    groups: dict[str, list[Row]] = {}
    for row, value in zip(chosen, values_of(chosen, config.by), strict=True):
        groups.setdefault(value, []).append(row)
    for i, (value, own) in enumerate(sorted(groups.items())):
        part = (i + 1) * config.limit // len(groups) - i * config.limit // len(groups)
        if len(own) < part:
            raise DataError(f"limit={config.limit}: {config.by}={value} has {len(own)} rows, its part would be {part}")
        yield from subsample(own, part, config.seed)


def _fits(row: Row, where: Mapping[str, Sequence[str]]) -> bool:
    return all(str(row.about.get(field)) in values for field, values in where.items())


def line(row: Row) -> Line:
    """A row as a JSON object without empty fields."""
    value: Line
    match row:
        case Demonstration():
            value = {"messages": _messages(row.messages), "tools": [dict(tool) for tool in row.tools]}
        case Text():
            value = {"text": row.text}
        case Comparison():
            value = {
                "prompt": _messages(row.prompt),
                "completions": _messages(row.completions),
                "ranks": list(row.ranks),
                "scores": list(row.scores),
                "annotator": row.annotator,
                "group": row.group,
                "tools": [dict(tool) for tool in row.tools],
            }
        case Judged():
            completion = _message(row.completion)
            value = {"prompt": _messages(row.prompt), "completion": completion, "verdict": row.verdict}
            value["annotator"] = row.annotator
        case Prompt():
            value = {"prompt": _messages(row.messages), "follow_ups": list(row.follow_ups)}
            value["tools"] = [dict(tool) for tool in row.tools]
        case Question():
            value = {"prompt": _messages(row.messages), "answers": list(row.answers)}
            value["wrong_answers"] = list(row.wrong_answers)
    origin = {"file": row.origin.file, "row": row.origin.row}
    filled = {key: v for key, v in {**value, "about": dict(row.about)}.items() if v not in ("", [], {})}
    return {**filled, "origin": origin}


def _messages(messages: Sequence[Message]) -> list[Line]:
    return [_message(message) for message in messages]


def _message(message: Message) -> Line:
    value: Line = {"role": message.role, "content": message.content}
    if message.tool_calls:
        value["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    return value if message.trained else {**value, "loss_weight": 0}


@dataclass(frozen=True, slots=True)
class _File:
    """The rows of one kind in a file, read again on each iteration."""

    name: str
    kind: type[Row]
    format: str
    columns: Columns | None
    asked: bool  # for this kind by name: questions become demonstrations of their first answer

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self.all() if not isinstance(row, Dropped))

    def all(self) -> Iterator[Row | Dropped]:
        kinds = (self.kind, Question) if self.asked and self.kind is Demonstration else (self.kind,)
        for row in stream_rows(self.name, kinds, self.format, self.columns):
            if isinstance(row, Question) and len(kinds) > 1 and row.answers:
                answer = Message("assistant", row.answers[0])
                yield Demonstration((*row.messages, answer), row.origin, about=row.about)
            elif isinstance(row, Dropped | self.kind):
                yield row
            else:
                yield Dropped(row.origin, f"it is one of the {KINDS[type(row)]}, not of the {KINDS[self.kind]}")


def _kept(files: Sequence[_File], cleaning: Cleaning) -> Iterator[Row | Dropped]:
    for file, removed in zip(files, cleaning.removed, strict=True):
        number = 0
        for row in file.all():
            gone = None if isinstance(row, Dropped) else removed.get(number)
            number += not isinstance(row, Dropped)
            yield Dropped(row.origin, gone.reason) if gone else row


def _pairs(row: Row) -> Iterator[Row]:
    if not isinstance(row, Comparison):
        yield row
        return
    for pair in row.pairs:
        completions, scores = tuple(row.completions[i] for i in pair), tuple(row.scores[i] for i in pair if row.scores)
        yield replace(row, completions=completions, ranks=(0, 1), scores=scores)


def _note(done: Converted, row: Dropped) -> None:
    done.dropped += 1
    if len(done.first_dropped) < FEW:
        done.first_dropped.append(row)


def _check_out(paths: Sequence[str], out: Path) -> None:
    if out.suffix not in ENDINGS:
        raise ConfigError(f"{out}: cannot write a file of this kind; end its name in {' or '.join(ENDINGS)}")
    if out.resolve() in [Path(path).resolve() for path in paths]:
        raise ConfigError(f"{out}: is one of the files to convert; give the result another name")


def _only_kind(paths: Sequence[str], format: str, columns: Columns | None) -> KindName:
    chosen, _, _ = next(open_files(paths[0], format, columns))
    held = [name for name, kind in KIND_NAMES.items() if kind in chosen.importers]
    if len(held) > 1:
        raise ConfigError(f"{paths[0]}: read as {chosen.name}, it holds {' and '.join(held)}: say which with --as")
    return cast("KindName", held[0])


@contextmanager
def _writer(out: Path, partial: Path, kind: KindName) -> Generator[Callable[[Line], None]]:
    if out.suffix == ".parquet":
        writer = _Parquet(partial, kind)
        try:
            yield writer.write
        finally:
            writer.close()
    else:
        with partial.open("w", encoding="utf-8") as file:
            yield lambda value: print(json_line(value), end="", file=file)


class _Parquet:
    """A parquet file written in groups of rows, so that memory does not grow with it."""

    def __init__(self, path: Path, kind: KindName) -> None:
        import pyarrow
        import pyarrow.parquet

        self._arrow: Any = pyarrow
        self._open: Any = pyarrow.parquet.ParquetWriter
        self._path, self._kind = path, kind
        self._writer: Any = None
        self._waiting: list[Line] = []
        self._verdict: type | None = None

    def write(self, value: Line) -> None:
        if "verdict" in value:
            self._check_verdict(value)
        self._waiting.append(_flat(value))
        if len(self._waiting) == GROUP:
            self._flush()

    def close(self) -> None:
        if self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _check_verdict(self, value: Line) -> None:
        """Refuses a verdict of another type than the first: a column has one type."""
        self._verdict = self._verdict or type(value["verdict"])
        if type(value["verdict"]) is not self._verdict:
            origin = value["origin"]
            raise DataError(
                f"{origin['file']} row {origin['row']}, field verdict: found {value['verdict']!r}, while earlier verdicts are "
                f"of the type {self._verdict.__name__}. A parquet column has one type; write .jsonl, or convert them separately."
            )

    def _flush(self) -> None:
        schema = self._schema()
        if self._writer is None:
            self._writer = self._open(self._path, schema)
        self._writer.write_table(self._arrow.Table.from_pylist(self._waiting, schema=schema))
        self._waiting = []

    def _schema(self) -> Any:
        pa = self._arrow
        text, whole = pa.string(), pa.int64()
        function = pa.struct([("name", text), ("arguments", text)])
        calls = pa.list_(pa.struct([("type", text), ("function", function)]))
        message = pa.struct([("role", text), ("content", text), ("tool_calls", calls), ("loss_weight", whole)])
        messages, texts = pa.list_(message), pa.list_(text)
        columns: dict[str, list[tuple[str, Any]]] = {
            "demonstrations": [("messages", messages), ("tools", text)],
            "documents": [("text", text)],
            "comparisons": [
                ("prompt", messages),
                ("completions", messages),
                ("ranks", pa.list_(whole)),
                ("scores", pa.list_(pa.float64())),
                ("annotator", text),
                ("group", text),
                ("tools", text),
            ],
            "judged": [
                ("prompt", messages),
                ("completion", message),
                ("verdict", pa.bool_() if self._verdict is bool else text),
                ("annotator", text),
            ],
            "prompts": [("prompt", messages), ("follow_ups", texts), ("tools", text)],
            "questions": [("prompt", messages), ("answers", texts), ("wrong_answers", texts)],
        }
        origin = pa.struct([("file", text), ("row", whole)])
        return pa.schema([*columns[self._kind], ("about", text), ("origin", origin)])


def _flat(value: Line) -> Line:
    """A line whose tools, arguments and `about` are JSON text."""
    flat = value | {k: _flat_messages(value[k]) for k in ("messages", "prompt", "completions") if k in value}
    if "completion" in value:
        flat["completion"] = _flat_messages([value["completion"]])[0]
    texts = {key: json.dumps(value[key], ensure_ascii=False) for key in ("about", "tools") if key in value}
    return {**flat, **texts}


def _flat_messages(messages: list[Line]) -> list[Line]:
    flat: list[Line] = []
    for message in messages:
        calls = [{**call, "function": _flat_function(call["function"])} for call in message.get("tool_calls", [])]
        flat.append({**message, "tool_calls": calls} if calls else message)
    return flat


def _flat_function(function: Line) -> Line:
    return {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}
