"""The Tab key completes commands, flags, settings and files in a real shell."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from planish.cli.main import main
from support.refusals import refused

pytestmark = pytest.mark.skipif(find_spec("argcomplete") is None, reason="argcomplete is not installed")


def completed(line: str, folder: Path) -> list[str]:
    """What bash offers behind a line, by the script that `planish completion bash` prints."""
    (folder / "planish").write_text(f'#!/bin/sh\nexec {sys.executable} -m planish "$@"\n')
    (folder / "planish").chmod(0o755)
    script = f"""
PATH={folder}:$PATH
eval "$(planish completion bash)"
COMP_LINE={line!r} COMP_POINT=${{#COMP_LINE}} COMP_TYPE=9 COMP_KEY=9
read -ra COMP_WORDS <<< "$COMP_LINE"
[[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_python_argcomplete planish
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, check=True)
    return [word.strip() for word in done.stdout.splitlines()]


def test_bash_completes_commands_flags_settings_and_files(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("")
    assert completed("planish s", tmp_path) == ["sft", "sample", "score", "settings"]
    assert completed("planish data in", tmp_path) == ["inspect"]
    assert "--data" in completed("planish sft --", tmp_path)
    assert completed("planish sft optim.l", tmp_path) == ["optim.lr="]
    assert completed("planish sft reci", tmp_path) == ["recipe.yaml"]
    assert completed("planish settings pp", tmp_path) == ["ppo"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", shell])
    assert "planish" in capsys.readouterr().out
    assert "takes the name of a shell" in refused(lambda: main(["completion", "csh"]))
