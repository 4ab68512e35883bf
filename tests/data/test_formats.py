"""Importers: what each format becomes, and what is said about a record that does not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.formats import FORMATS, import_rows, recognise, stream_rows
from planish.data.formats.registry import importer_of
from planish.data.readers import Record
from planish.data.rows import LEARNT, Demonstration, Dropped, Message, Origin, Row, Text

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HERE = Origin("here.jsonl", 7)

Said = list[tuple[str, str]]


def rows_of(format: str, value: Any) -> list[Row | Dropped]:
    return list(importer_of(FORMATS[format], LEARNT, Record(value, HERE))(Record(value, HERE)))


def said(format: str, value: Any) -> Said:
    (row,) = rows_of(format, value)
    assert isinstance(row, Demonstration)
    assert row.origin.file == HERE.file
    return [(message.role, message.content) for message in row.messages]


def write(folder: Path, name: str, *records: Any) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


# Each format on one small record


def test_alpaca_puts_the_input_under_the_instruction() -> None:
    assert said("alpaca", {"instruction": "Add.", "input": "2 3", "output": "5"}) == [
        ("user", "Add.\n\n2 3"),
        ("assistant", "5"),
    ]


@pytest.mark.parametrize("record", [{}, {"input": ""}, {"input": None}, {"system": "", "history": []}])
def test_alpaca_without_input_asks_the_instruction_alone(record: dict[str, Any]) -> None:
    assert said("alpaca", {"instruction": "Say hi.", "output": "Hi.", **record}) == [
        ("user", "Say hi."),
        ("assistant", "Hi."),
    ]


def test_alpaca_keeps_system_and_history() -> None:
    record = {"instruction": "And 3?", "output": "9", "system": "Square it.", "history": [["2?", "4"]]}
    assert said("alpaca", record) == [
        ("system", "Square it."),
        ("user", "2?"),
        ("assistant", "4"),
        ("user", "And 3?"),
        ("assistant", "9"),
    ]


def test_messages_keep_roles_order_and_untrained_turns() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi, "}, {"type": "text", "value": "you."}]},
        {"role": "assistant", "content": "Hm.", "loss_weight": 0.0},
        {"role": "user", "content": "Hi?", "loss_weight": 0},
        {"role": "assistant", "content": "Hi.", "loss_weight": 1.0},
        {"role": "user", "content": "Bye."},
    ]
    (row,) = rows_of("messages", {"messages": turns})
    assert isinstance(row, Demonstration)
    assert row.messages == (
        Message("system", "Be brief."),
        Message("user", "Hi, you."),
        Message("assistant", "Hm.", trained=False),
        Message("user", "Hi?", trained=False),
        Message("assistant", "Hi."),
        Message("user", "Bye."),
    )


def test_messages_of_which_none_is_trained_are_dropped_with_the_reason() -> None:
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hi.", "loss_weight": 0}]
    assert rows_of("messages", {"messages": turns}) == [Dropped(HERE, "every assistant turn has loss_weight 0")]


def test_sharegpt_knows_its_own_role_names_and_keeps_tools() -> None:
    turns = [("human", "2+2?"), ("function_call", "add(2, 2)"), ("observation", "4"), ("gpt", "Four.")]
    record = {
        "conversations": [{"from": role, "value": value} for role, value in turns],
        "system": "Use tools.",
        "tools": '[{"name": "add"}]',
    }
    assert said("sharegpt", record) == [
        ("system", 'Use tools.\n\n[{"name": "add"}]'),
        ("user", "2+2?"),
        ("assistant", "add(2, 2)"),
        ("tool", "4"),
        ("assistant", "Four."),
    ]


def node(role: str, text: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": role, "text": text, "replies": list(replies), **more}


def test_oasst_follows_the_best_ranked_reply_at_every_level() -> None:
    tree = node(
        "prompter",
        "Q",
        node("assistant", "unranked", node("prompter", "no")),
        node("assistant", "second", node("prompter", "no"), rank=1),
        node(
            "assistant",
            "first",
            node("prompter", "later", node("assistant", "no"), rank=2),
            node("prompter", "more?", node("assistant", "more", node("prompter", "thanks"), rank=0), rank=1),
            rank=0,
        ),
        node("assistant", "deleted", deleted=True, rank=-2),
        node("assistant", "failed", review_result=False, rank=-1),
    )
    best = [("user", "Q"), ("assistant", "first"), ("user", "more?"), ("assistant", "more")]
    assert said("oasst", {"message_tree_id": "x", "prompt": tree}) == best
    assert said("oasst", tree) == best


@pytest.mark.parametrize(
    "tree",
    [
        node("prompter", "Q"),
        node("prompter", "Q", node("assistant", "A", deleted=True)),
        node("prompter", "Q", node("assistant", "A", review_result=False)),
        node("prompter", "Q", node("assistant", "A"), deleted=True),
    ],
)
def test_oasst_without_a_reply_to_follow_is_dropped_with_the_reason(tree: dict[str, Any]) -> None:
    assert rows_of("oasst", {"prompt": tree}) == [Dropped(HERE, "no assistant reply that may be followed")]


def test_flan_cot_reasons_before_it_answers() -> None:
    cells = ["Is 7 prime?\\nOptions:\\n- yes\\n- no", "yes", "Nothing divides it.\\nSo yes."]
    assert said("flan_cot", cells) == [
        ("user", "Is 7 prime?\nOptions:\n- yes\n- no"),
        ("assistant", "Nothing divides it.\nSo yes.\nSo the answer is yes."),
    ]


@pytest.mark.parametrize("record", [{"completion": "5<|endoftext|>"}, {"completion": "5</s>"}, {"response": "5"}])
def test_a_completion_loses_its_end_of_text_marker_and_nothing_else(record: dict[str, str]) -> None:
    assert said("prompt_completion", {"prompt": "2+3=", **record}) == [("user", "2+3="), ("assistant", "5")]


def test_a_document_is_a_text_field_or_a_whole_text_file() -> None:
    assert rows_of("text", {"text": " Once.\n", "url": "x"}) == [Text(" Once.\n", HERE)]
    assert rows_of("text", " Once.\n") == [Text(" Once.\n", HERE)]


def test_chatterbot_utterances_alternate_and_an_unanswered_one_stays() -> None:
    value = {"conversations": [["Hi.", "Hello."], ["One?"], "Two? - '2'", ["A", "B", "C"]]}
    assert rows_of("chatterbot", value) == [
        Demonstration((Message("user", "Hi."), Message("assistant", "Hello.")), Origin("here.jsonl", 1)),
        Dropped(Origin("here.jsonl", 2), "a single utterance, without an answer"),
        Dropped(Origin("here.jsonl", 3), "a single utterance, without an answer"),
        Demonstration((Message("user", "A"), Message("assistant", "B"), Message("user", "C")), Origin("here.jsonl", 4)),
    ]


def test_chitchat_gives_one_row_per_conversation_and_one_turn_per_speaker() -> None:
    def turn(sender: str, *texts: str) -> list[dict[str, str]]:
        return [{"sender": sender, "text": text} for text in texts]

    value = {
        "id1": {"messages": [turn("ann", "Hi!", "How are you?"), turn("bob", "Fine."), turn("ann", "Good.")]},
        "id2": {"messages": [turn("ann", "Anyone?")]},
        "id3": {"messages": [turn("ann", "Hi!"), turn("bob", " ")]},
        "id4": {"messages": [turn("ann", "Hi!"), turn("bob", "Hi."), turn("eve", "Hi.")]},
    }
    talk = (Message("user", "Hi!\nHow are you?"), Message("assistant", "Fine."), Message("user", "Good."))
    assert rows_of("chitchat", value) == [
        Demonstration(talk, Origin("here.jsonl", 1)),
        Dropped(Origin("here.jsonl", 2), "speakers: found 1, expected 2"),
        Dropped(Origin("here.jsonl", 3), "a turn is blank"),
        Dropped(Origin("here.jsonl", 4), "speakers: found 3, expected 2"),
    ]


# Recognition


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"instruction": "a", "output": "b"}, "alpaca"),
        ({"instruction": "a", "output": "b", "text": "a b"}, "alpaca"),
        ({"messages": []}, "messages"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt"),
        ({"conversations": [["a", "b"]]}, "chatterbot"),
        ({"prompt": {"replies": []}}, "oasst"),
        ({"text": "a", "role": "prompter", "replies": []}, "oasst"),
        (["a", "b", "c"], "flan_cot"),
        ({"prompt": "a", "completion": "b"}, "prompt_completion"),
        ({"prompt": "a", "response": "b"}, "prompt_completion"),
        ({"text": "a"}, "text"),
        ({"text": "a", "label": 3}, "text"),
        ("a", "text"),
        ({"x1": {"messages": []}, "x2": {"messages": []}}, "chitchat"),
    ],
)
def test_a_format_is_recognised_by_its_first_record(value: Any, name: str) -> None:
    assert recognise(Record(value, HERE)).name == name


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ({"question": "a", "answer": "b"}, ("the fields question, answer", "no known format", *FORMATS)),
        ({"text": "a", "role": "prompter", "parent_id": None}, ("the fields text, role", "no known format")),
        ({"instruction": "a", "output": "b", "messages": []}, ("alpaca and messages",)),
        ({}, ("no known format",)),
        (["a", "b"], ("a list", "no known format")),
        (3, ("a number", "no known format")),
    ],
)
def test_what_fits_no_format_or_several_is_not_guessed(value: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        recognise(Record(value, HERE))
    for part in ("here.jsonl row 7", "`format`", *parts):
        assert part in str(caught.value)


def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'alpacca'.*auto or one of alpaca, messages"):
        import_rows(write(tmp_path, "a.jsonl", {"instruction": "a", "output": "b"}), LEARNT, "alpacca")


def test_rows_and_drops_are_collected_with_their_origins(tmp_path: Path) -> None:
    tree = node("prompter", "Q", node("assistant", "A"))
    path = write(tmp_path, "a.jsonl", {"prompt": tree}, {"prompt": node("prompter", "Q")}, {"prompt": tree})
    found = import_rows(path, LEARNT)
    assert [str(row.origin) for row in found.rows] == [f"{path} row 1", f"{path} row 3"]
    assert found.dropped == [Dropped(Origin(str(path), 2), "no assistant reply that may be followed")]


def test_rows_stream_before_the_file_ends(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", {"text": "one"}, {"words": "two"})
    assert next(stream_rows(path, LEARNT)) == Text("one", Origin(str(path), 1))


def test_flan_cot_by_name_takes_any_first_line_for_data(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("Sky\tblue\tSeen\n", encoding="utf-8")
    assert len(import_rows(tmp_path / "a.tsv", LEARNT, "flan_cot").rows) == 1


# Records that do not fit: each error names the file, the row and the field


def chat(*turns: Any) -> dict[str, Any]:
    return {"messages": [HI, *turns]}


def answer(content: Any = "Hi.", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


HI = {"role": "user", "content": "Hi."}
IMAGE = {"role": "user", "content": [{"type": "image", "url": "x"}]}
ALPACA = {"instruction": "a", "output": "b"}
BRANCH = node("assistant", "A", rank="0")

UNFIT: list[tuple[str, Any, str, str]] = [
    ("alpaca", {"instruction": "a"}, "output", "missing; found the fields instruction"),
    ("alpaca", {"instruction": "a", "output": None}, "output", "missing"),
    ("alpaca", {"instruction": "a", "output": 5}, "output", "found a number, expected a text"),
    ("alpaca", {"instruction": "a", "output": True}, "output", "found true or false"),
    ("alpaca", {"instruction": "a", "output": " \n"}, "output", "empty"),
    ("alpaca", {"instruction": "", "output": "b"}, "instruction", "empty"),
    ("alpaca", {**ALPACA, "input": ["x"]}, "input", "found a list, expected a text"),
    ("alpaca", {**ALPACA, "output": "\ud83d"}, "output", "half a character at position 0"),
    ("alpaca", {**ALPACA, "history": "x"}, "history", "found a text, expected a list"),
    ("alpaca", {**ALPACA, "history": [["q"]]}, "history[0]", "found 1 cells, expected 2"),
    ("messages", {"messages": "Hi."}, "messages", "found a text, expected a list"),
    ("messages", {"messages": []}, "messages", "no assistant turn"),
    ("messages", chat(), "messages", "no assistant turn"),
    ("messages", chat("Hi."), "messages[1]", "found a text, expected an object"),
    ("messages", chat({"role": "bot", "content": "Hi."}), "messages[1].role", "unknown role 'bot'"),
    ("messages", chat({"content": "Hi."}), "messages[1].role", "missing"),
    ("messages", chat({"role": "assistant"}), "messages[1].content", "missing"),
    ("messages", chat(answer("")), "messages[1].content", "empty"),
    ("messages", chat(IMAGE), "messages[1].content[0].type", "found 'image', expected 'text'"),
    ("messages", chat(answer([{"type": "text"}])), "messages[1].content[0].text", "missing"),
    (
        "messages",
        chat({**HI, "loss_weight": 1}),
        "messages[1].loss_weight",
        "found 1 on a turn of the user, expected 0",
    ),
    ("messages", chat(answer(loss_weight=0.5)), "messages[1].loss_weight", "found 0.5 on a turn of the assistant"),
    ("messages", chat(answer(loss_weight="0")), "messages[1].loss_weight", "expected a number"),
    ("messages", chat(answer(None, tool_calls=[{"id": 1}])), "messages[1].tool_calls", "beside the content"),
    ("sharegpt", {"conversations": [{"from": "bard", "value": "x"}]}, "conversations[0].from", "unknown role 'bard'"),
    ("sharegpt", {"conversations": [{"from": "gpt"}]}, "conversations[0].value", "missing"),
    ("sharegpt", {"conversations": [{"from": "human", "value": "x"}]}, "conversations", "no assistant turn"),
    ("oasst", {"prompt": node("moderator", "Q")}, "prompt.role", "unknown role 'moderator'"),
    ("oasst", {"prompt": {"role": "prompter", "text": "Q"}}, "prompt.replies", "missing"),
    ("oasst", {"prompt": node("prompter", "Q", BRANCH)}, "prompt.replies[0].rank", "found a text, expected a number"),
    ("flan_cot", ["q", "a"], "", "found 2 cells, expected 3"),
    ("flan_cot", ["q", "", "r"], "[1]", "empty"),
    ("prompt_completion", {"prompt": "a"}, "completion", "missing"),
    ("prompt_completion", {"prompt": "a", "completion": "<|endoftext|>"}, "completion", "marker alone"),
    ("prompt_completion", {"completion": "b"}, "prompt", "missing"),
    ("text", {"text": ""}, "text", "empty"),
    ("text", {"body": "x"}, "text", "missing; found the fields body"),
    ("text", 5, "", "found a number, expected an object"),
    ("chatterbot", {"conversations": [["a", ""]]}, "conversations[0][1]", "empty"),
    ("chatterbot", {"conversations": [{"a": "b"}]}, "conversations[0]", "found an object, expected a list"),
    ("chitchat", {"x": {"messages": [[{"text": "a"}]]}}, "x.messages[0][0].sender", "missing"),
    ("chitchat", {"x": {"messages": [[{"sender": "a"}]]}}, "x.messages[0][0].text", "missing"),
]


@pytest.mark.parametrize(
    ("format", "value", "field", "problem"), UNFIT, ids=[f"{at}-{row[0]}-{row[2]}" for at, row in enumerate(UNFIT)]
)
def test_a_record_that_does_not_fit_is_named_by_file_row_and_field(
    format: str, value: Any, field: str, problem: str
) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(format, value)
    where = f"here.jsonl row 7, field {field}: " if field else "here.jsonl row 7: "
    assert str(caught.value).startswith(where)
    assert problem in str(caught.value)


def test_a_later_record_that_does_not_fit_says_how_the_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", ALPACA, {"prompt": "a", "completion": "b"})
    wanted = rf"^{re.escape(str(path))} row 2, field instruction: missing; .*read as alpaca; set `format`"
    with pytest.raises(DataError, match=wanted):
        import_rows(path, LEARNT)


# No importer loses or invents text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
MARKERS = ("<|endoftext|>", "</s>")


@given(instruction=TEXT, given_text=st.none() | TEXT, output=TEXT)
def test_alpaca_keeps_every_character(instruction: str, given_text: str | None, output: str) -> None:
    (_, question), (_, answer) = said("alpaca", {"instruction": instruction, "input": given_text, "output": output})
    assert question == (instruction if given_text is None else f"{instruction}\n\n{given_text}")
    assert answer == output


@given(turns=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), TEXT), max_size=6), end=TEXT)
def test_messages_and_sharegpt_keep_every_turn(turns: Said, end: str) -> None:
    turns = [*turns, ("assistant", end)]
    assert said("messages", {"messages": [{"role": role, "content": text} for role, text in turns]}) == turns
    assert said("sharegpt", {"conversations": [{"from": role, "value": text} for role, text in turns]}) == turns


@given(texts=st.lists(TEXT, min_size=2, max_size=6))
def test_an_oasst_path_without_branches_is_kept_to_its_last_answer(texts: list[str]) -> None:
    tree: dict[str, Any] | None = None
    for at in reversed(range(len(texts))):
        tree = node(("prompter", "assistant")[at % 2], texts[at], *([tree] if tree else []))
    assert [text for _, text in said("oasst", {"prompt": tree})] == texts[: len(texts) // 2 * 2]


@given(cells=st.lists(TEXT.filter(lambda cell: "\\n" not in cell), min_size=3, max_size=3))
def test_flan_cot_keeps_all_three_cells(cells: list[str]) -> None:
    question, answer, rationale = cells
    assert said("flan_cot", [cell.replace("\n", "\\n") for cell in cells]) == [
        ("user", question),
        ("assistant", f"{rationale}\nSo the answer is {answer}."),
    ]


@given(
    prompt=TEXT, completion=TEXT.filter(lambda text: not text.endswith(MARKERS)), end=st.sampled_from(["", *MARKERS])
)
def test_a_prompt_and_its_completion_are_kept(prompt: str, completion: str, end: str) -> None:
    assert said("prompt_completion", {"prompt": prompt, "completion": completion + end}) == [
        ("user", prompt),
        ("assistant", completion),
    ]


@given(talks=st.lists(st.lists(TEXT, min_size=1, max_size=5), min_size=1, max_size=4))
def test_every_chatterbot_utterance_is_in_a_row_or_its_conversation_is_dropped(talks: list[list[str]]) -> None:
    found = rows_of("chatterbot", {"conversations": talks})
    assert [row.origin.row for row in found] == list(range(1, len(talks) + 1))
    for talk, row in zip(talks, found, strict=True):
        assert isinstance(row, Dropped) if len(talk) == 1 else isinstance(row, Demonstration)
        if isinstance(row, Demonstration):
            assert [message.content for message in row.messages] == talk


@given(turns=st.lists(st.lists(TEXT, min_size=1, max_size=3), min_size=2, max_size=5))
def test_every_chitchat_utterance_is_in_its_turn(turns: list[list[str]]) -> None:
    talk = [[{"sender": "ab"[at % 2], "text": text} for text in turn] for at, turn in enumerate(turns)]
    found = said("chitchat", {"x": {"messages": talk}})
    assert found == [(("user", "assistant")[at % 2], "\n".join(turn)) for at, turn in enumerate(turns)]


# Public data


def shared(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not here")
    return SHARED / name


@pytest.mark.parametrize(
    ("name", "rows", "dropped"),
    [
        ("alpaca/alpaca_en_demo.json.gz", 999, 0),
        ("alpaca/alpaca_zh_demo.json.gz", 1000, 0),
        ("alpaca/alpaca_tiny.json", 100, 0),
        ("alpaca/identity.json", 91, 0),
        ("oasst/en_100_tree.jsonl.gz", 100, 0),
        ("oasst/en_100_message.jsonl.gz", 100, 0),
        ("flan_cot/aqua_train.tsv.gz", 2728, 0),
        ("flan_cot/creak_train.tsv.gz", 6915, 0),
        ("flan_cot/qasc_train.tsv.gz", 1084, 0),
        ("flan_cot/strategyqa_train.tsv.gz", 2061, 0),
        ("t0_train", 25 * 200, 0),
        ("sharegpt/dummy_conversation.json", 500, 0),
        ("sharegpt/v1_sft_demo.jsonl.gz", 500, 0),
        ("sharegpt/glaive_toolcall_en_demo.json.gz", 300, 0),
        (
            "chatterbot_corpus/english",
            2025,
            1,
        ),  # the one dropped is a question whose answer was not put on its own line
        ("chatterbot_corpus/chinese", 467, 0),
        ("chitchat", 574, 426),  # nobody answered in 426 of the first 1000 conversations
        ("pretrain/c4_demo.jsonl.gz", 300, 0),
        ("pretrain/wiki_demo.txt.gz", 1, 0),
        ("pretrain/shakespeare", 8, 0),
    ],
)
def test_public_sets_are_recognised_and_imported_whole(name: str, rows: int, dropped: int) -> None:
    found = import_rows(shared(name), LEARNT)
    assert (len(found.rows), len(found.dropped)) == (rows, dropped)


def test_no_t0_completion_keeps_its_marker() -> None:
    for row in import_rows(shared("t0_train"), LEARNT).rows:
        assert isinstance(row, Demonstration)
        assert not row.messages[-1].content.endswith(MARKERS)


def test_the_two_exports_of_the_same_trees_give_the_same_conversations() -> None:
    trees = import_rows(shared("oasst/en_100_tree.jsonl.gz"), LEARNT).rows
    messages = import_rows(shared("oasst/en_100_message.jsonl.gz"), LEARNT).rows
    texts = [[row.messages for row in rows if isinstance(row, Demonstration)] for rows in (trees, messages)]
    assert texts[0] == texts[1]
    assert {row[-1].role for row in texts[0]} == {"assistant"}


@pytest.mark.parametrize("name", ["dpo_kto/dpo_en_demo.json.gz", "dpo_kto/kto_en_demo.json.gz"])
def test_preference_data_are_not_taken_for_demonstrations(name: str) -> None:
    with pytest.raises(DataError, match="preference data"):
        import_rows(shared(name), LEARNT)
