"""Several models side by side: each answers the same prompts, a judge holds its answers against those of the first, and what
is told is the win rate with its interval, the same at equal length, and how far each has gone from a reference.

    OUT/answers/NAME.jsonl    a model's answers, written when it has answered all; used again if weights, prompts and
                              settings are the same
    OUT/replies.jsonl         what a served judge said, as it says it
    OUT/answers.jsonl         one line a prompt: all answers, with lengths, scores and verdicts
    OUT/comparison.json       what it comes to (planish.statistics.win_rate.Comparison)

Win rates as in Stiennon et al. (2020) and Ouyang et al. (2022); length control after Dubois et al. (2024).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from planish.base.distributed import local_device
from planish.base.errors import ConfigError, DataError
from planish.base.files import write_json, write_text
from planish.base.random import subsample
from planish.base.terminal import terminal
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.prompts import import_prompts
from planish.data.rows import Prompt
from planish.evaluate.compare.answers import Given, SystemAnswers, answer_all
from planish.evaluate.compare.config import CompareConfig
from planish.judges.config import FunctionJudge, GoldJudge, LlmJudge, RewardJudge
from planish.judges.function import ScoringFunction
from planish.judges.judge import (
    LlmVerdicts,
    Scores,
    Verdicts,
    function_scores,
    gold_scores,
    reward_scores,
    verdicts_of_scores,
    world_of,
)
from planish.statistics.comparison_result import ComparisonResult, Kind, System, comparison_table
from planish.statistics.estimate import LEVEL, clustered_mean
from planish.statistics.win_rate import difficulty, length_controlled, win_rate


def compare(config: CompareConfig) -> ComparisonResult:
    """Lets every model answer, judges, writes the files above, and prints a table."""
    out, device = Path(config.out), local_device(config.device)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={config.out}: is a file, expected a folder to write")
    prompts = _prompts(config)
    served = LlmVerdicts(config.judge, out / "replies.jsonl") if isinstance(config.judge, LlmJudge) else None
    world = world_of(config.judge, prompts) if isinstance(config.judge, GoldJudge) else None
    function = ScoringFunction(config.judge.function, "judge") if isinstance(config.judge, FunctionJudge) else None
    told = answer_all(config, prompts, out, device)
    given = told.given
    texts = {name: [[answer.text for answer in each] for each in rows] for name, rows in given.items()}
    scores: dict[str, Scores] = {}
    if world is not None:
        scores = gold_scores(world, prompts, texts)
    elif function is not None:
        scores = function_scores(function, prompts, texts)
    elif isinstance(config.judge, RewardJudge):
        scores = reward_scores(config.judge.path, device, prompts, texts)
    verdicts: dict[str, Verdicts] = {}
    for name in given:
        if name != config.base:
            if served is not None:
                verdicts[name] = served.verdicts(prompts, texts[name], texts[config.base])
            else:
                verdicts[name] = verdicts_of_scores(scores[name], scores[config.base])
    lengths = _lengths(config, texts)
    found = ComparisonResult(
        baseline=config.base,
        prompts_file=config.prompts,
        prompts=len(prompts),
        num_samples=config.num_samples,
        judge=config.judge.model_dump(mode="json"),
        sampling=config.sampling.model_dump(mode="json"),
        reference=config.reference,
        level=LEVEL,
        systems=_systems(config, prompts, told, lengths, scores, verdicts),
    )
    lines = _lines(prompts, given, lengths, scores, verdicts)
    write_text(out / "answers.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_json(out / "comparison.json", asdict(found))
    show(found)
    return found


def _prompts(config: CompareConfig) -> list[Prompt]:
    prompts = import_prompts(config.prompts, config.format)
    if not prompts:
        raise DataError(f"{config.prompts}: holds no prompt to answer")
    return subsample(prompts, config.limit, config.seed)


# What it comes to

Lengths = dict[str, list[list[int]]]


def _lengths(config: CompareConfig, texts: Mapping[str, Sequence[Sequence[str]]]) -> Lengths:
    """In tokens of the baseline's tokenizer: one ruler for all, for models may cut text differently."""
    model = config.models[config.base]
    tokenizer: Any = load_tokenizer(model.path, model.trust_remote_code)
    found: Lengths = {}
    for name, rows in texts.items():
        counts = iter(map(len, tokenizer(list(chain(*rows)), add_special_tokens=False)["input_ids"]))
        found[name] = [[next(counts) for _ in row] for row in rows]
    return found


