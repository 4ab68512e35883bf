"""Which prompts belong to an iteration, and which are held out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from planish.base.errors import ConfigError, DataError
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.prompt_dataset import PromptDataset, read_prompts


@pytest.fixture(scope="module")
def template(tiny_model: Path) -> ChatTemplate:
    return ChatTemplate(load_tokenizer(tiny_model))


def write(path: Path, prompts: list[str]) -> str:
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return str(path)


def book(template: ChatTemplate, tmp_path: Path, held_out: int = 3, seed: int = 0) -> PromptDataset:
    paths = {
        "first": write(tmp_path / "first.jsonl", [f"say {i}" for i in range(10)]),
        "second": write(tmp_path / "second.jsonl", ["say cat", "say dog", "say 3"]),
    }
    return read_prompts(paths, {}, template, 100, held_out, seed)


def test_every_pass_asks_each_prompt_once_in_an_order_of_its_own(template: ChatTemplate, tmp_path: Path) -> None:
    some = book(template, tmp_path, held_out=0)
    numbers = [asked.number for i in range(26) for asked in some.of(i, 1)]
    first, second = numbers[:13], numbers[13:]
    assert sorted(first) == sorted(second) == list(range(13))
    assert first != second
    assert [asked.number for k in range(2) for asked in some.of(k, 6)] == numbers[:12]  # however many an iteration has
    assert [asked.number for asked in some.of(2, 5)] == numbers[10:15]  # over the edge of a pass


def test_equal_prompts_are_held_out_together(template: ChatTemplate, tmp_path: Path) -> None:
    for seed in range(20):
        some = book(template, tmp_path, seed=seed)
        learnt = {asked.tokens for asked in some.training}
        assert not learnt & {asked.tokens for asked in some.held_out}
        assert len({asked.tokens for asked in some.held_out}) == 3
        assert len(some.training) + len(some.held_out) == 13


def test_files_to_watch_take_the_place_of_a_draw_and_leaks_are_listed(template: ChatTemplate, tmp_path: Path) -> None:
    paths = {"some": write(tmp_path / "some.jsonl", ["say cat", "say dog"])}
    watched = {"others": write(tmp_path / "others.jsonl", ["say dog", "say tree"])}
    some = read_prompts(paths, watched, template, 100, 5, 0)
    assert Counter(asked.source for asked in some.held_out) == {"others": 2}
    assert [str(row.origin) for row in some.known] == [f"{paths['some']} row 2"]
    assert len({asked.number for asked in (*some.training, *some.held_out)}) == 4


def test_prompts_without_room_stop_the_run_or_are_listed(template: ChatTemplate, tmp_path: Path) -> None:
    paths = {"some": write(tmp_path / "some.jsonl", ["say cat", "say " + "dog " * 40])}
    with pytest.raises(DataError, match=r"row 2: .* room for 30"):
        read_prompts(paths, {}, template, 30, 0, 0)
    some = read_prompts(paths, {}, template, 30, 0, 0, "drop")
    assert [str(row.origin) for row in some.dropped] == [f"{paths['some']} row 2"]


def test_a_file_without_a_prompt_that_fits_is_named_with_its_setting_and_why(
    template: ChatTemplate, tmp_path: Path
) -> None:
    """The two settings may call different files by the same name."""
    good = write(tmp_path / "good.jsonl", ["say cat"])
    long = write(tmp_path / "long.jsonl", ["say " + "dog " * 40])
    with pytest.raises(
        DataError, match=r"held_out_prompts\.some=.*long\.jsonl: holds no .*long\.jsonl row 1: .* room for 30"
    ):
        read_prompts({"some": good}, {"some": long}, template, 30, 0, 0, "drop")
    with pytest.raises(DataError, match=r"^prompts\.some=.*long\.jsonl: holds no"):
        read_prompts({"some": long}, {"some": good}, template, 30, 0, 0, "drop")


def test_holding_everything_out_is_refused(template: ChatTemplate, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="12 different prompts"):
        book(template, tmp_path, held_out=12)


def test_the_fingerprint_tells_other_prompts(template: ChatTemplate, tmp_path: Path) -> None:
    assert book(template, tmp_path).fingerprint() == book(template, tmp_path).fingerprint()
    assert book(template, tmp_path).fingerprint() != book(template, tmp_path, held_out=2).fingerprint()
