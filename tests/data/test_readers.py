"""Reading files: what comes out of each kind, and what is said about a broken one."""

from __future__ import annotations

import csv
import gzip
import json
import string
from collections.abc import Iterator
from itertools import accumulate, chain, cycle, pairwise, takewhile
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.files.json_stream import json_values
from planish.data.files.readers import Reading, read

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def values(path: Path, reading: Reading = "records") -> list[Any]:
    return [record.value for record in read(path, reading)]


def rows(path: Path) -> list[int]:
    return [record.origin.row for record in read(path)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


A, B = {"instruction": "Add 2 and 3.", "output": "5"}, {"instruction": "Say hi.", "output": "你好"}

KINDS = {
    "list.json": json.dumps([A, B]),
    "pretty.json": json.dumps([A, B], indent=2),
    "lines.json": f"\n{json.dumps(A)}\n{json.dumps(B)}\n",
    "lines.jsonl": f"{json.dumps(A)}\r\n\r\n{json.dumps(B)}",
    "table.csv": 'instruction,output\nAdd 2 and 3.,5\n"Say hi.","你好"\n',
    "commented.csv": "# version=1\n# by hand\ninstruction,output\nAdd 2 and 3.,5\nSay hi.,你好\n",
    "table.tsv": "instruction\toutput\nAdd 2 and 3.\t5\nSay hi.\t你好\n",
    "list.yaml": "- instruction: Add 2 and 3.\n  output: 5\n- {instruction: Say hi., output: 你好}\n",
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_the_same_records_plain_and_compressed(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path, name, KINDS[name])
    packed = write(tmp_path, f"{name}.gz", gzip.compress(KINDS[name].encode()))
    zipped = write(tmp_path, f"{name}.zst", zstd(KINDS[name].encode()))
    marked = write(tmp_path, f"marked_{name}", b"\xef\xbb\xbf" + KINDS[name].encode())
    for path in (plain, packed, zipped, marked):
        assert values(path) == [A, B]
        assert rows(path) == [1, 2]


def test_an_origin_names_the_file_as_the_user_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.jsonl", json.dumps(A))
    monkeypatch.chdir(tmp_path)
    assert str(next(read("a.jsonl")).origin) == "a.jsonl row 1"
    assert str(next(read("./")).origin) == "./a.jsonl row 1"


def test_one_json_object_is_one_record(tmp_path: Path) -> None:
    assert values(write(tmp_path, "one.json", json.dumps({"a": {"messages": []}}))) == [{"a": {"messages": []}}]
    assert values(write(tmp_path, "two.json", json.dumps({"a": 1}, indent=1))) == [{"a": 1}]


def test_a_text_file_is_one_document_with_its_line_ends(tmp_path: Path) -> None:
    assert values(write(tmp_path, "a.txt", "one\r\n\r\ntwo\u2028three\n")) == ["one\r\n\r\ntwo\u2028three\n"]


def test_a_tsv_without_plain_names_on_its_first_line_gives_cells(tmp_path: Path) -> None:
    line = 'Is the sky "blue"?\\nOptions:\\n- yes\tyes\t"Seen" it.\n'
    path = write(tmp_path, "cot.tsv", line)
    assert values(path) == [['Is the sky "blue"?\\nOptions:\\n- yes', "yes", '"Seen" it.']]


def test_a_tsv_of_plain_names_is_data_when_cells_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "cot.tsv", "Sky\tblue\tSeen\n")
    assert values(path, "cells") == [["Sky", "blue", "Seen"]]
    with pytest.raises(DataError, match="holds no record"):
        values(path)


def test_yaml_scalars_stay_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yml", "conversations:\n- - Really?\n  - Yes\n- - How many?\n  - 022\n")
    assert values(path) == [{"conversations": [["Really?", "Yes"], ["How many?", "022"]]}]


def test_a_quoted_csv_cell_may_hold_lines_and_a_long_document(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert values(write(tmp_path, "a.csv", f'text,n\n"one\ntwo",1\n{long},2\n')) == [
        {"text": "one\ntwo", "n": "1"},
        {"text": long, "n": "2"},
    ]


def test_a_folder_is_read_in_order_of_names_and_may_mix_kinds(tmp_path: Path) -> None:
    write(tmp_path, "b.csv", "instruction,output\nSay hi.,你好\n")
    write(tmp_path, "a.json.gz", gzip.compress(json.dumps([A]).encode()))
    write(tmp_path, "README.md", "not data")
    (tmp_path / "deeper").mkdir()
    write(tmp_path / "deeper", "c.jsonl", json.dumps(A))
    records = list(read(tmp_path))
    assert [record.value for record in records] == [A, B]
    assert [str(record.origin) for record in records] == [f"{tmp_path}/a.json.gz row 1", f"{tmp_path}/b.csv row 1"]


def test_parquet_and_arrow_keep_nested_records(tmp_path: Path) -> None:
    records: list[dict[str, list[dict[str, str]]]] = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": []},
    ]
    table = pyarrow.Table.from_pylist(records)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    with pyarrow.OSFile(str(tmp_path / "b.arrow"), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    for name in ("a.parquet", "a.arrow", "b.arrow"):
        assert values(tmp_path / name) == records
        assert rows(tmp_path / name) == [1, 2]


@pytest.mark.parametrize("row_group", [1, 700, 5000])
def test_batches_and_row_groups_do_not_show(tmp_path: Path, row_group: int) -> None:
    records = [{"text": f"Number {at}."} for at in range(1300)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "a.parquet", row_group_size=row_group)
    assert values(tmp_path / "a.parquet") == records
    assert rows(tmp_path / "a.parquet") == list(range(1, 1301))


def test_json_columns_of_a_parquet_file_are_decoded(tmp_path: Path) -> None:
    """`datasets` writes such columns for values whose kinds differ from row to row."""
    datasets = pytest.importorskip("datasets")
    calls = [[{"arguments": {"a": 1}}, None], [{"arguments": "text"}], None]
    features = datasets.Features({"calls": datasets.List(datasets.Json()), "n": datasets.Value("int64")})
    table = datasets.Dataset.from_dict({"calls": calls, "n": [1, 2, 3]}, features=features)
    pyarrow.parquet.write_table(table.data.table, tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == [{"calls": call, "n": n} for n, call in enumerate(calls, start=1)]


def test_compressed_parts_that_stand_one_after_the_other_are_one_file(tmp_path: Path) -> None:
    first, second = (json.dumps(row).encode() + b"\n" for row in (A, B))
    assert values(write(tmp_path, "a.jsonl.gz", gzip.compress(first) + gzip.compress(second))) == [A, B]
    assert values(write(tmp_path, "a.jsonl.zst", zstd(first) + zstd(second))) == [A, B]


def test_each_line_of_a_text_file_is_a_document_when_lines_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "one\r\n\n \ntwo\u2028three")
    assert values(path, "lines") == ["one", "two\u2028three"]


def test_a_json_list_is_read_only_as_far_as_it_is_needed() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[str]:
        yield "["
        for at in range(100):
            taken.append(at)
            yield f'{{"text": "{"x" * 50}"}}, '

    elements = json_values(pieces(), "a.json")
    assert [next(elements) for _ in range(10)] == [{"text": "x" * 50}] * 10
    assert len(taken) < 15


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assume(len(dict(pairs)) == len(pairs))  # refused, as another test shows
    return dict(pairs)


def finite(digits: str) -> float:
    assume(isfinite(float(digits)))
    return float(digits)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    elements=st.lists(VALUES, max_size=4),
    indent=st.none() | st.just(1),
    is_ascii=st.booleans(),
    damage=st.none() | st.tuples(st.integers(0, 10_000), st.sampled_from(["", *'[]{},:"\\x1-e\n'])),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9),
)
def test_a_json_list_in_pieces_is_what_the_standard_library_reads_whole(
    elements: list[Any], indent: int | None, is_ascii: bool, damage: tuple[int, str] | None, lengths: list[int]
) -> None:
    """The same values, or an error at the same line and column, wherever the pieces end."""
    text = json.dumps(elements, indent=indent, ensure_ascii=is_ascii)
    if damage:
        at = 1 + damage[0] % len(text)
        text = text[:at] + damage[1] + text[at + (not damage[1]) :]
    ends = accumulate(chain([0], cycle(lengths)))
    pieces = (text[start:end] for start, end in takewhile(lambda ends: ends[0] < len(text), pairwise(ends)))
    try:
        expected = json.loads(text, object_pairs_hook=without_repeats, parse_float=finite)
    except json.JSONDecodeError as error:
        with pytest.raises(DataError, match=f"line {error.lineno}, column {error.colno}:"):
            list(json_values(pieces, "a.json"))
    else:
        assert list(json_values(pieces, "a.json")) == expected


