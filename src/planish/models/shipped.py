"""The base models that come with planish: pretrained in the world of size base and seed 0.

Two checkpoints of one run: `wind-tunnel` is decayed and what one fine-tunes; `wind-tunnel-stable` is from before the
learning rate fell, so other decays can start from it. docs/wind-tunnel.md says how they were made and what they know.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from planish.base.files import new_folder

FOLDER = Path(__file__).with_name("shipped")


def copy_shipped(name: str, out: Path) -> None:
    """Writes the model folder `out`: weights, settings, tokenizer."""
    with new_folder(out) as folder:
        shutil.copytree(FOLDER / name, folder, dirs_exist_ok=True)
