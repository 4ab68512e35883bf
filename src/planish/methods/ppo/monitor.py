"""Monitoring of PPO: scores of held-out prompts, losses of held-out documents, and alarms."""

from __future__ import annotations

import numpy as np
import torch

from planish.base.distributed import is_main
from planish.base.notices import warn
from planish.data.chat.tool_calls import as_dicts
from planish.evaluate.held_out_loss import held_out_losses
from planish.methods.base import RunContext
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.models import PpoModels
from planish.statistics.alarms import RunNow, alarms, not_one
from planish.train.record import RunRecord, read_lines


class PpoMonitor:
    def __init__(self, run: RunContext[PpoConfig], models: PpoModels, record: RunRecord) -> None:
        self.run, self.models, self.record = run, models, record
        self.said = set[str]()

    def held_out(self, step: int) -> None:
        """Completions of held-out prompts, sampled as in training, with the same noise each time; and the loss
        on held-out pretraining documents."""
        run, models, config = self.run, self.models, self.run.config
        values: dict[str, float] = {}
        if models.prompts.held_out:
            iteration = step // config.steps_of_iteration
            rollouts = models.sample(models.prompts.held_out, 1, config, ("held out",), iteration)
            completions = [each.completions[0] for each in rollouts]
            scores = {name: reward(rollouts) for name, reward in models.rewards.items()}
            values |= {f"held_out_score/{name}": float(each_N.mean()) for name, each_N in scores.items()}
            values["held_out_tokens"] = sum(each.num_tokens for each in completions) / len(completions)
            if len(completions) > 1:
                errors = {name: _standard_error(np.asarray(scores_N)) for name, scores_N in scores.items()}
                values |= {f"held_out_score_standard_error/{name}": error for name, error in errors.items()}
                tokens_N = np.array([completion.num_tokens for completion in completions])
                values["held_out_tokens_standard_error"] = _standard_error(tokens_N)
            values["held_out_unended"] = sum(not each.ended for each in completions) / len(completions)
            rows = [
                {
                    "source": asked.source,
                    "prompt": as_dicts(asked.prompt.messages),
                    "completion": completion.text,
                    "ended": completion.ended,
                    "scores": {name: float(each_N[i]) for name, each_N in scores.items()},
                }
                for i, (asked, completion) in enumerate(zip(models.prompts.held_out, completions, strict=True))
            ]
            self.record.samples(step, rows[: config.num_samples])
        if run.sources:
            documents = {source.name: source.held_out for source in run.sources}
            losses = held_out_losses(models.actor.policy, documents, run.micro_tokens, run.device)
            values |= {f"held_out/{name}": loss for name, loss in losses.items()}
        if values:
            self.record.note(step, values)
        self.record.pause()

    def alarms(self, step: int) -> None:
        """Says, once a start, what looks wrong since this iteration, and writes it down at each."""
        if not is_main() or not step:
            return
        lines = read_lines(self.run.folder.metrics)
        iterations = [line for line in lines if "iteration" in line]
        proxies = [name for name, source in self.run.config.rewards.items() if source.weight > 0]
        watched = [name for name, source in self.run.config.rewards.items() if not source.weight]
        config = self.run.config
        ratios = [line["ptx/grad_ratio"] for line in lines if "ptx/grad_ratio" in line and config.ptx.ratio is None]
        now = RunNow(config.missing_eos, ratios, config.ptx.gamma)
        found = alarms(iterations, proxies, watched, config.alarms, now)
        first = next(line for line in reversed(lines) if "loss" in line and line["step"] == iterations[-1]["step"])
        policy = self.models.actor.policy
        coarse = torch.bfloat16 in (policy.compute_dtype, policy.model.dtype)
        if (why := not_one(first["ratio_change"], coarse=coarse)) is not None:
            found["ratio"] = why
        for name, why in found.items():
            if name not in self.said:  # by this process: a run that resumes says it again
                warn(f"alarm: {why}")
        self.said |= set(found)
        self.record.reasons |= found
        if found:
            self.record.note(step, {f"alarm/{name}": 1.0 for name in found})


def _standard_error(values_N: np.ndarray) -> float:
    return float(values_N.std(ddof=1) / len(values_N) ** 0.5)
