"""The shell commands of README.md and docs/: found, cut down, and run in the order in which a reader meets them.

A block of commands is fenced as `sh` or `bash`, and bash runs it. Only what would be slow or need a network is stood in for:
`planish` is called within the test's process with settings that make it short; pip and make are looked up, not run. Where a block
needs what a test has not (a GPU, a server, hours), a comment on the line above says so, and its flags and settings are read but
nothing is run: `<!-- not run: a GPU -->`. A block of `python` is run where a comment above it says so: `<!-- run -->`. A block
below a line with the name of a file and a colon, "`my_loss.py`:", is that file, and is written first.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import warnings
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

SHELLS = ("sh", "bash", "console")
MARK = r"<!-- (?:not run: (?P<reason>[^>]+)|(?P<run>run)) -->\n+"
BLOCK = re.compile(rf"^(?:{MARK})?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
FILE = re.compile(r"^`([\w-]+\.\w+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^\$? ?(\w+=\S+ )*(planish|torchrun|python3?|pip|make) ", re.M)
ASSIGNED = re.compile(r"\w+=\S*")

# What makes each command short. A later setting wins, so those of the page are read and checked all the same.
TRAINED = ["steps=1", "batch.examples=2", "batch.tokens=null", "data.max_held_out=4", "evaluate_every=0"]
SAMPLED = ["num_samples=1", "sampling.max_completion_tokens=2"]
SHORTER = {
    "pretrain": [*TRAINED, *SAMPLED],
    "sft": [*TRAINED, *SAMPLED],
    "dpo": [*TRAINED, *SAMPLED, "kl_prompts=2"],
    "reward": [*TRAINED, "num_demonstrations=4"],
    "ppo": ["iterations=1", "held_out=2", "evaluate_every=0", "batch.prompts=2", "batch.minibatches=1", *SAMPLED],
    "sample": ["limit=200", "max_completion_tokens=12"],
    "best": ["limit=20", "sampling.max_completion_tokens=2"],
    "compare": ["limit=2", "sampling.max_completion_tokens=2"],
    "know": ["limit=4"],
    "evaluate knowledge": ["max_completion_tokens=8"],
    "evaluate refusals": ["limit=4", "sampling.max_completion_tokens=4"],
    "know models/wind-tunnel": ["limit=100", "probe.samples=2"],
    "chat": ["max_completion_tokens=2"],
    "annotate": ["serve=false"],
    "claims run": ["seeds=1", "changes={steps: 1, batch.examples: 2, data.max_held_out: 4}"],
    # Annotators refuse answers as alike as those of an untrained model. This one learns enough in twenty steps.
    "sft recipes/world_sft.yaml": ["steps=20", "num_samples=1", "sampling.max_completion_tokens=2", "evaluate_every=0"],
}
OF_STAGES = {**SHORTER, "world": ["size=ci"]}

# Hands a command over to the test's process, and says what it said.
STUB = """#!/bin/bash
call=$(mktemp -d)
printf '%s\\0' "${0##*/}" "$@" > "$call/words"
mkfifo "$call/code"
echo "$call" > "$CALLS"
read -r code < "$call/code"
cat "$call/said"
exit "$code"
"""
# The real python, but for what needs an installation or a process group.
PYTHON = f"""#!/bin/bash
case "$*" in
"-m venv "*) mkdir -p "$3/bin"; touch "$3/bin/activate" ;;
"-m planish "*) shift 2; exec planish "$@" ;;
"-m pip "*) shift 2; exec pip "$@" ;;
*) exec {sys.executable} "$@" ;;
esac
"""
TORCHRUN = """#!/bin/bash
while [ "$1" != planish ]; do shift; done
exec "$@"
"""


_done: set[tuple[str, ...]] = set()  # folder and words of the commands that were run


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    kind: str
    text: str
    reason: str | None
    is_run: bool

    def __str__(self) -> str:
        return f"{self.page.name} line {self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The words of each command of planish that stands on a line of its own, without comments and variables."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and ASSIGNED.fullmatch(words[0]):
                words = words[1:]
            if words and words[0] in ("planish", "torchrun"):
                yield words[words.index("planish") + 1 :]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            line=text.count("\n", 0, match.start()) + 1,
            kind=match["kind"],
            text=match["text"],
            reason=match["reason"],
            is_run=match["kind"] in SHELLS if match["run"] is None else True,
        )
        for match in BLOCK.finditer(text)
    ]


def write_files(page: Path) -> None:
    """Writes the files that a page shows to the current folder."""
    for name, text in FILE.findall(page.read_text(encoding="utf-8")):
        Path(name).write_text(text, encoding="utf-8")


def run(block: Block, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Runs a block in the folder, which must be the current one; fails with what was said if a command of bash does."""
    if block.kind == "python":
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # a page may leave files to be closed
            exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
        return
    calls, stubs = folder / ".calls", folder / ".stubs"
    if not stubs.exists():
        write_stubs(stubs)
        os.mkfifo(calls)
    patch.setenv("CALLS", str(calls))
    patch.setenv("PATH", f"{stubs}:{os.environ['PATH']}")
    text = "trap 'echo > \"$CALLS\"' EXIT\n" + re.sub(r"^\$ ", "", block.text, flags=re.M)
    said: list[str] = []
    with calls.open("r+b", buffering=0) as requests, subprocess.Popen(["bash", "-eu", "-c", text]) as shell:
        while call := requests.readline().decode().strip():
            said.append(answer(Path(call), patch))
    if shell.returncode:
        pytest.fail(f"{block}: {''.join(said[-1:]) or 'a command of the shell failed'}")


