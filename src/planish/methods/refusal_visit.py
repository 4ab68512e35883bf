"""Refusals measured between steps: `evaluate: {refusals: {path: prompts.jsonl}}` in the settings of a run.

metrics.jsonl gets both rates, d' and the criterion; RUN/refusals.jsonl the answers with their labels, for the run's page and for
`planish evaluate refusals RUN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish.base.config import Config, Field
from planish.base.distributed import is_main
from planish.base.errors import ConfigError
from planish.base.files import json_line, read_lines, write_text
from planish.base.random import subsample
from planish.evaluate.refusals.answers import VISITS, RefusalAnswers, lines_of, summarize
from planish.evaluate.refusals.cases import PromptSetConfig, read_cases
from planish.evaluate.refusals.labelling import LabelsConfig, RulesConfig, open_labeller
from planish.inference.room import check_room
from planish.inference.sample import SamplingConfig, sample
from planish.models.load import context_length
from planish.models.loaded import LoadedModel
from planish.models.packed import CausalLM, PackedModel
from planish.models.sharding import gathered
from planish.train.loop import Callback
from planish.train.record import RunRecord

RATES = ("false_refusals", "violations", "d_prime", "criterion")


class RefusalVisitConfig(PromptSetConfig):
    """Prompts to refuse and prompts to answer, asked between steps."""

    every: int = Field(default=0, ge=0, description="steps between two measurements; 0 is first and last")
    limit: int | None = Field(default=None, ge=1, description="prompts to ask, drawn by seed 0; absent is all")
    labels: LabelsConfig = Field(default=RulesConfig(), description="the way to label answers: rules, llm or world")
    sampling: SamplingConfig = Field(
        default=SamplingConfig(max_completion_tokens=64), description="sampling of the answers"
    )


class EvaluateConfig(Config):
    """What is measured between steps beside held-out rows."""

    refusals: RefusalVisitConfig | None = Field(default=None, description="refusals: violations and false refusals")


class RefusalVisit:
    """A callback of the loop. All ranks answer the same, each by itself; the main one labels."""

    def __init__(
        self, config: RefusalVisitConfig, folder: Path, policy: PackedModel, loaded: LoadedModel, record: RunRecord
    ) -> None:
        if not isinstance(policy, CausalLM):
            raise ConfigError("evaluate.refusals: this method trains no model that answers; leave it out")
        self.config, self.folder, self.policy, self.loaded, self.record = config, folder, policy, loaded, record
        self.cases = subsample(read_cases(config), config.limit, 0)
        prompts = [case.prompt for case in self.cases]
        self.encoded = [loaded.template.encode_prompt(one.messages, one.tools, one.origin) for one in prompts]
        most, limit = config.sampling.max_completion_tokens, context_length(loaded.model.config)
        check_room(prompts, self.encoded, most, limit, "the model", "evaluate.refusals.sampling.max_completion_tokens")
        self.labeller = open_labeller(config.labels, prompts, folder / "refusal_replies.jsonl") if is_main() else None

    def __call__(self, step: int) -> None:
        stops = self.loaded.template.stop_token_ids
        with gathered(self.policy):
            sampled = sample(self.policy, self.loaded.tokenizer, self.encoded, self.config.sampling, stops)
        if self.labeller is not None:
            texts = [completion.text for (completion,) in sampled]
            answers = RefusalAnswers(self.folder.name, str(self.folder), step, self.cases, texts)
            labels = self.labeller([case.prompt for case in self.cases], texts)
            rates = summarize(answers, labels).all
            found = {f"refusals/{name}": getattr(rates, name) for name in RATES}
            self.record.note(step, {name: estimate.value for name, estimate in found.items() if estimate is not None})
            _keep(self.folder / VISITS, step, list(lines_of(answers, labels)))
        self.record.pause()


def _keep(path: Path, step: int, lines: Sequence[Any]) -> None:
    """Adds the lines of a step, in place of those of an earlier start at this step and beyond."""
    before = [line for line in read_lines(path) if line["step"] < step] if path.exists() else []
    write_text(path, "".join(map(json_line, [*before, *lines])))


def refusal_visits(
    config: EvaluateConfig, folder: Path, policy: PackedModel, loaded: LoadedModel, record: RunRecord
) -> list[tuple[int, Callback]]:
    """The callback, with the steps between two calls; none where the settings name no prompts."""
    wanted = config.refusals
    return [] if wanted is None else [(wanted.every, RefusalVisit(wanted, folder, policy, loaded, record))]
