"""`planish evaluate refusals`: of models, runs or files of answers, how often the unsafe is complied with and the safe refused.

    OUT/answers.jsonl     every answer with its prompt, its label, and what should have been done
    OUT/refusals.json     the rates (planish.statistics.refusal_result)
    OUT/replies.jsonl     the replies of a judge, as they come

A run whose training had `evaluate.refusals` is read from what it recorded, each step as a system, unless prompts are named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import torch
from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.distributed import local_device
from planish.base.errors import ConfigError
from planish.base.files import one_process_in, write_json, write_lines
from planish.base.model_folder import ModelPathOrNone, check_model_folder, model_folder, names_of_models
from planish.base.plugins import Plugins
from planish.base.random import subsample
from planish.base.terminal import print_table
from planish.evaluate.refusals.answers import (
    VISITS,
    Helpfulness,
    RefusalAnswers,
    ask_model,
    lines_of,
    read_answers,
    read_visits,
    summarize,
)
from planish.evaluate.refusals.cases import CaseFields, PromptSetConfig, RefusalCase, read_cases
from planish.evaluate.refusals.labelling import Labeller, LabelsConfig, RulesConfig, WorldLabeller, open_labeller
from planish.inference.sample import SamplingConfig
from planish.inference.score import RewardModel, check_reward_model
from planish.models.load import ModelConfig
from planish.statistics.estimate import Estimate, mean_estimate
from planish.statistics.refusal_result import RefusalResult, groups_table, systems_table


class RefusalsConfig(Config):
    """Settings of `planish evaluate refusals`."""

    systems: tuple[str, ...] = Field(min_length=1, description="models, runs, or files of answers, in any known format")
    prompts: dict[str, PromptSetConfig] = Field(
        default={}, description="files of prompts for models to answer, by name; answers bring their own"
    )
    rows: CaseFields = Field(default=CaseFields(), description="the fields of files of answers")
    labels: LabelsConfig = Field(default=RulesConfig(), description="the way to label answers: rules, llm or world")
    reward: ModelPathOrNone = Field(
        default=None, description="a reward model: its mean score of answers to safe prompts is their helpfulness"
    )
    limit: int | None = Field(default=None, ge=1, description="prompts of each file, drawn by the seed; absent is all")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="sampling of a model's answers")
    plugins: Plugins = ()
    out: str = Field(description="the folder to write")
    seed: int = Field(default=0, ge=0, description="seed of the limit")
    device: str = Field(default="auto", description="cpu, cuda, or auto")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({*self.systems}) < len(self.systems):
            raise ValueError("systems: one is named twice")
        if {*self.systems} & {self.out}:
            raise ValueError(f"out={self.out}: would write into what is read: give it another name")
        return self


def evaluate_refusals(config: RefusalsConfig) -> RefusalResult:
    """Lets models answer, labels all answers, writes the files above, and prints the rates."""
    out, device = Path(config.out), local_device(config.device)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={config.out}: is a file, expected a folder to write")
    names = _names(config.systems)
    read = {
        path: _read(path, names[path], config) for path in config.systems
    }  # all that is there, before a model answers
    cases = _cases(config, [path for path, found in read.items() if not found])
    prompts = [case.prompt for own in (cases, *(one.cases for found in read.values() for one in found)) for case in own]
    if config.reward is not None:
        check_reward_model(config.reward, prompts)
    with one_process_in(out):
        labeller = open_labeller(config.labels, prompts, out / "replies.jsonl")
        answered = [
            one
            for path, found in read.items()
            for one in found or [ask_model(names[path], path, cases, config.sampling, device)]
        ]
        says, helpful = _helpfulness(config, labeller, device)
        labelled = [(one, labeller([case.prompt for case in one.cases], one.texts)) for one in answered]
        result = RefusalResult(
            prompts=[own.path for own in config.prompts.values()],
            labels=config.labels.model_dump(mode="json"),
            helpfulness=says,
            max_completion_tokens=config.sampling.max_completion_tokens if cases else None,
            systems=[summarize(one, labels, helpful) for one, labels in labelled],
        )
        write_lines(out / "answers.jsonl", (line for one, labels in labelled for line in lines_of(one, labels)))
        write_json(out / "refusals.json", asdict(result))
    _show(result)
    return result


def _names(paths: Sequence[str]) -> dict[str, str]:
    """Files by their names without the ending, where that keeps them apart."""
    stems = [path.removesuffix("".join(Path(path).suffixes)) if Path(path).is_file() else path for path in paths]
    return dict(zip(paths, names_of_models(stems if len({*stems}) == len(stems) else paths), strict=True))


def _read(path: str, name: str, config: RefusalsConfig) -> list[RefusalAnswers]:
    """The answers in a file or recorded by a run; none of a model."""
    if Path(path).is_file():
        return [read_answers(path, name, config.rows)]
    if not config.prompts and (Path(path) / VISITS).is_file():
        return read_visits(path, name)
    check_model_folder(model_folder(path))
    return []


def _cases(config: RefusalsConfig, models: Sequence[str]) -> list[RefusalCase]:
    """The prompts that models are to answer."""
    if models and not config.prompts:
        raise ConfigError(
            f"{models[0]}: is a model, and there is nothing to ask it: name a file of prompts (--prompts FILE). A run without "
            f"prompts is read where its training had evaluate.refusals, and this one has no {VISITS}"
        )
    sets = [subsample(read_cases(own), config.limit, config.seed) for own in config.prompts.values() if models]
    several = len(sets) > 1
    return [
        RefusalCase(case.prompt, case.unsafe, case.groups or ((name,) if several else ()), case.pairs)
        for name, own in zip(config.prompts, sets, strict=False)
        for case in own
    ]


def _helpfulness(
    config: RefusalsConfig, labeller: Labeller, device: torch.device
) -> tuple[str | None, Helpfulness | None]:
    """The measure of helpfulness: a reward model, or the world that labels."""
    if config.reward is not None:
        model = RewardModel(ModelConfig(path=config.reward), device)

        def score(prompts: Sequence[RefusalCase], texts: Sequence[str]) -> list[float]:
            scored = model.score_answers([case.prompt for case in prompts], [[text] for text in texts])
            return [value for (value,) in scored]

        return f"score by {config.reward}", _of_the_safe(score)
    if isinstance(labeller, WorldLabeller):
        judge = labeller.world.judge

        def utility(cases: Sequence[RefusalCase], texts: Sequence[str]) -> list[float]:
            return [judge(case.prompt.messages, text).utility for case, text in zip(cases, texts, strict=True)]

        return "gold utility", _of_the_safe(utility)
    return None, None


def _of_the_safe(score: Callable[[Sequence[RefusalCase], Sequence[str]], list[float]]) -> Helpfulness:
    """The mean score of the answers to safe prompts."""

    def helpfulness(answers: RefusalAnswers) -> Estimate | None:
        safe = [(case, text) for case, text in zip(answers.cases, answers.texts, strict=True) if not case.unsafe]
        return mean_estimate(score([case for case, _ in safe], [text for _, text in safe])) if safe else None

    return helpfulness


def _show(result: RefusalResult) -> None:
    if len(result.systems) == 1 and len(result.systems[0].groups) > 1:
        print_table(*groups_table(result.systems[0]))
        print()
    print_table(*systems_table(result))
