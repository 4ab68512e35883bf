"""Which rows are left out before training, and the words in which each rule says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.base.config import load_config
from planish.base.errors import ConfigError
from planish.data.cleaning import fingerprints as contents
from planish.data.cleaning.fingerprints import digest, normalized
from planish.data.cleaning.leaks import EvaluationPrompts
from planish.data.cleaning.near_duplicates import rouge_l
from planish.data.cleaning.run import Cleaning, CleaningConfig, clean
from planish.data.rows import Comparison, Demonstration, Learnt, Message, Origin, Question, Text, ToolCall

Cleanable = Learnt | Comparison
ALL = CleaningConfig(exact_copies=True, near_copies=0.8, similar_prompts=0.7)
TALE = (
    "once there was a miller who left his three sons nothing but a mill a donkey and a cat the eldest took the mill "
    "the second the donkey and the youngest got the cat"
)


class Source:
    def __init__(self, *rows: Cleanable, name: str = "source") -> None:
        self.name = name
        self.rows = rows

    def __iter__(self) -> Iterator[Cleanable]:
        return iter(self.rows)


def chat(row: int, *turns: str, system: str = "", file: str = "a.json") -> Demonstration:
    roles = ("user", "assistant")
    messages = [Message(roles[at % 2], turn) for at, turn in enumerate(turns)]
    return Demonstration((*([Message("system", system)] if system else []), *messages), Origin(file, row))


def document(row: int, text: str, file: str = "a.txt") -> Text:
    return Text(text, Origin(file, row))


def choice(
    row: int, prompt: str, *completions: str, ranks: tuple[int, ...] = (0, 1), annotator: str = ""
) -> Comparison:
    answers = tuple(Message("assistant", completion) for completion in completions)
    return Comparison((Message("user", prompt),), answers, ranks, Origin("pairs.json", row), annotator=annotator)


def removed(config: CleaningConfig, *rows: Cleanable) -> dict[int, tuple[str, str]]:
    (found,) = clean([Source(*rows)], config).removed
    return {ordinal: (removal.filter, removal.reason) for ordinal, removal in found.items()}


def evaluation(folder: Path, *records: dict[str, str]) -> tuple[str, ...]:
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return (str(path),)


def leaks_of(config: CleaningConfig, *rows: Cleanable) -> list[tuple[int, str, str]]:
    return [(leak.ordinal, leak.filter, leak.reason) for leak in clean([Source(*rows)], config).leaks[0]]


# Normalising


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Hello,\n WORLD! ", "hello world"),
        ("It\u2019s \u201cfine\u201d", "it s fine"),
        ("\uff21\uff11 \ufb01ne", "a1 fine"),
        ("Stra\u00dfe", "strasse"),
        ("Is 8/2 8*2?", "is 8/2 8*2"),
        ("Pay 3.50, or 1,000.", "pay 3.50 or 1,000"),
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u4f60\u597d \u4e16\u754c"),
        ("?!", "?!"),
        ("", ""),
    ],
)
def test_normalising_folds_case_width_space_and_sentence_punctuation(text: str, plain: str) -> None:
    assert normalized(text) == plain


def test_hindi_words_stay_whole() -> None:
    assert contents.words("\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e\u0964") == [
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "\u092d\u093e\u0937\u093e",
    ]


def test_each_chinese_character_is_a_word() -> None:
    assert contents.words("\u4f60\u597d Bob") == ["\u4f60", "\u597d", "bob"]


def test_a_digest_is_the_same_in_every_process() -> None:
    row = "Text('One, two.', Origin('a', 1))"
    code = (
        f"from planish.data.cleaning.fingerprints import digest; from planish.data.rows import *; print(digest({row}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{digest(document(7, 'one TWO', 'b'))}\n".encode()}


def test_who_says_it_belongs_to_a_digest() -> None:
    assert digest(chat(1, "a b")) != digest(chat(1, "a", "b"))
    assert digest(chat(1, "hi", "you")) != digest(document(1, "hi you"))


def test_a_function_call_belongs_to_a_digest() -> None:
    def calling(city: str) -> Demonstration:
        call = ToolCall("weather", {"city": city})
        return Demonstration(
            (Message("user", "Weather?"), Message("assistant", "", tool_calls=(call,))), Origin("a", 1)
        )

    assert digest(calling("Rome")) == digest(calling("Rome"))
    assert digest(calling("Rome")) != digest(calling("Oslo"))


def test_comparisons_of_the_same_texts_have_one_digest_whoever_judged_them() -> None:
    one = choice(1, "Best?", "A b.", "C d.", annotator="ann")
    assert digest(one) == digest(choice(2, "best", "c d", "a b", annotator="bob"))


# Off by default


def test_nothing_is_removed_unless_asked_for() -> None:
    rows = chat(1, "Hi", "Ho"), chat(2, "Hi", "Ho"), document(1, ""), choice(1, "p", "a", "a")
    assert clean([Source(*rows)], CleaningConfig()) == Cleaning([{}], [[]])


def test_without_a_rule_no_source_is_read() -> None:
    class Unread:
        name = "unread"

        def __iter__(self) -> Iterator[Cleanable]:
            raise AssertionError

    assert clean([Unread()], CleaningConfig()) == Cleaning([{}], [[]])


# Exact copies


def test_the_first_of_exact_copies_stays() -> None:
    config = CleaningConfig(exact_copies=True)
    rows = chat(1, "Hi", "Ho"), chat(2, "Hi!", "ho"), chat(3, "Hi", "Hum"), chat(4, "hi", " HO. ")
    assert removed(config, *rows) == {
        1: ("exact copy", "copy of a.json row 1"),
        3: ("exact copy", "copy of a.json row 1"),
    }


def test_copies_are_found_across_sources() -> None:
    cleaning = clean(
        [Source(document(1, "One.")), Source(document(1, "Two.", "b.txt"), document(2, "one", "b.txt"))],
        CleaningConfig(exact_copies=True),
    )
    assert [list(found) for found in cleaning.removed] == [[], [1]]
    assert cleaning.removed[1][1].reason == "copy of a.txt row 1"
    assert cleaning.removed[1][1].origin == Origin("b.txt", 2)


def test_another_system_turn_makes_another_row() -> None:
    config = CleaningConfig(exact_copies=True)
    assert removed(config, chat(1, "Hi", "Ho", system="Be brief."), chat(2, "Hi", "Ho", system="Be kind.")) == {}


def test_another_annotator_or_judgement_is_no_copy_of_a_comparison() -> None:
    rows = (
        choice(1, "Best?", "A", "B", annotator="ann"),
        choice(2, "Best?", "A", "B", annotator="bob"),
        choice(3, "Best?", "A", "B", annotator="ann", ranks=(1, 0)),
        choice(4, "Best?", "B", "A", annotator="ann", ranks=(1, 0)),
    )
    assert removed(CleaningConfig(exact_copies=True, near_copies=0.9), *rows) == {
        3: ("exact copy", "copy of pairs.json row 1")
    }


@given(st.lists(st.sampled_from(["a", "A.", "b", "b c", "B  c!", "?"]), max_size=12))
def test_what_is_removed_is_a_copy_and_nothing_kept_is(said: list[str]) -> None:
    found = removed(CleaningConfig(exact_copies=True), *(document(at, text) for at, text in enumerate(said)))
    kept = [normalized(text) for at, text in enumerate(said) if at not in found]
    assert len(kept) == len(set(kept))
    for at, (_, reason) in found.items():
        earlier = int(reason.removeprefix("copy of a.txt row "))
        assert earlier < at
        assert earlier not in found
        assert normalized(said[earlier]) == normalized(said[at])


# Near copies


def test_a_near_copy_says_how_near_it_is() -> None:
    # 34 words make 30 runs of five. Another last word changes one run on each side: 29 common of 31.
    assert len(TALE.split()) == 34
    rows = chat(1, "Tell", TALE), chat(2, "Tell", f"{TALE[:-3]}dog")
    assert removed(CleaningConfig(near_copies=0.8), *rows) == {1: ("near copy", "near copy (0.94) of a.json row 1")}


def test_a_row_below_the_threshold_stays() -> None:
    other = (
        f"{TALE[: len(TALE) // 2]} and then quite another story went on for as long as one liked to listen to it all"
    )
    assert removed(CleaningConfig(near_copies=0.5), document(1, TALE), document(2, other)) == {}


def test_a_near_copy_of_a_removed_row_alone_stays() -> None:
    words = [f"w{k}" for k in range(40)]
    rows = [document(shift, " ".join(words[shift : shift + 20])) for shift in (0, 2, 4)]
    # 16 runs each; shifted by two 14 of 18 are common (0.78), by four 12 of 20 (0.6).
    assert removed(CleaningConfig(near_copies=0.7), *rows) == {1: ("near copy", "near copy (0.78) of a.txt row 0")}


def test_a_shared_system_turn_makes_no_near_copies() -> None:
    rows = chat(1, "Name a fruit.", "Apple.", system=TALE), chat(2, "What is 2+2?", "Four.", system=TALE)
    assert removed(CleaningConfig(near_copies=0.5), *rows) == {}


def test_another_question_about_the_same_passage_is_no_near_copy() -> None:
    rows = chat(1, f"{TALE}. Who took the mill?", "The eldest."), chat(2, f"{TALE}. Who got the cat?", "The youngest.")
    assert removed(CleaningConfig(near_copies=0.8), *rows) == {}


def test_a_comparison_of_another_completion_is_no_near_copy() -> None:
    rows = choice(1, "Tell me a tale", TALE, "No."), choice(2, "Tell me a tale", TALE, "Not today.")
    assert removed(CleaningConfig(near_copies=0.8), *rows) == {}


def test_chinese_is_compared_by_runs_of_characters() -> None:
    text = "".join(chr(0x4E00 + k) for k in range(40))
    config = CleaningConfig(near_copies=0.8)
    assert removed(config, document(1, text), document(2, text[:-1] + "\u6708")) == {
        1: ("near copy", "near copy (0.95) of a.txt row 1")  # 36 runs, 35 common of 37
    }


def test_texts_of_fewer_than_five_words_are_compared_whole() -> None:
    config = CleaningConfig(near_copies=0.8)
    assert removed(config, document(1, "good morning"), document(2, "good evening"), document(3, "Good morning!")) == {
        2: ("near copy", "near copy (1.00) of a.txt row 1")
    }


def test_a_comparison_judged_the_other_way_is_no_near_copy() -> None:
    config = CleaningConfig(near_copies=0.8)
    rows = choice(1, "Tell", TALE, "No."), choice(2, "Tell", TALE, "No.", ranks=(1, 0)), choice(3, "Tell!", TALE, "No")
    assert removed(config, *rows) == {2: ("near copy", "near copy (1.00) of pairs.json row 1")}


# Similar prompts


def test_a_similar_prompt_says_how_similar_it_is() -> None:
    rows = chat(1, "Write a poem about the sea", "Blue."), chat(2, "Write a poem about the moon", "Pale.")
    assert removed(CleaningConfig(similar_prompts=0.7), *rows) == {
        1: ("similar prompt", "prompt like that of a.json row 1 (ROUGE-L 0.83)")
    }


def test_documents_have_no_prompt_to_be_similar() -> None:
    assert (
        removed(CleaningConfig(similar_prompts=0.7), document(1, TALE), document(2, TALE), chat(3, TALE, "Yes.")) == {}
    )


def test_x2_no_train_instruction_is_similar_to_another_or_to_a_test_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)

    def instruction() -> str:
        return " ".join(str(word) for word in rng.choice(["write", "a", "poem", "list", "of", "three", "birds"], 6))

    tests, train = [instruction() for _ in range(5)], [instruction() for _ in range(200)]
    config = CleaningConfig(
        similar_prompts=0.7, evaluation=evaluation(tmp_path, *({"instruction": t, "output": "ok"} for t in tests))
    )
    found = removed(config, *(chat(at, text, "Done.") for at, text in enumerate(train)))
    kept = [text for at, text in enumerate(train) if at not in found]
    words = [contents.word_hashes(text).tolist() for text in (*tests, *kept)]
    assert len(kept) > 10
    for at in range(len(tests), len(words)):
        assert all(rouge_l(words[at], earlier) <= 0.7 for earlier in words[:at])


# Leaks


def test_an_exact_leak_is_listed_and_stays_unless_its_removal_is_asked_for(tmp_path: Path) -> None:
    files = evaluation(tmp_path, {"instruction": "Why is the sky blue?", "output": "Rayleigh."})
    rows = chat(1, "Hi there", "Hello"), chat(2, "why is the SKY blue", "Because."), document(3, "Why is the sky blue?")
    expected = [
        (1, "exact leak", f"a user turn is the prompt of {files[0]} row 1"),
        (2, "exact leak", f"the document is the prompt of {files[0]} row 1"),
    ]
    warned, cleaned = CleaningConfig(evaluation=files), CleaningConfig(evaluation=files, remove_leaks=True)
    assert leaks_of(warned, *rows) == expected
    assert removed(warned, *rows) == {}
    assert leaks_of(cleaned, *rows) == expected
    assert removed(cleaned, *rows) == {at: (rule, reason) for at, rule, reason in expected}


def test_any_user_turn_can_leak(tmp_path: Path) -> None:
    files = evaluation(tmp_path, {"instruction": "Why is the sky blue?", "output": "Rayleigh."})
    row = chat(1, "Hi", "Hello", "Why is the sky blue?", "It scatters.")
    assert [leak[0] for leak in leaks_of(CleaningConfig(evaluation=files), row)] == [0]


def test_the_prompt_of_a_comparison_can_leak(tmp_path: Path) -> None:
    files = evaluation(tmp_path, {"instruction": "Why is the sky blue?", "output": "Rayleigh."})
    row = choice(1, "Why is the sky blue?", "A", "B")
    assert [leak[0] for leak in leaks_of(CleaningConfig(evaluation=files), row)] == [0]


def test_a_short_prompt_leaks_only_with_its_answer(tmp_path: Path) -> None:
    config = CleaningConfig(evaluation=evaluation(tmp_path, {"instruction": "Capital of Mali?", "output": "Bamako."}))
    rows = (
        chat(1, "capital of mali", "I do not know"),
        chat(2, "Capital of Mali", "bamako"),
        document(3, "Capital of Mali?"),
    )
    assert [leak[0] for leak in leaks_of(config, *rows)] == [1]


def test_a_short_prompt_of_a_comparison_leaks_with_one_of_its_completions(tmp_path: Path) -> None:
    config = CleaningConfig(evaluation=evaluation(tmp_path, {"instruction": "Capital of Mali?", "output": "Bamako."}))
    rows = choice(1, "Capital of Mali?", "Lagos", "Accra"), choice(2, "Capital of Mali?", "Lagos", "Bamako")
    assert [leak[0] for leak in leaks_of(config, *rows)] == [1]


def test_thirteen_words_in_a_row_are_a_leak_and_twelve_are_not(tmp_path: Path) -> None:
    files = evaluation(tmp_path, {"instruction": "Tell me a tale", "output": TALE})
    config = CleaningConfig(evaluation=files, remove_leaks=True)
    words = TALE.split()
    thirteen, twelve = (" ".join(["Look:", *words[3 : 3 + count], "and so on"]) for count in (13, 12))
    assert removed(config, document(1, twelve), chat(2, "Well?", thirteen)) == {
        1: ("n-gram leak", f"shares 13 words in a row with {files[0]} row 1: {' '.join(words[3:16])}")
    }


def test_shared_words_are_looked_for_only_when_leaks_are_removed(tmp_path: Path) -> None:
    files = evaluation(tmp_path, {"instruction": "Tell me a tale", "output": TALE})
    assert leaks_of(CleaningConfig(evaluation=files), document(1, TALE)) == []


def test_a_shared_run_does_not_cross_turns(tmp_path: Path) -> None:
    files = evaluation(tmp_path, {"instruction": "Tell me a tale", "output": TALE})
    words = TALE.split()
    row = chat(1, " ".join(words[:9]), " ".join(words[9:18]))
    assert removed(CleaningConfig(evaluation=files, remove_leaks=True), row) == {}


def test_prompts_without_answers_are_evaluation_sets_too(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Why is the sky blue?"}]}) + "\n")
    config = CleaningConfig(evaluation=(str(path),))
    assert [leak[0] for leak in leaks_of(config, chat(1, "Why is the sky blue?", "So."))] == [0]


def test_questions_leak_with_any_of_their_answers() -> None:
    question = Question((Message("user", "Capital of Mali?"),), ("Bamako", "Bamako, Mali"), Origin("q.json", 3))
    evaluated = EvaluationPrompts([question], None)
    assert evaluated.exact(chat(1, "Capital of Mali?", "Bamako, Mali.")) == "a user turn is the prompt of q.json row 3"


def test_a_later_turn_of_an_evaluation_conversation_is_no_prompt_of_its_own() -> None:
    conversation = chat(1, "Why is the sky blue?", "Rayleigh.", "Can you explain that better?", "Yes.")
    evaluated = EvaluationPrompts([conversation], None)
    assert evaluated.exact(chat(2, "Can you explain that better?", "No.")) is None


def test_removing_leaks_needs_an_evaluation_set() -> None:
    with pytest.raises(ConfigError, match="remove_leaks needs `evaluation`"):
        load_config(CleaningConfig, values={"remove_leaks": True})


# Length


def test_lengths_are_those_of_what_is_learnt() -> None:
    untrained = Message("assistant", "A long remark that is not learnt.", trained=False)
    quiet = Demonstration((*chat(2, "Hm?").messages, untrained, *chat(2, "Well?", "Yes").messages), Origin("a.json", 2))
    config = CleaningConfig(min_characters=4, max_characters=10)
    rows = (
        chat(1, "A long question to begin with", "Four"),
        quiet,
        document(3, "Eleven char"),
        chat(4, "a", "ten", "b", "letters"),
    )
    assert removed(config, *rows) == {
        1: ("length", "3 characters to learn, fewer than min_characters=4"),
        2: ("length", "11 characters to learn, more than max_characters=10"),
    }


def test_every_completion_of_a_comparison_must_fit() -> None:
    config = CleaningConfig(min_characters=2, max_characters=5)
    rows = choice(1, "p", "abc", "a"), choice(2, "p", "abc", "abcdef"), choice(3, "p", "ab", "abcde")
    assert list(removed(config, *rows)) == [0, 1]


def test_bounds_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_characters=9 is above max_characters=8"):
        load_config(CleaningConfig, values={"min_characters": 9, "max_characters": 8})


# Languages

ENGLISH = "The weather was so good that everybody went to the lake to swim."
GERMAN = "Das Wetter war so gut, dass alle zum Schwimmen an den See gingen."
CHINESE = "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u6e56\u8fb9\u6e38\u6cf3\u3002"


def test_rows_in_other_languages_are_removed() -> None:
    pytest.importorskip("py3langid")
    rows = [document(at, text) for at, text in enumerate((ENGLISH, GERMAN, CHINESE))]
    assert removed(CleaningConfig(languages=("en", "zh")), *rows) == {1: ("language", "language de, not en or zh")}


def test_a_text_too_short_to_tell_is_kept() -> None:
    pytest.importorskip("py3langid")
    assert removed(CleaningConfig(languages=("en",)), document(1, "Guten Morgen. 12345678"), document(2, GERMAN)) == {
        1: ("language", "language de, not en")
    }


def test_an_unknown_language_is_refused_with_those_there_are() -> None:
    pytest.importorskip("py3langid")
    with pytest.raises(ConfigError, match=r"languages: unknown 'english'; choose from .*, en, .*, zh"):
        clean([], CleaningConfig(languages=("en", "english")))


def test_without_the_language_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(ConfigError, match="pip install py3langid"):
        clean([], CleaningConfig(languages=("en",)))


# All together


def test_a_row_is_held_against_kept_rows_alone() -> None:
    config = CleaningConfig(exact_copies=True, max_characters=10)
    rows = document(1, "It is so long!"), document(2, "it is so long"), document(3, "short"), document(4, "Short.")
    assert removed(config, *rows) == {
        0: ("length", "14 characters to learn, more than max_characters=10"),
        1: ("length", "13 characters to learn, more than max_characters=10"),
        3: ("exact copy", "copy of a.txt row 3"),
    }


@given(st.lists(st.text(alphabet="ab .,\u4f60\u597d1", max_size=12), max_size=12))
def test_cleaning_what_was_cleaned_removes_nothing(said: list[str]) -> None:
    rows = [chat(at, text, "yes") for at, text in enumerate(said)]
    found = removed(ALL, *rows)
    assert removed(ALL, *(row for at, row in enumerate(rows) if at not in found)) == {}
