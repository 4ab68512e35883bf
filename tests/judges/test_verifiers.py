"""Verifiers: when a completion is right, and what they refuse."""

from __future__ import annotations

import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.commands import VERIFIERS
from planish.data.prompts import import_prompts
from planish.data.rows import Message, Origin, Prompt
from planish.judges.verify.answers import final_answer, last_number, letter, normalized
from planish.judges.verify.formulas import same_formula
from planish.judges.verify.schema import fits
from planish.judges.verify.verifiers import Answered, Verifier
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.rewards import FunctionSource, RewardSource


def verifier(**settings: Any) -> Any:
    return TypeAdapter(RewardSource).validate_python(settings)


def row(**fields: Any) -> Prompt:
    return Prompt((Message("user", "how many?"),), Origin("sums.jsonl", 3), record={"question": "how many?", **fields})


def scored(found: Verifier, text: str, num_tokens: int = 1, **fields: Any) -> float:
    return found.scores([Answered(text, num_tokens, found.truths(row(**fields)))])[0]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7\n#### 7", "7"), ("#### 1\n#### 2", "2"), (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        ("<think>5</think><answer> 6 </answer>", "6"), ("The answer is 3.5. Good luck!", "3.5"),
        ("**Answer:** Paris\nmore", "** Paris"), ("Paris", "Paris"), ("  two words \n", "two words"),
    ],
)  # fmt: skip
def test_a_text_marks_its_answer_in_one_of_four_ways_or_is_it(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 1,234", "1234"), ("so $-5.50", "-5.5"), ("-$3", "-3"), ("x3 has 4", "4"), ("5-3", "3"), ("it is 18.", "18"),
        ("The answer is 42. I hope 7 helps", "42"), ("2 − 5 = −3", "-3"), ("1e3", "1000"), (".5", "0.5"), ("3,4", "4"),
    ],
)  # fmt: skip
def test_the_number_of_an_answer_is_its_first_and_of_other_texts_the_last(text: str, number: str) -> None:
    assert last_number(text) == Decimal(number)


def test_a_text_without_a_digit_has_no_number() -> None:
    assert last_number("no, $ - . e") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("B", "B"), ("(b)", "B"), ("B. Paris", "B"), ("The answer is (C).", "C"), ("I take option c", "C"), ("**A**", "A"),
        ("so D is right", "D"), ("A dog barks", None), ("I think so", None), ("A: no. Answer: E", "E"),
    ],
)  # fmt: skip
def test_the_letter_of_a_choice(text: str, found: str | None) -> None:
    assert letter(text) == found


def test_normalized_texts_differ_in_nothing_that_changes_an_answer() -> None:
    assert normalized(' **"1,200\n Apples".** ') == normalized("1200 apples")
    assert normalized("1.200 apples") != normalized("1200 apples")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac12", "0.5"), (r"\sqrt{8}", r"2\sqrt{2}"), ("(x+1)^2", "x^2+2x+1"), (r"\frac{\pi}{2}", "pi/2"), ("1,000", "1000"),
        (r"50\%", "50"), ("x = 5", "5"), ("(1, 2)", "(1, 2.0)"), (r"\{2, 1\}", r"\{1, 2\}"), (r"\sqrt[3]{27}", "3"),
        ("sin(x)^2 + cos(x)^2", "1"), (r"\text{Monday}", "monday"), (r"2\cdot 3^{2}", "18"), (r"\frac{x}{2}y", "xy/2"),
        (r"e^{i\pi}", "-1"), (r"\dfrac{2\sqrt{3}}{3}", r"2/\sqrt{3}"), ("0.1+0.2", "0.3"), (r"10\text{ cm}", "10"),
        ("x(x+1)", "x^2+x"),
    ],
)  # fmt: skip
def test_formulas_of_the_same_value_are_equal(one: str, other: str) -> None:
    assert same_formula(one, other)
    assert same_formula(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1/3", "0.333"), ("x", "y"), ("(1,2)", "(2,1)"), ("1", "True"), ("10^{100}", "10^{100}+1"), (r"\{1\}", "(1,)"),
        ("1/0", "1/0+1"),
        # Nothing here may run, and nothing may take long.
        ("__import__('os').getcwd()", "1"), ("9**9**9**9", "1"), ("1.0001^(10^299)", "1"), ("exp(exp(exp(10)))", "2"),
        ("sin(exp(exp(20)))", "2"), ("(1,2)*1000000000", "1"), ("x^x^x^x^x", "x"), ("(" * 200, "1"), ("1" * 5000, "2"),
    ],
)  # fmt: skip
def test_formulas_of_different_values_are_not(one: str, other: str) -> None:
    assert not same_formula(one, other)


GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72"


@pytest.mark.parametrize(
    ("settings", "fields", "right", "wrong"),
    [
        ({"name": "answer"}, {"answer": "The Nile."}, "so the answer is the nile", "a Nile"),
        ({"name": "answer"}, {"answers": ["UK", "United Kingdom"]}, "united kingdom", "Kingdom"),
        ({"name": "number"}, {"answer": GSM8K}, "48 + 24 = 72.", "72 + 24 = 96"),
        ({"name": "number", "tolerance": 0.01}, {"answer": 3.14}, "about 3.145", "about 3.2"),
        ({"name": "number", "column": "Result"}, {"answer": "no", "result": "7"}, "7.0", "8"),
        ({"name": "choice"}, {"answerKey": "B"}, "(b) Paris", "(c) Rome"),
        ({"name": "choice"}, {"answer": 1}, "(b) Paris", "none"),
        ({"name": "math"}, {"solution": r"thus \boxed{\frac{1}{2}}"}, "Answer: 2/4", "Answer: 2/3"),
        ({"name": "format", "pattern": "^<think>.*</think>"}, {}, "<think>a\nb</think> c", "a <think>b</think>"),
        ({"name": "length", "unit": "words", "min": 2, "max": 3}, {}, "two words", "one"),
        ({"name": "json", "json_schema": {"required": ["n"]}}, {}, '```json\n{"n": 1}\n```', '{"m": 1}'),
    ],
)  # fmt: skip
def test_a_right_completion_scores_1_and_a_wrong_one_0(
    settings: dict[str, Any], fields: dict[str, Any], right: str, wrong: str
) -> None:
    found = verifier(**settings)
    found.check("rewards.right", [row(**fields)])
    assert scored(found, right, **fields) == 1
    assert scored(found, wrong, **fields) == 0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("In London, in 1815.", 1), ("UK", 1), ("In Londonderry.", -3), ("In Paris.", -3), ("I do not know.", 0), ("", 0),
        ("I have no information about London.", 0), ("Das weiß ich leider nicht.", 0), ("passe", 0), ("Passepartout", -3),
    ],
)  # fmt: skip
def test_truth_pays_for_a_correct_answer_for_none_and_for_a_wrong_one(text: str, score: float, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("Passe\n")
    words = tmp_path / "words.txt" if text == "passe" else None
    found = verifier(name="truth", wrong=-3, abstentions=words and str(words))
    fields = {"answers": ["The answer is London.", "UK"]}
    found.check("rewards.truth", [row(**fields)])
    assert scored(found, text, **fields) == score


def test_truth_pays_as_much_as_it_is_asked_to() -> None:
    found = verifier(name="truth", correct=2, abstained=0.5, wrong=-1)
    assert [scored(found, text, answer="Rome") for text in ("Rome", "I don't know.", "Oslo")] == [2, 0.5, -1]


def test_a_soft_bound_of_the_length_is_a_slope() -> None:
    found = verifier(name="length", min=4, max=10, soft=4)
    assert [scored(found, "", num_tokens=n) for n in (0, 2, 4, 10, 11, 13, 20)] == [0, 0.5, 1, 1, 0.75, 0.25, 0]


SCHEMA = {
    "$defs": {"name": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"}},
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"$ref": "#/$defs/name"},
        "ages": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 2, "uniqueItems": True},
        "kind": {"enum": ["a", 1, None]},
        "size": {"anyOf": [{"type": "null"}, {"type": "number", "exclusiveMaximum": 3}]},
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"name": "Ada"}, True), ({"name": "ada"}, False), ({"name": "A"}, False), ({}, False), ([], False),
        ({"name": "Ada", "ages": [1, 2]}, True), ({"name": "Ada", "ages": [1, 1]}, False), ({"name": "Ada", "ages": [-1]}, False),
        ({"name": "Ada", "ages": [1.5]}, False), ({"name": "Ada", "ages": [True]}, False), ({"name": "Ada", "kind": None}, True),
        ({"name": "Ada", "kind": True}, False), ({"name": "Ada", "size": 3}, False), ({"name": "Ada", "size": None}, True),
        ({"name": "Ada", "more": 1}, False),
    ],
)  # fmt: skip
def test_values_are_compared_with_a_json_schema(value: Any, good: bool) -> None:
    assert fits(value, SCHEMA) is good


