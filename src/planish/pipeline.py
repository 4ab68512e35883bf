"""A pipeline: stages, each a command with its settings, done in the order in which they are written, and none done twice.

    out: runs/instructgpt
    stages:
      sft:    {run: sft, model: {path: models/base}, data: {sources: {all: {path: demonstrations.jsonl}}}}
      reward: {run: reward, model: {path: "{sft}"}, data: {sources: {all: {path: comparisons.jsonl}}}}
      best:   {run: best, model: {path: "{sft}"}, reward: {path: "{reward}"}, prompts: prompts.jsonl}

`{sft}` stands for what the stage `sft` puts out. A stage has a key: the SHA-256 of its command, its resolved settings, the
keys of the stages that it names, the contents of the files that it names, and planish's version. Its output lies in
OUT/NAME-<8 digits of the key>, to which OUT/NAME is a link. So a change asks for other outputs where it matters, and leaves
alone what it does not reach; changed back, the old outputs are found again (keyed by content as in Nix, Dolstra 2006).
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import model_validator

from planish import __version__
from planish.base.config import Config, Field, load_config
from planish.base.errors import ConfigError, PlanishError, RunError
from planish.base.files import write_json
from planish.data.files.readers import READERS, UNPACKERS
from planish.methods.chat import SampleConfig, sample_file
from planish.methods.running import FREE
from planish.models.load import model_folder
from planish.report.runs import PIPELINE
from planish.report.sentences import duration_text
from planish.world.make import make_world
from planish.world.settings import SIZES, WorldConfig

Tree = dict[str, Any]
State = Literal["waiting", "running", "done", "failed", "stopped"]

NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
REFERENCE = re.compile(r"\{\{([\w-]+)\}\}|\{([\w-]+)\}", re.ASCII)  # {{sft}} is plain text: {sft}
ENDINGS = {*(f".{kind}" for kind in READERS), *UNPACKERS, ".jinja"}  # a text that ends so is the name of a file
WORDS = {"format", "targets"}  # settings that are words, also where a file of that name exists
GONE = "its output is gone"
LARGE = 1e9  # bytes of a file whose digest takes long enough to be announced


class SampledModel(Config):
    path: str = Field(description="a Hugging Face folder, a run of planish, or a hub name")


class SampleStage(SampleConfig):
    """`planish sample` as a stage."""

    model: SampledModel = Field(description="the model that completes")
    prompts: str = Field(description="a file of prompts, or of demonstrations of any known format")
    out: str = Field(description="the jsonl file to write")


def sample(config: SampleStage) -> None:
    sample_file(config.model.path, config.prompts, Path(config.out), config)


class WorldStage(WorldConfig):
    """`planish world make` as a stage: a size with changes."""

    size: Literal["ci", "base", "large"] = Field(default="base", description="what the other settings are unless given")
    out: str = Field(description="the folder to write")

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, values: Tree) -> Tree:
        return {**SIZES.get(str(values.get("size", "base")), {}), **values}


def make(config: WorldStage) -> None:
    make_world(WorldConfig(**config.model_dump(exclude={"size", "out"})), Path(config.out))


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's config and function are; imported when a recipe asks for it. `ending` is that of the file it
    writes, empty where it fills a folder."""

    module: str
    config: str
    function: str
    ending: str = ""

    def read(self, settings: Tree) -> Config:
        return load_config(getattr(import_module(self.module), self.config), values=settings)

    def run(self, config: Config) -> None:
        getattr(import_module(self.module), self.function)(config)


COMMANDS = {
    "pretrain": Command("planish.methods.pretrain", "PretrainConfig", "pretrain"),
    "sft": Command("planish.methods.sft", "SftConfig", "sft"),
    "reward": Command("planish.methods.reward_model", "RewardConfig", "reward_model"),
    "dpo": Command("planish.methods.dpo", "DpoConfig", "dpo"),
    "ppo": Command("planish.methods.ppo", "PpoConfig", "ppo"),
    "best": Command("planish.methods.best_of_n", "BestConfig", "best_of_n", ".jsonl"),
    "sample": Command(__name__, "SampleStage", "sample", ".jsonl"),
    "compare": Command("planish.methods.compare", "CompareConfig", "compare"),
    "world": Command(__name__, "WorldStage", "make"),
}


