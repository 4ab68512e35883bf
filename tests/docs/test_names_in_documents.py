"""Documents name things as they are: tests and their codes, files, losses, judges, rewards, stages, and what an LLM is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from planish.commands import STAGES
from planish.judges.config import JudgeConfig
from planish.judges.questions import COMPARE, GRADE
from planish.methods.ppo.rewards import RewardSource
from planish.methods.preference_losses import PreferenceLoss

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def names_of(union: object) -> list[str]:
    """The `name` of each member of a union of settings."""
    members, *_ = get_args(union)
    return [member.model_fields["name"].default for member in get_args(members)]


def codes_of_tests() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"def test_(\w+)", path.read_text(encoding="utf-8")):
            while match := re.match(r"(?:and_)?([a-z]\d{1,2}|pain_\d\d)_", name):
                found.add(match[1] if match[1].startswith("pain") else match[1].upper())
                name = name[match.end() :]
    return found


def test_every_code_of_a_test_has_a_line_in_the_legend() -> None:
    codes, rows = codes_of_tests(), set(re.findall(r"^\| (\w+) \|", page("contributing"), re.M))
    assert len(codes) > 50
    assert sorted(codes - rows) == []


def test_every_experiment_that_is_named_has_a_line_in_the_legend() -> None:
    rows = set(re.findall(r"^\| (E\d+) \|", page("contributing"), re.M))
    named = [*DOCS.rglob("*.md"), *(ROOT / "log").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    assert {code for path in named for code in re.findall(r"\bE\d{1,2}\b", path.read_text(encoding="utf-8"))} <= rows


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.relative_to(DOCS).as_posix())
def test_every_file_of_the_repository_that_a_page_names_is_there(path: Path) -> None:
    named = re.findall(r"`((?:tests|src|examples|recipes|docs|benchmarks)/[\w./*-]+)", path.read_text(encoding="utf-8"))
    assert [name for name in named if not any(ROOT.glob(name.rstrip("/")))] == []


def test_every_preference_loss_is_on_the_page_of_dpo() -> None:
    names = names_of(PreferenceLoss)
    assert len(names) > 5
    assert [name for name in names if f"\n| `{name}`" not in page("dpo")] == []


def test_every_judge_reward_and_stage_is_on_its_page() -> None:
    assert [name for name in names_of(JudgeConfig) if f"| `{name}` |" not in page("compare")] == []
    assert [name for name in names_of(RewardSource) if f"| `{name}` |" not in page("ppo")] == []
    table = page("pipeline").split("| `run` |")[1]
    assert [name for name in STAGES if f"`{name}`" not in table] == []


def test_pages_show_what_an_llm_is_asked() -> None:
    assert COMPARE in page("compare")
    assert GRADE in page("ppo")