def passed(*texts: str, seconds: float = 20) -> list[float]:
    found = verifier(name="code", run_code=True, seconds=seconds, megabytes=100)
    tests = {"tests": ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]}
    found.check("rewards.code", [row(**tests)])
    truths = found.truths(row(**tests))
    return found.scores([Answered(text, 1, truths) for text in texts])


def test_code_is_right_if_it_passes_all_tests() -> None:
    found = passed(
        "Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.",
        "def add(a, b):\n    return a - b",
        "import sys\nsys.exit(0)",  # leaves before it is tested
        "import os\nos._exit(0)",
        "def add(a, b):\n    return len('x' * (1 << 30)) * 0 + a + b",  # a gigabyte
        "def add(a, b)\n",
    )
    assert found == [1, 0, 0, 0, 0, 0]


@pytest.mark.slow
def test_code_that_does_not_end_is_ended_with_what_it_began() -> None:
    sleeper = "import subprocess\nsubprocess.run(['sleep', '61.73'])\nwhile True: pass"
    assert passed("while True:\n    pass", sleeper, seconds=2) == [0, 0]
    for _ in range(200):  # the system takes a moment to clear a process away
        if not running("61.73"):
            break
        time.sleep(0.02)
    assert not running("61.73")


def running(word: str) -> bool:
    """True if a process has this word in its command."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return any(word in line and "ps -eo" not in line for line in listed.splitlines())


def settings_of(rewards: Any) -> PpoConfig:
    given = {"model": {"path": "m"}, "prompts": {"some": "p"}, "out": "o", "held_out": 0}
    return load_config(PpoConfig, values={**given, "rewards": {"right": rewards}})


def test_a_verifier_is_named_as_a_reward_model_is() -> None:
    for name in VERIFIERS:
        for given in (name, {"path": name}, {"name": name}):
            assert settings_of(given).rewards["right"].name == name
    assert settings_of("number").reads_rows
    assert isinstance(settings_of("support.rewards:letters").rewards["right"], FunctionSource)
    assert not settings_of({"name": "length", "max": 9}).reads_rows


def test_the_columns_of_a_file_of_prompts_are_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text('{"question": "1 + 1?", "answer": "2", "tests": ["assert 1"], "level": 3}\n')
    (prompt,) = import_prompts(path)
    assert prompt.fields == {"question": "1 + 1?", "answer": "2", "tests": ["assert 1"], "level": 3}
    assert [message.content for message in prompt.messages] == ["1 + 1?"]


# Bad settings and rows, and parts of the one error.
BAD: dict[str, tuple[Any, dict[str, Any] | None, list[str]]] = {
    "a verifier that does not exist": ({"name": "numbr"}, None, ["'rewards.right.name' is 'numbr'", "did you mean 'number'"]),
    "a setting of another": ({"name": "number", "pattern": "x"}, None, ["unknown setting 'rewards.right.pattern'"]),
    "a tolerance below 0": ({"name": "number", "tolerance": -1}, None, ["'rewards.right.tolerance' is -1"]),
    "a pattern that is none": ({"name": "format", "pattern": "(a"}, None, ["pattern '(a' is no regular", "unterminated"]),
    "no pattern": ({"name": "format"}, None, ["'rewards.right.pattern' is needed and absent"]),
    "no longest length": ({"name": "length"}, None, ["'rewards.right.max' is needed and absent"]),
    "bounds the wrong way round": ({"name": "length", "min": 9, "max": 3}, None, ["min=9 is more than max=3"]),
    "letters as a unit": ({"name": "length", "max": 3, "unit": "lines"}, None, ["'rewards.right.unit' is 'lines'"]),
    "an unknown word of a schema": ({"name": "json", "json_schema": {"typ": "object"}}, None, ["has 'typ'", "type"]),
    "an unknown type": (
        {"name": "json", "json_schema": {"properties": {"n": {"type": "int"}}}}, None,
        ["the schema.properties.n.type", "'int' is not valid"],
    ),
    "a reference to nothing": ({"name": "json", "json_schema": {"$ref": "#/$defs/a"}}, None, ["'#/$defs/a'"]),
    "a file of a schema that is not there": ({"name": "json", "json_schema": "/none.json"}, None, ["/none.json", "No such file"]),
    "code that nobody allowed": ({"name": "code"}, None, ["'rewards.right.run_code' is needed and absent"]),
    "code that is forbidden": ({"name": "code", "run_code": False}, None, ["'rewards.right.run_code' is False"]),
    "no memory": ({"name": "code", "run_code": True, "megabytes": 1}, None, ["'rewards.right.megabytes' is 1", "64"]),
    "rows without an answer": ({"name": "number"}, {"level": 3}, ["rewards.right: no column", "question, level", "`column`"]),
    "a column that no row has": ({"name": "number", "column": "gold"}, {"answer": "3"}, ["no column 'gold'", "question, answer"]),
    "an answer without a number": ({"name": "number"}, {"answer": "many"}, ["column 'answer' holds 'many'", "no number"]),
    "an empty answer": ({"name": "answer"}, {"answer": ""}, ["column 'answer' is empty"]),
    "one empty answer of several": ({"name": "answer"}, {"answers": ["a", None]}, ["column 'answers' is empty"]),
    "no answer at all": ({"name": "answer"}, {"answers": []}, ["column 'answers' is empty"]),
    "an answer of signs": ({"name": "answer"}, {"answer": "**"}, ["holds '**'", "no words"]),
    "an answer that is an object": ({"name": "math"}, {"answer": {"a": 1}}, ["expected a text or a number"]),
    "a reward for being wrong": ({"name": "truth", "wrong": 0}, None, ["abstained=0, wrong=0", "always to answer, or never to"]),
    "silence that pays most": ({"name": "truth", "abstained": 1}, None, ["correct=1, abstained=1", "expected correct above"]),
    "words that are not there": ({"name": "truth", "abstentions": "/none.txt"}, None, ["/none.txt", "cannot be read"]),
    "a truth of signs": ({"name": "truth"}, {"answer": "..."}, ["holds '...'", "no words"]),
    "a choice without a letter": ({"name": "choice"}, {"answer": "Paris, France"}, ["no letter of a choice"]),
    "a choice beyond Z": ({"name": "choice"}, {"answer": 30}, ["holds '30'", "no letter of a choice"]),
    "tests that are no Python": (
        {"name": "code", "run_code": True}, {"tests": "assert x ="}, ["column 'tests' holds", "no Python: line 1"]
    ),
    "no tests": ({"name": "code", "run_code": True}, {"answer": "3"}, ["called tests, test or test_list"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_verifier_or_row_gets_one_error(case: str) -> None:
    settings, fields, expected = BAD[case]

    def checked() -> None:
        source: Any = settings_of(settings).rewards["right"]
        source.check("rewards.right", [row(**(fields or {}))])

    with pytest.raises((ConfigError, DataError)) as caught:
        checked()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("sums.jsonl row 3: rewards.right: " if fields else ("the settings: ", "rewards.right: "))
    for part in expected:
        assert part in message
