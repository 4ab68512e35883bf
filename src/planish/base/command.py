"""What a command is: its words, flags and settings, and the names of its config and function."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Argument:
    """A flag (`--model`) or a word (`MODEL`) and the setting that it gives. A `*` in the setting stands for a name made from
    the path; with a `key`, the text is that key of the setting."""

    name: str
    setting: str
    help: str
    metavar: str = ""
    key: str = ""
    many: bool = False
    switch: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `stage` is its name in a pipeline, if it can be a stage, and `ending` that of the file it writes; without one
    it fills a folder. `shown` are the settings that its help lists. Without a config, the function takes the request."""

    summary: str
    function: str
    config: str = ""
    example: str = ""
    words: tuple[Argument, ...] = ()
    flags: tuple[Argument, ...] = ()
    shown: tuple[str, ...] = ()
    stage: str = ""
    ending: str = ""
    recipe: bool = True  # takes a YAML file of settings
    bare: bool = False  # does something without any settings
    ranks: bool = False  # runs on several ranks
    dry_run: str = ""

    def load_config_class(self) -> Any:
        return load(self.config)

    def run(self, config: Any) -> Any:
        return load(self.function)(config)


def load(target: str) -> Any:
    """What `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
