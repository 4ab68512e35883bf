"""Completions of held-out prompts, sampled between steps, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from planish.base.config import Field
from planish.base.distributed import is_main
from planish.base.notices import warn
from planish.data.chat.tool_calls import as_dicts
from planish.data.rows import Demonstration
from planish.data.sources import Source
from planish.inference.room import fitted
from planish.inference.sample import SamplingConfig, sample
from planish.methods.base import RunConfig, RunContext, policy_as
from planish.models.load import context_length
from planish.models.packed import CausalLM
from planish.models.sharding import gathered
from planish.statistics.alarms import unmoved
from planish.train.record import RunRecord, read_lines


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
        self.prompts, self.encoded, self.sampling = fitting_prompts(run, run.config.num_samples)

    def __call__(self, step: int) -> None:
        if not self.prompts:
            return
        loaded, stops = self.run.loaded, self.run.loaded.template.stop_token_ids
        policy = policy_as(CausalLM, self.run)
        with gathered(policy):
            sampled = sample(policy, loaded.tokenizer, self.encoded, self.sampling, stops)
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


def note_unmoved(run: RunContext[Any], step: int, steps: int, record: RunRecord) -> None:
    """After the last evaluation: an alarm if the held-out loss is where it was at first."""
    if not is_main() or step < steps:
        return
    losses = [line["held_out/all"] for line in read_lines(run.folder.metrics) if "held_out/all" in line]
    lora = getattr(getattr(run.config, "model", None), "lora", None) is not None
    why = unmoved(losses[0], losses[-1], steps, run.config.optim.lr, lora) if len(losses) > 1 else None
    if why is not None:
        warn(f"alarm: {why}")
        record.reasons["held_out"] = why
        record.note(step, {"alarm/held_out": 1.0})


def fitting_prompts(
    run: RunContext[Any], count: int, sampling: SamplingConfig | None = None, *, tell: bool = True
) -> tuple[list[tuple[str, Demonstration, int]], list[list[int]], SamplingConfig]:
    """Held-out prompts, encoded, and the sampling for which the model has room."""
    template, rows = run.loaded.template, held_out_prompts(run.sources, count)
    encoded = [template.encode_prompt(row.messages[:turn], row.tools, row.origin) for _, row, turn in rows]
    limit = context_length(run.loaded.model.config)
    sampling, some, said = fitted(sampling or run.config.sampling, [len(tokens) for tokens in encoded], limit)
    if said and tell and is_main():
        warn(said)
    return [rows[i] for i in some], [encoded[i] for i in some], sampling


def held_out_prompts(sources: Sequence[Source], count: int) -> list[tuple[str, Demonstration, int]]:
    """Held-out conversations taken in turn from the sources, each with the number of its last assistant turn."""
    in_turn = zip_longest(*([(source.name, row) for row in source.held_out_prompts] for source in sources))
    rows = [pair for pairs in in_turn for pair in pairs if pair is not None][:count]
    return [(name, row, max(i for i, m in enumerate(row.messages) if m.role == "assistant")) for name, row in rows]
