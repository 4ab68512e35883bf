"""The shell commands of README.md and docs/: found, cut down, and run in the order in which a reader meets them.

A block of commands is fenced as `sh` or `bash`. Where one needs what a test has not (a GPU, a server, a download, files of the
reader), a comment on the line above says so, and the block is only checked, flags and settings: `<!-- not run: a GPU -->`.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from planish.base import config
from planish.base.config import load_config
from planish.cli.main import main
from support.recipes import ROOT

BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n+)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^\$? ?(\w+=\S+ )*(planish|torchrun|python3?|pip|make) ", re.M)
SHELLS = ("sh", "bash", "console")
ASSIGNED = re.compile(r"[A-Z_]+=\S*")

# What makes each command short. A later setting wins, so those of the page are read and checked all the same.
TRAINED = [
    "steps=1",
    "batch.examples=2",
    "batch.tokens=null",
    "data.max_held_out=4",
    "evaluate_every=0",
    "checkpoint.every=0",
]
SAMPLED = ["num_samples=1", "sampling.max_completion_tokens=2"]
SHORTER = {
    "pretrain": [*TRAINED, *SAMPLED],
    "sft": [*TRAINED, *SAMPLED],
    "dpo": [*TRAINED, *SAMPLED, "kl_prompts=2"],
    "reward": [*TRAINED, "num_demonstrations=4"],
    "ppo": ["iterations=1", "held_out=2", "evaluate_every=0", "batch.prompts=2", "batch.minibatches=1", *SAMPLED],
    "sample": ["max_completion_tokens=2"],
    "best": ["sampling.max_completion_tokens=2"],
    "compare": ["limit=2", "sampling.max_completion_tokens=2"],
    "know": ["limit=4"],
    "chat": ["max_completion_tokens=2"],
}
OF_STAGES = {**SHORTER, "world": ["size=ci"]}


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    kind: str
    text: str
    reason: str | None

    def commands(self) -> Iterator[list[str]]:
        """The words of each command, without comments and variables."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            for command in _split(words):
                while command and ASSIGNED.fullmatch(command[0]):
                    command = command[1:]
                if command:
                    yield command


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in words:
        if word == "&&":
            yield command
            command = []
        else:
            command.append(word)
    yield command


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match["kind"], match["text"], match["reason"])
        for match in BLOCK.finditer(text)
    ]


def arguments_of(command: list[str]) -> list[str] | None:
    """The arguments of planish, however it is called, or None for another program."""
    if command[0] == "planish":
        return command[1:]
    if command[0] in ("python", "python3", "torchrun") and "planish" in command:
        return command[command.index("planish") + 1 :]
    return None


def shortened(arguments: list[str]) -> list[str]:
    """With settings that make the command short."""
    more = _shorter_stages(arguments) if arguments[0] == "run" else SHORTER.get(arguments[0], [])
    return [*arguments, *more]


def _shorter_stages(arguments: list[str]) -> Iterator[str]:
    recipe = next(word for word in arguments if word.endswith(".yaml"))
    stages: dict[str, dict[str, Any]] = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))["stages"]
    for name, settings in stages.items():
        for setting in OF_STAGES.get(settings["run"], []):
            yield f"stages.{name}.{setting}"


def outputs(arguments: list[str]) -> list[Path]:
    """Files and folders that a command says it writes."""
    after = [arguments[at + 1] for at, word in enumerate(arguments) if word in ("--out", "--page")]
    return [Path(out) for out in (*after, *(word[4:] for word in arguments if word.startswith("out=")))]


def check_other(command: list[str]) -> None:
    """A command of another program: what it names is there."""
    match command:
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M), target
        case ["pip" | "python" | "python3" | ".venv/bin/pip", *rest] if "install" in rest:
            extras = re.findall(r"\.\[([\w,]+)\]", " ".join(rest))
            known = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            assert all(f"\n{name} = [" in known for extra in extras for name in extra.split(","))
        case ["python" | "python3", script, *_] if script.endswith(".py"):
            assert (ROOT / script).exists(), script
        case ["python3", "-m", "venv", _] | [".", ".venv/bin/activate"] | ["cd", _] | ["source", ".venv/bin/activate"]:
            pass
        case _:
            raise AssertionError(f"unknown command {' '.join(command)}: let tests/support/doc_commands.py check it")


def run(command: list[str], block: Block, patch: pytest.MonkeyPatch) -> None:
    """Runs a command of planish, shortened, in the current folder; of a block that is not run, reads its settings."""
    arguments = arguments_of(command)
    if arguments is None:
        if not block.reason:
            check_other(command)
        return
    patch.setattr(sys, "stdin", io.StringIO("Who are you?\n/quit\n"))
    if block.reason:
        stop_after_settings(patch)
    try:
        main(arguments if block.reason else shortened(arguments))
    except SettingsRead:
        return
    except SystemExit as error:
        if error.code:
            pytest.fail(f"{block.page.name} line {block.line}: {shlex.join(command)}\n{error.code}")
    missing = [str(out) for out in outputs(arguments) if not out.exists()]
    assert missing == [], f"{block.page.name} line {block.line}: {shlex.join(command)}"


class SettingsRead(BaseException):
    """The settings were read, and nothing more is wanted."""


def stop_after_settings(patch: pytest.MonkeyPatch) -> None:
    def read(*given: Any, **named: Any) -> None:
        load_config(*given, **named)
        raise SettingsRead

    for module in [module for name, module in sys.modules.items() if name.startswith("planish.")]:
        if getattr(module, "load_config", None) is load_config:
            patch.setattr(module, "load_config", read)
    assert config.load_config is read
