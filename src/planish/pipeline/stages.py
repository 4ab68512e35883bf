"""From a recipe to stages: settings are filled in and checked, what each stage depends on is found, and its key worked out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from planish import __version__
from planish.base.config import CHANGEABLE_ON_RESUME, Config, load_config
from planish.base.errors import ConfigError, RunError
from planish.base.files import recipes_hint, write_json
from planish.base.model_folder import model_folder
from planish.commands import STAGES
from planish.data.files.readers import READERS, UNPACKERS
from planish.pipeline.config import PipelineConfig, Tree

REFERENCE = re.compile(r"\{\{([\w-]+)\}\}|\{([\w-]+)\}", re.ASCII)  # {{sft}} is plain text: {sft}
ENDINGS = {*(f".{kind}" for kind in READERS), *UNPACKERS, ".jinja"}  # a text that ends so is the name of a file
WORDS = {"format", "targets"}  # settings that are words, also where a file of that name exists
LARGE = 1e9  # bytes of a file whose digest takes long enough to be announced


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that is known to the last setting. `told` is all that its result depends on, of which `key` is the digest."""

    name: str
    command: str
    config: Config
    told: Tree
    key: str
    path: Path
    link: Path


def plan(config: PipelineConfig, digests: Digests) -> list[Stage]:
    out, uses = Path(config.out), _uses(config.stages)
    links = {name: _output(out, name, settings) for name, settings in config.stages.items()}
    for name, settings in config.stages.items():  # a mistake in the last stage is told before a large file is read
        _inputs(name, _config(name, settings, links, links[name]), [links[each] for each in uses[name]], out)
    stages: dict[str, Stage] = {}
    for name, settings in config.stages.items():
        stages[name] = _stage(name, settings, {each: stages[each] for each in uses[name]}, out, digests)
    return list(stages.values())


def _stage(name: str, settings: Tree, uses: Mapping[str, Stage], out: Path, digests: Digests) -> Stage:
    paths, link = {each: stage.path for each, stage in uses.items()}, _output(out, name, settings)
    config = _config(name, settings, paths, link)
    files = _inputs(name, config, list(paths.values()), out)
    resolved = {key: value for key, value in config.model_dump(mode="json").items() if key not in CHANGEABLE_ON_RESUME}
    told = {
        "command": settings["run"],
        "settings": _changed(resolved, lambda text: _named(text, paths)),
        "uses": {each: stage.key for each, stage in uses.items()},
        "files": {text: digests.of(path) for text, path in files.items()},
        "version": __version__,
    }
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()  # in order: that of the sources is part of a mixture
    path = _output(out, f"{name}-{key[:8]}", settings)
    return Stage(name, settings["run"], _config(name, settings, paths, path), told, key, path, link)


def _output(out: Path, name: str, settings: Tree) -> Path:
    return out / f"{name}{STAGES[settings['run']].ending}"


def _config(name: str, settings: Tree, paths: Mapping[str, Path], out: Path) -> Config:
    values = {
        key: _changed(value, lambda text: _filled(text, paths)) for key, value in settings.items() if key != "run"
    }
    try:
        return load_config(STAGES[settings["run"]].load_config_class(), values={**values, "out": str(out)})
    except ConfigError as error:
        lines = [line.removeprefix("the settings: ") for line in str(error).splitlines()]
        if unquoted := re.search(r"\{'([\w-]+)': None\}", str(error)):
            lines.append(f'in YAML, the name of a stage stands in quotes too: "{{{unquoted[1]}}}"')
        raise ConfigError("\n".join(f"stages.{name}: {line}" for line in lines)) from None


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """The settings with every text in them changed."""
    if isinstance(value, dict):
        return {key: _changed(below, change) for key, below in cast(Tree, value).items()}
    if isinstance(value, list):
        return [_changed(each, change) for each in cast(list[Any], value)]
    return change(value) if isinstance(value, str) else value


def _filled(text: str, paths: Mapping[str, Path]) -> str:
    """With the path of a stage's output in place of its name in braces."""
    return REFERENCE.sub(lambda found: f"{{{found[1]}}}" if found[1] else str(paths[found[2]]), text)


def _named(text: str, paths: Mapping[str, Path]) -> str:
    """The other way round: where the outputs lie is no part of a key."""
    for name, path in paths.items():
        text = text.replace(str(path), f"{{{name}}}")
    return text


def _uses(stages: Mapping[str, Tree]) -> dict[str, list[str]]:
    """The stages that each stage names; they must come before it."""
    uses: dict[str, list[str]] = {}
    for name, settings in stages.items():
        found = [(key, each[2]) for key, text in _texts_in(settings) for each in REFERENCE.finditer(text) if each[2]]
        for key, used in found:
            if used not in stages:
                near = get_close_matches(used, stages, n=1) or stages
                raise ConfigError(
                    f"stages.{name}.{key}: there is no stage '{used}'; there is {', '.join(near)}. A text with braces that "
                    f"names no stage is written {{{{{used}}}}}"
                )
        uses[name] = list(dict.fromkeys(used for _, used in found))
    place = {name: number for number, name in enumerate(stages)}
    for name, named in uses.items():
        for used in named:
            if place[used] >= place[name]:
                if circle := _way(uses, used, name):
                    raise ConfigError(f"stages.{name}: needs itself: {' needs '.join([name, *circle])}")
                raise ConfigError(f"stages.{name}: names '{used}', which is written after it: write {used} first")
    return uses


