"""Looking at data: what is counted, what would be left out, and what is shown of a file that is not right."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import DataError
from planish.cli.main import main
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.inspect.lengths import CharacterLengths, TokenLengths
from planish.data.inspect.result import KindView, SourceView, distribution
from planish.data.inspect.run import InspectOptions, inspect_source
from planish.data.rows import LEARNT, Comparison, Demonstration, Message, Origin

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HERE = Origin("here.jsonl", 1)


def write(folder: Path, *records: Any, name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def asked(question: str, answer: str) -> dict[str, str]:
    return {"instruction": question, "output": answer}


def look(*paths: str, **settings: Any) -> SourceView:
    return inspect_source("source", paths, "auto", InspectOptions(**settings))


def only(view: SourceView) -> KindView:
    (kind,) = view.kinds
    return kind


@pytest.fixture(scope="module")
def template(tiny_model: Path) -> ChatTemplate:
    return ChatTemplate(load_tokenizer(tiny_model))


# Counts


def test_lengths_are_those_of_the_words(tmp_path: Path) -> None:
    kind = only(look(write(tmp_path, asked("two", "one"), asked("three", "four!!"))))
    totals = {name: lengths.total for name, lengths in kind.lengths.items()}
    assert totals == {"row": 6 + 11, "prompt": 3 + 5, "completion": 3 + 6, "learnt": 3 + 6}


def test_quantiles_are_lengths_that_occur() -> None:
    found = distribution({1: 50, 2: 45, 7: 5})  # 100 rows
    assert (found.median, found.p95, found.p99, found.most) == (1, 2, 7, 7)
    assert found.mean == (50 + 90 + 35) / 100


def test_every_length_falls_into_one_bin() -> None:
    counts = {length: 1 + length % 3 for length in range(3, 2000, 7)} | {90_000: 1}
    found = distribution(counts)
    assert sum(each.count for each in found.bins) == sum(counts.values())
    for one, other in zip(found.bins, found.bins[1:], strict=False):
        assert one.stop == other.start
    assert found.bins[0].start <= 3
    assert found.bins[-1].stop > 90_000


def test_one_length_is_one_bin() -> None:
    assert [(each.start, each.stop, each.count) for each in distribution({5: 4}).bins] == [(5, 6, 4)]


def test_turns_and_roles_are_counted(tmp_path: Path) -> None:
    turns = [{"role": role, "content": "words"} for role in ("system", "user", "assistant", "user", "assistant")]
    kind = only(look(write(tmp_path, {"messages": turns})))
    assert kind.turns == {5: 1}
    assert kind.roles == {"system": 1, "user": 2, "assistant": 2}


def test_rows_with_unfilled_placeholders_are_counted_by_name(tmp_path: Path) -> None:
    rows = asked("Who?", "{{name}}, yes, {{name}}"), asked("By {{ author }}?", "{{name}}"), asked("{a}", "{{}}")
    assert look(write(tmp_path, *rows)).placeholders == {"{{name}}": 2, "{{ author }}": 1}


def test_dropped_rows_are_listed_with_their_reason(tmp_path: Path) -> None:
    record = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "loss_weight": 0}]}
    path = write(tmp_path, record, record, record)
    dropped = only(look(path, listed=2, kinds=LEARNT)).dropped
    assert dropped.count == 3
    assert [(row.file, row.row) for row in dropped.rows] == [(path, 1), (path, 2)]


def test_an_inspection_is_plain_json(tmp_path: Path) -> None:
    path = write(tmp_path, asked("{{name}}", "b"), asked("c", "d"))
    assert json.loads(json.dumps(asdict(look(path))))["kinds"][0]["rows"] == 2


# Comparisons


def comparison(ranks: list[int], *completions: str) -> dict[str, Any]:
    return {"prompt": "q", "completions": list(completions), "ranks": ranks, "annotator": "ann"}


def test_comparisons_say_whether_the_longer_answer_wins(tmp_path: Path) -> None:
    records = (
        comparison([0, 1], "longer", "short"),
        comparison([1, 0, 2], "same", "good", "worst"),  # good = same in length; worst is longer than both
        comparison([0, 0], "tie", "tied"),
    )
    found = only(look(write(tmp_path, *records), kinds=(Comparison,))).judgements
    assert found is not None
    assert (found.pairs, found.ties) == (1 + 3, 1)
    assert (found.longer_preferred, found.shorter_preferred) == (1, 2)
    assert found.completions == {2: 2, 3: 1}
    assert found.annotators == {"ann": 3}


# What does not fit


def test_reading_stops_at_the_first_record_that_does_not_fit(tmp_path: Path) -> None:
    view = look(write(tmp_path, asked("a", "b"), asked("c", ""), asked("e", "f")))
    assert only(view).rows == 1
    assert [row.row for row in view.unfit.rows] == [2]


def test_keep_going_reads_on_and_counts_them_all(tmp_path: Path) -> None:
    view = look(write(tmp_path, asked("", "b"), asked("c", "d"), {"instruction": 3, "output": "f"}), keep_going=True)
    assert only(view).rows == 1
    assert [row.row for row in view.unfit.rows] == [1, 3]
    assert "row 3, field instruction: found a number, expected a text." in view.unfit.rows[1].reason


def test_a_record_that_fits_for_one_kind_alone_is_a_finding_about_the_other(tmp_path: Path) -> None:
    task = {"examples": [{"input": "two and two", "target": "four"}], "name": "sums", "description": "a task"}
    (tmp_path / "task.json").write_text(json.dumps(task))
    view = look(str(tmp_path / "task.json"))
    assert view.unfit.count == 0
    assert {kind.kind: (kind.rows, kind.unfit.count) for kind in view.kinds} == {
        "questions": (1, 0),
        "comparisons": (0, 1),
    }


def test_a_file_that_breaks_off_is_shown_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(asked("a", "b")) + '\n{"instruction": ')
    view = look(str(path), keep_going=True)
    assert only(view).rows == 1
    assert view.unfit.count == 1
    assert "row 2" in view.unfit.rows[0].reason


def test_keep_going_reads_on_behind_lines_that_are_not_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(['{"a": ', json.dumps(asked("a", "b")), "{'a': 1}", json.dumps(asked("c", "d"))]))
    view = look(str(path), keep_going=True)
    assert only(view).rows == 2
    assert [row.reason.split(":")[0] for row in view.unfit.rows] == [f"{path} row 1", f"{path} row 3"]
    assert look(str(path)).unfit.count == 1


def test_rows_before_the_error_are_measured_too(tmp_path: Path) -> None:
    view = look(write(tmp_path, asked("a", "b"), asked("c", "")))
    assert only(view).lengths["row"].count == 1


# In tokens


def test_tokens_agree_with_the_template(tmp_path: Path, template: ChatTemplate) -> None:
    row = Demonstration((Message("user", "one two"), Message("assistant", "red blue")), HERE)
    (encoded,) = template.encode([row])
    kind = only(look(write(tmp_path, asked("one two", "red blue")), measure=TokenLengths(template)))
    assert kind.lengths["row"].total == len(encoded.tokens)
    assert kind.lengths["learnt"].total == int(encoded.loss_mask.sum())
    assert kind.lengths["prompt"].total == int(encoded.loss_mask.argmax())


@pytest.mark.parametrize(
    ("too_long", "fate"), [("error", "stops the run"), ("drop", "dropped"), ("truncate", "truncated")]
)
def test_rows_over_max_tokens_have_the_fate_of_too_long(
    tmp_path: Path, template: ChatTemplate, too_long: Any, fate: str
) -> None:
    path = write(tmp_path, asked("one", "red"), asked("one", "red " * 60))
    kind = only(look(path, measure=TokenLengths(template, 40, too_long)))
    assert {name: [row.row for row in listing.rows] for name, listing in kind.fates.items()} == {fate: [2]}


def test_a_prompt_that_fills_max_tokens_is_dropped_not_cut(tmp_path: Path, template: ChatTemplate) -> None:
    kind = only(look(write(tmp_path, asked("one " * 60, "red")), measure=TokenLengths(template, 40, "truncate")))
    assert list(kind.fates) == ["dropped"]


def test_a_long_document_is_split_into_as_many_pieces_as_it_is_in_a_run(tmp_path: Path, template: ChatTemplate) -> None:
    from planish.data.examples import encode_rows
    from planish.data.rows import Text

    words = "one two three " * 30
    kind = only(look(write(tmp_path, {"text": words}), measure=TokenLengths(template, 20)))
    pieces = len(encode_rows([Text(words, HERE)], template.tokenizer, template, 20).examples)
    assert kind.fates["split"].rows[0].reason.endswith(f": {pieces} pieces")


def test_pieces_of_a_row_put_together_are_what_the_model_reads(template: ChatTemplate) -> None:
    row = Demonstration((Message("user", "naïve 日本 two"), Message("assistant", " red  blue\n日")), HERE)
    (encoded,) = template.encode([row])
    (part,) = TokenLengths(template).parts(row)
    assert "".join(piece.text for piece in part.pieces) == template.tokenizer.decode(encoded.tokens.tolist())
    assert "".join(piece.text for piece in part.pieces if piece.learnt) == " red  blue\n日<|im_end|>"


def test_of_a_comparison_the_completions_stand_apart_from_the_prompt(template: ChatTemplate) -> None:
    row = Comparison(
        (Message("user", "one"),), (Message("assistant", "red"), Message("assistant", "blue")), (1, 0), HERE
    )
    prompt, worse, better = TokenLengths(template).parts(row)
    assert not any(piece.learnt for piece in prompt.pieces)
    assert (worse.heading, better.heading) == ("completion 1, rank 1", "completion 2, rank 0 (best)")
    assert "".join(piece.text for piece in better.pieces if piece.learnt) == "blue<|im_end|>"


# The rows that are shown


def test_first_chance_and_longest_rows_are_shown_once_each(tmp_path: Path) -> None:
    rows = [asked(str(i), "x" * (100 if i == 30 else 5)) for i in range(60)]
    samples = only(look(write(tmp_path, *rows), num_samples=5)).samples
    assert [sample.why for sample in samples] == ["first", "first", "by chance", "by chance", "longest"]
    assert [sample.row for sample in samples][:2] == [1, 2]
    assert samples[-1].row == 31
    assert len({sample.row for sample in samples}) == 5


def test_the_seed_alone_chooses_the_rows_that_are_shown_by_chance(tmp_path: Path) -> None:
    path = write(tmp_path, *[asked(str(i), "answer") for i in range(300)])
    chosen = [tuple(s.row for s in only(look(path, num_samples=9, seed=seed)).samples) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_row_that_is_read_as_two_kinds_is_shown_once(tmp_path: Path) -> None:
    view = look(write(tmp_path, *({"question": f"Who is {i}?", "answer": f"Nobody, {i}."} for i in range(3))))
    kinds = {kind.kind: [sample.row for sample in kind.samples] for kind in view.kinds}
    assert kinds == {"demonstrations": [1, 2, 3], "questions": []}


def test_words_that_are_not_trained_are_not_marked() -> None:
    row = Demonstration(
        (Message("user", "q"), Message("assistant", "a", trained=False), Message("assistant", "b")), HERE
    )
    (part,) = CharacterLengths().parts(row)
    assert [piece.text for piece in part.pieces if piece.learnt] == ["b"]


# The command


def test_the_command_shows_what_was_read_and_then_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, asked("a", "b"), asked("c", ""))
    with pytest.raises(SystemExit, match="row 2, field output: empty"):
        main(["data", "inspect", path])
    assert "1 demonstration in 1 source" in capsys.readouterr().out


def test_the_command_reads_the_data_and_the_model_of_a_recipe(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(tmp_path, asked("one", "red"), asked("one", "red " * 60))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model: {{path: {tiny_model}}}\ndata: {{sources: {{mine: {{path: {rows}}}}}}}\nsteps: 3\n")
    main(["data", "inspect", str(recipe), "data.max_tokens=40", "data.too_long=drop", "--rows", "0"])
    said = capsys.readouterr().out
    assert "1 row would be dropped" in said
    assert "mine" in said


def test_a_setting_that_is_none_of_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"'dta\.max_tokens=4' is no setting here"):
        main(["data", "inspect", write(tmp_path, asked("a", "b")), "dta.max_tokens=4"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not here")
def test_identity_rows_of_llama_factory_have_placeholders() -> None:
    view = look(str(SHARED / "alpaca" / "identity.json"))
    assert view.records == 91
    assert set(view.placeholders) == {"{{name}}", "{{author}}"}


def test_a_row_that_cannot_be_tokenised_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    class Refuses(CharacterLengths):
        def measure(self, rows: Any) -> Any:
            if any(row.messages[0].content == "bad" for row in rows):
                raise DataError(f"{rows[0].origin}: refused")
            return super().measure(rows)

    view = look(
        write(tmp_path, asked("a", "b"), asked("bad", "b"), asked("c", "d")), measure=Refuses(), keep_going=True
    )
    assert only(view).rows == 2
    assert [row.row for row in view.unfit.rows] == [2]


# What the chat template does to rows


def test_what_is_told_of_rows_is_counted_and_listed(template: ChatTemplate, tmp_path: Path) -> None:
    file = write(tmp_path, *(asked("which token?", "none" if n < 8 else "<|im_end|>") for n in range(10)))
    kind = only(look(file, measure=TokenLengths(template)))
    assert {name: listing.count for name, listing in kind.notes.items()} == {"control_token": 2}
    assert [(row.row, row.reason) for row in kind.notes["control_token"].rows] == [
        (9, "<|im_end|>"),
        (10, "<|im_end|>"),
    ]
    assert kind.fates == {}
