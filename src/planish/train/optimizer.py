"""The optimiser, its schedule and clipping: everything that happens to the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from planish.base.config import Config, Field
from planish.base.errors import RunError
from planish.maths.schedule import DecayName, MinAt, ScheduleName, learning_rate_factor

MEANINGLESS = 1e6  # ratio of gradients beyond which the smaller one is rounding


class OptimConfig(Config):
    lr: float = Field(default=2e-5, gt=0, description="peak learning rate; with LoRA the default is ten times this")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="decay rates of AdamW's two moments")
    eps: float = Field(default=1e-8, gt=0, description="AdamW's epsilon")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay of matrices; vectors have none")
    clip_grad_norm: float = Field(
        default=1.0, gt=0, description="maximum norm of the gradient; a larger one is scaled down"
    )
    schedule: ScheduleName = Field(default="cosine", description="constant, linear, cosine or wsd")
    warmup_ratio: float = Field(
        default=0.03, ge=0, lt=1, description="share of the steps in which the learning rate rises linearly"
    )
    min_lr_ratio: float = Field(default=0.0, ge=0, le=1, description="final learning rate, as a share of lr")
    min_lr_at: MinAt = Field(
        default="after_last_step",
        description="where cosine and linear reach it: after_last_step, so that the last step still learns, or last_step",
    )
    decay: DecayName = Field(default="exponential", description="wsd: half_life, exponential or linear")
    decay_ratio: float = Field(default=0.1, gt=0, le=1, description="wsd: share of the steps that decay")
    half_life: float = Field(
        default=5000, gt=0, description="wsd with decay=half_life: steps in which the learning rate halves"
    )

    @model_validator(mode="after")
    def _check(self) -> OptimConfig:
        if self.schedule == "wsd" and self.decay == "exponential" and self.min_lr_ratio == 0:
            raise ValueError("optim.decay=exponential never reaches 0: set optim.min_lr_ratio, for example to 0.1")
        if self.schedule == "wsd" and self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError("optim.warmup_ratio and optim.decay_ratio add up to more than the whole run")
        return self


@dataclass(slots=True)
class _Aside:
    """The gradients of a part of the loss, and the norm of those of the model's first part."""

    norm: float
    grads: list[Tensor | None]
    ratio: float | None


