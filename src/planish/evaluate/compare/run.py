"""Several models side by side: each answers the same prompts, a judge compares its answers with the baseline's, and the result
is its win rate, with its interval; that at equal length; and its KL to a reference.

    OUT/answers/NAME.jsonl    a model's answers, written when it has answered all; used again if weights, prompts and
                              settings are unchanged
    OUT/replies.jsonl         the replies of an LLM judge, as they come
    OUT/answers.jsonl         one line a prompt: all answers, with lengths, scores and verdicts
    OUT/comparison.json       the result (planish.statistics.comparison_result)

Win rates as in Stiennon et al. (2020) and Ouyang et al. (2022); length control after Dubois et al. (2024).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from planish.base.distributed import local_device
from planish.base.errors import ConfigError, DataError, RunError
from planish.base.files import one_process_in, write_json, write_lines
from planish.base.notices import warn
from planish.base.random import subsample
from planish.base.terminal import print_table
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.chat.tool_calls import as_dicts
from planish.data.prompts import import_prompts
from planish.data.rows import Prompt
from planish.evaluate.compare.answers import SystemAnswers, answer_all
from planish.evaluate.compare.checks import check_systems
from planish.evaluate.compare.config import CompareConfig
from planish.judges.base import FEWEST, JudgedAnswers
from planish.judges.open import open_judge
from planish.statistics.comparison_result import ComparisonResult, Kind, System, comparison_table, cut_text
from planish.statistics.estimate import LEVEL, clustered_mean
from planish.statistics.win_rate import difficulty, length_controlled, win_rate

Lengths = dict[str, list[list[int]]]  # tokens, by system, prompt and sample


def compare(config: CompareConfig) -> ComparisonResult:
    """Lets every model answer, judges, writes the files above, and prints a table."""
    out, device = Path(config.out), local_device(config.device)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={config.out}: is a file, expected a folder to write")
    with one_process_in(out):
        return _compared(config, out, device)


def _compared(config: CompareConfig, out: Path, device: torch.device) -> ComparisonResult:
    prompts = subsample(import_prompts(config.prompts, config.format, config.columns), config.limit, config.seed)
    if not prompts:
        raise DataError(f"{config.prompts}: holds no prompt to answer")
    check_systems(config, prompts)
    judge = open_judge(config.judge, prompts, out / "replies.jsonl", device)
    answered = answer_all(config, prompts, out, device)
    texts = {name: [[answer.text for answer in row] for row in answers] for name, answers in answered.answers.items()}
    judged = judge.judge(prompts, texts, config.base)
    lengths = _lengths(config, texts)
    result = ComparisonResult(
        baseline=config.base,
        prompts_file=config.prompts,
        prompts=len(prompts),
        num_samples=config.num_samples,
        judge=config.judge.model_dump(mode="json"),
        sampling=config.sampling.model_dump(mode="json"),
        reference=config.reference,
        level=LEVEL,
        systems=_systems(config, prompts, answered, lengths, judged),
    )
    write_lines(out / "answers.jsonl", _lines(prompts, answered, lengths, judged))
    write_json(out / "comparison.json", asdict(result))
    _check_verdicts(judged, out)
    print_table(*comparison_table(result))
    if cut := cut_text(result):
        print(cut)
    return result


def _check_verdicts(judged: JudgedAnswers, out: Path) -> None:
    """An LLM that never names an answer has judged nothing, though its ties make a rate of 50%."""
    for name, own in judged.verdicts.items():
        if not own.unread:
            continue
        said = f"{name}: the judge named no answer in {own.unread} of {own.asked} pairs, such as {(own.example or '')[:120]!r}"
        if own.unread == own.asked >= FEWEST:
            raise RunError(
                f"{said}. There is no win rate. Name a judge that follows its question, raise judge.max_tokens if it thinks "
                f"aloud, or ask in other words (judge.question); its replies are in {out / 'replies.jsonl'}"
            )
        warn(f"warning: {said}; they count as ties")


def _lengths(config: CompareConfig, texts: Mapping[str, Sequence[Sequence[str]]]) -> Lengths:
    """In tokens of the baseline's tokenizer, for all models, which may cut text differently."""
    model = config.models[config.base]
    tokenizer: Any = load_tokenizer(model.path, model.trust_remote_code)
    found: Lengths = {}
    for name, rows in texts.items():
        counts = iter(map(len, tokenizer(list(chain(*rows)), add_special_tokens=False)["input_ids"]))
        found[name] = [[next(counts) for _ in row] for row in rows]
    return found


