"""LoRA (Hu et al. 2022) through peft: the layers are put into the model in place, so its own forward runs them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftLora
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from planish.base.errors import ModelError
from planish.base.files import new_folder
from planish.models.load import LoraConfig
from planish.models.saved import Texts, check_same, numbers_of

CARD = """---
library_name: peft
base_model: {base}
tags: [lora, planish]
---

LoRA updates of `{base}`, trained by planish in `{run}`. `model/` beside this folder is the same model
with the updates merged into its weights.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{run}/adapter")
```
"""


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
            # Tied weights are untied before they are merged; weights that do not lie on their side are seen to by peft.
            warnings.filterwarnings(
                "ignore", "Model has `tie_word_embeddings|fan_in_fan_out is set to True but the target"
            )
            torch.manual_seed(seed)
            return get_peft_model(model, settings).eval()  # pyright: ignore
    except ValueError as error:
        raise ModelError(f"model.lora.targets={config.targets!r}: {error}") from None


def merge(adapted: PeftModel, texts: Texts = ()) -> PreTrainedModel:
    """The plain model, with the updates added into its weights in place. An output head that is tied to the embeddings becomes
    a weight of its own, if one of the two was adapted: an update of one is none of the other. Compared on some texts."""
    untyped: Any = adapted
    model: PreTrainedModel = untyped.get_base_model()
    before, dtype = numbers_of(model, texts), model.dtype
    untie_adapted(model)
    model = untyped.merge_and_unload()
    check_same(before, numbers_of(model, texts), [dtype], "adding LoRA's updates to the weights")
    return model


def untie_adapted(model: PreTrainedModel) -> None:
    """Gives the output head a weight of its own where it shares that of the embeddings and LoRA is on one of them."""
    ends: list[Any] = [model.get_output_embeddings(), model.get_input_embeddings()]
    if not any(isinstance(end, LoraLayer) for end in ends):
        return
    head, embedding = (getattr(end, "base_layer", end) for end in ends)
    if head is not None and head.weight is embedding.weight:
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = False


def plain_weights(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """All weights under the names of the plain model: LoRA's updates are merged into the weights that they belong to."""
    weights = dict(weights)
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            update = _update(name, module, weights)
            weights[f"{name}.weight"] = weights.pop(f"{name}.base_layer.weight") + update
            if (bias := weights.pop(f"{name}.base_layer.bias", None)) is not None:
                weights[f"{name}.bias"] = bias
    return weights


def _update(name: str, module: Any, weights: dict[str, Tensor]) -> Tensor:
    """The update that a module's LoRA adds to its weight; its two factors are removed from `weights`."""
    ((adapter, scaling),) = module.scaling.items()
    low, high = (weights.pop(f"{name}.{part}.{adapter}.weight", None) for part in ("lora_A", "lora_B"))
    turned = getattr(module, "fan_in_fan_out", False)
    if low is None:  # of an embedding, [r, V] and [D, r]
        low, high = (weights.pop(f"{name}.{part}.{adapter}", None) for part in ("lora_embedding_A", "lora_embedding_B"))
        turned = True
    if low is None or high is None or low.dim() != 2:
        raise ModelError(
            f"{name}: LoRA on this kind of module is not merged into plain weights: leave it out of lora.targets"
        )
    update = scaling * (high @ low)
    return update.T if turned else update


def save_adapter(adapted: PeftModel, path: Path, base: str) -> None:
    """The updates alone, as peft's own folder; `base` names the model below them."""
    with new_folder(path) as folder:
        adapted.save_pretrained(str(folder))
        (folder / "README.md").write_text(CARD.format(base=base, run=path.parent), encoding="utf-8")
