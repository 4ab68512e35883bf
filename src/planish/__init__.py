"""planish turns a pretrained language model into an assistant and shows what that did to it.

    import planish

    run = planish.sft(model="models/smollm2", data="recipes/data/chats.jsonl", out="runs/sft", steps=20)
    run.held_out(), run.sample(["What is a verb?"]), run.report()

Every command is a function here. Nothing heavy is imported before one is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from planish.api.functions import (
        best_of_n,
        claims,
        compare,
        dpo,
        know,
        kto,
        ppo,
        pretrain,
        report,
        reward,
        run,
        sample,
        score,
        sft,
    )
    from planish.api.result import Run
    from planish.base.config import load_config
    from planish.base.errors import ConfigError, DataError, ModelError, PlanishError, RunError
    from planish.data.rows import Comparison, Demonstration, Message
    from planish.evaluate.compare.config import CompareConfig
    from planish.methods.dpo import DpoConfig
    from planish.methods.kto import KtoConfig
    from planish.methods.ppo.config import PpoConfig
    from planish.methods.pretrain import PretrainConfig
    from planish.methods.reward_model import RewardConfig
    from planish.methods.sft import SftConfig

_HOMES = {
    "planish.api.functions": (
        "best_of_n", "claims", "compare", "dpo", "know", "kto", "ppo", "pretrain", "report", "reward", "run", "sample", "score",
        "sft",
    ),
    "planish.api.result": ("Run",),
    "planish.base.config": ("load_config",),
    "planish.base.errors": ("ConfigError", "DataError", "ModelError", "PlanishError", "RunError"),
    "planish.data.rows": ("Comparison", "Demonstration", "Message"),
    "planish.evaluate.compare.config": ("CompareConfig",),
    "planish.methods.dpo": ("DpoConfig",),
    "planish.methods.kto": ("KtoConfig",),
    "planish.methods.ppo.config": ("PpoConfig",),
    "planish.methods.pretrain": ("PretrainConfig",),
    "planish.methods.reward_model": ("RewardConfig",),
    "planish.methods.sft": ("SftConfig",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CompareConfig", "Comparison", "ConfigError", "DataError", "Demonstration", "DpoConfig", "KtoConfig", "Message", "ModelError",
    "PlanishError", "PpoConfig", "PretrainConfig", "RewardConfig", "Run", "RunError", "SftConfig", "best_of_n", "claims",
    "compare", "dpo", "know", "kto", "load_config", "ppo", "pretrain", "report", "reward", "run", "sample", "score", "sft",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'planish' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
