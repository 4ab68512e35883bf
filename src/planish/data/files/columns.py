"""Records of columnar files (Parquet and Arrow), a batch at a time.

Arrow itself reads them, because `datasets` holds several times as much of a file at once (figures in log/2026-11-22.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from planish.base.errors import DataError
from planish.data.files.json_stream import parse_json
from planish.data.files.text import MAX_CHARACTERS, first_repeated, too_long

BATCH = 500  # rows made into objects at once
PAGE = 1 << 20  # bytes of one column read at once
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"

Convert = Callable[[Any], Any]


def read_columns(path: Path, name: str) -> Iterator[Any]:
    """The rows, as dicts. Columns of JSON, as `datasets` writes them for values of mixed kinds, are decoded.

    All objects of a column have the same fields, filled with nulls where a row lacks one. Such nulls are taken out again, or
    a call of `weather(city)` would be learnt with all arguments of all functions. A null that a row did hold goes with them:
    JSON text keeps it.
    """
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


def without_nulls(value: Any) -> Any:
    """A value without the fields of its objects that are null, as `datasets` and Arrow fill them."""
    if isinstance(value, dict):
        filled = cast("dict[str, Any]", value)
        return {name: without_nulls(part) for name, part in filled.items() if part is not None}
    return [without_nulls(part) for part in cast("list[Any]", value)] if isinstance(value, list) else value


def _converter(kind: Any, nested: bool = False) -> Convert | None:
    """A function that decodes the JSON in values of this Arrow type and takes out the nulls of nested objects; None if there
    is nothing to do."""
    import pyarrow

    if getattr(kind, "extension_name", "") == "arrow.json":
        return lambda value: None if value is None else parse_json(value)
    types = pyarrow.types
    if types.is_struct(kind):
        parts = {field.name: part for field in kind if (part := _converter(field.type, nested=True))}
        return partial(_converted, parts=parts, nested=nested) if parts or nested else None
    if any(test(kind) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list)):
        part = _converter(kind.value_type, nested=True)
        return partial(_each_converted, part=part) if part else None
    return None


def _each_converted(value: Any, part: Convert) -> Any:
    return None if value is None else [part(item) for item in value]


def _converted(value: Any, parts: Mapping[str, Convert], nested: bool) -> Any:
    if not value:
        return value
    whole = {**value, **{name: part(value[name]) for name, part in parts.items()}}
    return {name: part for name, part in whole.items() if part is not None} if nested else whole
