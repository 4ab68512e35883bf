"""Ranks end as one process would: with nothing of the group left that could stop them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from pathlib import Path

from planish.base.config import load_config
from planish.methods.sft import SftConfig, sft

model, data, out = sys.argv[1:]
settings = {"model": {"path": model}, "data": {"sources": {"first": {"path": data}}}, "out": f"{out}/run", "steps": 2}
sft(load_config(SftConfig, values=settings))
names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
Path(out, os.environ["RANK"]).write_text(" ".join(name.strip() for name in names if "gloo" in name))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed by Linux alone")
def test_no_thread_of_the_process_group_outlives_it(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    """One that does can take Python down with SIGABRT as it ends, after all is written."""
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tiny_model), tiny_data["first"], str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["", ""]