def write_stubs(folder: Path) -> None:
    folder.mkdir()
    stubs = dict.fromkeys(("planish", "pip", "make"), STUB) | dict.fromkeys(("python", "python3"), PYTHON)
    for name, text in {**stubs, "torchrun": TORCHRUN}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)


def answer(call: Path, patch: pytest.MonkeyPatch) -> str:
    """Does what a stub was asked for; returns the command with what was said about a failure."""
    name, *arguments = (call / "words").read_text(encoding="utf-8").split("\0")[:-1]
    out, failure = io.StringIO(), ""
    with contextlib.redirect_stdout(out), patch.context() as here:
        here.setattr(sys, "stdin", io.StringIO("Who are you?\n/quit\n"))
        try:
            planish(arguments) if name == "planish" else check_other(name, arguments)
        except SystemExit as error:
            failure = str(error.code or "")
        except AssertionError as error:
            failure = str(error)
    (call / "said").write_text(out.getvalue(), encoding="utf-8")
    (call / "code").write_text("1\n" if failure else "0\n")
    return f"{shlex.join([name, *arguments])}\n{failure}"


def planish(arguments: list[str]) -> None:
    """Runs a command. Pages repeat some, word for word: a second time it is not run where its outputs are still there."""
    command = (str(Path.cwd()), *arguments)
    if command in _done and all(out.exists() for out in outputs(arguments)):
        return
    main(shortened(arguments))
    _done.add(command)
    missing = [str(out) for out in outputs(arguments) if not out.exists()]
    assert missing == [], f"was not written: {missing}"


def shortened(arguments: list[str]) -> list[str]:
    """With settings that make the command short."""
    if arguments[:1] == ["run"]:
        return [*arguments, *_shorter_stages(arguments)]
    return [*arguments, *SHORTER.get(" ".join(arguments[:2]), SHORTER.get(arguments[0], []) if arguments else [])]


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


def check_other(name: str, arguments: list[str]) -> None:
    """A command of make or pip: the target and the extras that it names are there."""
    if name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        assert set(arguments) <= set(targets), f"the Makefile has {', '.join(targets)}"
    else:
        known = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
        extras = [name for word in re.findall(r"\.\[([\w,]+)\]", " ".join(arguments)) for name in word.split(",")]
        assert set(extras) <= set(known), f"pyproject.toml has {', '.join(known)}"


class SettingsReadError(Exception):
    """The settings were read, and nothing more is wanted."""


def only_read(block: Block, patch: pytest.MonkeyPatch) -> None:
    """Reads flags and settings of the commands of a block that is not run, whose models need not be here."""

    def read(*given: Any, **named: Any) -> None:
        load_config(*given, **named)
        raise SettingsReadError

    for module in [module for name, module in sys.modules.items() if name.startswith("planish.")]:
        if getattr(module, "load_config", None) is load_config:
            patch.setattr(module, "load_config", read)
    assert config.load_config is read
    patch.setattr("planish.cli.main.check_model_folder", bool)
    for arguments in block.commands():
        with pytest.raises(SettingsReadError):
            main(arguments)
