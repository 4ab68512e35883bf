"""Data and models given in memory, written beside the run as ordinary files, so that the same call resumes exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from planish.base.errors import ConfigError, RunError
from planish.base.files import SEPARATORS, write_text
from planish.base.model_folder import model_folder
from planish.base.text import source_names
from planish.data.files.columns import without_nulls
from planish.data.files.json_stream import half_character
from planish.train.run_folder import INPUTS

SOURCE_SETTINGS = {"path", "format", "columns", "take", "weight", "tokens", "repeats", "limit", "unfit", "ignore"}


def sources_of(data: Any, out: Path, kind: str = "data") -> dict[str, Any]:
    """The settings of named sources: of one file, of rows in memory, or of several of these by name."""
    if isinstance(data, Mapping):
        named = cast(Mapping[str, Any], data)
        if "path" in named and named.keys() <= SOURCE_SETTINGS:
            return {kind: dict(named)}
        return {name: _source(source, out / INPUTS / f"{name}.jsonl", name) for name, source in named.items()}
    name = source_names([str(data)])[0] if isinstance(data, str | Path) else kind
    return {name: _source(data, out / INPUTS / f"{kind}.jsonl", kind)}


def file_of(rows: Any, file: Path, what: str, field: str = "prompt") -> str:
    """The path of a file of rows; rows in memory are written to `file`. Plain texts become rows with this field."""
    if isinstance(rows, str | Path):
        return str(rows)
    if isinstance(rows, Sequence) and all(isinstance(row, str) for row in cast(Sequence[Any], rows)):
        rows = [{field: row} for row in cast(Sequence[str], rows)]
    lines = [_line(row, number, what) for number, row in enumerate(_rows(rows, what), 1)]
    if not lines:
        raise ConfigError(f"{what}: has no rows")
    _write_once(file, "".join(lines))
    return str(file)


def model_of(model: Any, out: Path, what: str = "model") -> dict[str, Any]:
    """The settings of a model: a path, hub name or run, settings as a mapping, or a loaded model with its tokenizer."""
    if isinstance(model, Mapping):
        return dict(cast(Mapping[str, Any], model))
    if isinstance(model, tuple) and len(cast(tuple[Any, ...], model)) == 2:
        return {"path": _saved(*cast(tuple[Any, Any], model), out / INPUTS / what, what)}
    if hasattr(model, "tokenizer") and hasattr(model, "model"):  # a LoadedModel, or a pipeline of transformers
        loaded = cast(Any, model)
        return {"path": _saved(loaded.model, loaded.tokenizer, out / INPUTS / what, what)}
    if hasattr(model, "path") or isinstance(model, str | Path):
        return {"path": str(getattr(model, "path", model))}
    raise ConfigError(
        f"{what}: found a {type(model).__name__}; expected a path, a run, settings such as {{'path': …}}, or a pair of a loaded "
        "model and its tokenizer"
    )


def function_of(function: Callable[..., Any]) -> str:
    """module:name of a function, by which a run finds it again."""
    name = function.__qualname__
    if "<" in name:
        raise ConfigError(
            f"{name}: a reward must be a function with a name at the top of its module, to be found again"
        )
    return f"{function.__module__}:{name}"


def _source(source: Any, file: Path, name: str) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return dict(cast(Mapping[str, Any], source))
    return {"path": file_of(source, file, name)}


def _rows(rows: Any, what: str) -> Iterable[Mapping[str, Any]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # a pandas DataFrame
        return _unfilled(cast(list[dict[str, Any]], json.loads(rows.to_json(orient="records", lines=False))))
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise ConfigError(
            f"{what}: found a {type(rows).__name__}; expected a path, a list of dicts, a Dataset or a DataFrame"
        )
    listed = list(cast(Iterable[Any], rows))
    for number, row in enumerate(listed, 1):
        if not isinstance(row, Mapping):
            raise ConfigError(f"{what}: row {number} is a {type(row).__name__}, expected a dict of fields")
    # A Dataset has columns, which give all objects the same fields.
    return _unfilled(listed) if hasattr(rows, "features") else listed


def _unfilled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table without the nulls that fill the objects in its columns."""
    return [{name: without_nulls(value) for name, value in row.items()} for row in rows]


def _line(row: Mapping[str, Any], number: int, what: str) -> str:
    line = json.dumps(row, ensure_ascii=False, default=_refuse(what)).translate(SEPARATORS) + "\n"
    if (at := half_character(line)) is not None:
        raise ConfigError(
            f"{what}: row {number} holds half a character in {line[max(at - 20, 0) : at]!r}…. Mend the text"
        )
    return line


def _refuse(what: str) -> Callable[[Any], Any]:
    def refuse(value: Any) -> Any:
        if hasattr(value, "item"):  # a number of numpy's
            return value.item()
        raise ConfigError(f"{what}: holds a {type(value).__name__}, which is neither text, number, list nor dict")

    return refuse


def _write_once(file: Path, text: str) -> None:
    """Rows of a run that has begun must stay as they are."""
    if file.exists():
        if file.read_text(encoding="utf-8") == text:
            return
        if (file.parent.parent / "metrics.jsonl").exists():
            raise RunError(f"{file}: this run began with other rows. Choose another out=, or give the same rows")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)


def _saved(model: Any, tokenizer: Any, folder: Path, what: str) -> str:
    from planish.models.load import save_model, weights_differ

    if folder.exists():
        if weights_differ(model, folder):
            raise RunError(
                f"{folder}: this run began with a model of other weights than the {what} that is given now. Choose another out="
            )
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, tokenizer, folder)
    return model_folder(folder)
