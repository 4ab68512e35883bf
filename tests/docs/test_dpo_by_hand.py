"""examples/dpo_by_hand.py computes every number of docs/dpo.md."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dpo.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow  # it computes the example for the whole file


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dpo_by_hand", ROOT / "examples" / "dpo_by_hand.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def printed(example: ModuleType) -> list[str]:
    return example.blocks()


def test_the_page_shows_every_block_as_it_is_printed(printed: list[str]) -> None:
    assert len(printed) == 14  # the example, eight steps, training, sampling, and three places where it is not exact
    assert re.findall(r"^```text\n(.*?)\n```$", PAGE, re.M | re.S) == printed


def test_the_page_has_no_number_of_its_own(printed: list[str]) -> None:
    """What it says between the blocks to three decimals or more is in a block."""
    prose = re.sub(r"^```text\n.*?\n```$", "", PAGE, flags=re.M | re.S)
    numbers = re.findall(r"(?<![\d.])\d\.\d{3,}", prose)
    assert len(numbers) >= 3
    assert [number for number in numbers if number not in "\n".join(printed)] == []


def test_the_program_prints_the_blocks_in_order(
    example: ModuleType, printed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    example.main([])
    assert capsys.readouterr().out == "\n\n\n".join(printed) + "\n"


@pytest.mark.parametrize(
    ("step", "numbers"),
    [
        (1, ["1.1000", "0.7960"]),
        (2, ["3.7759", "0.3600", "0.5871", "0.0530", "1.3286", "0.2286"]),
        (4, ["-0.3286", "0.6714", "-1.3286"]),
        (6, ["0.7311"]),
        (7, ["0.6931", "0.5099"]),
        (8, ["0.5000"]),
        (11, ["1.6310"]),
        (13, ["0.7761", "0.6097", "1.0000"]),
    ],
)
def test_the_numbers_are_those_of_the_derivation(printed: list[str], step: int, numbers: list[str]) -> None:
    """Worked out apart from the example: .5e + .3e^2 + .2 = 3.7759, ln of it 1.3286, 1.3286 - 1.1 = .2286, and so on."""
    words = printed[step].split()
    assert [number for number in numbers if number not in words] == []


def test_dpo_and_the_tilted_reference_meet_at_the_best_policy(example: ModuleType) -> None:
    policies, rewards = example.train_both(example.exact_shares(example.REWARD_K))
    best_K = torch.tensor([0.5 * torch.e, 0.3 * torch.e**2, 0.2], dtype=torch.float64)
    tilted_K, _ = example.tilt(example.REFERENCE_K, rewards[-1], example.BETA)
    assert (policies[-1] - tilted_K).abs().max() < 1e-8
    assert (policies[-1] - best_K / best_K.sum()).abs().max() < 1e-8
    assert policies[0].tolist() == pytest.approx([0.5, 0.3, 0.2])


def test_the_figure_is_drawn_from_what_the_example_computes(example: ModuleType, tmp_path: Path) -> None:
    example.main(["--json", str(tmp_path / "path.json")])
    now, then = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "path.json", ROOT / "docs" / "figures" / "dpo_path.json")
    )
    assert now.keys() == then.keys()
    assert now.pop("command") == then.pop("command")
    assert now.pop("answers") == then.pop("answers")
    for name, values in now.pop("sampled").items():
        assert torch.allclose(torch.tensor(values), torch.tensor(then["sampled"][name]), atol=2e-6)
    assert len(then.pop("sampled")) == 4
    for name, values in now.items():
        assert torch.allclose(torch.tensor(values), torch.tensor(then[name]), atol=2e-6)