def _systems(
    config: CompareConfig, prompts: Sequence[Prompt], answered: SystemAnswers, lengths: Lengths, judged: JudgedAnswers
) -> list[System]:
    firsts = {repr(prompt.messages): i for i, prompt in enumerate(prompts)}  # a prompt that comes twice is one cluster
    prompts_N = np.repeat([firsts[repr(prompt.messages)] for prompt in prompts], config.num_samples)
    outcomes = {name: np.array(own.outcomes).ravel() for name, own in judged.verdicts.items()}
    scores = {name: np.array(own.values).ravel() for name, own in judged.scores.items()}
    tokens = {name: np.array(own).ravel() for name, own in lengths.items()}
    base = config.base

    def system(name: str) -> System:
        against, equal = None, None
        if name in outcomes:
            against = win_rate(outcomes[name], prompts_N)
            difficulty_N = difficulty(outcomes, name)
            equal = length_controlled(outcomes[name], tokens[name] - tokens[base], prompts_N, difficulty_N)
        answers = list(chain(*answered.answers[name]))
        ratios = [answer.log_ratio for answer in answers if answer.log_ratio is not None]
        is_best = config.best_of is not None and name == config.best_of.name
        verdicts, scored = judged.verdicts.get(name), judged.scores.get(name)
        return System(
            name=name,
            path=config.models[base if is_best else name].path,
            against=against,
            length_controlled=equal,
            split=verdicts.split if verdicts else 0,
            unread=verdicts.unread if verdicts else 0,
            score=clustered_mean(scores[name], prompts_N) if scored else None,
            gain=clustered_mean(scores[name] - scores[base], prompts_N) if scored and name != base else None,
            length=clustered_mean(tokens[name], prompts_N),
            ended=sum(answer.ended for answer in answers) / len(answers),
            kl=clustered_mean(ratios, prompts_N) if ratios else None,
            kl_at_most=answered.kl_at_most if is_best else None,
            kinds=_kinds(list(chain(*scored.about)), prompts_N) if scored else {},
            loss=answered.losses.get(base if is_best else name),
        )

    return [system(name) for name in answered.answers]


def _kinds(about: Sequence[Mapping[str, Any]], prompts_N: np.ndarray) -> dict[str, Kind]:
    """By kind of request, in order of name, and "all" last. Only the gold judge knows the kind."""
    kinds = sorted({record["kind"] for record in about})
    rows = {kind: [i for i, record in enumerate(about) if record["kind"] == kind] for kind in kinds}
    if rows:
        rows["all"] = list(range(len(about)))
    return {kind: _kind([about[i] for i in own], prompts_N[own]) for kind, own in rows.items()}


def _kind(about: Sequence[Mapping[str, Any]], prompts_N: np.ndarray) -> Kind:
    terms = dict.fromkeys(term for record in about for term in record["terms"])
    return Kind(
        prompts=len(np.unique(prompts_N)),
        utility=clustered_mean([record["utility"] for record in about], prompts_N),
        terms={
            term: clustered_mean([record["terms"].get(term, 0.0) for record in about], prompts_N).value
            for term in terms
        },
        labels=dict(Counter(record["label"] for record in about)),
    )


def _lines(
    prompts: Sequence[Prompt], answered: SystemAnswers, lengths: Lengths, judged: JudgedAnswers
) -> Iterator[dict[str, Any]]:
    """{"prompt": [{"role", "content"}], "about": {…}, "answers": {"sft": [{"text", "ended", "tokens", …}]}}. An answer also
    has its "score", its "outcome" against the baseline, its "log_ratio", and "kind", "label", "terms" and "reasons" of gold,
    where there is one."""

    def line(name: str, i: int, k: int) -> dict[str, Any]:
        answer, verdicts, scores = answered.answers[name][i][k], judged.verdicts.get(name), judged.scores.get(name)
        line: dict[str, Any] = {"text": answer.text, "ended": answer.ended, "tokens": lengths[name][i][k]}
        if answer.log_ratio is not None:
            line["log_ratio"] = answer.log_ratio
        if scores:
            line["score"] = scores.values[i][k]
            if scores.about:
                line |= {key: value for key, value in scores.about[i][k].items() if key != "utility"}
        if verdicts:
            line["outcome"] = verdicts.outcomes[i][k]
        return line

    for i, prompt in enumerate(prompts):
        answers = {name: [line(name, i, k) for k in range(len(rows[i]))] for name, rows in answered.answers.items()}
        yield {"prompt": as_dicts(prompt.messages), "about": dict(prompt.about), "answers": answers}
