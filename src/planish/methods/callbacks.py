"""Completions of held-out prompts, sampled between steps, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from planish.base.config import Field
from planish.data.chat.tool_calls import as_dicts
from planish.data.rows import Demonstration
from planish.data.sources import Source
from planish.inference.sample import SamplingConfig, sample
from planish.methods.base import RunConfig, RunContext, policy_as
from planish.models.packed import CausalLM
from planish.models.sharding import gathered
from planish.train.record import RunRecord


class SamplingRunConfig(RunConfig):
    sample_every: int = Field(
        default=0, ge=0, description="steps between two samples of completions; 0 is first and last"
    )
    num_samples: int = Field(default=10, ge=0, description="held-out prompts whose completions are recorded")
    sampling: SamplingConfig = Field(
        default=SamplingConfig(max_completion_tokens=64), description="sampling of these completions"
    )


class SamplingCallback:
    """A callback of the loop. All ranks sample the same, each by itself."""

    def __init__(self, run: RunContext[Any], record: RunRecord) -> None:
        self.run, self.record = run, record
        self.prompts = held_out_prompts(run.sources, run.config.num_samples)

    def __call__(self, step: int) -> None:
        if not self.prompts:
            return
        loaded, template = self.run.loaded, self.run.loaded.template
        prompts = [template.encode_prompt(row.messages[:turn], row.tools, row.origin) for _, row, turn in self.prompts]
        policy = policy_as(CausalLM, self.run)
        with gathered(policy):
            sampled = sample(policy, loaded.tokenizer, prompts, self.run.config.sampling, template.stop_token_ids)
        self.record.samples(
            step,
            [
                {
                    "source": name,
                    "prompt": as_dicts(row.messages[:turn]),
                    "completion": completion.text,
                    "ended": completion.ended,
                    "reference": row.messages[turn].content,
                }
                for (name, row, turn), completion in zip(self.prompts, chain(*sampled), strict=True)
            ],
        )
        self.record.pause()


def held_out_prompts(sources: Sequence[Source], count: int) -> list[tuple[str, Demonstration, int]]:
    """Held-out conversations taken in turn from the sources, each with the number of its last assistant turn."""
    in_turn = zip_longest(*([(source.name, row) for row in source.held_out_prompts] for source in sources))
    rows = [pair for pairs in in_turn for pair in pairs if pair is not None][:count]
    return [(name, row, max(i for i, m in enumerate(row.messages) if m.role == "assistant")) for name, row in rows]
