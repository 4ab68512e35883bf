"""The default number of tokens in one forward pass."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

STEP, LEAST = 256, 768
MOST = {"cpu": 1536, "cuda": 16384}  # beyond which a pass of a small model is no faster by the token
CPU_ROOM, GPU_SHARE = 1.1e9, 1 / 8  # for what a forward pass keeps for the backward pass: bytes, a share of the memory


def default_micro_tokens(
    model: PreTrainedModel,
    device: torch.device,
    compute_dtype: torch.dtype | None = None,
    memory: float | None = None,
) -> int:
    """Tokens of one forward pass with gradient. It depends on the shape of the model and on the device alone, so that a run that
    resumes rounds as before. `memory` is that of a GPU in bytes; absent: of the device.

    A layer keeps about ten numbers a token for its width and four for that of its MLP: 1.4 MB for SmolLM2-135M in float32.
    """
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    numbers = config.num_hidden_layers * (10 * config.hidden_size + 4 * inner)
    cuda = device.type == "cuda"
    if cuda and memory is None:
        memory = torch.cuda.get_device_properties(device).total_memory
    room = memory * GPU_SHARE if cuda and memory is not None else CPU_ROOM
    fitting = int(room / (numbers * (compute_dtype or model.dtype).itemsize)) // STEP * STEP
    return max(LEAST, min(fitting, MOST["cuda" if cuda else "cpu"]))
