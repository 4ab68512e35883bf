"""From a recipe to stages: settings are filled in and checked, dependencies found, and each stage gets its key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planish import __version__
from planish.base.config import Config, changeable_settings, load_config, without
from planish.base.digests import Digests
from planish.base.errors import ConfigError
from planish.commands import STAGES
from planish.pipeline.config import PipelineConfig, Tree
from planish.pipeline.inputs import inputs
from planish.pipeline.references import fill, references, unfill


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage with all its settings. Its result depends on `told` alone, whose digest is `key`; `link` points to `path`."""

    name: str
    command: str
    config: Config
    told: Tree
    key: str
    path: Path
    link: Path


def plan(config: PipelineConfig, digests: Digests) -> list[Stage]:
    out, named = Path(config.out), references(config.stages)
    links = {name: _output(out, name, settings) for name, settings in config.stages.items()}
    for name, settings in config.stages.items():  # a mistake in the last stage is found before a large file is read
        inputs(name, _config(name, settings, links, links[name]), [links[other] for other in named[name]], out)
    stages: dict[str, Stage] = {}
    for name, settings in config.stages.items():
        stages[name] = _stage(name, settings, {other: stages[other] for other in named[name]}, out, digests)
    return list(stages.values())


def _stage(name: str, settings: Tree, uses: Mapping[str, Stage], out: Path, digests: Digests) -> Stage:
    paths, link = {other: stage.path for other, stage in uses.items()}, _output(out, name, settings)
    config = _config(name, settings, paths, link)
    files = inputs(name, config, list(paths.values()), out)
    resolved = without(config.model_dump(mode="json"), set(changeable_settings(config)))
    told = {
        "command": settings["run"],
        "settings": unfill(resolved, paths),
        "uses": {other: stage.key for other, stage in uses.items()},
        "files": {text: digests.of(path) for text, path in files.items()},
        "version": __version__,
    }
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()  # in order: that of the sources is part of a mixture
    path = _output(out, f"{name}-{key[:8]}", settings)
    return Stage(name, settings["run"], _config(name, settings, paths, path), told, key, path, link)


def _output(out: Path, name: str, settings: Tree) -> Path:
    return out / f"{name}{STAGES[settings['run']].ending}"


def _config(name: str, settings: Tree, outputs: Mapping[str, Path], out: Path) -> Config:
    values = fill({key: value for key, value in settings.items() if key != "run"}, outputs)
    try:
        return load_config(STAGES[settings["run"]].load_config_class(), values={**values, "out": str(out)})
    except ConfigError as error:
        lines = [line.removeprefix("the settings: ") for line in str(error).split("\n")]
        if unquoted := re.search(r"\{'([\w-]+)': None\}", str(error)):
            lines.append(f'in YAML, the name of a stage is quoted: "{{{unquoted[1]}}}"')
        raise ConfigError("\n".join(f"stages.{name}: {line}" for line in lines)) from None
