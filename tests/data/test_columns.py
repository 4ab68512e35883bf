"""Columns under names of one's own: read where the names are common, mapped by a setting, and never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.data.files.readers import Record
from planish.data.formats import import_rows, recognize
from planish.data.formats.mapping import Columns
from planish.data.prompts import import_prompts
from planish.data.rows import Comparison, Demonstration, Message, Origin, Question
from planish.data.settings import DataConfig, SourceConfig
from support.demonstration_records import write


def shown(path: Path, columns: Columns | None = None, format: str = "auto") -> list[list[tuple[str, str]]]:
    rows = import_rows(path, (Demonstration,), format, columns).rows
    return [[(message.role, message.content) for message in row.messages] for row in rows]


def table(folder: Path, header: str, *lines: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def ranked(path: Path, columns: Columns | None = None) -> list[tuple[str, list[str], tuple[int, ...]]]:
    rows = import_rows(path, (Comparison,), columns=columns).rows
    return [(row.prompt[-1].content, [said.content for said in row.completions], row.ranks) for row in rows]


PAIR = [[("user", "Name a fruit."), ("assistant", "A pear.")]]


# Names that are commonly given


@pytest.mark.parametrize(
    "header",
    [
        *(
            "Question,Answer",
            "QUESTION,ANSWER",
            " question , answer ",
            "q,a",
            "Q,A",
            "query,response",
            "Prompt,Completion",
        ),
        *(
            "inputs,targets",
            "input,output",
            "Instruction,Response",
            "problem,solution",
            "User,Assistant",
            "input,target",
        ),
        *("User Prompt,Model-Response", "human,bot"),
    ],
)
def test_common_names_of_a_question_and_an_answer_are_read(header: str, tmp_path: Path) -> None:
    assert shown(table(tmp_path, header, "Name a fruit.,A pear.")) == PAIR


def test_a_question_with_a_short_answer_can_also_be_asked(tmp_path: Path) -> None:
    (row,) = import_rows(table(tmp_path, "Q,A", "2+2?,4"), (Question,)).rows
    assert (row.messages, row.answers) == ((Message("user", "2+2?"),), ("4",))


@pytest.mark.parametrize("name", ["System", "SYSTEM_PROMPT", "System Message"])
def test_a_system_message_of_a_recognized_format_is_read_in_any_letters(name: str, tmp_path: Path) -> None:
    assert shown(table(tmp_path, f"{name},prompt,completion", "Be brief.,Name a fruit.,A pear.")) == [
        [("system", "Be brief."), *PAIR[0]]
    ]


def test_a_verdict_is_read_in_any_letters(tmp_path: Path) -> None:
    assert shown(table(tmp_path, "prompt,completion,Spam", "Name a fruit.,A pear.,false", "a,b,true")) == PAIR
    with pytest.raises(DataError, match="it holds judged completions; expected demonstrations"):
        import_rows(table(tmp_path, "prompt,completion,Label", "a,b,false"), (Demonstration,))


@pytest.mark.parametrize("name", ["system", "System", "system_prompt", "System Message"])
def test_a_system_message_beside_a_pair_is_part_of_it(name: str, tmp_path: Path) -> None:
    assert shown(table(tmp_path, f"{name},Query,Reply", "Be brief.,Name a fruit.,A pear.")) == [
        [("system", "Be brief."), *PAIR[0]]
    ]


def test_the_input_of_an_instruction_follows_it_whatever_the_answer_is_called(tmp_path: Path) -> None:
    path = table(tmp_path, "instruction,input,response", "Add.,2 3,5")
    assert shown(path) == [[("user", "Add.\n\n2 3"), ("assistant", "5")]]


def test_further_columns_of_a_recognized_format_are_read_in_any_letters(tmp_path: Path) -> None:
    assert shown(table(tmp_path, "instruction,Input,output", "Add.,2 3,5")) == [
        [("user", "Add.\n\n2 3"), ("assistant", "5")]
    ]


def test_preferences_are_read_in_any_letters(tmp_path: Path) -> None:
    path = table(tmp_path, "Prompt,Chosen,Rejected", "Name a fruit.,A pear.,A stone.")
    assert ranked(path) == [("Name a fruit.", ["A pear.", "A stone."], (0, 1))]


@pytest.mark.parametrize(
    "header",
    [
        "question,context,answer",  # what part has the context in the question?
        "question,options,response",
        "question,query,response",  # two questions
        "query,answer,solution",  # two answers
        "Frage,Antwort,Thema",
    ],
)
def test_what_the_names_do_not_say_is_not_guessed(header: str, tmp_path: Path) -> None:
    path = table(tmp_path, header, "a,b,c")
    with pytest.raises(DataError, match=r"row 1: found the fields .* Name the columns, such as --columns prompt="):
        import_rows(path, (Demonstration,))


def test_two_columns_that_differ_in_letters_alone_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known format"):
        import_rows(table(tmp_path, "Question,QUESTION,Answer", "a,b,c"), (Demonstration,))


# Columns that a setting names


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "Frage", "completion": "Antwort"},
        {"prompt": "frage", "completion": "ANTWORT"},
        {"question": "Frage", "answer": "Antwort"},
        {"instruction": "Frage", "output": "Antwort"},
    ],
)
def test_columns_can_be_named(columns: Columns, tmp_path: Path) -> None:
    assert shown(table(tmp_path, "Frage,Antwort", "Name a fruit.,A pear."), columns) == PAIR


def test_a_named_column_and_a_common_name_go_together(tmp_path: Path) -> None:
    assert shown(table(tmp_path, "Frage,Answer", "Name a fruit.,A pear."), {"prompt": "Frage"}) == PAIR


def test_mapped_columns_come_before_others_that_fit_a_format(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", {"ask": "Name a fruit.", "say": "A pear.", "instruction": "x", "output": "y"})
    assert shown(path, {"prompt": "ask", "completion": "say"}) == PAIR


def test_a_column_with_the_name_of_a_mapped_field_is_no_longer_that_field(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", {"prompt": "cook", "completion": "A pear.", "ask": "Name a fruit."})
    (row,) = import_rows(path, (Demonstration,), columns={"prompt": "ask"}).rows
    assert [message.content for message in row.messages] == ["Name a fruit.", "A pear."]
    assert row.about == {"prompt (column)": "cook"}


def test_columns_can_change_places(tmp_path: Path) -> None:
    path = table(tmp_path, "prompt,chosen,rejected", "Name a fruit.,A stone.,A pear.")
    assert ranked(path, {"chosen": "rejected", "rejected": "chosen"}) == [
        ("Name a fruit.", ["A pear.", "A stone."], (0, 1))
    ]


def test_several_columns_make_up_one_text_without_those_that_are_empty(tmp_path: Path) -> None:
    path = table(tmp_path, "story,ask,say", "A cat sat.,Who sat?,A cat.", ",Who ran?,A dog.")
    assert shown(path, {"prompt": ("story", "ask"), "completion": "say"}) == [
        [("user", "A cat sat.\n\nWho sat?"), ("assistant", "A cat.")],
        [("user", "Who ran?"), ("assistant", "A dog.")],
    ]


def test_several_columns_make_up_a_list_where_a_field_is_one(tmp_path: Path) -> None:
    path = table(tmp_path, "ask,one,two,three,s1,s2,s3", "Name a fruit.,A stone.,A pear.,A fig.,1,9,5")
    columns: Columns = {"prompt": "ask", "completions": ("one", "two", "three"), "scores": ("s1", "s2", "s3")}
    assert ranked(path, columns) == [("Name a fruit.", ["A stone.", "A pear.", "A fig."], (2, 0, 1))]


def test_a_column_inside_another_is_named_with_a_dot(tmp_path: Path) -> None:
    record = {"input": {"messages": [{"role": "user", "content": "Name a fruit."}]}, "out": [{"say": "A pear."}]}
    path = write(tmp_path, "a.jsonl", record)
    assert shown(path, {"prompt": "input.messages", "completion": "out.1.say"}) == PAIR


def test_turns_can_have_other_names_for_role_and_content(tmp_path: Path) -> None:
    talk = [{"speaker": "user", "said": "Name a fruit."}, {"speaker": "assistant", "said": "A pear."}]
    columns: Columns = {"messages": "talk", "role": "speaker", "content": "said"}
    assert shown(write(tmp_path, "a.jsonl", {"talk": talk}), columns) == PAIR


def test_cells_without_a_header_are_mapped_by_number(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("7\tName a fruit.\tA pear.\n8\tName a tree.\tAn oak.\n", encoding="utf-8")
    assert shown(tmp_path / "a.tsv", {"prompt": "2", "completion": "3"}) == [
        *PAIR,
        [("user", "Name a tree."), ("assistant", "An oak.")],
    ]


@pytest.mark.parametrize("column", ["my question", "My Question"])
def test_a_header_with_spaces_is_known_by_a_column_that_is_named(column: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("my question\tthe answer\nName a fruit.\tA pear.\n", encoding="utf-8")
    with pytest.raises(DataError, match="If the first line is a header, name its columns"):
        import_rows(path, (Demonstration,))
    assert shown(path, {"prompt": column, "completion": "the answer"}) == PAIR


def test_a_named_format_takes_mapped_columns_and_other_letters(tmp_path: Path) -> None:
    path = table(tmp_path, "Instruction,Answer", "Name a fruit.,A pear.")
    assert shown(path, {"output": "answer"}, "alpaca") == PAIR
    assert shown(table(tmp_path, "Instruction,Output", "Name a fruit.,A pear."), None, "alpaca") == PAIR


def test_prompts_can_be_mapped(tmp_path: Path) -> None:
    (prompt,) = import_prompts(table(tmp_path, "Frage,Thema", "Name a fruit.,food"), columns={"prompt": "Frage"})
    assert (prompt.messages, prompt.about) == ((Message("user", "Name a fruit."),), {"Thema": "food"})


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = table(tmp_path, "Frage,Antwort", "a,b")
    with pytest.raises(DataError, match=r"row 1: found no column 'Fragen' for prompt. The columns are Frage, Antwort"):
        import_rows(path, (Demonstration,), columns={"prompt": "Fragen"})


def test_a_fault_in_a_mapped_column_says_where_it_was_read(tmp_path: Path) -> None:
    path = table(tmp_path, "Frage,Antwort", "a,b", "c,")
    with pytest.raises(DataError, match=r"row 2, field completion: empty.*prompt=Frage,completion=Antwort"):
        import_rows(path, (Demonstration,), columns={"prompt": "Frage", "completion": "Antwort"})


# Comparisons


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("prompt,winner,loser", "chosen=winner,rejected=loser"),
        ("prompt,loser,winner", "chosen=winner,rejected=loser"),
        ("prompt,better,worse", "chosen=better,rejected=worse"),
        ("prompt,preferred,dispreferred", "chosen=preferred,rejected=dispreferred"),
        ("input,preferred_output,non_preferred_output", "chosen=preferred_output,rejected=non_preferred_output"),
        ("prompt,y_w,y_l", "chosen=y_w,rejected=y_l"),
        ("Prompt,Chosen Response,Rejected Response", "chosen=Chosen Response,rejected=Rejected Response"),
        ("question,answer,winner,loser", "chosen=winner,rejected=loser"),
        ("prompt,answer_a,answer_b,better", "completion_a=answer_a,completion_b=answer_b,preference=better"),
        ("prompt,response_a,response_b,preference", "completion_a=response_a,completion_b=response_b"),
        ("prompt,responseA,responseB,winner", "completion_a=responseA,completion_b=responseB,preference=winner"),
        ("prompt,completion 1,completion 2", "completion_a=completion 1,completion_b=completion 2"),
        ("question,answer1,answer2,choice", "completion_a=answer1,completion_b=answer2,preference=choice"),
        ("prompt,first_answer,second_answer,label", "completion_a=first_answer,completion_b=second_answer"),
        ("prompt,model_a_response,model_b_response,winner", "completion_a=model_a_response"),
    ],
)
def test_what_looks_like_a_comparison_says_how_to_map_it(header: str, hint: str, tmp_path: Path) -> None:
    path = table(tmp_path, header, ",".join("abcd"[: header.count(",") + 1]))
    for read in (lambda: import_rows(path, (Demonstration,)), lambda: import_prompts(path)):
        with pytest.raises(DataError, match=r"looks like a comparison.*--columns") as caught:
            read()
        assert hint in str(caught.value)


def test_rated_answers_look_like_a_comparison(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", {"prompt": "a", "responses": ["b", "c"], "ratings": [1, 5]})
    with pytest.raises(DataError, match=r"looks like a comparison.*completions=responses,scores=ratings"):
        import_prompts(path)
    assert ranked(path, {"completions": "responses", "scores": "ratings"}) == [("a", ["b", "c"], (1, 0))]


def test_answers_with_the_best_one_look_like_a_comparison_without_ranks(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", {"prompt": "a", "responses": ["b", "c"], "best": 1})
    with pytest.raises(DataError, match=r"Write a list of ranks, 0 for the best, .*completions=responses,ranks="):
        import_prompts(path)


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "a", "positive": 3, "negative": 1},  # counts
        {"question": "a", "answer": "b", "option_a": "b", "option_b": "c"},  # of a multiple choice
        {"prompt": "a", "completion": "b", "model_a": "x", "model_b": "y"},  # names of models
        {"prompt": "a", "completion": "b", "score": 3},
        {"prompt": "a", "answers": ["b", "c"], "label": "short"},  # all are right
    ],
)
def test_other_pairs_of_columns_are_no_comparison(record: dict[str, Any]) -> None:
    assert recognize(Record(record, Origin("a", 1))).name in (
        *("prompt", "question", "question_answer", "prompt_completion"),
    )


@pytest.mark.parametrize(
    ("said", "ranks"),
    [
        *(
            ("A", (0, 1)),
            ("b", (1, 0)),
            ("[[A]]", (0, 1)),
            ("answer_b", (1, 0)),
            ("Response A", (0, 1)),
            ("model_b", (1, 0)),
        ),
        *(("first", (0, 1)), ("tie", (0, 0)), ("both", (0, 0)), ("A pear.", (0, 1)), ("A stone.", (1, 0))),
    ],
)
def test_a_preference_names_the_better_answer(said: str, ranks: tuple[int, int], tmp_path: Path) -> None:
    path = table(tmp_path, "ask,answer_a,answer_b,better", f"Name a fruit.,A pear.,A stone.,{said}")
    columns = {"prompt": "ask", "completion_a": "answer_a", "completion_b": "answer_b", "preference": "better"}
    assert ranked(path, columns) == [("Name a fruit.", ["A pear.", "A stone."], ranks)]


@pytest.mark.parametrize("said", ["1", "0", "2", "-1", "yes", "a fruit"])
def test_a_preference_that_names_neither_answer_is_refused(said: str, tmp_path: Path) -> None:
    path = table(tmp_path, "prompt,completion_a,completion_b,preference", f"Name a fruit.,A pear.,A stone.,{said}")
    with pytest.raises(DataError, match=f"field preference: found '{said}', expected A, B or tie"):
        import_rows(path, (Comparison,))


def test_a_preference_that_is_empty_leaves_the_row_out(tmp_path: Path) -> None:
    path = table(tmp_path, "prompt,completion_a,completion_b,preference", "a,b,c,", "a,b,c,a")
    read = import_rows(path, (Comparison,))
    assert (len(read.rows), [str(row.origin) for row in read.dropped]) == (1, [f"{path} row 1"])


def test_numbers_that_name_an_answer_are_mapped_to_a_format_with_their_scale(tmp_path: Path) -> None:
    path = table(tmp_path, "ask,x,y,better", "a,b,c,1", "a,b,c,2")
    columns = {"instruction": "ask", "output_1": "x", "output_2": "y", "preference": "better"}
    assert [ranks for _, _, ranks in ranked(path, columns)] == [(0, 1), (1, 0)]
    path = table(tmp_path, "ask,x,y,better", "a,b,c,1", "a,b,c,0")
    columns = {"prompt": "ask", "response_0": "x", "response_1": "y", "better_response_id": "better"}
    assert [ranks for _, _, ranks in ranked(path, columns)] == [(1, 0), (0, 1)]


# The setting


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("prompt=Question,completion=Answer", {"prompt": "Question", "completion": "Answer"}),
        ("prompt=story,prompt=ask", {"prompt": ("story", "ask")}),
        ({"prompt": "a, b = c"}, {"prompt": "a, b = c"}),
        ({"prompt": 2, "completion": ["x", 3]}, {"prompt": "2", "completion": ("x", "3")}),
    ],
)
def test_columns_are_a_mapping_or_its_text(given: Any, read: Columns) -> None:
    config = load_config(SourceConfig, values={"path": "a.csv", "columns": given})
    assert config.columns == read


@pytest.mark.parametrize("given", ["Question", "prompt=", "=Question", "prompt=a,,completion=b", "[a, b]", "7"])
def test_columns_that_are_no_mapping_are_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="columns"):
        load_config(SourceConfig, overrides=["path=a.csv", f"columns={given}"])


def test_columns_in_a_recipe_are_those_of_a_source(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "sources: {mine: {path: a.csv, columns: {prompt: Frage, completion: Antwort}}}\n", encoding="utf-8"
    )
    assert load_config(DataConfig, recipe).sources["mine"].columns == {"prompt": "Frage", "completion": "Antwort"}


def test_columns_are_not_read_as_text_of_the_row(tmp_path: Path) -> None:
    record = {"ask": "Name a fruit.", "say": "A pear.", "topic": "food"}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([record]), encoding="utf-8")
    (row,) = import_rows(path, (Demonstration,), columns={"prompt": "ask", "completion": "say"}).rows
    assert row.about == {"topic": "food"}
