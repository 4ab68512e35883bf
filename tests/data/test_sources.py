"""What is measured on is not trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planish.base.errors import DataError
from planish.data.sources import DataConfig, Source, prepare_sources
from planish.data.templates import ChatTemplate
from planish.models.load import load_tokenizer


def prepared(model: Path, file: Path, rows: list[dict[str, str]], **changes: object) -> Source:
    file.write_text(json.dumps(rows))
    config = DataConfig.model_validate({"sources": {"rows": {"path": str(file)}}, **changes})
    tokenizer = load_tokenizer(model)
    return prepare_sources(config, tokenizer, ChatTemplate(tokenizer), 256, seed=0)[0]


def row(i: int) -> dict[str, str]:
    return {"instruction": f"count {i}", "input": "", "output": f"{i} {i + 1}"}


def test_copies_of_a_held_out_row_are_held_out_with_it(tiny_model: Path, tmp_path: Path) -> None:
    source = prepared(tiny_model, tmp_path / "rows.json", [row(i % 10) for i in range(50)], held_out=0.1)
    learnt, measured = (
        {bytes(examples[i].tokens) for i in range(len(examples))} for examples in (source.training, source.held_out)
    )
    assert (len(learnt), len(measured)) == (9, 1)
    assert not learnt & measured
    assert (len(source.training), len(source.held_out)) == (45, 5)


def test_a_source_of_copies_alone_cannot_be_split(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source 'rows' needs one to train on and one to hold"):
        prepared(tiny_model, tmp_path / "rows.json", [row(1)] * 8)


def test_the_split_depends_on_the_seed_alone_and_loses_no_row(tiny_model: Path, tmp_path: Path) -> None:
    rows = [row(i) for i in range(40)]
    one, again = (prepared(tiny_model, tmp_path / "rows.json", rows, held_out_most=5) for _ in range(2))
    assert one.held_out.names == again.held_out.names
    assert len(one.held_out) == 2  # 5 percent of 40
    numbers = [int(name.split()[-1]) for name in one.training.names + one.held_out.names]
    assert sorted(numbers) == list(range(1, 41))


def test_prompts_to_sample_are_of_rows_that_were_kept(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{**row(i), "output": "word " * (300 if i % 2 else 1)} for i in range(40)]
    source = prepared(tiny_model, tmp_path / "rows.json", rows, held_out=0.3, too_long="drop")
    assert {str(demonstration.origin) for demonstration in source.held_out_prompts} == set(source.held_out.names)
    assert len(source.dropped) == 20
