"""References between stages: `{sft}` in a setting names the output of the stage sft, which must come before.

A text with braces that names no stage is written `{{sft}}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from planish.base.digests import texts_in
from planish.base.errors import ConfigError
from planish.pipeline.config import Tree

REFERENCE = re.compile(r"\{\{([\w-]+)\}\}|\{([\w-]+)\}", re.ASCII)


def references(stages: Mapping[str, Tree]) -> dict[str, list[str]]:
    """The stages that each stage names, all of them written before it."""
    named = named_stages(stages)
    _check_order(named)
    return named


def named_stages(stages: Mapping[str, Tree]) -> dict[str, list[str]]:
    """The stages that each stage names, wherever they are written."""
    named: dict[str, list[str]] = {}
    for name, settings in stages.items():
        found = [(key, match[2]) for key, text in texts_in(settings) for match in REFERENCE.finditer(text) if match[2]]
        for key, other in found:
            if other not in stages:
                near = get_close_matches(other, stages, n=1) or stages
                raise ConfigError(
                    f"stages.{name}.{key}: there is no stage '{other}'; there is {', '.join(near)}. A text with braces that "
                    f"names no stage is written {{{{{other}}}}}"
                )
        named[name] = list(dict.fromkeys(other for _, other in found))
    return named


def _check_order(named: Mapping[str, Sequence[str]]) -> None:
    position = {name: number for number, name in enumerate(named)}
    for name, others in named.items():
        for other in others:
            if position[other] >= position[name]:
                if circle := _path_between(named, other, name):
                    raise ConfigError(f"stages.{name}: needs itself: {' needs '.join([name, *circle])}")
                raise ConfigError(f"stages.{name}: names '{other}', which is written after it: write {other} first")


def _path_between(named: Mapping[str, Sequence[str]], start: str, goal: str) -> list[str]:
    """The stages from one to another, each naming the next, both ends included; empty where there is no such path."""
    paths, seen = [[start]], {start}
    for path in paths:
        if path[-1] == goal:
            return path
        further = [name for name in named[path[-1]] if name not in seen]
        seen |= {*further}
        paths += [[*path, name] for name in further]
    return []


def fill(settings: Any, outputs: Mapping[str, Path]) -> Any:
    """Settings with the path of a stage's output in place of its name in braces."""
    return _changed(settings, lambda text: REFERENCE.sub(lambda m: f"{{{m[1]}}}" if m[1] else str(outputs[m[2]]), text))


def unfill(settings: Any, outputs: Mapping[str, Path]) -> Any:
    """The reverse: where outputs lie is no part of a stage's key."""

    def name(text: str) -> str:
        for stage, path in outputs.items():
            text = text.replace(str(path), f"{{{stage}}}")
        return text

    return _changed(settings, name)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _changed(below, change) for key, below in cast(Tree, value).items()}
    if isinstance(value, list):
        return [_changed(item, change) for item in cast(list[Any], value)]
    return change(value) if isinstance(value, str) else value