class PipelineConfig(Config):
    out: str = Field(description="the pipeline's folder; the same command carries on from what is in it")
    stages: dict[str, Tree] = Field(min_length=1, description="by name: a command as `run`, and its settings")

    @model_validator(mode="after")
    def _check(self) -> PipelineConfig:
        for name, settings in self.stages.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"a stage cannot be called '{name}': letters, digits, - and _, a letter first")
            if settings.get("run") not in COMMANDS:
                found = (
                    f"stages.{name}.run is {settings['run']!r}" if "run" in settings else f"stages.{name} has no run"
                )
                raise ValueError(f"{found}; it names a command: {', '.join(COMMANDS)}")
            if dotted := [key for key in settings if "." in key]:
                raise ValueError(
                    f"stages.{name}: '{dotted[0]}' has dots: in a recipe, settings are written inside each other"
                )
            if "out" in settings:
                raise ValueError(f"stages.{name}.out: the pipeline says where a stage's output lies; leave it out")
        return self


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


@dataclass(frozen=True, slots=True)
class Finished:
    stage: str
    command: str
    path: Path
    seconds: float
    before: bool  # it was done already


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a pipeline has put out."""

    path: Path
    stages: tuple[Finished, ...]

    @property
    def paths(self) -> dict[str, Path]:
        """The output of each stage: a folder, or the file of those that write one."""
        return {each.stage: each.path for each in self.stages}


def run_pipeline(config: PipelineConfig | str | Path, overrides: Sequence[str] = ()) -> Pipeline:
    """Does what is not done yet of a recipe, a file or its settings, after changes such as `stages.sft.optim.lr=1e-4`.

    All settings are checked before the first stage begins. After a stop or an error, the same call carries on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("planish run is one process; on several ranks, start each command by itself with torchrun")
    config = _read(config, overrides)
    out = Path(config.out)
    digests = Digests(out)
    stages = _plan(config, digests)
    finished: list[Finished] = []
    with _alone(out):
        history = History(out)
        history.begin(stages)
        digests.save()
        for number, stage in enumerate(stages, 1):
            finished.append(_carry_out(stage, history, f"[{number}/{len(stages)}] {stage.name}"))
    return Pipeline(out, tuple(finished))


def plan_pipeline(config: PipelineConfig | str | Path, overrides: Sequence[str] = ()) -> list[tuple[Stage, str]]:
    """Each stage with why it would be done now, or "done". Nothing is written."""
    config = _read(config, overrides)
    out = Path(config.out)
    stages, history = _plan(config, Digests(out)), History(out)
    return [(stage, why(stage, history)) for stage in stages]


def _read(config: PipelineConfig | str | Path, overrides: Sequence[str]) -> PipelineConfig:
    if isinstance(config, PipelineConfig):
        return load_config(PipelineConfig, None, overrides, config.model_dump())
    return load_config(PipelineConfig, config, overrides)


