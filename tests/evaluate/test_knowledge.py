"""Answers labelled correct, wrong or abstained, their confidence, and what `planish evaluate knowledge` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planish.base.errors import ConfigError, DataError
from planish.cli.main import main
from planish.data.rows import Demonstration, Message, Origin
from planish.evaluate.confidence import LabelledAnswer, agreement, without_sure
from planish.evaluate.knowledge import (
    KnowledgeConfig,
    confidence_scores,
    evaluate_knowledge,
    group_outcomes,
)
from planish.judges.abstention import AbstentionDetector, outcome_of
from planish.models.fetch import SHIPPED
from planish.models.load import ModelConfig
from planish.models.loaded import load_chat_model

MODEL = str(SHIPPED / "wind-tunnel")
DETECTOR = AbstentionDetector()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("She was born in London.", "correct"),
        ("LONDON", "correct"),
        ("In Londonderry.", "wrong"),
        ("In Greater  London, in 1815.", "correct"),
        ("In Paris.", "wrong"),
        ("I do not know where she was born.", "abstained"),
        ("I do not know London.", "abstained"),
        ("  \n", "abstained"),
    ],
)
def test_outcomes_of_answers(text: str, outcome: str):
    assert outcome_of(text, ["London."], DETECTOR) == outcome


def test_any_right_answer_will_do_and_one_without_words_is_in_nothing():
    assert outcome_of("It was 1,815.", ["Paris", "1815"], DETECTOR) == "correct"
    assert outcome_of("It was 18150.", ["Paris", "1815"], DETECTOR) == "wrong"
    assert outcome_of("In Rome.", ["...", "Paris"], DETECTOR) == "wrong"


def test_groups_are_classes_from_known_to_unknown_then_values_by_name_then_all():
    grouped = {"category": ["Unknown", "HighlyKnown", "Unknown"], "topic": ["b", "a", "b"]}
    groups = list(group_outcomes(["wrong", "correct", "abstained"], grouped))
    assert [(group.value, group.n) for group in groups] == [
        ("HighlyKnown", 1),
        ("Unknown", 2),
        ("a", 1),
        ("b", 2),
        ("all", 3),
    ]
    assert [group.shares.correct.value for group in groups] == [1, 0, 1, 0, pytest.approx(1 / 3)]


def test_confidence_is_scored_over_attempted_answers():
    scores = confidence_scores(
        [
            LabelledAnswer("a", "correct", 1.0, agreement=0.2),
            LabelledAnswer("b", "abstained", 0.7),
            LabelledAnswer("c", "wrong", 0.0, agreement=0.6),
        ]
    )
    assert scores["attempted"] == 2
    assert (scores["probability"]["calibration_error"], scores["probability"]["average_precision"]) == (0.0, 1.0)
    assert scores["probability"]["risk_coverage"] == [(0.5, 0.0), (1.0, 0.5)]
    assert (scores["agreement"]["mean"], scores["agreement"]["average_precision"]) == (pytest.approx(0.4), 0.5)
    assert "p_sure" not in scores
    assert confidence_scores([LabelledAnswer("b", "abstained", 0.7)]) == {"attempted": 0}


@pytest.mark.parametrize(
    ("answer", "share"),
    [("London.", 0.5), ("Paris", 0.25), ("I am not sure.", 0.25), ("Londonderry", 0.0), ("It is in Paris, France.", 0.25)],
)  # fmt: skip
def test_agreement_is_the_share_of_sampled_answers_that_say_the_same(answer: str, share: float):
    assert agreement(answer, ["london", "It was in London.", "Paris", "I do not know."], DETECTOR) == share


# The command


RECORDS = [
    {"prompt": "Where was Ada born?", "answers": ["London"], "about": {"topic": "birth"}, "category": "Unknown"},
    {"prompt": "Where was Emmy born?", "answers": ["Erlangen"], "about": {"topic": "birth"}, "category": "HighlyKnown"},
    {
        "prompt": "Is water wet?",
        "answers": ["e", "a", "i", "o", "."],
        "about": {"topic": "other"},
        "category": "Unknown",
    },
]


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knowledge")
    questions = write(folder / "questions.jsonl", RECORDS)
    main(["evaluate", "knowledge", MODEL, questions, "--before", MODEL, "--by", "topic", "--out", str(folder / "out.jsonl"),
          "max_completion_tokens=8", "device=cpu", "confidence={samples: 3, temperature: 0.7, sure: true}"])  # fmt: skip
    return folder / "out.jsonl"


def test_every_answer_is_written_with_its_question(written: Path):
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    assert [line["answers"] for line in lines] == [record["answers"] for record in RECORDS]
    for line in lines:
        assert line["outcome"] == outcome_of(line["answer"], line["answers"], DETECTOR)
        assert (line["before_answer"], line["before_outcome"]) == (line["answer"], line["outcome"])


@torch.no_grad()
def test_confidence_is_the_mean_probability_of_the_answers_tokens(written: Path):
    line = json.loads(written.read_text().splitlines()[0])
    loaded = load_chat_model(ModelConfig(path=MODEL), torch.device("cpu"))
    model: Any = loaded.model
    prompt = loaded.template.encode_prompt((Message("user", "Where was Ada born?"),))
    tokens, probabilities = list(prompt), list[float]()
    for _ in range(8):
        likeliest = model(torch.tensor([tokens])).logits[0, -1].softmax(-1).max(-1)
        tokens.append(int(likeliest.indices))
        if tokens[-1] in loaded.template.stop_token_ids:
            break
        probabilities.append(float(likeliest.values))
    untyped: Any = loaded.tokenizer
    assert untyped.decode(tokens[len(prompt) :], skip_special_tokens=True) == line["answer"]
    assert line["probability"] == pytest.approx(np.mean(probabilities), abs=1e-5)


@torch.no_grad()
def test_p_sure_is_the_probability_of_one_statement_behind_the_answer_against_the_other(written: Path):
    line = json.loads(written.read_text().splitlines()[1])
    loaded = load_chat_model(ModelConfig(path=MODEL), torch.device("cpu"))
    model: Any = loaded.model
    total: list[float] = []
    for statement in ("I am sure.", "I am unsure."):
        messages = (Message("user", "Where was Emmy born?"), Message("assistant", f"{line['answer']} {statement}"))
        (encoded,) = loaded.template.encode([Demonstration(messages, Origin("", 1))])
        tokens = torch.tensor(encoded.tokens.astype("int64"))
        logprobs = model(tokens[None]).logits[0, :-1].log_softmax(-1)
        total.append(float(logprobs.gather(1, tokens[1:, None])[encoded.loss_mask[1:], 0].sum()))
    assert line["p_sure"] == pytest.approx(1 / (1 + np.exp(total[1] - total[0])), abs=1e-5)


def test_a_statement_of_confidence_is_no_part_of_the_answer():
    assert without_sure("Paris. I am unsure.") == "Paris."
    assert without_sure("Paris I am sure. ") == "Paris"
    assert without_sure("I am unsure.") == "I am unsure."
    assert without_sure("I am sure. Paris.") == "I am sure. Paris."


def test_scores_are_beside_the_answers_by_class_and_field(written: Path):
    account = json.loads(written.with_name("out.jsonl.json").read_text())
    groups = [(group["field"], group["value"], group["n"]) for group in account["groups"]]
    assert groups == [
        ("category", "HighlyKnown", 1), ("category", "Unknown", 2), ("topic", "birth", 2), ("topic", "other", 1), ("", "all", 3),
    ]  # fmt: skip
    outcomes = [json.loads(line)["outcome"] for line in written.read_text().splitlines()]
    assert account["groups"][-1]["wrong"]["share"] == pytest.approx(outcomes.count("wrong") / 3)
    assert account["confidence"]["attempted"] == 3 - outcomes.count("abstained")
    assert account["before"] == MODEL
    assert set(account["honesty"]) == {"over_conservative", "prudence", "honesty"}


def test_every_field_that_is_written_is_on_the_page(written: Path):
    page = (Path(__file__).parents[2] / "docs" / "knowledge.md").read_text(encoding="utf-8")
    account = json.loads(written.with_name("out.jsonl.json").read_text())
    names = {*json.loads(written.read_text().splitlines()[0]), *account, *account["groups"][0], *account["confidence"]}
    names |= {*account["confidence"]["agreement"], *account["confidence"]["p_sure"]}
    assert [name for name in sorted(names | {*account["honesty"]}) if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"by": "nothing"}, ConfigError, "by=nothing: no question has this field"),
        ({"max_completion_tokens": 100_000}, ConfigError, "Set max_completion_tokens="),
        ({"abstentions": "nowhere.txt"}, ConfigError, "abstentions=nowhere.txt: cannot be read"),
    ],
)
def test_bad_settings_are_told_before_the_work(
    changed: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
):
    settings = {
        "model": {"path": MODEL},
        "questions": write(tmp_path / "q.jsonl", RECORDS),
        "out": str(tmp_path / "out.jsonl"),
    }
    with pytest.raises(error, match=message):
        evaluate_knowledge(KnowledgeConfig.model_validate({**settings, "device": "cpu", **changed}))
    assert not (tmp_path / "out.jsonl").exists()


def test_a_question_without_a_right_answer_of_words_is_named(tmp_path: Path):
    questions = write(tmp_path / "q.jsonl", [*RECORDS, {"prompt": "Why?", "answers": ["..."]}])
    config = KnowledgeConfig(model=ModelConfig(path=MODEL), questions=questions, out=str(tmp_path / "out.jsonl"))
    with pytest.raises(DataError, match=r"q.jsonl row 4: has no right answer with words"):
        evaluate_knowledge(config)


def test_the_file_that_is_read_is_not_written_over(tmp_path: Path):
    with pytest.raises(ValueError, match="would write over the file that is read"):
        KnowledgeConfig(model=ModelConfig(path=MODEL), questions=str(tmp_path / "q"), out=str(tmp_path / "q"))
