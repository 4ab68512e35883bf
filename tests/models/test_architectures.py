"""The table of architectures: its script runs, and it was made with the transformers that is installed by the lock file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.recipes import ROOT

SCRIPT = ROOT / "benchmarks" / "architectures.py"
PAGE = ROOT / "docs" / "architectures.md"


@pytest.mark.slow
def test_the_script_measures_models_and_writes_the_page(tmp_path: Path) -> None:
    lines, page = tmp_path / "lines.jsonl", tmp_path / "page.md"
    kinds = ["llama", "bloom", "minimax_m3_vl_text", "cpmant"]
    for arguments in (["run", str(lines), "--types", *kinds], ["table", str(lines), str(page)]):
        subprocess.run([sys.executable, SCRIPT, *arguments], check=True, capture_output=True)
    found = {line["type"]: line for line in map(json.loads, lines.read_text(encoding="utf-8").splitlines())}
    assert [found[kind]["runs"] for kind in kinds] == ["packed", "one by one", "one by one", "refused"]
    assert all(line["right"] for line in found.values() if line["runs"] != "refused")
    text = page.read_text(encoding="utf-8")
    assert "| packed, and right | 1 |" in text
    assert "| one sequence at a time, as the run says, and right | 2 |" in text
    assert re.search(r"\| `llama` \| yes \| yes \| \d+e-0\d \| \d+e-0\d \|", text)
    assert "block_indices" in text


def test_the_page_is_of_the_locked_transformers_and_nothing_in_it_is_wrong() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (locked,) = re.findall(r"^transformers==(.*)$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    assert f"transformers {locked} runs" in text
    assert "Wrong:" not in text
    assert sum(map(int, re.findall(r"^\| [^`|]+ \| (\d+) \|$", text, re.M))) == len(re.findall(r"^\| `", text, re.M))
