"""SliCK: what the classes are, that the exact method is the sampled one without the sampling, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.base.random import numpy_generator
from planish.base.types import pack
from planish.cli.main import main
from planish.data.formats import import_rows
from planish.data.rows import Message, Origin, Question
from planish.evaluate.probe.answering import Chance, ProbeQuestion, chances
from planish.evaluate.probe.fewshot import FewShot, FewShotConfig
from planish.evaluate.probe.matching import Endings, core, right_answers
from planish.evaluate.probe.run import KnowConfig, know
from planish.evaluate.probe.slick import (
    CATEGORIES,
    Category,
    Knowledge,
    ProbeConfig,
    probe,
    slick,
    tabulate,
)
from planish.models.packed import CausalLM
from support.examples import example
from support.models import random_model
from support.tokenizers import MERGES, tiny_tokenizer

TOKENIZER = tiny_tokenizer(eos="<end>", merges=(*MERGES, (")", "\n")))
SYLLABLES = "ba de fi go hu ka le mi no pu ra se ti vo zu".split()  # noqa: SIM905
TIMES = (0, 1, 4, 16)  # how often a fact is told, relative to others


def question(text: str, *answers: str, row: int = 1, **about: str | int) -> Question:
    return Question((Message("user", text),), answers, Origin("facts.jsonl", row), about=about)


def word(number: int) -> str:
    return SYLLABLES[number % 15] + SYLLABLES[number // 15 % 15]


def facts(count: int) -> list[Question]:
    """Names of two syllables, each with an answer of its own: 225 are possible, so none is guessed."""
    answers = numpy_generator(0, "answers").permutation(225)
    return [
        question(word(7 * i), word(int(answers[i])), row=i + 1, relation="home", times=TIMES[i % 4])
        for i in range(count)
    ]


FACTS = facts(60)
CONFIG = ProbeConfig(shots=2)


@pytest.fixture(scope="module")
def taught() -> PreTrainedModel:
    """A small model that has read three quarters of the facts, some often and some seldom."""
    model = random_model("llama", vocab_size=len(TOKENIZER), hidden_size=64)
    policy, optimizer = CausalLM(model), torch.optim.AdamW(model.parameters(), lr=3e-3)
    chance = numpy_generator(0, "documents")
    told = [row for row in FACTS for _ in range(int(row.about["times"]))]
    for _ in range(150):
        drawn = [[told[i] for i in chance.choice(len(told), 3)] for _ in range(16)]
        texts = ["".join(f"Q: {row.messages[0].content}\nA: {row.answers[0]}\n" for row in rows) for rows in drawn]
        loss = -policy(pack([example(tokens) for tokens in TOKENIZER(texts)["input_ids"]])).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.fixture(scope="module")
def exact(taught: PreTrainedModel) -> list[Knowledge]:
    return found(taught, FACTS, CONFIG)


def found(model: PreTrainedModel, rows: Sequence[Question], config: ProbeConfig, **more: Any) -> list[Knowledge]:
    return list(probe(CausalLM(model), TOKENIZER, rows, config, **more))


def numbers(results: Sequence[Knowledge]) -> dict[str, tuple[float, float, str]]:
    """By question. What is a probability, not a share, is left out: it carries the rounding of the batch."""
    return {
        each.question.messages[0].content: (
            each.p_greedy,
            each.p_sampled if each.p_any is None else 0.0,
            each.category,
        )
        for each in results
    }


@pytest.mark.parametrize(("p", "category"), [(0.0044, "WeaklyKnown"), (0.0042, "Unknown"), (0.0, "Unknown")])
def test_a_question_is_weakly_known_if_some_hit_is_likelier_than_none(
    p: float, category: Category, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 10 prompts of 16 samples: 1 - (1 - 0.0044)^160 = 0.506, 1 - (1 - 0.0042)^160 = 0.490
    never = [[Chance(False, p) for _ in range(10)]]
    monkeypatch.setattr("planish.evaluate.probe.slick.chances", lambda *_: never)
    [each] = found(random_model("llama", vocab_size=len(TOKENIZER)), FACTS[:1], CONFIG, exemplars=FACTS)
    assert (each.category, each.p_sampled) == (category, pytest.approx(p))
    assert each.p_any == pytest.approx(1 - (1 - p) ** 160)


# K1: the classes


@pytest.mark.parametrize(
    ("p_greedy", "p_sampled", "category"),
    [
        (1.0, 1.0, "HighlyKnown"),
        (1.0, 0.0, "HighlyKnown"),
        (0.9, 1.0, "MaybeKnown"),
        (0.1, 0.0, "MaybeKnown"),
        (0.0, 1 / 160, "WeaklyKnown"),
        (0.0, 1.0, "WeaklyKnown"),
        (0.0, 0.0, "Unknown"),
    ],
)
def test_k1_shares_give_the_class_of_the_paper(p_greedy: float, p_sampled: float, category: Category) -> None:
    assert slick(p_greedy, p_sampled) == category


def test_k1_the_classes_divide_all_shares_among_them() -> None:
    shares = [(greedy / 10, sampled / 160) for greedy in range(11) for sampled in range(161)]
    counts = {category: sum(slick(*each) == category for each in shares) for category in CATEGORIES}
    assert counts == {"HighlyKnown": 161, "MaybeKnown": 9 * 161, "WeaklyKnown": 160, "Unknown": 1}


def test_a_model_that_reads_facts_often_seldom_and_never_gives_all_four_classes(exact: list[Knowledge]) -> None:
    by_times = {
        each.name: {c: round(share.value * share.n) for c, share in each.shares.items()}
        for each in tabulate(exact, "times")
    }
    assert all(by_times["all"].values())
    assert by_times["0"] == {"HighlyKnown": 0, "MaybeKnown": 0, "WeaklyKnown": 0, "Unknown": 15}
    assert by_times["16"]["HighlyKnown"] == 15


# The exact method is exact


def slow_probability(
    model: PreTrainedModel, prompt: list[int], right: set[str], spellings: set[tuple[int, ...]] | None
) -> tuple[bool, float]:
    """Greedy and sampled, by trying every token of the vocabulary after every beginning of a right answer.

    An answer ends at a newline or at the end token; `right` holds its texts. With `spellings`, only answers that begin
    with these tokens count; without, every way of cutting a right answer into tokens does.
    """

    def explore(tokens: tuple[int, ...], logprob: float, greedy: bool) -> tuple[bool, float]:
        logits_V = model(torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0, -1]
        logprobs_V = torch.log_softmax(logits_V / 0.5, -1).tolist()
        best, hit, total = int(logits_V.argmax()), False, 0.0
        for token, here in enumerate(logprobs_V):
            text = TOKENIZER.decode([*tokens, token])
            likeliest = greedy and token == best
            if "\n" in text or "<end>" in text:
                if core(text.split("\n")[0].split("<end>")[0]) in right:
                    total += torch.tensor(logprob + here, dtype=torch.float64).exp().item()
                    hit |= likeliest
            elif may_go_on((*tokens, token), text):
                deeper = explore((*tokens, token), logprob + here, likeliest)
                hit, total = hit or deeper[0], total + deeper[1]
        return hit, total

    def may_go_on(tokens: tuple[int, ...], text: str) -> bool:
        if spellings is not None:
            return any(spelling[: len(tokens)] == tokens for spelling in spellings)
        return any(f" {answer}.".startswith(text) for answer in right)

    with torch.no_grad():
        return explore((), 0.0, True)


def spelt(*texts: str) -> set[tuple[int, ...]]:
    """As the tokenizer writes these answers, with and without a full stop."""
    return {tuple(TOKENIZER(f" {text}{stop}")["input_ids"]) for text in texts for stop in ("", ".")}


def fast_probability(model: PreTrainedModel, row: Question, prompts: list[list[int]]) -> list[tuple[bool, float]]:
    endings = Endings(TOKENIZER)
    asked = ProbeQuestion(row, "", tuple(prompts), right_answers(row, "Q: x\nA:", " ", endings))
    (its,) = chances(CausalLM(model), [asked], endings, 0.5, micro_tokens=64)
    return [(chance.greedy, chance.probability) for chance in its]


PROMPTS = [TOKENIZER(text)["input_ids"] for text in ("Q: ab\nA: the\nQ: x\nA:", "Q: x\nA:", "Q: no\nA: an\nQ: x\nA:")]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom"])  # packed, packed with learnt positions, one by one
@pytest.mark.parametrize("answers", [("the",), ("an ant", "an", "ringer."), ("(no)",)])
def test_probabilities_are_those_of_trying_every_token(kind: str, answers: tuple[str, ...]) -> None:
    model = random_model(kind, torch.float64, vocab_size=len(TOKENIZER))
    fast = fast_probability(model, question("x", *answers), PROMPTS)
    right = {answer.removesuffix(".") for answer in answers}
    slow_model = random_model(kind, torch.float64, vocab_size=len(TOKENIZER))
    slow = [slow_probability(slow_model, prompt, right, spelt(*right)) for prompt in PROMPTS]
    assert [greedy for greedy, _ in fast] == [greedy for greedy, _ in slow]
    assert [p for _, p in fast] == pytest.approx([p for _, p in slow], rel=1e-6, abs=0)


def test_other_ways_of_cutting_an_answer_into_tokens_are_all_that_is_missed() -> None:
    """No letters of "nole" join, so there is one way to write it. "fino" is written f, in, o; f, i, n, o is missed."""
    model = random_model("llama", torch.float64, vocab_size=len(TOKENIZER))
    found = fast_probability(model, question("x", "nole"), PROMPTS[:1])[0][1]
    assert found == pytest.approx(slow_probability(model, PROMPTS[0], {"nole"}, None)[1], rel=1e-6)
    letter_by_letter = TOKENIZER.convert_tokens_to_ids(list("Ġfino."))
    assert isinstance(letter_by_letter, list)
    found = fast_probability(model, question("x", "fino"), PROMPTS[:1])[0][1]
    missed = slow_probability(model, PROMPTS[0], {"fino"}, {tuple(letter_by_letter)})[1]
    every = slow_probability(model, PROMPTS[0], {"fino"}, None)[1]
    assert missed > 1e-5 * every
    assert found + missed == pytest.approx(every, rel=1e-6)


def test_the_probability_of_several_answers_is_the_sum_of_theirs() -> None:
    model = random_model("llama", torch.float64, vocab_size=len(TOKENIZER))
    alone = [fast_probability(model, question("x", answer), PROMPTS[:1])[0][1] for answer in ("the", "ring")]
    together = fast_probability(model, question("x", "the", "ring"), PROMPTS[:1])[0][1]
    assert together == pytest.approx(sum(alone), rel=1e-9)


def test_an_answer_that_begins_another_is_counted_once() -> None:
    model = random_model("llama", torch.float64, vocab_size=len(TOKENIZER))
    alone = [fast_probability(model, question("x", answer), PROMPTS[:1])[0][1] for answer in ("an", "ant")]
    together = fast_probability(model, question("x", "an", "ant", "an.", "an"), PROMPTS[:1])[0][1]
    assert together == pytest.approx(sum(alone), rel=1e-9)


# K3: exact and sampled agree


@pytest.fixture(scope="module")
def sampled(taught: PreTrainedModel) -> list[Knowledge]:
    return found(taught, FACTS, CONFIG.model_copy(update={"method": "sampled"}))


@pytest.mark.slow
def test_k3_greedy_shares_are_the_same_for_every_fact(exact: list[Knowledge], sampled: list[Knowledge]) -> None:
    assert [each.p_greedy for each in exact] == [each.p_greedy for each in sampled]


@pytest.mark.slow
def test_k3_sampled_shares_differ_by_chance_only(exact: list[Knowledge], sampled: list[Knowledge]) -> None:
    """160 answers of mean probability p have a share whose variance is at most p (1 - p) / 160."""
    expected = [each.p_sampled for each in exact]
    variances = [p * (1 - p) / 160 for p in expected]
    for p, variance, other in zip(expected, variances, sampled, strict=True):
        assert abs(other.p_sampled - p) <= 4 * sqrt(variance) + 1 / 160
    assert abs(sum(each.p_sampled for each in sampled) - sum(expected)) <= 4 * sqrt(sum(variances))


@pytest.mark.slow
def test_k3_the_classes_agree_but_where_chance_decides(exact: list[Knowledge], sampled: list[Knowledge]) -> None:
    """Whether a rare answer is hit once in 160 is chance. With the greedy shares equal, nothing else can differ."""
    apart = [a for a, b in zip(exact, sampled, strict=True) if a.category != b.category]
    assert all(a.p_greedy == 0 and 0.01 < (a.p_any or 0) < 0.99 for a in apart)
    assert len(apart) <= 3


def test_a_model_that_cannot_be_packed_is_sampled_prompt_by_prompt() -> None:
    model = random_model("mamba", vocab_size=len(TOKENIZER))
    config = CONFIG.model_copy(update={"method": "sampled", "prompts": 2, "samples": 3})
    assert [each.category for each in found(model, FACTS[:4], config)] == ["Unknown"] * 4


def test_generation_settings_that_come_with_a_model_do_not_matter(taught: PreTrainedModel) -> None:
    config = CONFIG.model_copy(update={"method": "sampled", "prompts": 2})
    before = numbers(found(taught, FACTS[:6], config))
    own = taught.generation_config
    assert own is not None
    own.repetition_penalty, own.no_repeat_ngram_size = 3.0, 1
    try:
        assert numbers(found(taught, FACTS[:6], config)) == before
        assert taught.generation_config is own
    finally:
        own.repetition_penalty, own.no_repeat_ngram_size = None, None


# Order and batch


def test_the_order_of_questions_changes_nothing(taught: PreTrainedModel, exact: list[Knowledge]) -> None:
    backwards = found(taught, FACTS[::-1], CONFIG)
    assert [each.question for each in backwards] == FACTS[::-1]
    assert numbers(backwards) == numbers(exact)


def test_the_batch_changes_nothing(taught: PreTrainedModel, exact: list[Knowledge]) -> None:
    few = found(taught, FACTS[20:24], CONFIG.model_copy(update={"micro_tokens": 1}), exemplars=FACTS)
    assert numbers(few).items() <= numbers(exact).items()
    for one, other in zip(few, exact[20:24], strict=True):
        assert one.p_any == pytest.approx(other.p_any, rel=1e-4, abs=1e-9)


@pytest.mark.slow
def test_the_batch_changes_no_generated_answer(taught: PreTrainedModel, sampled: list[Knowledge]) -> None:
    config = CONFIG.model_copy(update={"method": "sampled", "micro_tokens": 1})
    assert numbers(found(taught, FACTS[20:24], config, exemplars=FACTS)).items() <= numbers(sampled).items()


def test_another_seed_shows_other_shots() -> None:
    one, other = (FewShot(FACTS, FewShotConfig(seed=seed)).prompts(FACTS[0]) for seed in (0, 1))
    assert one != other


# Shots


def test_a_prompt_is_the_shots_and_the_question() -> None:
    rows = [question("one", "1", "I"), question("two", "2")]
    assert FewShot(rows, FewShotConfig(shots=1, prompts=1)).prompts(rows[1]) == ["Q: one\nA: 1\nQ: two\nA:"]


def test_shots_are_of_the_same_group_differ_and_never_are_the_question_itself() -> None:
    rows = [question(f"{kind}{i}", f"{i}", relation=kind) for kind in "ab" for i in range(6)]
    rows.append(question("a0", "another answer to the same question", relation="a"))
    few_shot = FewShot(rows, FewShotConfig())
    for row in rows:
        text = row.messages[0].content
        for k in range(10):
            drawn = [shot for shot, _ in few_shot.draw(row, k)]
            assert len(set(drawn)) == 4
            assert text not in drawn
            assert {shot[0] for shot in drawn} == {text[0]}


def test_every_other_question_is_shown_equally_often() -> None:
    rows = [question(f"q{i}", f"{i}") for i in range(6)]
    few_shot = FewShot(rows, FewShotConfig(shots=2))
    firsts = [few_shot.draw(rows[0], k)[0][0] for k in range(1000)]
    # 200 each is expected, with a standard deviation of 12.6.
    assert all(abs(firsts.count(f"q{i}") - 200) < 50 for i in range(1, 6))


def test_shots_of_a_file_of_their_own_leave_out_the_question_too() -> None:
    shots = [question(f"q{i}", f"{i}") for i in range(3)]
    few_shot = FewShot(shots, FewShotConfig(shots=2))
    assert {shot for k in range(10) for shot, _ in few_shot.draw(question("q1", "1"), k)} == {"q0", "q2"}
    assert {shot for k in range(10) for shot, _ in few_shot.draw(question("new", "1"), k)} == {"q0", "q1", "q2"}


def test_too_few_shots_are_an_error_that_names_the_row_and_the_group() -> None:
    rows = [question(f"q{i}", f"{i}", row=i + 1, relation="capital") for i in range(4)]
    with pytest.raises(
        DataError, match=r"facts.jsonl row 2: found 3 other questions of relation 'capital' .* expected 4"
    ):
        FewShot(rows, FewShotConfig()).prompts(rows[1])
    with pytest.raises(DataError, match=r"found 0 other questions of relation 'capital'"):
        FewShot([question("x", "y")] * 9, FewShotConfig()).prompts(rows[1])


def test_without_a_group_any_question_may_be_shown() -> None:
    rows = [question(f"q{i}", f"{i}", relation=str(i)) for i in range(5)]
    assert len(FewShot(rows, FewShotConfig(group=None)).draw(rows[0], 0)) == 4


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"question_form": "Q:"}, "needs {question}"),
        ({"question_form": "Q: {question}\nA: "}, "ends in white space"),
        ({"separator": "; "}, "must begin with a newline"),
        ({"answer_prefix": "\n"}, "a newline ends an answer"),
    ],
)
def test_forms_that_would_not_end_an_answer_are_refused(setting: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_config(ProbeConfig, values=setting)


# Right answers


def test_what_ends_an_answer_and_what_it_writes_before() -> None:
    endings = Endings(TOKENIZER)
    written = {TOKENIZER.decode([token]): text for token, text in endings.texts.items()}
    assert written == {"<end>": "", "\n": "", "\n\n": "", "\na": "", ":\n": ":", ".\n": ".", ")\n": ")"}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (" the\nQ:", True),
        ("the<end>", True),
        (" the.\n", True),
        ("  the \n", True),
        (" the", False),  # it does not come to its end
        (" The\n", False),
        (" the..\n", False),
        (" the:\n", False),
        ("\n the\n", False),
    ],
)
def test_generated_answers_are_right_up_to_white_space_and_a_full_stop(text: str, right: bool) -> None:
    endings = Endings(TOKENIZER)
    answers = right_answers(question("x", "the"), "Q: x\nA:", " ", endings)
    assert answers.hold(endings.answer(TOKENIZER(text)["input_ids"])) == right


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((), "has an empty answer"),
        (("",), "has an empty answer"),
        (("a", " . "), "has an empty answer"),
        (("a\nb",), "has several lines"),
        (("a\nb", "c\nd"), "has several lines"),
        (("a<end>",), "cannot write the answer 'a<end>'"),
    ],
)
def test_answers_that_cannot_be_asked_for_are_errors(answer: tuple[str, ...], problem: str) -> None:
    with pytest.raises(DataError, match=rf"facts.jsonl row 1: .*{problem}|facts.jsonl row 1: the answer .*{problem}"):
        right_answers(question("x", *answer), "Q: x\nA:", " ", Endings(TOKENIZER))


def test_an_accepted_answer_of_several_lines_is_passed_over_where_there_is_another() -> None:
    row = question("x", "a\nb", "an")
    assert right_answers(row, "Q: x\nA:", " ", Endings(TOKENIZER)).texts == {"an"}
    assert FewShot([row] * 2, FewShotConfig(shots=1)).draw(question("y", "z"), 0) == [("x", "an")]


def test_a_conversation_is_no_question() -> None:
    row = replace(FACTS[0], messages=(Message("user", "a"), Message("assistant", "b"), Message("user", "c")))
    with pytest.raises(DataError, match=r"row 1: is a conversation, not a question"):
        FewShot([row], FewShotConfig())


def test_a_prompt_longer_than_the_model_was_made_for_is_an_error(taught: PreTrainedModel) -> None:
    with pytest.raises(
        DataError, match=r"facts.jsonl row 1: has \d+ tokens with its shots and answer, .* made for 128"
    ):
        found(taught, FACTS, ProbeConfig(shots=20))


def test_an_error_in_the_last_row_comes_before_the_first_result(taught: PreTrainedModel) -> None:
    asking = probe(CausalLM(taught), TOKENIZER, [*FACTS, question("x", "a<end>", relation="home")], CONFIG)
    with pytest.raises(DataError, match="cannot write the answer"):
        next(asking)


def test_a_limit_that_cuts_right_answers_off_is_an_error(taught: PreTrainedModel) -> None:
    with pytest.raises(DataError, match=r"a right answer has \d tokens with its end, max_answer_tokens=2"):
        found(taught, FACTS, ProbeConfig(method="sampled", max_answer_tokens=2))


def test_a_tokenizer_that_adds_its_beginning_and_end_gives_prompts_without_the_end(taught: PreTrainedModel) -> None:
    class Adding:
        """Puts the end token behind every text, as T5's does."""

        def __getattr__(self, name: str) -> Any:
            return getattr(TOKENIZER, name)

        def __call__(self, texts: list[str], add_special_tokens: bool = True) -> dict[str, list[list[int]]]:
            tokens = TOKENIZER(texts)["input_ids"]
            return {"input_ids": [[*each, 0] if add_special_tokens else each for each in tokens]}

    adding: Any = Adding()
    plain: PreTrainedTokenizerBase = TOKENIZER
    one, other = (list(probe(CausalLM(taught), each, FACTS[:6], CONFIG)) for each in (adding, plain))
    assert one == other


