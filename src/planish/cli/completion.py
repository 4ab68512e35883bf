"""Completion by the Tab key, by argcomplete: commands, flags, settings and files. Without a Tab it costs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from planish.base.errors import ConfigError
from planish.cli.settings import settings_of_commands

if TYPE_CHECKING:
    from planish.cli.arguments import Request

SHELLS = ("bash", "zsh", "fish")


def completion_command(request: Request) -> None:
    if request.words not in [[shell] for shell in SHELLS]:
        raise ConfigError(f"planish completion takes the name of a shell: {', '.join(SHELLS)}")
    print(_argcomplete().shellcode(["planish"], shell=request.words[0]))


def complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell, and ends the process."""
    _argcomplete().autocomplete(parser)


def complete_word(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Sequence[str]:
    """The settings of the command that begin so, and files."""
    every = settings_of_commands()
    if parsed_args.name == "settings":
        return [command for command in every if command.startswith(prefix)]
    keys = dict.fromkeys(f"{row[0]}=" for row in every.get(parsed_args.name, []) if "*" not in row[0])
    files = import_module("argcomplete.completers").FilesCompleter()(prefix)
    return [*(key for key in keys if key.startswith(prefix)), *files]


def _argcomplete() -> Any:
    try:
        return import_module("argcomplete")
    except ImportError:
        raise ConfigError("completion needs a package that is not installed: pip install argcomplete") from None