def test_a_long_element_is_found_whatever_its_length(tmp_path: Path) -> None:
    long = {"text": "word " * 400_000, "numbers": list(range(100_000))}
    assert values(write(tmp_path, "a.json", json.dumps([long, A, long]))) == [long, A, long]


def test_reading_json_lines_does_not_wait_for_the_end_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps(A) + "\n{broken\n")
    assert next(read(path)).value == A


BROKEN: list[tuple[str, str | bytes, tuple[str, ...]]] = [
    ("empty.jsonl", "", ("holds no record",)),
    ("empty.json", "", ("holds no record",)),
    ("empty.csv", "", ("holds no record",)),
    ("empty.tsv", "", ("holds no record",)),
    ("empty.txt", " \n", ("holds no record",)),
    ("empty.yaml", "# nothing\n", ("holds no record",)),
    ("empty.jsonl.gz", gzip.compress(b""), ("holds no record",)),
    ("list.json", "[]", ("holds no record",)),
    ("header.csv", "instruction,output\n", ("holds no record",)),
    ("cut.jsonl", '{"a": 1}\n\n{"a": \n', ("row 2", "line 3, column 7", "expected a value")),
    ("cut.json", '[{"a": 1},\n {"a" 2}]', ("line 2, column 7", "':'")),
    ("lines.json", '{"a": 1}\n{"a": 2\n', ("row 2", "line 2")),
    ("twice.jsonl", '{"a": 1}\n{"output": 1, "output": 2}\n', ("row 2", "'output' occurs twice")),
    ("twice.json", '[{"output": 1, "output": 2}]', ("'output' occurs twice",)),
    ("twice.csv", "prompt,output,output\n1,2,3\n", ("header", "'output' occurs twice")),
    ("twice.tsv", "output\toutput\n1\t2\n", ("header", "'output' occurs twice")),
    ("twice.yaml", "a: 1\nb: 2\na: 3\n", ("occurs twice", "line 1")),
    ("short.csv", "prompt,output\na,b\nc\n", ("row 2", "1 cells, expected 2", "none for 'output'")),
    ("long.csv", "prompt,output\na,b,c\n", ("row 1", "3 cells, expected 2", "extra: 'c'")),
    ("short.tsv", "What is it?\tred\nWhy?\n", ("row 2", "1 cells, expected 2", "none for 'column 2'")),
    ("quote.csv", 'prompt,output\na,b\nc,"d\n', ("row 2", "a quote is not closed")),
    ("latin.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n', ("line 2", "0xe9", "UTF-8")),
    ("latin.csv", b"a\nb\ncaf\xe9\n", ("line 3", "0xe9", "UTF-8")),
    ("wide.txt", "Hello".encode("utf-16"), ("UTF-16", "UTF-8")),
    ("cut.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9)[:-9], ("at line 1 or after", "breaks off")),
    ("plain.jsonl.gz", '{"a": 1}\n', ("named .gz", "not compressed")),
    ("bad.yaml", "a: [1, 2\nb: 3\n", ("not valid YAML", "line 2")),
    ("bad.parquet", b"PAR1junk", ("a Parquet file ends in a mark that is missing", "cut short")),
    ("a.parquet.gz", b"", ("without .gz",)),
    ("notes.docx", "x", ("cannot read a file of this kind", "save it as plain text", ".jsonl")),
    ("table.xlsx", "x", ("cannot read a file of this kind; save the table as CSV", ".csv")),
    ("rows.ndjson", "x", ("cannot read a file of this kind; if each line is a JSON object, name it .jsonl",)),
    ("rows.jsonl.bz2", "x", ("cannot read a file of this kind; unpack it, or pack it with gzip or zstd",)),
    ("deep.jsonl", "[" * 200_000, ("row 1", "nested too deeply")),
]


@pytest.mark.parametrize(("name", "content", "said"), BROKEN, ids=[f"{at}-{row[0]}" for at, row in enumerate(BROKEN)])
def test_a_broken_file_is_named_with_its_fault(
    tmp_path: Path, name: str, content: str | bytes, said: tuple[str, ...]
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        list(read(path))
    for part in (str(path), *said):
        assert part in str(caught.value)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"data/train.jsonl: no such file or folder.*{tmp_path}"):
        read("data/train.jsonl")


def test_a_folder_with_nothing_readable_says_what_it_expected(tmp_path: Path) -> None:
    write(tmp_path, "README.md", "not data")
    with pytest.raises(DataError, match=r"nothing readable.*\.jsonl"):
        list(read(tmp_path))


def test_a_fault_inside_a_folder_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", json.dumps(A))
    write(tmp_path, "b.jsonl", "{")
    with pytest.raises(DataError, match=r"b\.jsonl row 1"):
        list(read(tmp_path))


def test_a_hub_name_without_a_hub_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    with pytest.raises(DataError, match=r"org/name:test: no file or folder.*ConnectionError: no route.*network"):
        list(read("org/name:test"))


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\r\t"), min_size=1)


@given(pairs=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_json_lines_and_csv_give_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    table = [{"prompt": prompt, "output": output} for prompt, output in pairs]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", "output"), *pairs])
    assert values(write(folder, "a.jsonl", lines)) == table
    assert values(write(folder, "a.json", lines)) == table
    assert values(folder / "a.csv") == table


@given(name=st.text(string.ascii_letters + "-_.", min_size=1))
def test_a_name_that_stands_for_nothing_is_a_data_error(name: str) -> None:
    with pytest.raises(DataError):
        list(read(f"no-such-folder/at/all/{name}"))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("self_instruct/belle_zh_seed_tasks.json", 175),
        ("halueval/general_data.json.gz", 4507),
        ("pyrit_labels/refusal.csv.gz", 105),
        ("gsm8k", 7473 + 1319),
    ],
)
def test_public_files_with_known_oddities_are_read_whole(name: str, count: int) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not here")
    assert len(values(SHARED / name)) == count
