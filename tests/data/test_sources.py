"""What is measured on is not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import DataError
from planish.data import sources
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.settings import DataConfig
from planish.data.sources import Source, prepare_sources


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
    one, again = (prepared(tiny_model, tmp_path / "rows.json", rows, max_held_out=5) for _ in range(2))
    assert one.held_out.names == again.held_out.names
    assert len(one.held_out) == 2  # 5 percent of 40
    numbers = [int(name.split()[-1]) for name in one.training.names + one.held_out.names]
    assert sorted(numbers) == list(range(1, 41))


def test_prompts_to_sample_are_of_rows_that_were_kept(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{**row(i), "output": "word " * (300 if i % 2 else 1)} for i in range(40)]
    source = prepared(tiny_model, tmp_path / "rows.json", rows, held_out=0.3, too_long="drop")
    assert {str(demonstration.origin) for demonstration in source.held_out_prompts} == set(source.held_out.names)
    assert len(source.dropped) == 20


def sources_of(model: Path, **settings: object) -> list[Source]:
    tokenizer = load_tokenizer(model)
    return prepare_sources(DataConfig.model_validate(settings), tokenizer, ChatTemplate(tokenizer), 256, seed=0)


def write(path: Path, rows: list[dict[str, str]]) -> dict[str, str]:
    path.write_text(json.dumps(rows))
    return {"path": str(path)}


def test_rows_beyond_the_limit_are_counted(tiny_model: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.json", [row(i) for i in range(30)])
    (source,) = sources_of(tiny_model, sources={"rows": {**file, "limit": 12}})
    assert (len(source.training), len(source.held_out), source.over_limit) == (11, 1, 18)
    assert source.account()["over_limit"] == 18


def test_a_row_that_another_source_holds_out_is_told(tiny_model: Path, tmp_path: Path) -> None:
    """Ten rows stand in both files. Each row held out of one and trained on in the other is a leak."""
    one = write(tmp_path / "one.json", [row(i) for i in range(30)])
    two = write(tmp_path / "two.json", [row(i) for i in range(20, 50)])
    found = sources_of(tiny_model, sources={"one": one, "two": two}, held_out=0.3)
    held = [
        {int(name.split()[-1]) + start for name in each.held_out.names}
        for each, start in zip(found, (-1, 19), strict=True)
    ]
    learnt = [
        {int(name.split()[-1]) + start for name in each.training.names}
        for each, start in zip(found, (-1, 19), strict=True)
    ]
    assert {int(str(leak.origin).split()[-1]) - 1 for leak in found[0].leaks} == held[1] & learnt[0]
    assert {int(str(leak.origin).split()[-1]) + 19 for leak in found[1].leaks} == held[0] & learnt[1]
    assert found[0].leaks[0].reason == "a copy is held out in source 'two'"


def test_what_hygiene_removes_is_neither_learnt_nor_measured_on(tiny_model: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", [row(i) for i in range(20)])
    two = write(tmp_path / "two.json", [row(i) for i in range(10, 30)])
    found = sources_of(tiny_model, sources={"one": one, "two": two}, cleaning={"exact_copies": True})
    assert [len(each.training) + len(each.held_out) for each in found] == [20, 10]
    assert [str(each.origin) for each in found[1].dropped] == [f"{two['path']} row {i}" for i in range(1, 11)]
    assert found[1].dropped[0].reason == f"copy of {one['path']} row 11"
    assert [each.leaks for each in found] == [(), ()]


def test_a_leak_from_an_evaluation_set_is_told_though_nothing_is_removed(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"instruction": f"what is the square of {i}", "output": str(i * i)} for i in range(30)]
    test = tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps({"prompt": f"What is the square of {i}"}) + "\n" for i in (3, 40)))
    file = write(tmp_path / "rows.json", rows)
    (source,) = sources_of(tiny_model, sources={"rows": file}, cleaning={"evaluation": [str(test)]})
    assert [str(leak.origin) for leak in source.leaks] == [f"{file['path']} row 4"]
    assert source.dropped == ()


def test_the_best_of_a_comparison_is_learnt_on_request_alone(tiny_model: Path, tmp_path: Path) -> None:
    pairs = [{"prompt": f"say {i}", "chosen": f"yes {i}", "rejected": "no"} for i in range(8)]
    tie = {"prompt": [{"role": "user", "content": "say"}], "completions": ["a", "b"], "ranks": [0, 0]}
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "tie.jsonl").write_text(json.dumps(tie) + "\n")
    paths = [str(tmp_path / "pairs.jsonl"), str(tmp_path / "tie.jsonl")]
    with pytest.raises(DataError, match="comparisons"):
        sources_of(tiny_model, sources={"rows": {"path": paths}})
    (source,) = sources_of(tiny_model, sources={"rows": {"path": paths, "take": "best"}})
    assert len(source.training) + len(source.held_out) == 8
    assert {
        message.content for each in source.held_out_prompts for message in each.messages if message.role == "assistant"
    } <= {f"yes {i}" for i in range(8)}
    assert [each.reason for each in source.dropped] == ["2 completions share the first rank, so none is best"]


def test_data_that_change_while_they_are_read_stop_the_run(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "rows.json", [row(i) for i in range(30)])
    clean = sources.clean

    def meanwhile(*arguments: Any) -> Any:
        write(tmp_path / "rows.json", [row(i) for i in range(29)])
        return clean(*arguments)

    monkeypatch.setattr(sources, "clean", meanwhile)
    with pytest.raises(DataError, match=r"30 rows at first, 29 when read again: the data changed"):
        sources_of(tiny_model, sources={"rows": file})


def test_tokens_are_kept_in_the_folder_given_and_leave_nothing_behind(tiny_model: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.json", [row(i) for i in range(30)])
    tokenizer = load_tokenizer(tiny_model)
    config = DataConfig.model_validate({"sources": {"rows": file}})
    folder = tmp_path / "run"
    folder.mkdir()
    (source,) = prepare_sources(config, tokenizer, ChatTemplate(tokenizer), 256, 0, folder)
    tokenizer_words = tokenizer.decode(source.training[0].tokens.tolist())
    assert "count" in tokenizer_words.replace(" ", "")
    assert [*folder.iterdir()] == []