class Trainer:
    """Updates the parameters that require a gradient, and knows which step it is.

    Parameters whose names begin with a key of `others` follow settings of their own and are clipped by themselves, as
    PPO's value model is. What else must survive a kill, such as a moving average, is added to `kept`.
    """

    def __init__(
        self, module: nn.Module, config: OptimConfig, steps: int, others: Mapping[str, OptimConfig] | None = None
    ) -> None:
        self.steps, self.step = steps, 0
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise RunError("no weight of the model is trainable")
        self._configs = {"": config, **(others or {})}
        self._parts: dict[str, list[nn.Parameter]] = {name: [] for name in self._configs}
        for name, p in self.parameters.items():
            self._parts[next((part for part in others or {} if name.startswith(f"{part}.")), "")].append(p)
        self.kept: dict[str, Tensor] = {"stopped": torch.zeros(())}
        self._aside: dict[str, _Aside] = {}
        groups = [
            {"params": chosen, "weight_decay": each.weight_decay if wide else 0.0, "lr": each.lr, "betas": each.betas,
             "eps": each.eps, "part": part}
            for part, each in self._configs.items()
            for wide in (True, False)
            if (chosen := [p for p in self._parts[part] if (p.ndim > 1) == wide])
        ]  # fmt: skip
        self.optimizer = torch.optim.AdamW(groups, fused=True)

    @property
    def learning_rate(self) -> float:
        """The rate of the step just taken."""
        return self._rate(self._configs[""], max(1, self.step))

    @property
    def sum_of_rates(self) -> float:
        """The rates of all steps added up, of many steps from some of them."""
        taken = range(1, self.steps + 1, max(1, self.steps // 1000))
        return sum(self._rate(self._configs[""], step) for step in taken) * self.steps / len(taken)

    def _rate(self, config: OptimConfig, step: int) -> float:
        return config.lr * learning_rate_factor(
            step,
            self.steps,
            schedule=config.schedule,
            warmup=round(config.warmup_ratio * self.steps),
            min_lr_ratio=config.min_lr_ratio,
            decay_start=self.steps - max(1, round(config.decay_ratio * self.steps)),
            decay=config.decay,
            half_life=config.half_life,
            min_at=config.min_lr_at,
        )

    @property
    def stopped(self) -> bool:
        """True if the run ends here, before its last step; a checkpoint remembers it."""
        return bool(self.kept["stopped"])

    def stop(self) -> None:
        """Ends the run after the step that was just taken."""
        self.kept["stopped"].fill_(1)

    def set_aside(self, name: str, ratio: float | None = None) -> None:
        """Puts the gradients away under a name, so that those of the next part are its own. `clip` adds them up again, scaled to
        a norm that is `ratio` times that of the part without a name, if a ratio is given."""
        grads = [p.grad for p in self.parameters.values()]
        self._aside[name] = _Aside(_norm(self._parts[""]), grads, ratio)
        self.optimizer.zero_grad(set_to_none=True)

    def _scale_parts(self) -> dict[str, float]:
        """Scales the gradients of parts that have a ratio; returns by how much, as `NAME/scale`."""
        scales: dict[str, float] = {}
        for name, part in self._aside.items():
            if part.ratio is not None and part.norm:
                scales[f"{name}/scale"] = scale = part.ratio * self._aside[""].norm / part.norm
                part.norm *= scale
                for grad in part.grads:
                    if grad is not None:
                        grad.mul_(scale)
        return scales

    def clip(self) -> dict[str, float]:
        """Scales the gradients to a norm of at most `clip_grad_norm`; returns the norms before, over all ranks: `grad_norm`, that
        of each further part of the model as `NAME/grad_norm`, and where gradients were set aside, the norm of each (of the
        first part of the model) and as `NAME/grad_ratio` what it is of the method's own."""
        norms = self._scale_parts()
        norms |= {f"{name}/grad_norm": part.norm for name, part in self._aside.items() if name}
        if "" in self._aside:
            norms["own_grad_norm"] = own = self._aside[""].norm
            ratios = {f"{name}/grad_ratio": part.norm / own for name, part in self._aside.items() if name and own}
            norms |= {name: ratio for name, ratio in ratios.items() if ratio < MEANINGLESS}
        for part in self._aside.values():
            for p, grad in zip(self.parameters.values(), part.grads, strict=True):
                p.grad = grad if p.grad is None else p.grad if grad is None else p.grad.add_(grad)
        self._aside.clear()
        for name, config in self._configs.items():
            norm = nn.utils.clip_grad_norm_(self._parts[name], config.clip_grad_norm, foreach=True)
            norms[f"{name}/grad_norm" if name else "grad_norm"] = _number(norm)
        return norms

    def update(self) -> None:
        """Takes one optimiser step at this step's rate and forgets the gradients."""
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self._configs[group["part"]], self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Trained weights, optimiser moments and what is kept besides, by name: all that a checkpoint holds besides the step."""
        self._make_moments()
        tensors: dict[str, Tensor] = {f"weights.{name}": p.detach() for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            for key, moment in self.optimizer.state[p].items():
                tensors[f"optimizer.{key}.{name}"] = moment
        return tensors | {f"kept.{name}": tensor for name, tensor in self.kept.items()}

    def _make_moments(self) -> None:
        """AdamW makes its moments in its first step; a resumed run needs them before that, to be filled."""
        for p in self.parameters.values():
            if not self.optimizer.state[p]:
                moments = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
                step = torch.zeros((), dtype=torch.float32, device=p.device)
                self.optimizer.state[p].update({"step": step, **{k: m.detach() for k, m in moments.items()}})


def _norm(parameters: Sequence[nn.Parameter]) -> float:
    """Norm of the gradients over all ranks."""
    grads = [p.grad for p in parameters if p.grad is not None]
    return _number(nn.utils.get_total_norm(grads, foreach=True))


def _number(norm: Tensor) -> float:
    return (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()