def _carry_out(stage: Stage, history: History, title: str) -> Finished:
    reason = why(stage, history)
    known = history.find(stage)
    spent = known["seconds"] if known and reason != GONE else 0.0
    if before := reason == "done":
        _say(f"{title}: done before, in {duration_text(spent)}")
    else:
        _say(f"{title}: planish {stage.command} ({reason})")
        begun = time.monotonic()
        history.set(stage, "running", spent)
        try:
            COMMANDS[stage.command].run(stage.config)
        except BaseException as error:
            spent += time.monotonic() - begun
            state = "failed" if isinstance(error, Exception) else "stopped"
            history.set(stage, state, spent)
            _say(f"{title}: {state} after {duration_text(spent)}")
            if isinstance(error, PlanishError):
                raise RunError(f"stages.{stage.name}: {error}") from error
            raise
        finally:
            gc.collect()  # a model that is in a circle of references would keep its memory through the next stage
        spent += time.monotonic() - begun
        history.set(stage, "done", spent)
        _say(f"{title}: done in {duration_text(spent)}")
    _point(stage.link, stage.path)
    return Finished(stage.name, stage.command, stage.path, spent, before)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _point(link: Path, path: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise RunError(f"{link}: is not of this pipeline, which would put a link there: move it away")
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(path.name)
    partial.replace(link)


# From a recipe to stages


def _plan(config: PipelineConfig, digests: Digests) -> list[Stage]:
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
    resolved = {key: value for key, value in config.model_dump(mode="json").items() if key not in FREE}
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
    return out / f"{name}{COMMANDS[settings['run']].ending}"


def _config(name: str, settings: Tree, paths: Mapping[str, Path], out: Path) -> Config:
    values = {
        key: _changed(value, lambda text: _filled(text, paths)) for key, value in settings.items() if key != "run"
    }
    try:
        return COMMANDS[settings["run"]].read({**values, "out": str(out)})
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
        if named[0] in FREE or named[-1] in WORDS or not any(map(str.isalnum, text)):
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
                raise ConfigError(f"stages.{name}.{key}={text}: no such file or folder, looked up from {Path.cwd()}")
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
        self._known: Tree = _json(self._path)

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
            _say(f"reading {path}, {facts.st_size / 1e9:.1f} GB, for its digest")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[str(path.resolve())] = [facts.st_size, facts.st_mtime_ns, digest]
        return digest

    def save(self) -> None:
        write_json(self._path, self._known)


# What was done


class History:
    """OUT/pipeline.json: `stages` of the recipe as it is now, and `earlier` ones, which it finds again if it is changed back."""

    def __init__(self, out: Path) -> None:
        self._path = out / PIPELINE
        tree = _json(self._path)
        records: list[Tree] = [*tree.get("earlier", ()), *tree.get("stages", ())]
        self._records = {(each["name"], each["key"]): each for each in records if each["state"] != "waiting"}
        self._stages: Sequence[Stage] = ()

    def begin(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._write()

    def find(self, stage: Stage) -> Tree | None:
        return self._records.get((stage.name, stage.key))

    def last(self, name: str) -> Tree | None:
        """The stage as it was begun last, whatever its settings."""
        return next((each for each in reversed(self._records.values()) if each["name"] == name), None)

    def set(self, stage: Stage, state: State, seconds: float) -> None:
        self._records[stage.name, stage.key] = _record(stage, state, seconds)
        self._write()

    def _write(self) -> None:
        current = {(stage.name, stage.key): self.find(stage) or _record(stage, "waiting") for stage in self._stages}
        earlier = [record for which, record in self._records.items() if which not in current]
        write_json(self._path, {"stages": list(current.values()), "earlier": earlier})


def _record(stage: Stage, state: State, seconds: float = 0.0) -> Tree:
    now = datetime.now(UTC).isoformat(timespec="seconds") if state == "done" else None
    about = {"name": stage.name, "key": stage.key, "folder": stage.path.name}
    return {**about, "state": state, "seconds": round(seconds, 3), "finished": now, **stage.told}


def why(stage: Stage, history: History) -> str:
    """The reasons for which a stage would be done now, or "done"."""
    if known := history.find(stage):
        if known["state"] != "done":
            return "begun, not finished"
        return "done" if stage.path.exists() else GONE
    last = history.last(stage.name)
    if last is None:
        return "never run"
    if last["command"] != stage.command:
        return f"command changed from {last['command']} to {stage.command}"
    version = last["version"]
    changes = [f"planish changed from {version} to {__version__}"] if version != __version__ else []
    before, now = _flat(last["settings"]), _flat(stage.told["settings"])
    keys = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    changes += [f"setting {key} changed from {before.get(key)} to {now.get(key)}" for key in keys]
    for kind, what in (("uses", "input"), ("files", "file")):
        then, since = last[kind], stage.told[kind]
        changes += [f"{what} {each} changed" for each in since if since[each] != then.get(each, since[each])]
    return "; ".join(changes) or "its settings stand in another order"


def _flat(tree: Any, prefix: str = "") -> Tree:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    items = cast(Tree, tree).items()
    return {k: v for key, below in items for k, v in _flat(below, f"{prefix}.{key}" if prefix else key).items()}


def _json(path: Path) -> Tree:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}. Mend it or take it away") from None


@contextmanager
def _alone(out: Path) -> Generator[None]:
    """The folder, made or found to be a pipeline's, for this process alone."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file; out= names a folder")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / PIPELINE).exists() and any(not each.name.startswith(".") for each in out.iterdir()):
        raise RunError(f"{out}: holds files, and no {PIPELINE} of a pipeline. Choose an empty folder with out=")
    with (out / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{out}: another process is running this pipeline. Wait for it, or choose another out="
            ) from None
        yield
