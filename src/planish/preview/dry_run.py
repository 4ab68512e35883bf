"""`--dry-run` of a method: what a run would read, train, hold out and save. The model and the data are loaded, nothing is
trained, and nothing is written in the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from planish.base.distributed import local_device
from planish.base.errors import RunError
from planish.methods.base import CommonConfig, Method, RunContext
from planish.methods.dpo import DpoConfig, DpoMethod
from planish.methods.kto import KtoConfig, KtoMethod
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.run import PpoMethod
from planish.methods.pretrain import PretrainConfig, PretrainMethod
from planish.methods.ranking_eval import ComparisonMethod
from planish.methods.reward_model import RewardConfig, RewardMethod
from planish.methods.run import prepare_run
from planish.methods.sft import SftConfig, SftMethod
from planish.train.run_folder import RunFolder, refusal

METHODS: dict[type[CommonConfig], Callable[[Any], Method[Any]]] = {
    PretrainConfig: lambda config: PretrainMethod(),
    SftConfig: lambda config: SftMethod(config.reduction),
    RewardConfig: lambda config: RewardMethod(),
    DpoConfig: lambda config: DpoMethod(),
    KtoConfig: lambda config: KtoMethod(),
    PpoConfig: lambda config: PpoMethod(),
}


@dataclass(frozen=True, slots=True)
class DryRun:
    """A run that was not started. `account` is data.json; `checkpoint` is the step from which it would resume."""

    out: Path
    device: str
    weights: int
    trained: int
    lora: bool
    account: dict[str, Any]
    steps: int
    checkpoint: int | None
    finished: bool


def dry_run(config: CommonConfig) -> DryRun:
    out, method, device = RunFolder(Path(config.out)), METHODS[type(config)](config), local_device(config.device)
    if problem := refusal(out, config):
        raise RunError(problem)
    with TemporaryDirectory(prefix="planish-dry-run-") as folder:
        run, account = prepare_run(config, method, RunFolder(Path(folder)), device)
        trainer = method.trainer(run)
        described = _described(run, method)
    reached = [int(path.name.removeprefix("step-")) for path in out.checkpoints.glob("step-*")]
    return DryRun(
        out=out.path,
        device=str(device),
        weights=sum(weight.numel() for weight in run.loaded.model.parameters()),
        trained=sum(weight.numel() for weight in trainer.parameters.values()),
        lora=run.loaded.adapted is not None,
        account=account | described,
        steps=trainer.steps,
        checkpoint=max(reached, default=None),
        finished=(out.model / "config.json").exists(),
    )


def _described(run: RunContext[Any], method: Method[Any]) -> dict[str, Any]:
    """What the method says of its data. The own descriptions of DPO and KTO would run the reference over all rows."""
    if isinstance(method, KtoMethod):
        return {}
    return ComparisonMethod.describe(method, run) if isinstance(method, DpoMethod) else method.describe(run)
