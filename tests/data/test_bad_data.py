"""Broken files and rows, in one table: each stops the import with one error that says where, what, and what to do."""

from __future__ import annotations

import codecs
import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from planish.base.errors import DataError
from planish.data.chat.defaults import CHATML
from planish.data.chat.templates import ChatTemplate
from planish.data.examples import encode_rows
from planish.data.formats import import_rows
from planish.data.rows import LEARNT, Comparison, Demonstration, Message, Origin, Row
from support.tokenizers import tiny_tokenizer

Content = str | bytes | Callable[[Path], None]


@dataclass(frozen=True)
class Bad:
    """A file, and how the error begins after the file's folder, what it found, and what it advises.

    A function as `content` makes the file, or what else there is to stumble over, at the path it is given; then the
    folder it lies in is imported.
    """

    name: str
    content: Content
    begins: str
    found: str
    advice: str
    kinds: tuple[type[Row], ...] = LEARNT
    format: str = "auto"


GOOD = '{"instruction": "Say hi.", "output": "Hi."}\n'
MILLION = 1_000_000
TABLE = pyarrow.Table.from_pylist([{"text": f"Number {at}."} for at in range(3000)])


def parquet() -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(TABLE, sink, compression="snappy")
    return sink.getvalue().to_pybytes()


def two_columns(path: Path) -> None:
    text = pyarrow.array(["a"])
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([text, text], names=["text", "text"]), path)


def not_text(path: Path) -> None:
    offsets, letters = pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")
    text = pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, offsets, letters])
    pyarrow.parquet.write_table(pyarrow.table({"text": text}), path)


def arrow(new: Callable[..., pyarrow.ipc.RecordBatchStreamWriter]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with new(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=1000)
    return sink.getvalue().to_pybytes()


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


def alpaca(**fields: object) -> str:
    return json.dumps({"instruction": "Say hi.", "output": "Hi.", **fields}) + "\n"


def chat(*turns: tuple[str, object]) -> str:
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]}) + "\n"


def node(name: str, parent: str | None, **fields: object) -> str:
    message = {"message_id": name, "parent_id": parent, "message_tree_id": "root", "role": "assistant", "text": "Yes."}
    return json.dumps({**message, **fields}) + "\n"


def pair(**fields: object) -> str:
    return json.dumps({"prompt": "Is the sky blue?", "chosen": "Yes.", "rejected": "No.", **fields}) + "\n"


