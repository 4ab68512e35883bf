"""FLAN's task templates: what a table becomes, and what is said about a task that does not fit it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.files.readers import Record
from planish.data.formats import FORMATS, import_rows
from planish.data.rows import Demonstration, Message, Origin

RTE = "premise,hypothesis,label\nIt rains.,It is wet.,0\nHe sings.,He is mute.,1\n"
ENTAILS = {
    "prompt": "{premise}\n\nDoes it follow that {hypothesis}?\n\n{options_}",
    "completion": "{label}",
}
TASK: dict[str, Any] = {
    "table": "rte.csv",
    "options": ["yes", "no"],
    "labels": {"label": {0: "yes", 1: "no"}},
    "templates": [ENTAILS],
}


def write(folder: Path, task: Any, table: str = RTE, name: str = "rte.csv") -> Path:
    (folder / name).write_text(table, encoding="utf-8")
    (folder / "rte.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return folder / "rte.yaml"


def rows_of(path: Path) -> list[Demonstration]:
    found = import_rows(path, (Demonstration,))
    assert not found.dropped
    return found.rows


def said(row: Demonstration) -> tuple[str, str]:
    prompt, completion = row.messages
    assert (prompt.role, completion.role) == ("user", "assistant")
    return prompt.content, completion.content


def test_a_row_fills_the_template_and_keeps_its_place_in_the_table(tmp_path: Path) -> None:
    first, second = rows_of(write(tmp_path, TASK))
    assert said(first) == ("It rains.\n\nDoes it follow that It is wet.?\n\nOPTIONS:\n- yes\n- no", "yes")
    assert said(second)[1] == "no"
    assert second.origin == Origin(str(tmp_path / "rte.csv"), 2)
    assert first.about == {"task": "rte", "template": 1}


def test_columns_that_no_placeholder_names_are_kept_as_notes(tmp_path: Path) -> None:
    task = {"table": "t.csv", "templates": [{"prompt": "{q}", "completion": "{a}"}]}
    (row,) = rows_of(write(tmp_path, task, "q,a,source\n1?,1,web\n", "t.csv"))
    assert row.about == {"source": "web", "task": "rte", "template": 1}


def test_each_row_may_have_every_phrasing(tmp_path: Path) -> None:
    second = {"prompt": "{hypothesis} Why?", "completion": "Because: {premise}"}
    rows = rows_of(write(tmp_path, {**TASK, "templates": [ENTAILS, second], "per_row": "all"}))
    assert [(row.origin.row, row.about["template"]) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert said(rows[3]) == ("He is mute. Why?", "Because: He sings.")


def test_one_phrasing_is_drawn_for_each_row_by_the_seed_alone(tmp_path: Path) -> None:
    templates = [{"prompt": f"{number}: {{q}}", "completion": "{q}"} for number in range(5)]
    table = "q\n" + "".join(f"{row}\n" for row in range(200))
    task = {"table": "t.csv", "templates": templates, "seed": 3}

    def drawn(task: dict[str, Any]) -> list[Any]:
        return [row.about["template"] for row in rows_of(write(tmp_path, task, table, "t.csv"))]

    first = drawn(task)
    assert set(first) == {1, 2, 3, 4, 5}
    assert first == drawn({**task, "per_row": "one"})
    assert first != drawn({**task, "seed": 4})
    shorter = "".join(line + "\n" for line in table.splitlines()[:51])
    assert [row.about["template"] for row in rows_of(write(tmp_path, task, shorter, "t.csv"))] == first[:50]


def test_options_may_be_of_the_row(tmp_path: Path) -> None:
    task = {
        "table": "t.jsonl",
        "options": {"column": "choices"},
        "templates": [{"prompt": "{q}\n{options_}", "completion": "It is {a}."}],
    }
    table = json.dumps({"q": "1+1?", "choices": [2, 3], "a": 2}) + "\n"
    (row,) = rows_of(write(tmp_path, task, table, "t.jsonl"))
    assert said(row) == ("1+1?\nOPTIONS:\n- 2\n- 3", "It is 2.")


def test_true_and_false_may_have_labels(tmp_path: Path) -> None:
    task = {
        "table": "t.jsonl",
        "labels": {"ok": {"true": "yes", "false": "no"}},
        "templates": [{"prompt": "Is it?", "completion": "{ok}"}],
    }
    rows = rows_of(write(tmp_path, task, '{"ok": true}\n{"ok": false}\n', "t.jsonl"))
    assert [said(row)[1] for row in rows] == ["yes", "no"]


def test_a_brace_is_written_twice(tmp_path: Path) -> None:
    task = {"table": "t.csv", "templates": [{"prompt": "{{premise}} {q}", "completion": "{{}}"}]}
    (row,) = rows_of(write(tmp_path, task, "q\n{premise}\n", "t.csv"))
    assert said(row) == ("{premise} {premise}", "{}")


def test_a_file_may_hold_several_tasks(tmp_path: Path) -> None:
    rows = rows_of(write(tmp_path, [TASK, {**TASK, "seed": 1}]))
    assert [row.origin.row for row in rows] == [1, 2, 1, 2]


TEMPLATE = {"prompt": "{q}", "completion": "{a}"}
ONE: dict[str, Any] = {"table": "t.jsonl", "templates": [TEMPLATE]}
ROW = {"q": "1?", "a": "one"}


@pytest.mark.parametrize(
    ("task", "row", "parts"),
    [
        (
            {**ONE, "templates": [TEMPLATE, {"prompt": "{qq}", "completion": "{a}"}]},
            ROW,
            ("rte.yaml row 1, field templates[1]: ", "{qq} of template 2 is no column", "t.jsonl row 1: q, a"),
        ),
        ({**ONE, "table": "none.csv"}, ROW, ("rte.yaml row 1, field table: ", "there is no ", "none.csv")),
        ({**ONE, "templates": []}, ROW, ("rte.yaml row 1, field templates: ", "empty, expected at least one")),
        ({**ONE, "templates": [{"prompt": "{q}"}]}, ROW, ("field templates[0].completion: missing",)),
        ({**ONE, "templates": [{**TEMPLATE, "answer": "x"}]}, ROW, ("field templates[0]: found the fields",)),
        ({**ONE, "templates": [{**TEMPLATE, "prompt": "{q"}]}, ROW, ("field templates[0].prompt: ", "twice")),
        ({**ONE, "templates": [{**TEMPLATE, "prompt": "{}"}]}, ROW, ("templates[0].prompt: found {}", "alone")),
        ({**ONE, "templates": [{**TEMPLATE, "prompt": "{q!r}"}]}, ROW, ("templates[0].prompt: found {q}", "alone")),
        ({**ONE, "templates": [{**TEMPLATE, "prompt": "{q:>9}"}]}, ROW, ("templates[0].prompt: found {q}", "alone")),
        (
            {**ONE, "templates": [{**TEMPLATE, "prompt": "{q} {options_}"}]},
            ROW,
            ("field options: missing, but template 1 uses {options_}",),
        ),
        (
            {**ONE, "options": ["two"], "templates": [{**TEMPLATE, "prompt": "{q} {options_}"}]},
            ROW,
            ("t.jsonl row 1: the answer 'one' is not among the options two",),
        ),
        ({**ONE, "options": "two"}, ROW, ("field options: found a text, expected a list of words",)),
        ({**ONE, "options": []}, ROW, ("field options: found a list, expected a list of words",)),
        ({**ONE, "options": {"column": "c"}}, ROW, ("t.jsonl row 1, field c: missing",)),
        ({**ONE, "labels": {"a": {"x": "y"}}}, ROW, ("t.jsonl row 1, field a: found 'one', which has no label",)),
        ({**ONE, "labels": {"b": {"x": "y"}}}, ROW, ("t.jsonl row 1, field b: missing",)),
        ({**ONE, "per_row": "two"}, ROW, ("field per_row: found 'two', expected one or all",)),
        ({**ONE, "seed": "x"}, ROW, ("field seed: found 'x', expected a whole number",)),
        ({**ONE, "option": ["a"]}, ROW, ("field option: unknown; the fields of a task are table, templates",)),
        (ONE, {"q": ["1?"], "a": "one"}, ("t.jsonl row 1, field q: found a list, expected a text or a number",)),
        (ONE, {"q": True, "a": "one"}, ("t.jsonl row 1, field q: found true or false", "`labels`")),
        (ONE, {"q": "1?", "a": None}, ("t.jsonl row 1, field a: missing",)),
        (ONE, {"q": "1?", "a": " "}, ("t.jsonl row 1, field completion of template 1: empty",)),
        (ONE, [1, 2], ("t.jsonl row 1: found a list, expected a row with named columns",)),
    ],
)
def test_a_task_that_does_not_fit_is_named_by_file_and_field(
    tmp_path: Path, task: Any, row: Any, parts: tuple[str, ...]
) -> None:
    path = write(tmp_path, task, json.dumps(row) + "\n", "t.jsonl")
    with pytest.raises(DataError) as caught:
        rows_of(path)
    assert str(caught.value).startswith(str(tmp_path))
    for part in parts:
        assert part in str(caught.value)


def test_a_column_that_a_later_row_lacks_is_named_there(tmp_path: Path) -> None:
    path = write(tmp_path, ONE, '{"q": "1?", "a": "one"}\n{"q": "2?"}\n', "t.jsonl")
    with pytest.raises(DataError, match=r"t\.jsonl row 2, field a: missing"):
        rows_of(path)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUE = TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    rows=st.lists(st.fixed_dictionaries({"q": VALUE, "a": VALUE}), min_size=1, max_size=4),
    words=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_no_value_of_a_row_is_lost_or_changed(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    words: list[tuple[str, str, str]],
    seed: int,
) -> None:
    def braced(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    folder = tmp_path_factory.mktemp("task")
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    templates = [
        {"prompt": f"{braced(a)}{{q}}{braced(b)}", "completion": f"{{a}}{braced(c)}{{q}}"} for a, b, c in words
    ]
    task = {"table": "t.jsonl", "templates": templates, "per_row": "all", "seed": seed}
    record = Record(task, Origin(str(folder / "t.yaml"), 1))
    found = list(FORMATS["flan_task"].importers[Demonstration](record))
    expected = [
        (Message("user", f"{a}{row['q']}{b}"), Message("assistant", f"{row['a']}{c}{row['q']}"))
        for row in rows
        for a, b, c in words
    ]
    assert [row.messages for row in found if isinstance(row, Demonstration)] == expected