def _way(uses: Mapping[str, Sequence[str]], start: str, goal: str) -> list[str]:
    """From a stage by what it names to another, both included; empty where no way leads there."""
    ways, seen = [[start]], {start}
    for way in ways:
        if way[-1] == goal:
            return way
        further = [each for each in uses[way[-1]] if each not in seen]
        seen |= {*further}
        ways += [[*way, each] for each in further]
    return []


# What a stage reads from outside


def _inputs(name: str, config: Config, own: Sequence[Path], out: Path) -> dict[str, Path]:
    """The files and folders that the settings name, but for outputs of other stages, by the text that names them."""
    found: dict[str, Path] = {}
    for key, text in _texts(config):
        named = key.split(".")
        if named[0] in CHANGEABLE_ON_RESUME or named[-1] in WORDS or not any(map(str.isalnum, text)):
            continue
        if text.startswith(tuple(map(str, own))):
            continue
        path = _path_of(text)
        there = os.path.exists(path)  # noqa: PTH110  (a text that can be no path must not raise)
        if there or _surely_a_path(text):
            real, ours = Path(os.path.realpath(path)), out.resolve()
            if real.is_relative_to(ours) or ours.is_relative_to(real):
                raise ConfigError(
                    f"stages.{name}.{key}={text}: is the pipeline's own folder, lies in it or holds it. A stage's output is "
                    'written "{NAME}"; other data lie elsewhere'
                )
            if not there:
                problem = f"no such file or folder, looked up from {Path.cwd()}.{recipes_hint(text)}"
                raise ConfigError(f"stages.{name}.{key}={text}: {problem}")
            found[text] = path
    return found


def _path_of(text: str) -> Path:
    """What a text would name: of a run its model, and of module:function the module, where it lies beside the command."""
    if found := re.fullmatch(r"(\w+(?:\.\w+)*):\w+", text):
        return Path(*found[1].split(".")).with_suffix(".py")
    return Path(model_folder(os.path.expanduser(text)))  # noqa: PTH111  (as above)


def _surely_a_path(text: str) -> bool:
    """Whether a text is the name of a file even where no such file exists. It may else be a name on the hub, or a word."""
    if re.match(r"\w+:", text) or re.search(r"\s", text):  # pypi:name/file.json, http://…, a sentence
        return False
    return text.startswith(("/", "./", "../", "~/")) or Path(text).suffix.lower() in ENDINGS


def _texts(config: Config, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts among the settings, each with its key; but those that are one of a few words, which name no file."""
    for name, field in type(config).model_fields.items():
        if not _is_choice(field.annotation):
            yield from _texts_in(getattr(config, name), f"{key}{name}")


def _texts_in(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    below = f"{key}." if key else ""
    if isinstance(value, Config):
        yield from _texts(value, below)
    elif isinstance(value, dict):
        for name, each in cast(Tree, value).items():
            yield from _texts_in(each, f"{below}{name}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(cast(Sequence[Any], value)):
            yield from _texts_in(each, f"{below}{number}")
    elif isinstance(value, str):
        yield key, value


def _is_choice(annotation: Any) -> bool:
    return get_origin(annotation) is Literal or any(_is_choice(each) for each in get_args(annotation))


class Digests:
    """SHA-256 of files, kept in OUT/digests.json and taken anew where a file's size or time of change is another."""

    def __init__(self, out: Path) -> None:
        self._path = out / "digests.json"
        self._known: Tree = read_json(self._path)

    def of(self, path: Path) -> str:
        """Of a file, or of all files in a folder and their names. What begins with a dot is left alone."""
        if not path.is_dir():
            return self._of_file(path)
        names = (file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file())
        visible = [name for name in names if not any(part.startswith(".") for part in name.parts)]
        listed = [[str(name), self._of_file(path / name)] for name in visible]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def _of_file(self, path: Path) -> str:
        facts, known = path.stat(), self._known.get(str(path.resolve()))
        if known is not None and known[:2] == [facts.st_size, facts.st_mtime_ns]:
            return known[2]
        if facts.st_size > LARGE:
            say(f"reading {path}, {facts.st_size / 1e9:.1f} GB, for its digest")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[str(path.resolve())] = [facts.st_size, facts.st_mtime_ns, digest]
        return digest

    def save(self) -> None:
        write_json(self._path, self._known)


def read_json(path: Path) -> Tree:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}. Mend it or take it away") from None


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
