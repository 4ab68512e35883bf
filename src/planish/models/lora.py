"""LoRA (Hu et al. 2022) through peft: the layers are put into the model in place, so its own forward runs them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftLora
from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from planish.base.errors import ModelError
from planish.base.files import new_folder
from planish.models.load import LoraConfig


def add_lora(model: PreTrainedModel, config: LoraConfig, seed: int, whole: Sequence[str] = ()) -> PeftModel:
    """Freezes the model and adds updates that start at zero, so the first step's model is the model that was given. The
    modules named in `whole` are trained as they are."""
    targets: Any = config.targets if isinstance(config.targets, str) else list(config.targets)
    settings = PeftLora(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules=targets,
        # GPT-2's weights lie on their side, and peft warns of what it then corrects.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type="SEQ_CLS" if whole else "CAUSAL_LM",
        modules_to_save=list(whole) or None,
    )  # pyright: ignore
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that will go
            torch.manual_seed(seed)
            return get_peft_model(model, settings).eval()  # pyright: ignore
    except ValueError as error:
        raise ModelError(f"model.lora.targets={config.targets!r}: {error}") from None


def merge(adapted: PeftModel) -> PreTrainedModel:
    """The plain model, with the updates added into its weights in place."""
    return adapted.merge_and_unload()  # pyright: ignore


def save_adapter(adapted: PeftModel, path: Path) -> None:
    """The updates alone, as peft's own folder."""
    with new_folder(path) as folder:
        adapted.save_pretrained(str(folder))
