"""Records of columnar files (Parquet and Arrow), a batch at a time.

Arrow itself reads them, because `datasets` holds several times as much of a file at once (figures in log/2026-11-22.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from planish.base.errors import DataError
from planish.data.files.text import MAX_CHARACTERS, first_repeated, too_long

BATCH = 500  # rows made into objects at once
PAGE = 1 << 20  # bytes of one column read at once
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"

Convert = Callable[[Any], Any]


def read_columns(path: Path, name: str) -> Iterator[Any]:
    """The rows, as dicts. Columns of JSON, as `datasets` writes them for values of mixed kinds, are decoded."""
    import pyarrow

    row = 0
    _check_whole(path, name)
    try:
        for batch in _parquet(path) if path.suffix.lower() == ".parquet" else _arrow(path):
            _check_batch(batch, name, row)
            convert = _converter(pyarrow.struct(list(batch.schema)))
            for value in batch.to_pylist():
                row += 1
                yield convert(value) if convert else value
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} row {row + 1}: a text in this row or one of the next is not UTF-8. Write the file again."
        ) from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{name}: cannot be read past row {row}: {why}. It may be damaged: fetch it again.") from error


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    # Without pre_buffer=False a row group, which may be the whole file, is read at once.
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=PAGE) as file:
        yield from file.iter_batches(BATCH)


def _arrow(path: Path) -> Iterator[Any]:
    """Batches of an Arrow file or stream. `datasets` writes its cache as streams."""
    import pyarrow

    with pyarrow.OSFile(str(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        reader = pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file)
        batches = (reader.get_batch(at) for at in range(reader.num_record_batches)) if is_file else reader
        for batch in batches:
            batch.validate(full=True)
            for start in range(0, batch.num_rows, BATCH):
                yield batch.slice(start, BATCH)


def _check_whole(path: Path, name: str) -> None:
    """Checks the first and last bytes: Arrow would take a stream that was cut between two batches for a whole one."""
    with path.open("rb") as file:
        first = file.read(8)
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        last = file.read(8)
    if not size:
        raise DataError(f"{name}: holds no record. Fill the file or take it out of the data.")
    if path.suffix.lower() == ".parquet":
        begun, ended, kind = first.startswith(b"PAR1"), last.endswith(b"PAR1") and size > 8, "a Parquet file"
    elif first.startswith(b"ARROW1"):
        begun, ended, kind = True, last.endswith(b"ARROW1") and size > 8, "an Arrow file"
    else:
        begun, ended, kind = first.startswith(END_OF_STREAM[:4]), last == END_OF_STREAM, "an Arrow file"
    if not begun:
        raise DataError(f"{name}: not {kind}: it begins with {first!r}. Give it the ending of what it is.")
    if not ended:
        raise DataError(f"{name}: {kind} ends in a mark that is missing here, so it was cut short. Fetch it again.")


def _check_batch(batch: Any, name: str, row: int) -> None:
    names: list[str] = batch.schema.names
    if len(set(names)) < len(names):  # a dict would keep the last of the two
        raise DataError(f"{name}: the column {first_repeated(names)!r} occurs twice. Give each column its own name.")
    for at in range(batch.num_rows) if batch.nbytes > MAX_CHARACTERS else ():
        if batch.slice(at, 1).nbytes > MAX_CHARACTERS:
            raise too_long(f"{name} row {row + at + 1}", "Split it into several rows.", "bytes")


def _converter(kind: Any) -> Convert | None:
    """A function that decodes the JSON in values of this Arrow type; None if there is none to decode."""
    import pyarrow

    if getattr(kind, "extension_name", "") == "arrow.json":
        return lambda value: None if value is None else json.loads(value)
    if pyarrow.types.is_struct(kind):
        converters = {field.name: _converter(field.type) for field in kind}
        parts = {name: part for name, part in converters.items() if part}
        return (
            (lambda value: value and {**value, **{n: part(value[n]) for n, part in parts.items()}}) if parts else None
        )
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        part = _converter(kind.value_type)
        return (lambda value: None if value is None else [part(item) for item in value]) if part else None
    return None
