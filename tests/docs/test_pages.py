"""Code and documentation arrive together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args
from unittest import mock

import pytest

from planish.base.config import load_config
from planish.data.formats import FORMATS
from planish.methods.dpo import DpoConfig
from planish.methods.ppo.config import PpoConfig
from planish.methods.preference_losses import PreferenceLoss
from planish.methods.pretrain import PretrainConfig
from planish.methods.reward_model import RewardConfig
from planish.methods.sft import SftConfig
from support.anchors import anchors
from support.doc_commands import COMMAND, SHELLS, blocks, only_read, run, write_files
from support.models import write_model
from support.recipes import RECIPES, ROOT, method_of

README = ROOT / "README.md"
PAGES = sorted(  # the quick start and the lessons follow the README, the other pages come by name
    [README, *(ROOT / "docs").rglob("*.md")],
    key=lambda page: (page != README, page.stem != "quickstart", page.parent.name != "lessons", page),
)

KINDS = {"pretrain": PretrainConfig, "sft": SftConfig, "reward": RewardConfig, "dpo": DpoConfig, "ppo": PpoConfig}


def test_settings_of_every_loss_are_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    union, *_ = get_args(PreferenceLoss)
    for loss in get_args(union):
        fields = dict(loss.model_fields)
        name = fields.pop("name").default
        for setting, field in fields.items():
            assert f"| `loss.{setting}` of `{name}` | `{field.default}` | {field.description} |" in text


def test_every_format_is_documented() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid(recipe: Path) -> None:
    assert load_config(KINDS[method_of(recipe)], recipe).out.startswith("runs/")


def test_links_between_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"^```.*?^```|`[^`\n]*`|\$[^$\n]*\$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for link, place in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
            if link.startswith("http"):
                continue
            target = page.parent / link if link else page
            assert target.exists(), f"{page.name}: {link}"
            assert not place or place in anchors(target), f"{page.name}: {link}#{place}"


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, planish.cli.main\ntry: planish.cli.main.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'transformers', 'datasets', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_is_in_a_block_that_is_run(page: Path) -> None:
    missed = [f"line {block.line}" for block in blocks(page) if block.kind not in SHELLS and COMMAND.search(block.text)]
    assert missed == [], (
        "fence commands as bash, and say in a comment above why they are not run (tests/support/doc_commands.py)"
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files, with a tiny model in place of the one that would be downloaded."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("recipes", "examples", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    settings = json.loads((write_model(folder / "models" / "smollm2", 32) / "config.json").read_text())
    settings["max_position_embeddings"] = 2048  # as much as SmolLM2 can read, nearly
    (folder / "models" / "smollm2" / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.slow
def test_every_command_runs_in_the_order_of_the_pages(
    clone: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """One test, since a page may use what an earlier one made."""
    monkeypatch.chdir(clone)
    for page in PAGES:
        with subtests.test(page=page.relative_to(ROOT).as_posix()):
            write_files(page)
            for block in blocks(page):
                if block.is_run:
                    with monkeypatch.context() as patch, mock.patch.dict(FORMATS):
                        only_read(block, patch) if block.reason else run(block, clone, patch)
