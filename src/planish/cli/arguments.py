"""The command line read by the table of commands: a parser for every command, and from what was typed to settings."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from planish import __version__
from planish.base.errors import ConfigError
from planish.base.model_folder import names_of_models
from planish.base.text import source_names
from planish.commands import COMMANDS, GROUPS, Argument, Command

SETTING = re.compile(r"[^\W\d][\w.+-]*=.*", re.DOTALL)  # "3 + 4 = 7" is an answer, "runs/lr=1" a folder
RECIPE_HELP = "a YAML file of settings"


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it was typed: `values` are what its words and flags say, `settings` its key=value."""

    name: str
    command: Command
    options: argparse.Namespace
    recipe: str | None
    settings: list[str]
    words: list[str]
    values: dict[str, Any]


def kind_of(word: str) -> Literal["setting", "recipe", "model", "file", "text"]:
    """The kind of a word on the command line."""
    there = os.path.exists(word)  # noqa: PTH110  (a text that can be no path must not raise)
    if SETTING.fullmatch(word) and not there:
        return "setting"
    if word.endswith((".yaml", ".yml")):
        return "recipe"
    if there and any((Path(word) / file).exists() for file in ("config.json", "config.yaml", "model")):
        return "model"
    return "file" if there else "text"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="planish", description="Turn a pretrained language model into an assistant.")
    parser.add_argument("--version", action="version", version=f"planish {__version__}")
    commands: dict[str, Any] = {"": parser.add_subparsers(title="commands", required=True, metavar="COMMAND")}
    for name, command in COMMANDS.items():
        group, _, action = name.rpartition(" ")
        if group not in commands:
            inner = commands[""].add_parser(group, help=GROUPS[group], description=_sentence(GROUPS[group]))
            commands[group] = inner.add_subparsers(title="commands", required=True, metavar="COMMAND")
        _add_command(commands[group], action, name, command)
    return parser


def _add_command(commands: Any, action: str, name: str, command: Command) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        action,
        help=command.summary,
        description=_sentence(command.summary),
        usage=_usage(name, command),
        epilog=f"example: {command.example}",
    )
    parser.add_argument("typed", nargs="*", metavar="key=value", help="settings; later ones win")
    for flag in command.flags:
        if flag.switch:
            parser.add_argument(flag.name, action="store_true", help=flag.help)
        else:
            more: dict[str, Any] = {"choices": flag.choices} if flag.choices else {"metavar": flag.metavar}
            parser.add_argument(flag.name, action="append" if flag.many else "store", help=flag.help, **more)
    if command.dry_run:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.set_defaults(name=name)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _usage(name: str, command: Command) -> str:
    words = [f"{word.name}…" if word.many else word.name for word in command.words]
    recipe = ["[RECIPE.yaml]"] if command.recipe else []
    flags = [flag.name if flag.switch else f"{flag.name} {flag.metavar or '…'}" for flag in command.flags]
    settings = ["[key=value …]"] if command.config else []
    return " ".join(["planish", name, *words, *recipe, *(f"[{flag}]" for flag in flags), *settings])


def read_request(options: argparse.Namespace, rest: Sequence[str]) -> Request:
    """Sorts the words of a command into recipe, settings and what its words and flags name."""
    command = COMMANDS[options.name]
    typed = [*options.typed, *rest]
    kinds = {word: kind_of(word) for word in typed}
    recipes = [word for word in typed if kinds[word] == "recipe" and command.recipe and _is_recipe(word, command)]
    if len(recipes) > 1:
        raise ConfigError(f"one recipe at a time: {', '.join(recipes)}")
    settings = [word for word in typed if kinds[word] == "setting"]
    words = [word for word in typed if word not in settings and word not in recipes]
    values = _values_of_words(options.name, command, words)
    for flag in command.flags:
        given = getattr(options, flag.name.removeprefix("--").replace("-", "_"))
        if flag.setting and given not in (None, False):
            values |= _values_of(flag, given if flag.many else [given])
    recipe = recipes[0] if recipes else None
    return Request(options.name, command, options, recipe, settings, words, values)


def _is_recipe(word: str, command: Command) -> bool:
    """Whether a YAML file holds settings: there are data files in YAML, too."""
    if not any(each.name == "FILE" for each in command.words) or not Path(word).is_file():
        return True
    import yaml

    try:
        tree = yaml.safe_load(Path(word).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return False  # the reader of data files says what is wrong
    return isinstance(tree, dict) and not {"data", "files"}.isdisjoint(tree)


def _values_of_words(name: str, command: Command, words: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    left = list(words)
    for slot in command.words:
        taken, left = (left, []) if slot.many else (left[:1], left[1:])
        if taken and slot.setting:
            values |= _values_of(slot, taken, whole=True)
    if left:
        raise ConfigError(f"{left[0]}: {_misplaced(name, command, left[0])}")
    return values


def _misplaced(name: str, command: Command, word: str) -> str:
    """What to do with a word that has no place."""
    kind = kind_of(word)
    flags = {flag.name: flag for flag in command.flags}
    if kind == "model" and "--model" in flags:
        return f"is a model: write --model {word}"
    if kind == "file" and (near := {"--data", "--prompts"} & {*flags}):
        return f"is a file: write {near.pop()} {word}"
    if kind == "text" and command.recipe:
        return f"there is no such file; a setting is written {word}=…"
    places = " and ".join(slot.name for slot in command.words) or "no words"
    return f"planish {name} takes {places} beside settings, which are written key=value"


def _values_of(argument: Argument, texts: Sequence[Any], whole: bool = False) -> dict[str, Any]:
    """The settings that these texts of one argument give; `whole` puts them in place of all that a recipe names."""
    values = [{**dict(argument.given), argument.key: text} if argument.key else text for text in texts]
    if "*" not in argument.setting:
        return {argument.setting: values if argument.many else values[0]}
    above = argument.setting.removesuffix(".*")
    names = names_of_models(texts) if above == "models" else source_names(texts)
    named = dict(zip(names, values, strict=True))
    return {above: named} if whole else {f"{above}.{name}": value for name, value in named.items()}
