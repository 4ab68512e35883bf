"""The common format: what is written for a row, and that it is read back as the same row."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planish.base.errors import ConfigError, DataError
from planish.cli.main import main
from planish.data.cleaning.run import CleaningConfig
from planish.data.formats import import_rows
from planish.data.inspect import convert as module
from planish.data.inspect.convert import KIND_NAMES, ConvertConfig, Converted, KindName, line
from planish.data.inspect.convert import convert as convert_of
from planish.data.rows import (
    Comparison,
    Demonstration,
    Dropped,
    Judged,
    Message,
    Origin,
    Prompt,
    Question,
    Role,
    Row,
    Text,
    ToolCall,
)

HERE = Origin("here.jsonl", 7)
NOWHERE = Origin("", 0)

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=12).filter(str.strip)
NAMES = st.from_regex(r"[a-z]{3,8}", fullmatch=True).map(lambda name: f"x_{name}")
NUMBERS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
ABOUT = st.dictionaries(NAMES, WORDS | NUMBERS, max_size=3)
JSON = st.recursive(
    NUMBERS | WORDS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2)
)
CALLS = st.lists(st.builds(ToolCall, NAMES, st.dictionaries(NAMES, JSON, max_size=2)), max_size=2).map(tuple)


def message(role: Role) -> st.SearchStrategy[Message]:
    return st.builds(Message, st.just(role), WORDS)


ANSWER = message("assistant")
PROMPT = st.tuples(message("user")) | st.tuples(message("system"), message("user"), ANSWER, message("user"))
TRAINED = st.builds(Message, st.just("assistant"), WORDS, st.just(True), CALLS)
UNTRAINED = st.builds(Message, st.just("assistant"), WORDS, st.just(False))
TALK = st.tuples(message("user"), TRAINED) | st.tuples(
    message("system"), message("user"), UNTRAINED, message("user"), TRAINED
)
TOOL = st.builds(lambda name, about: {"name": name, "description": about}, NAMES, WORDS)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    texts = draw(st.lists(WORDS, min_size=2, max_size=4, unique=True))
    ranks = draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)))
    scores = draw(st.just([]) | st.lists(st.floats(-9, 9), min_size=len(texts), max_size=len(texts)))
    completions = tuple(Message("assistant", text) for text in texts)
    places = tuple(sorted(set(ranks)).index(rank) for rank in ranks)
    names = draw(st.just("") | NAMES), draw(st.just("") | NAMES)
    return Comparison(draw(PROMPT), completions, places, HERE, tuple(scores), *names, draw(ABOUT))


ROWS: dict[KindName, st.SearchStrategy[Any]] = {
    "demonstrations": st.builds(Demonstration, TALK, st.just(HERE), st.lists(TOOL, max_size=2).map(tuple), ABOUT),
    "documents": st.builds(Text, WORDS, st.just(HERE), ABOUT),
    "comparisons": comparisons(),
    "judged": st.builds(Judged, PROMPT, ANSWER, st.booleans(), st.just(HERE), st.just("") | NAMES, ABOUT),
    "prompts": st.builds(
        Prompt,
        PROMPT,
        st.just(HERE),
        st.lists(WORDS, max_size=2).map(tuple),
        st.lists(TOOL, max_size=2).map(tuple),
        ABOUT,
    ),
    "questions": st.builds(
        Question,
        PROMPT,
        st.lists(WORDS, min_size=1, max_size=3).map(tuple),
        st.just(HERE),
        st.lists(WORDS).map(tuple),
        ABOUT,
    ),
}


def convert(files: list[str], out: Path, **more: Any) -> Converted:
    return convert_of(ConvertConfig(files=tuple(files), out=str(out), **more))


def written(rows: list[Row], out: Path, kind: KindName) -> Path:
    """The rows as `convert` writes them, without a file that they came from."""

    def given(*_: Any) -> Any:
        return iter(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "stream_rows", given)
        convert(["here.jsonl"], out, kind=kind)
    return out


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("kind", KIND_NAMES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_row_is_read_back_as_it_was(kind: KindName, ending: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(ROWS[kind], min_size=1, max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        found = import_rows(written(rows, Path(folder) / f"x.{ending}", kind), (KIND_NAMES[kind],))
    assert found.dropped == []
    assert [replace(row, origin=NOWHERE) for row in found.rows] == [replace(row, origin=NOWHERE) for row in rows]


# What is written


def test_pairs_of_a_ranking_become_rows_of_their_own(tmp_path: Path) -> None:
    row = {
        "prompt": "q",
        "completions": ["a", "b", "c"],
        "ranks": [1, 0, 1],
        "scores": [2.0, 5.0, 2.0],
        "annotator": "x",
    }
    (tmp_path / "ranked.jsonl").write_text(json.dumps(row))
    done = convert([str(tmp_path / "ranked.jsonl")], tmp_path / "pairs.jsonl", kind="comparisons", pairs=True)
    found = import_rows(tmp_path / "pairs.jsonl", (Comparison,)).rows
    assert done.rows == len(found) == 2  # a and c are tied
    for pair, worse in zip(found, "ac", strict=True):
        assert ([turn.content for turn in pair.completions], pair.ranks) == (["b", worse], (0, 1))
        assert (pair.scores, pair.annotator) == ((5.0, 2.0), "x")


def test_a_demonstration_says_where_it_comes_from_and_what_is_not_learnt() -> None:
    turns = (
        Message("user", "q"),
        Message("assistant", "a", trained=False),
        Message("user", "r"),
        Message("assistant", "b"),
    )
    assert line(Demonstration(turns, HERE, about={"lang": "en"})) == {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "loss_weight": 0},
            {"role": "user", "content": "r"},
            {"role": "assistant", "content": "b"},
        ],
        "about": {"lang": "en"},
        "origin": {"file": "here.jsonl", "row": 7},
    }


def test_a_judgement_of_false_is_written() -> None:
    assert line(Judged((Message("user", "q"),), Message("assistant", "a"), False, HERE))["verdict"] is False


# Files


def alpaca(folder: Path, *answers: str) -> str:
    path = folder / "alpaca.jsonl"
    path.write_text("".join(json.dumps({"instruction": "q", "output": answer}) + "\n" for answer in answers))
    return str(path)


def test_rows_stand_in_the_order_of_the_files(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    done = convert([alpaca(tmp_path, "one", "two"), alpaca(tmp_path, "one", "two")], out)
    assert (done.kind, done.rows) == ("demonstrations", 4)
    said = [json.loads(each)["messages"][1]["content"] for each in out.read_text().splitlines()]
    assert said == ["one", "two", "one", "two"]


def test_files_of_several_kinds_need_to_be_told_which(tmp_path: Path) -> None:
    reply = {"role": "assistant", "text": "a", "replies": []}
    tree = {"message_tree_id": "1", "prompt": {"role": "prompter", "text": "q", "replies": [reply]}}
    (tmp_path / "tree.jsonl").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=r"holds demonstrations and .*comparisons.*: say which with --as"):
        convert([str(tmp_path / "tree.jsonl")], tmp_path / "out.jsonl")


def test_an_error_half_way_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2"):
        convert([alpaca(tmp_path, "one", "")], tmp_path / "out" / "out.jsonl")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_error_half_way_keeps_the_file_of_before(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("as it was")
    with pytest.raises(DataError, match="row 2"):
        convert([alpaca(tmp_path, "one", "")], out)
    assert out.read_text() == "as it was"


def test_a_file_is_not_written_over_itself(tmp_path: Path) -> None:
    path = alpaca(tmp_path, "one")
    with pytest.raises(ConfigError, match="is one of the files to convert"):
        convert([path], Path(path))


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"end its name in \.jsonl or \.parquet"):
        convert([alpaca(tmp_path, "one")], tmp_path / "out.csv")


def chatterbot(folder: Path) -> str:
    path = folder / "talk.yml"
    path.write_text("categories: [x]\nconversations:\n- [hi, hello]\n- [alone]\n")
    return str(path)


def test_rows_left_out_are_all_listed_beside_the_file(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    done = convert([chatterbot(tmp_path)], out)
    assert (done.rows, done.dropped) == (1, 1)
    (listed,) = (tmp_path / "out.jsonl.dropped").read_text().splitlines()
    path = str(tmp_path / "talk.yml")
    assert json.loads(listed) == {"file": path, "row": 2, "reason": "a single utterance, without an answer"}


def test_a_list_of_an_earlier_time_is_taken_away(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    convert([chatterbot(tmp_path)], out)
    convert([alpaca(tmp_path, "one")], out)
    assert not (tmp_path / "out.jsonl.dropped").exists()


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "talk.yml").write_text("conversations:\n- [alone]\n")
    with pytest.raises(DataError, match=r"no row to write: 1 were left out; the first because: a single utterance"):
        convert([str(tmp_path / "talk.yml")], tmp_path / "out.jsonl")


def test_verdicts_of_two_types_do_not_fit_one_column(tmp_path: Path) -> None:
    rows: list[Row] = [Judged((Message("user", "q"),), Message("assistant", "a"), v, HERE) for v in (True, "partly")]
    with pytest.raises(DataError, match=r"here\.jsonl row 7, field verdict: found 'partly'"):
        written(rows, tmp_path / "out.parquet", "judged")


def test_parquet_is_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    monkeypatch.setattr(module, "GROUP", 2)
    convert([alpaca(tmp_path, "one", "two", "three")], tmp_path / "out.parquet")
    assert pyarrow.parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups == 2


def test_the_command_says_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "convert", chatterbot(tmp_path), "--out", str(tmp_path / "out.jsonl")])
    said = capsys.readouterr()
    assert f"1 demonstrations in {tmp_path}/out.jsonl" in said.out
    assert f"left out: {tmp_path}/talk.yml row 2: a single utterance" in said.err


def test_what_hygiene_removes_is_left_out_and_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = [{"instruction": f"Add {n}.", "output": f"{name} {n // 2}" if n else "same"} for n in range(3)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    (tmp_path / "test.jsonl").write_text('{"prompt": "Add 2."}\n')
    files = [str(tmp_path / f"{name}.json") for name in ("a", "b")]
    rules = CleaningConfig(exact_copies=True)
    done = convert(files, tmp_path / "out.jsonl", cleaning=rules)
    assert (done.rows, done.dropped) == (5, 1)
    assert done.first_dropped == [Dropped(Origin(files[1], 1), f"copy of {files[0]} row 1")]
    with pytest.raises(ConfigError, match="prompts cannot be cleaned; demonstrations, documents, comparisons can"):
        convert([str(tmp_path / "test.jsonl")], tmp_path / "out.jsonl", cleaning=rules)


def test_a_row_of_another_kind_is_listed_not_lost(tmp_path: Path) -> None:
    rows: list[Row] = [Text("words", HERE), Prompt((Message("user", "q"),), HERE)]
    written(rows, tmp_path / "out.jsonl", "documents")
    assert "it is one of the prompts, not of the documents" in (tmp_path / "out.jsonl.dropped").read_text()


def known(folder: Path) -> Path:
    """Questions as `planish know` writes them: two relations, six of each class in the first, two in the second."""
    rows = [
        {"prompt": f"{relation} {category} {i}?", "answers": [f"a{i}", "b"], "relation": relation, "category": category}
        for relation, count in (("birth", 6), ("trade", 2))
        for category in ("Unknown", "HighlyKnown")
        for i in range(count)
    ]  # fmt: skip
    path = folder / "known.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def chosen(folder: Path, **settings: Any) -> list[Any]:
    config = ConvertConfig(files=(str(known(folder)),), out=str(folder / "out.jsonl"), **settings)
    return list(import_rows(convert_of(config).out, (Question, Demonstration)).rows)


def test_rows_are_chosen_by_their_fields_and_a_limit_is_shared_among_the_values_of_one(tmp_path: Path) -> None:
    unknown = {"where": {"category": ("Unknown",)}}
    assert len(chosen(tmp_path, **unknown)) == 8
    rows = chosen(tmp_path, **unknown, limit=4, by="relation")
    assert [row.about["relation"] for row in rows] == ["birth", "birth", "trade", "trade"]
    assert {row.about["category"] for row in rows} == {"Unknown"}
    drawn = [{row.messages[0].content for row in chosen(tmp_path, **unknown, limit=3, seed=seed)} for seed in range(6)]
    assert [len(texts) for texts in drawn] == [3] * 6
    assert len(set(map(frozenset, drawn))) > 1


def test_questions_become_demonstrations_where_these_are_asked_for_by_name(tmp_path: Path) -> None:
    rows = chosen(tmp_path, kind="demonstrations", where={"category": ("HighlyKnown",), "relation": ("trade",)})
    assert [[message.content for message in row.messages] for row in rows] == [
        ["trade HighlyKnown 0?", "a0"], ["trade HighlyKnown 1?", "a1"]
    ]  # fmt: skip
    assert all(isinstance(row, Demonstration) and row.about["relation"] == "trade" for row in rows)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"where": {"category": ("Known",)}}, "no row to write: 0 were left out; `where` is"),
        ({"limit": 6, "by": "relation", "where": {"category": ("Unknown",)}}, "relation=trade has 2 rows, its part would be 3"),
        ({"limit": 6, "by": "topic"}, "by=topic: no question has this field; there are: category, relation"),
        ({"limit": 0}, "limit"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_chosen_are_one_error(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError, ValueError), match=message):
        chosen(tmp_path, **settings)
    assert not (tmp_path / "out.jsonl").exists()