def _systems(
    config: CompareConfig,
    prompts: Sequence[Prompt],
    told: SystemAnswers,
    lengths: Lengths,
    scores: Mapping[str, Scores],
    verdicts: Mapping[str, Verdicts],
) -> list[System]:
    places = {repr(prompt.messages): i for i, prompt in enumerate(prompts)}  # a prompt that comes twice is one cluster
    prompts_N = np.repeat([places[repr(prompt.messages)] for prompt in prompts], config.num_samples)
    outcomes = {name: np.array(each.outcomes).ravel() for name, each in verdicts.items()}
    values = {name: np.array(each.values).ravel() for name, each in scores.items()}
    tokens = {name: np.array(each).ravel() for name, each in lengths.items()}
    base, given = config.base, told.given

    def system(name: str) -> System:
        against, equal = None, None
        if name in outcomes:
            against = win_rate(outcomes[name], prompts_N)
            hard_N = difficulty(outcomes, name)
            equal = length_controlled(outcomes[name], tokens[name] - tokens[base], prompts_N, hard_N)
        answers = list(chain(*given[name]))
        ratios = [answer.log_ratio for answer in answers if answer.log_ratio is not None]
        is_best = config.best_of is not None and name == config.best_of.name
        return System(
            name=name,
            path=config.models[base if is_best else name].path,
            against=against,
            length_controlled=equal,
            split=verdicts[name].split if name in verdicts else 0,
            unread=verdicts[name].unread if name in verdicts else 0,
            score=clustered_mean(values[name], prompts_N) if name in values else None,
            gain=clustered_mean(values[name] - values[base], prompts_N) if name in values and name != base else None,
            length=clustered_mean(tokens[name], prompts_N),
            ended=sum(answer.ended for answer in answers) / len(answers),
            kl=clustered_mean(ratios, prompts_N) if ratios else None,
            kl_at_most=told.kl_at_most if is_best else None,
            kinds=_kinds(list(chain(*scores[name].about)), prompts_N) if name in scores else {},
            loss=told.losses.get(base if is_best else name),
        )

    return [system(name) for name in given]


def _kinds(about: Sequence[Mapping[str, Any]], prompts_N: np.ndarray) -> dict[str, Kind]:
    """By what was asked, in order of name, and "all" last. Only the gold judge says what that is."""
    kinds = sorted({each["kind"] for each in about})
    places = {kind: [i for i, each in enumerate(about) if each["kind"] == kind] for kind in kinds}
    if places:
        places["all"] = list(range(len(about)))
    return {kind: _kind([about[i] for i in here], prompts_N[here]) for kind, here in places.items()}


def _kind(about: Sequence[Mapping[str, Any]], prompts_N: np.ndarray) -> Kind:
    terms = dict.fromkeys(term for each in about for term in each["terms"])
    return Kind(
        prompts=len(np.unique(prompts_N)),
        utility=clustered_mean([each["utility"] for each in about], prompts_N),
        terms={t: clustered_mean([each["terms"].get(t, 0.0) for each in about], prompts_N).value for t in terms},
        labels=dict(Counter(each["label"] for each in about)),
    )


def _lines(
    prompts: Sequence[Prompt],
    given: Mapping[str, Given],
    lengths: Lengths,
    scores: Mapping[str, Scores],
    verdicts: Mapping[str, Verdicts],
) -> list[dict[str, Any]]:
    """{"prompt": [{"role", "content"}], "about": {…}, "answers": {"sft": [{"text", "ended", "tokens", …}]}}. An answer also
    has its "score", its "outcome" against the baseline, its "log_ratio", and "kind", "label", "terms" and "reasons" of gold,
    each where there is one."""

    def answer(name: str, i: int, k: int) -> dict[str, Any]:
        one = given[name][i][k]
        line: dict[str, Any] = {"text": one.text, "ended": one.ended, "tokens": lengths[name][i][k]}
        if one.log_ratio is not None:
            line["log_ratio"] = one.log_ratio
        if name in scores:
            line["score"] = scores[name].values[i][k]
            if scores[name].about:
                line |= {key: value for key, value in scores[name].about[i][k].items() if key != "utility"}
        if name in verdicts:
            line["outcome"] = verdicts[name].outcomes[i][k]
        return line

    return [
        {
            "prompt": [{"role": message.role, "content": message.content} for message in prompt.messages],
            "about": dict(prompt.about),
            "answers": {name: [answer(name, i, k) for k in range(len(rows[i]))] for name, rows in given.items()},
        }
        for i, prompt in enumerate(prompts)
    ]


def show(found: ComparisonResult, console: Console | None = None) -> None:
    """Prints a line for each system, with 95% intervals."""
    names, rows = comparison_table(found)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    (console or terminal()).print(table)
