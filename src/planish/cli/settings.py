"""`planish settings`, and the settings in each command's help: read from settings.json, so that nothing heavy is imported.

docs/make_settings.py writes that file from the configs: for each command, rows of key, default, meaning, and the choice that
a setting belongs to (`dpo` of loss.name).
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planish.base.command import Command
from planish.base.errors import ConfigError
from planish.commands import COMMANDS

if TYPE_CHECKING:
    from planish.cli.arguments import Request

FILE = Path(__file__).parents[1] / "settings.json"
NARROW = 60  # below so many characters, meanings are not folded into a column

Row = tuple[str, str, str, str]


def settings_of_commands() -> dict[str, list[Row]]:
    read = json.loads(FILE.read_text(encoding="utf-8"))
    return {command: [(row[0], row[1], row[2], row[3]) for row in rows] for command, rows in read.items()}


def shown_settings(name: str, command: Command) -> str:
    """The settings that a command's help lists, with defaults, and where the rest are."""
    rows = settings_of_commands().get(name, [])
    by_key = {row[0]: row for row in reversed(rows)}
    lines = list(_table((by_key[key] for key in command.shown if key in by_key), indent="  "))
    head = ["settings, written key=value:"] if lines else []
    rest = [f"all {len(rows)} settings: planish settings {name}"] if len(rows) > len(lines) else []
    return "\n".join([*head, *lines, *rest])


def settings_command(request: Request) -> None:
    """Without words, the commands; with a command, its settings; with a further word, those whose name or meaning has it."""
    every = settings_of_commands()
    words = request.words
    name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in every), None)
    if not words:
        for command, rows in every.items():
            print(f"{command:<14}{len(rows):>4} settings   {COMMANDS[command].summary}")
        print("\nplanish settings COMMAND [WORD] lists them; planish settings WORD searches all")
        return
    sought = words[len(name.split()) :] if name else words
    commands: dict[Row, list[str]] = {}
    for command in [name] if name else every:
        for row in every[command]:
            if _has(row, sought):
                commands.setdefault(row, []).append(command)
    if not commands:
        raise ConfigError(f"no setting of {name or 'any command'} has {' '.join(sought)} in its name or meaning")
    groups: dict[str, list[Row]] = {}
    for row, known in commands.items():
        groups.setdefault(", ".join(known), []).append(row)
    for title, rows in groups.items():
        print("\n".join([*([] if name else [f"planish {title}"]), *_table(rows), *([] if name else [""])]))


def _has(row: Row, words: Sequence[str]) -> bool:
    text = " ".join(row).lower()
    return all(word.lower() in text for word in words)


def _table(rows: Iterable[Row], indent: str = "") -> Iterable[str]:
    """key=default and the meaning."""
    return columns(
        [(f"{key}{_value(default)}", f"{of}: {meaning}" if of else meaning) for key, default, meaning, of in rows],
        indent,
    )


def columns(cells: Sequence[tuple[str, str]], indent: str = "") -> Iterable[str]:
    """Two columns as wide as the terminal."""
    first = min(max((len(left) for left, _ in cells), default=0), 40)
    room = shutil.get_terminal_size((160, 24)).columns - len(indent) - first - 2
    for left, meaning in cells:
        lines = textwrap.wrap(meaning, max(room, NARROW)) or [""]
        yield f"{indent}{left:<{first}}  {lines[0]}"
        for line in lines[1:]:
            yield f"{indent}{'':<{first}}  {line}"


def _value(default: str) -> str:
    return {"needed": " (needed)", "absent": " (absent)"}.get(default, f"={default}")