def endless_line(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"text": "')
        for _ in range(100):
            file.write(b"x" * MILLION)
        file.write(b'"}\n')


def endless_element(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'[{"text": "short"}, {"text": ["')
        for _ in range(100):
            file.write(b"x" * MILLION)


def endless_file(path: Path) -> None:
    """Gzip files may stand one after the other: the same 8 KiB 40 times make 320 MiB of blank lines."""
    path.write_bytes(gzip.compress(b" " * (8 << 20) + b"\n") * 40)


def link_out(path: Path) -> None:
    secret = path.parent.parent / "secret.jsonl"
    secret.write_text(GOOD)
    path.symlink_to(secret)


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    path.write_text(GOOD)
    path.chmod(0)


FILES = [
    Bad("empty.jsonl", "", ": ", "holds no record", "Fill the file"),
    Bad("blank.json", " \n\n", ": ", "holds no record", "Fill the file"),
    Bad("list.json", "[]", ": ", "holds no record", "Fill the file"),
    Bad("notes.docx", GOOD, ": ", "cannot read a file of this kind", "Expected a name ending in .json, .jsonl"),
    # Compression
    Bad("cut.jsonl.gz", gzip.compress(GOOD.encode() * 9)[:-9], ": ", "content breaks off", "Fetch it again"),
    Bad("cut.jsonl.zst", zstd(GOOD.encode() * 9)[:-9], ": ", "content breaks off", "Fetch it again"),
    Bad("second_cut.csv.zst", zstd(b"text\na\n") + zstd(b"b\n")[:-3], ": ", "content breaks off", "Fetch it again"),
    Bad("joined.jsonl.gz", gzip.compress(GOOD.encode()) + b"junk", ": ", "content is damaged", "Fetch it again"),
    Bad("named.jsonl.gz", GOOD, ": ", "named .gz, but its content is not", "Take .gz off its name"),
    Bad("named.jsonl.zst", GOOD, ": ", "named .zst, but its content is not", "Take .zst off its name"),
    Bad("unnamed.jsonl", gzip.compress(GOOD.encode()), ": ", "compressed by gzip", "let its name end in .gz"),
    Bad("archive.json", b"PK\x03\x04\x14\0", ": ", "a zip archive", "Unpack it"),
    Bad("rows.parquet.gz", b"\x1f\x8b", ": ", "compressed inside", "name it without .gz"),
    Bad("bomb.jsonl.gz", endless_file, ": ", "bytes unpack to 268,", "unpack it and name the unpacked file"),
    Bad("line.jsonl.gz", endless_line, " line 1: ", "longer than 64,000,000 characters", "a line of its own"),
    Bad("element.json.gz", endless_element, " row 2: ", "longer than 64,000,000 characters", "an element of a list"),
    # Encodings and characters
    Bad("wide.jsonl", GOOD.encode("utf-16"), ": ", "UTF-16 text", "Save it as UTF-8"),
    Bad("wider.csv", "text\na\n".encode("utf-32"), ": ", "UTF-32 text", "Save it as UTF-8"),
    Bad("unmarked.jsonl", GOOD.encode("utf-16-le"), " line 1: ", "looks like UTF-16", "Save it as UTF-8"),
    Bad(
        "latin.jsonl", f"{GOOD}café au lait".encode("latin-1"), " line 2: ", "Latin-1, in which it reads 'café", "iconv"
    ),
    Bad(
        "chinese.jsonl",
        '{"text": "你好"}'.encode("gb18030"),
        " line 1: ",
        "another encoding, such as GB18030",
        "as UTF-8",
    ),
    Bad("cut.txt", "你好".encode()[:-1], " line 1: ", "in the middle of a character", "fetch it again"),
    Bad(
        "joined.jsonl",
        codecs.BOM_UTF8 + GOOD.encode() + codecs.BOM_UTF8,
        " row 2: ",
        "byte-order mark",
        "Remove the mark",
    ),
    Bad("zero.txt", "a\nb\0c\n" + "plain text\n" * 90, " line 2: ", "a zero byte", "fetch it again"),
    Bad("mac.csv", "instruction,output\ra,b\r", ": ", "carriage returns alone", "Convert it: tr"),
    # JSON
    Bad(
        "cut.jsonl",
        GOOD + GOOD[:20],
        " row 2: ",
        "line 2, column 17: the text that begins here is not closed",
        "Mend it",
    ),
    Bad("cut.json", f"[{GOOD},\n{GOOD}", " row 2: ", "line 4, column 1: expected ','", "cut short: fetch it again"),
    Bad(
        "comma.json", f"[{GOOD}{GOOD}]", " row 1: ", "line 2, column 1: expected ',' or the closing bracket", "Mend it"
    ),
    Bad("trailing.json", f"[{GOOD},]", " row 1: ", "a comma before the closing bracket", "Remove the comma"),
    Bad(
        "two.json",
        f"[{GOOD}]\n[{GOOD}]",
        ": ",
        "line 3, column 1: expected one value, but more follows",
        "Remove whatever follows the list",
    ),
    Bad("lines.json", f'{GOOD}{{"a": \n{GOOD}', " row 2: ", "line 2, column 7: expected a value", "one whole record"),
    Bad(
        "pretty.jsonl",
        json.dumps([1, 2], indent=1),
        " row 1: ",
        "expected a value",
        "in a list, in a file named .json",
    ),
    Bad("list.jsonl", f"[{GOOD.strip()}]\n", ": ", "a JSON list on one line", "Name it .json"),
    Bad("python.jsonl", "{'text': 'a'}", " row 1: ", "the name of a field in double quotes; found \"'text'", "Mend it"),
    Bad("path.jsonl", r'{"text": "C:\planish"}', " row 1: ", "column 13: this backslash begins no escape", r"write \\"),
    Bad("tab.jsonl", '{"text": "a\tb"}', " row 1: ", "column 12: a text holds a raw control", r"write \t or \n"),
    Bad("twice.jsonl", '{"text": "a", "text": "b"}', " row 1: ", "the key 'text' occurs twice", "Keep one"),
    Bad("nan.jsonl", GOOD + '{"a": [0, {"b": NaN}]}', " row 2, field a[1].b: ", "NaN is not a JSON number", "or null"),
    Bad("large.jsonl", '{"score": 1e999}', " row 1, field score: ", "1e999 is too large", "Write a number"),
    Bad("digits.jsonl", '{"id": ' + "9" * 5000 + "}", " row 1: ", "more than 4300 digits", "Write it as a text"),
    Bad("deep.json", "[" * 200_000, " row 1: ", "nested too deeply", "Mend it"),
    # Tables
    Bad("quote.csv", 'instruction,output\na,b\nc,"d\n', " row 2: ", "a quote is not closed", "Close it"),
    Bad("quotes.csv", 'instruction,output\na,"b" c\n', " row 1: ", "more follows a closing quote", "is written twice"),
    Bad(
        "short.csv", "instruction,output\na\n", " row 1: ", "1 cells, expected 2 (instruction, output)", "Mend the row"
    ),
    Bad("long.tsv", "instruction\toutput\na\tb\tc\n", " row 1: ", "3 cells, expected 2", "Mend the row"),
    Bad("twice.csv", "output,output\na,b\n", " header: ", "'output' occurs twice", "Give each column its own name"),
    Bad(
        "header.csv",
        "instruction,output\n",
        ": ",
        "holds no record below its header (instruction, output)",
        "Fill it",
    ),
    Bad("german.csv", "instruction;output\na;b\n", " header: ", "one column with ';' in it", "with commas"),
    Bad(
        "open.yaml",
        "a: [1, 2\nb: 3\n",
        ": ",
        "not valid YAML: while parsing a flow sequence at line 1",
        "Mend the file",
    ),
    Bad("circle.yaml", "a: &all\n- *all\n", ": ", "recursive node at line 1", "Mend the file"),
    # Columnar files
    Bad("cut.parquet", parquet()[:-20], ": ", "so it was cut short", "Fetch it again"),
    Bad(
        "false.parquet",
        GOOD,
        ": ",
        "not a Parquet file: it begins with b'{\"instru'",
        "Give it the ending of what it is",
    ),
    Bad(
        "flipped.parquet",
        parquet()[:200] + b"\xff" * 60 + parquet()[260:],
        ": ",
        "cannot be read past row",
        "fetch it again",
    ),
    Bad("columns.parquet", two_columns, ": ", "the column 'text' occurs twice", "Give each column its own name"),
    Bad("bytes.parquet", not_text, " row 1: ", "is not UTF-8", "Write the file again"),
    Bad("cut.arrow", arrow(pyarrow.ipc.new_file)[:-30], ": ", "so it was cut short", "Fetch it again"),
    Bad("cut_between.arrow", arrow(pyarrow.ipc.new_stream)[:-8], ": ", "so it was cut short", "Fetch it again"),
    # What is no file
    Bad("pipe.jsonl", os.mkfifo, ": ", "a named pipe, expected a file", "Save its content to a file"),
    Bad(
        "device.jsonl",
        lambda path: path.symlink_to("/dev/zero"),
        ": ",
        "a link out of the folder, to /dev/zero",
        "remove the",
    ),
    Bad("outside.jsonl", link_out, ": ", "a link out of the folder, to {above}/secret.jsonl", "Name that file itself"),
    Bad(
        "gone.jsonl",
        lambda path: path.symlink_to("nowhere"),
        ": ",
        "a link to nowhere, where there is no file",
        "Remove the link",
    ),
    Bad(
        "self.jsonl",
        lambda path: path.symlink_to(path.name),
        ": ",
        "a link to self.jsonl, where there is no file",
        "mend it",
    ),
    Bad("circle.json", lambda path: path.symlink_to("."), ": ", "a folder named like a file", "name it"),
    Bad("folder.json", Path.mkdir, ": ", "a folder named like a file", "name it"),
    Bad("secret.jsonl", unreadable, ": ", "cannot be opened", "Check its permissions"),
]

ROWS = [
    Bad("unknown.jsonl", '{"foo": 1}', " row 1: ", "found the fields foo, which fits no known format", "Set `format`"),
    Bad("nothing.json", "null", " row 1: ", "found nothing, which fits no known format", "Set `format`"),
    Bad("other.jsonl", pair(), ": ", "it holds comparisons; expected demonstrations", "Take the file out of this run"),
    Bad(
        "missing.jsonl",
        GOOD + '{"instruction": "a"}',
        " row 2, field output: ",
        "missing; found the fields",
        "set `format`",
    ),
    Bad("null.jsonl", alpaca(output=None), " row 1, field output: ", "missing", "set `format`"),
    Bad(
        "type.jsonl",
        GOOD + alpaca(output=3),
        " row 2, field output: ",
        "found a number, expected a text",
        "set `format`",
    ),
    Bad(
        "empty.csv",
        "instruction,output\na, \n",
        " row 1, field output: ",
        "empty, expected some text",
        "Fill it or take",
    ),
    Bad(
        "half.jsonl",
        alpaca(output="\ud83d"),
        " row 1, field output: ",
        "half a character at position 0",
        "Mend the text",
    ),
    Bad(
        "mixed.jsonl",
        GOOD + chat(("user", "a")),
        " row 2, field instruction: ",
        "missing; found the fields messages",
        "set",
    ),
    Bad("mixed.json", f'[{GOOD}, "a text"]', " row 2: ", "found a text, expected an object", "set `format`"),
    Bad("system.jsonl", chat(("system", "Be kind.")), " row 1, field messages: ", "no assistant turn", "set `format`"),
    Bad("none.jsonl", '{"messages": []}', " row 1, field messages: ", "no assistant turn", "set `format`"),
    Bad(
        "two.jsonl",
        chat(("user", "a"), ("assistant", "b"), ("assistant", "c")),
        " row 1, field messages[2]: ",
        "a second turn of the assistant in a row",
        "Join them",
    ),
    Bad(
        "role.jsonl",
        chat(("bot", "a")),
        " row 1, field messages[0].role: ",
        "unknown role 'bot'",
        "expected one of system",
    ),
    Bad("turn.jsonl", chat(("user", None)), " row 1, field messages[0].content: ", "missing", "set `format`"),
    Bad(
        "talk.jsonl", '{"messages": "hi"}', " row 1, field messages: ", "found a text, expected a list", "set `format`"
    ),
    Bad(
        "ids.jsonl",
        node("root", None) + node("b", "root") * 2,
        " row 3, field message_id: ",
        "'b' occurs twice",
        "row 2",
    ),
    Bad(
        "circle.jsonl",
        node("root", None) + node("b", "c") + node("c", "b"),
        " row 2, field parent_id: ",
        "these messages form a circle",
        "its parents lead to no first message",
    ),
    Bad("orphan.jsonl", node("b", "z"), " row 1, field parent_id: ", "'z' is the message_id of no record", "here"),
    Bad(
        "rejected.jsonl",
        pair() + pair(rejected=None),
        " row 2, field rejected: ",
        "missing",
        "set `format`",
        (Comparison,),
    ),
    Bad(
        "named.jsonl",
        GOOD,
        ": ",
        "unknown format 'alpca'",
        "Set `format` to auto, module:function or one of alpaca",
        format="alpca",
    ),
]

FOREIGN = ("Traceback", "Error", "Exception", "Errno", "codec", "pyarrow", "unicode string", "<class", "..")


@pytest.mark.parametrize("bad", FILES + ROWS, ids=lambda bad: bad.name)
def test_bad_data_is_one_clear_error(bad: Bad, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / bad.name
    if callable(bad.content):
        bad.content(path)
    else:
        path.write_bytes(bad.content.encode() if isinstance(bad.content, str) else bad.content)
    with pytest.raises(DataError) as caught:
        import_rows(folder if callable(bad.content) else path, bad.kinds, bad.format)
    said = str(caught.value)
    assert said.startswith(f"{path}{bad.begins}")
    assert bad.found.replace("{above}", str(tmp_path)) in said
    assert bad.advice in said
    assert not [word for word in FOREIGN if word in said]


def test_a_prompt_longer_than_the_context_is_an_error() -> None:
    tokenizer = tiny_tokenizer("<|im_start|>", "<|im_end|>", template=CHATML, eos="<|im_end|>", merges=())
    row = Demonstration((Message("user", "Why? " * 20), Message("assistant", "So.")), Origin("chat.jsonl", 7))
    with pytest.raises(
        DataError, match=r"^chat\.jsonl row 7: 1\d\d tokens, more than max_tokens=64\. .* raise data\.max_tokens"
    ):
        encode_rows([row], tokenizer, ChatTemplate(tokenizer), max_tokens=64, too_long="error")


@pytest.mark.parametrize("path", ["", " ", "~nobody-of-this-name/a.jsonl", "x" * 5000, "a\0b.jsonl"])
def test_a_path_that_cannot_be_is_an_error(path: str) -> None:
    with pytest.raises(DataError):
        import_rows(path, LEARNT)


def test_a_link_out_of_a_folder_may_be_named_itself(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link_out(tmp_path / "data/a.jsonl")
    assert len(import_rows(tmp_path / "data/a.jsonl", LEARNT).rows) == 1


def test_hidden_files_of_a_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "._a.jsonl").write_bytes(b"\0\5\x16\7")
    (tmp_path / "a.jsonl").write_text(GOOD)
    assert len(import_rows(tmp_path, LEARNT).rows) == 1
