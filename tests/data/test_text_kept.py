"""No importer loses or invents text: whatever a record holds comes out, character by character."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from planish.data.rows import Demonstration, Dropped, Message, ToolCall
from support.demonstration_records import MARKERS, Said, answer, chat, rows_of, said, spelt

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(instruction=TEXT, given_text=st.none() | TEXT, output=TEXT)
def test_alpaca_keeps_every_character(instruction: str, given_text: str | None, output: str) -> None:
    (_, question), (_, answer) = said("alpaca", {"instruction": instruction, "input": given_text, "output": output})
    assert question == (instruction if given_text is None else f"{instruction}\n\n{given_text}")
    assert answer == output


@given(instruction=TEXT, context=st.none() | TEXT, response=TEXT)
def test_dolly_keeps_every_character(instruction: str, context: str | None, response: str) -> None:
    asked = instruction if context is None else f"{instruction}\n\n{context}"
    record = {"instruction": instruction, "context": context, "response": response}
    assert said("dolly", record) == [("user", asked), ("assistant", response)]


@given(instruction=TEXT, instances=st.lists(st.tuples(st.just("") | TEXT, st.just("") | TEXT), min_size=1, max_size=4))
def test_every_self_instruct_instance_is_a_row_or_dropped(instruction: str, instances: Said) -> None:
    value = [{"input": given, "output": output} for given, output in instances]
    found = rows_of("self_instruct", {"instruction": instruction, "instances": value})
    for (given_text, output), row in zip(instances, found, strict=True):
        asked = f"{instruction}\n\n{given_text}" if given_text else instruction
        if isinstance(row, Dropped):
            assert not output
        else:
            assert isinstance(row, Demonstration)
            assert row.messages == (Message("user", asked), Message("assistant", output))


@given(question=TEXT, answer=TEXT)
def test_a_question_and_its_answer_are_kept(question: str, answer: str) -> None:
    assert said("question_answer", {"question": question, "answer": answer}) == [
        ("user", question),
        ("assistant", answer),
    ]


OTHERS = st.lists(st.tuples(st.sampled_from(["system", "user", "tool"]), TEXT), min_size=1, max_size=2)


@given(talk=st.lists(st.tuples(OTHERS, TEXT), min_size=1, max_size=3), end=st.just([]) | OTHERS)
def test_messages_and_sharegpt_keep_every_turn(talk: list[tuple[Said, str]], end: Said) -> None:
    turns = [turn for others, answer in talk for turn in (*others, ("assistant", answer))] + end
    for format in ("messages", "sharegpt"):
        assert said(format, spelt(format, turns)) == turns


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXT, inside, max_size=3),
    max_leaves=6,
)


@given(name=TEXT, arguments=st.dictionaries(TEXT, JSON, max_size=4), content=st.just("") | TEXT)
def test_a_call_keeps_its_name_and_every_argument(name: str, arguments: dict[str, Any], content: str) -> None:
    call = ToolCall(name, arguments)
    for written in (arguments, json.dumps(arguments)):
        value = {"name": name, "arguments": written}
        (row,) = rows_of("messages", chat(answer(content, tool_calls=[{"function": value}])))
        assert isinstance(row, Demonstration)
        assert row.messages[1] == Message("assistant", content, tool_calls=(call,))
        (row,) = rows_of("sharegpt", spelt("sharegpt", [("human", "?"), ("function_call", json.dumps(value))]))
        assert isinstance(row, Demonstration)
        assert row.messages[1] == Message("assistant", "", tool_calls=(call,))


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
    found = rows_of("chatterbot", {"conversations": talks}, alone=True)
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
