"""PPO and PPO-ptx: a policy learns from the scores of its own completions (Ouyang et al. 2022, step 3).

    maximize  E_(y ~ pi) [ r(x, y) - beta log pi(y | x) / pi_SFT(y | x) ]  +  gamma E_(z ~ D_pretrain) [ log pi(z) ]

In rounds, called iterations: the policy completes prompts, the completions are scored, each token gets an advantage
(`RolloutFeed.collect`), and a few optimizer steps make the better tokens likelier (`PpoObjective`). Pretraining documents are a
second loss term of every step, with a coefficient of their own. RLOO and GRPO differ in the estimator (advantages.py) and need no
value model.

Nothing is carried from one iteration to the next but weights, moments, beta and the moving average: a run that was killed
samples its last iteration again, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planish.base.distributed import distributed, is_main
from planish.base.errors import ConfigError
from planish.base.notices import warn
from planish.data.chat.defaults import AS_IT_IS
from planish.data.prompt_dataset import PromptDataset, read_prompts
from planish.methods.base import Method, RunContext
from planish.methods.ppo.collect import RolloutFeed
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.models import PpoModels, build_models
from planish.methods.ppo.monitor import PpoMonitor
from planish.methods.ppo.objective import PpoObjective
from planish.methods.run import run_method
from planish.methods.supervised import NextTokenLoss
from planish.models.actor_critic import ValuedLM
from planish.models.load import context_length
from planish.models.loaded import LoadedModel, load_chat_model
from planish.models.packed import CausalLM
from planish.train.loop import Callback, LossTerm
from planish.train.optimizer import Trainer
from planish.train.record import RunRecord
from planish.train.run_folder import RunFolder

AVERAGE = "average."


@distributed
def ppo(config: PpoConfig) -> Path:
    """Trains `config.model` on `config.prompts`; returns the run's folder, whose `model/` is the policy."""
    return run_method(config, PpoMethod())


class PpoMethod(Method[PpoConfig]):
    models: PpoModels

    def load_model(self, config: PpoConfig, folder: RunFolder, device: torch.device) -> LoadedModel:
        chat = config.pretraining.chat if config.pretraining else AS_IT_IS
        return load_chat_model(config.model, device, chat, config.seed)

    def as_packed(self, config: PpoConfig, loaded: LoadedModel) -> CausalLM:
        kind = ValuedLM if config.value.shared and config.advantage.needs_values else CausalLM
        return kind(loaded.model, loaded.compute_dtype)

    def trainer(self, run: RunContext[PpoConfig]) -> Trainer:
        """Updates policy and value model. A checkpoint also keeps beta and the moving average."""
        config = run.config
        self.models = models = build_models(run, _prompts(run))
        value = {"value": config.optim.model_copy(update={"lr": config.value.lr})} if models.actor.value else None
        trainer = Trainer(models.actor, config.optim, config.num_steps, value)
        trainer.kept["beta"] = models.beta
        if config.ema is not None:
            policy = [(name, p) for name, p in trainer.parameters.items() if name.startswith("policy.")]
            trainer.kept |= {f"{AVERAGE}{name}": p.detach().clone() for name, p in policy}
        return trainer

    def describe(self, run: RunContext[PpoConfig]) -> dict[str, Any]:
        return {"prompts": self.models.prompts.account()}

    def inputs(self, run: RunContext[PpoConfig]) -> dict[str, str]:
        return super().inputs(run) | {"the prompts": self.models.prompts.fingerprint(fields=run.config.reads_rows)}

    def loss_terms(self, run: RunContext[PpoConfig], trainer: Trainer, record: RunRecord) -> Sequence[LossTerm]:
        config, models = run.config, self.models
        terms = [LossTerm(PpoObjective(models.actor, config, run.device), RolloutFeed(run, models, trainer, record))]
        if run.feed is not None and (config.ptx.gamma or config.ptx.ratio):
            likelihood = NextTokenLoss(models.actor.policy, "token_mean", run.device)
            gamma = config.ptx.gamma if config.ptx.ratio is None else 1.0
            terms.append(LossTerm(likelihood, run.feed, "ptx", gamma, config.ptx.ratio))
        return terms

    def callbacks(
        self, run: RunContext[PpoConfig], trainer: Trainer, record: RunRecord
    ) -> Sequence[tuple[int, Callback]]:
        monitor, iteration = PpoMonitor(run, self.models, record), run.config.steps_of_iteration

        def average(step: int) -> None:
            """Moves the average of the weights a little towards where they are."""
            if step:
                for p, mean in _averaged(trainer):
                    mean.lerp_(p.detach(), 1 - (run.config.ema or 0))

        def adapt_beta(step: int) -> None:
            """Not before: an iteration that is given up half-way begins again with the beta that it had."""
            if step:
                self.models.beta.fill_(self.models.next_beta)

        def stop(step: int) -> None:
            """Ends the run where the policy has gone as far as it may."""
            limit = run.config.kl.stop
            if step and limit is not None and self.models.kl > limit:
                trainer.stop()
                if is_main():
                    warn(f"the run ends: a KL of {self.models.kl:.2f}, more than kl.stop={limit:g}")

        return [
            (1, average),
            (iteration, adapt_beta),
            (iteration, stop),
            (iteration, monitor.alarms),
            (iteration * run.config.evaluate_every, monitor.held_out),
        ]

    def finish(self, run: RunContext[PpoConfig], trainer: Trainer) -> None:
        """Saves the moving average, if there is one."""
        with torch.no_grad():
            for p, mean in _averaged(trainer):
                p.copy_(mean)


def _averaged(trainer: Trainer) -> list[tuple[Tensor, Tensor]]:
    """Each weight of the policy with its moving average."""
    return [
        (trainer.parameters[name.removeprefix(AVERAGE)], mean)
        for name, mean in trainer.kept.items()
        if name.startswith(AVERAGE)
    ]


def _prompts(run: RunContext[PpoConfig]) -> PromptDataset:
    config, limit = run.config, context_length(run.loaded.model.config)
    room = None if limit is None else limit - config.sampling.max_completion_tokens
    if room is not None and room < 1:
        raise ConfigError(
            f"sampling.max_completion_tokens={config.sampling.max_completion_tokens} leaves no room for a prompt: the model "
            f"was made for {limit} tokens"
        )
    prompts = read_prompts(
        config.prompts,
        config.held_out_prompts,
        run.loaded.template,
        room,
        config.held_out,
        config.seed,
        config.too_long,
        config.columns,
    )
    for sentence in prompts.ignored.sentences if is_main() and not config.reads_rows else []:
        warn(sentence)
    for line in prompts.notes.lines() if is_main() else []:
        warn(f"warning: prompts: {line}")
    return prompts
