"""The command line read by the table of commands: a parser for every command, and from what was typed to settings."""

from __future__ import annotations

import argparse
import difflib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from planish import __version__
from planish.base.command import Argument, Command
from planish.base.errors import ConfigError
from planish.base.model_folder import names_of_models
from planish.base.text import source_names
from planish.cli.completion import complete_word
from planish.cli.settings import columns, settings_of_commands, shown_settings
from planish.commands import COMMANDS, GROUPS

SETTING = re.compile(r"[^\W\d][\w.+-]*=.*", re.DOTALL)  # "3 + 4 = 7" is an answer, "runs/lr=1" a folder


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

    def models(self) -> list[str]:
        """The models that its words and flags name."""
        flags = [flag.name.removeprefix("--") for flag in self.command.flags if flag.metavar == "MODEL"]
        slots = [slot for slot in self.command.words if slot.name == "MODEL"]
        words = [word for slot in slots for word in (self.words if slot.many else self.words[:1])]
        return [*words, *filter(None, (getattr(self.options, flag) for flag in flags))]


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


class CommandParser(argparse.ArgumentParser):
    """A parser whose help ends with the command's settings, which are read only when help is asked for."""

    def format_help(self) -> str:
        if name := self.get_default("name"):
            example = f"example:\n  {COMMANDS[name].example}"
            self.epilog = "\n\n".join(filter(None, [shown_settings(name, COMMANDS[name]), example]))
        return super().format_help()


def build_parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="planish", description="Turn a pretrained language model into an assistant.")
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
        description="\n".join(
            [_sentence(command.summary), "", *columns([(word.name, word.help) for word in command.words], "  ")]
        ),
        usage=_usage(name, command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    typed: Any = parser.add_argument("typed", nargs="*", help=argparse.SUPPRESS)
    typed.completer = complete_word  # read by argcomplete
    for flag in command.flags:
        if flag.switch:
            parser.add_argument(flag.name, action="store_true", help=flag.help)
        else:
            more: dict[str, Any] = {"choices": flag.choices} if flag.choices else {"metavar": flag.metavar}
            parser.add_argument(flag.name, action="append" if flag.many else "store", help=flag.help, **more)
    if command.dry_run:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    if command.config:
        parser.add_argument("-q", "--quiet", action="store_true", help="say warnings and errors alone")
        parser.add_argument("-v", "--verbose", action="store_true", help="a line for every step")
    parser.set_defaults(name=name)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _usage(name: str, command: Command) -> str:
    words = [f"{word.name}…" if word.many else word.name for word in command.words]
    recipe = ["[RECIPE.yaml]"] if command.recipe else []
    flags = [flag.name if flag.switch else f"{flag.name} {flag.metavar or '…'}" for flag in command.flags]
    settings = ["[key=value …]"] if command.config else []
    return " ".join(["planish", name, *words, *recipe, *(f"[{flag}]" for flag in flags), *settings])


def unknown_command(arguments: Sequence[str]) -> str | None:
    """The error about a command that does not exist, with the nearest one."""
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    if not words or words[0] in COMMANDS:
        return None
    group, given = "", words[0]
    if given in GROUPS:
        if len(words) == 1 or " ".join(words[:2]) in COMMANDS:
            return None
        group, given = f"{words[0]} ", words[1]
    names = list(dict.fromkeys(name.removeprefix(group).split()[0] for name in COMMANDS if name.startswith(group)))
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean 'planish {group}{near[0]}'?" if near else f"there are {', '.join(names)}"
    return f"there is no command '{group}{given}'; {hint}"


def unknown_flag(name: str, flag: str, behind: str | None = None) -> str:
    """The error about a flag that does not exist: perhaps it is a setting."""
    from planish.base.settings import near_settings

    typed, _, value = flag.partition("=")
    value = value or (behind if behind and not behind.startswith("-") else "…")
    keys = [row[0] for row in settings_of_commands().get(name, [])]
    word = typed.lstrip("-").replace("-", "_")
    if near := difflib.get_close_matches(typed, [each.name for each in COMMANDS[name].flags], n=1, cutoff=0.8):
        return f"{typed}: planish {name} has no such flag; did you mean {near[0]}?"
    if near := [word] if word in keys else near_settings(word, keys):
        setting = f"{near[0].replace('*', 'NAME')}={value}"
        return f"{typed}: planish {name} has no such flag; settings are written without dashes: {setting}"
    return f"{typed}: planish {name} has no such flag; planish {name} --help lists flags and settings"


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
            values |= _values_of(flag, given if flag.many else [given], named=values)
    recipe = recipes[0] if recipes else None
    return Request(options.name, command, options, recipe, settings, words, values)


def _is_recipe(word: str, command: Command) -> bool:
    """True if a YAML file holds settings: there are data files in YAML, too."""
    if not any(each.name == "FILE" for each in command.words) or not Path(word).is_file():
        return True
    import yaml

    from planish.base.strict_yaml import parse_yaml

    try:
        tree = parse_yaml(Path(word).read_text(encoding="utf-8-sig"))
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
        return "there is no such file or folder" + (f"; a setting is written {word}=…" if word.isidentifier() else "")
    places = " and ".join(slot.name for slot in command.words) or "no words"
    return f"planish {name} takes {places} beside settings, which are written key=value"


def _values_of(
    argument: Argument, texts: Sequence[Any], whole: bool = False, named: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The settings that these texts of one argument give; `whole` puts them in place of all that a recipe names. A setting
    of each source, `data.sources.*.columns`, is that of the sources that are `named` already."""
    values = [{argument.key: text} if argument.key else text for text in texts]
    before, star, after = argument.setting.partition(".*.")
    if star:
        sources = [key for key in named if key.startswith(f"{before}.")]
        if not sources:
            raise ConfigError(f"{argument.name} goes with --data FILE; in a recipe set {before}.NAME.{after}")
        return {f"{key}.{after}": values[0] for key in sources}
    if "*" not in argument.setting:
        return {argument.setting: values if argument.many else values[0]}
    above = argument.setting.removesuffix(".*")
    names = names_of_models(texts) if above == "models" else source_names(texts)
    named = dict(zip(names, values, strict=True))
    return {above: named} if whole else {f"{above}.{name}": value for name, value in named.items()}