# Counting


def test_classes_are_counted_by_any_field() -> None:
    rows = [
        Knowledge(question("a", "1", kind="x"), 1.0, 1.0, "HighlyKnown"),
        Knowledge(question("b", "1", kind="x"), 0.0, 0.0, "Unknown"),
        Knowledge(question("c", "1"), 0.0, 0.0, "Unknown"),
    ]
    without, x, every = tabulate(rows, "kind")
    assert [each.name for each in (without, x, every)] == ["(no kind)", "x", "all"]
    assert (x.total, x.shares["HighlyKnown"].n, x.shares["HighlyKnown"].value) == (2, 2, 0.5)
    assert [round(share.value * share.n) for share in every.shares.values()] == [1, 0, 0, 2]


def test_a_field_that_no_question_has_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"by=colour: no question has this field; there are: kind"):
        tabulate([Knowledge(question("a", "1", kind="x"), 1.0, 1.0, "HighlyKnown")], "colour")


# A whole file


@pytest.fixture
def asking(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """Settings that ask a tiny untrained model six questions."""
    file = tmp_path / "questions.jsonl"
    lines = [{"prompt": f"repeat {w}", "answers": [w], "about": {"relation": "repeat"}} for w in "abcdef"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"model.path": str(tiny_model), "questions": str(file), "out": str(tmp_path / "know.jsonl")}


def test_every_question_of_a_file_is_written_with_its_class_and_origin(
    asking: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    results = know(load_config(KnowConfig, None, ["probe.shots=2", "by=relation"], asking))
    lines = [json.loads(line) for line in Path(asking["out"]).read_text().splitlines()]
    assert [line["origin"]["row"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["category"] for line in lines] == [each.category for each in results]
    assert {"prompt", "answers", "about", "p_greedy", "p_sampled", "p_any"} <= lines[0].keys()
    assert "repeat" in capsys.readouterr().out
    again = import_rows(asking["out"], (Question,)).rows  # it is a file of questions again
    assert [row.answers for row in again] == [each.question.answers for each in results]


def test_a_limit_asks_some_and_shows_any(asking: dict[str, Any]) -> None:
    whole = know(load_config(KnowConfig, None, ["probe.shots=5"], asking))
    some = know(load_config(KnowConfig, None, ["probe.shots=5", "limit=2"], asking))
    assert len(some) == 2
    assert numbers(some).items() <= numbers(whole).items()


def test_the_command_takes_flags_and_settings(asking: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    where = ["know", asking["model.path"], asking["questions"], "probe.shots=2", "limit=3", "--by", "relation"]
    main([*where, "--exemplars", asking["questions"], "--out", asking["out"]])
    assert capsys.readouterr().out.endswith(f"3 questions in {asking['out']}\n")


def test_a_file_without_questions_is_an_error(asking: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "no question"}\n')
    with pytest.raises(DataError, match=r"it holds documents; expected questions"):
        know(load_config(KnowConfig, None, [], {**asking, "questions": str(file)}))


def test_what_is_read_is_not_written_over(asking: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would write over the file that is read"):
        know(load_config(KnowConfig, None, [], {**asking, "out": asking["questions"]}))
    with pytest.raises(ConfigError, match="is a folder"):
        know(load_config(KnowConfig, None, [], {**asking, "out": str(tmp_path)}))
