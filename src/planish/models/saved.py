"""A check of saved models: on a few short texts they must give the numbers of the model in memory.

Adding LoRA's updates to tied weights, writing, and reading again can each change a model without a word. So each is followed by
the same question: what does a token of these texts cost, or what score does a text get?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from planish.base.errors import ModelError

TEXTS, TOKENS = 4, 64  # that are compared, of each
CLOSE, COARSE = 2e-3, 0.05  # as a share of the number, or of one; the second where weights are of low precision

Texts = Sequence[Sequence[int]]


@torch.no_grad()
def numbers_of(model: PreTrainedModel, texts: Texts) -> Tensor:
    """Nats a token of each text, or its score, by the model's own forward pass."""
    found: list[Tensor] = []
    for text in texts or [_some_tokens(model)]:
        ids = torch.tensor([list(text[:TOKENS])], device=model.device)
        untyped: Any = model
        logits = untyped(input_ids=ids, use_cache=False).logits.double()
        if logits.dim() == 2:  # a score
            found.append(logits.mean())
        else:
            found.append(torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]))
    return torch.stack(found).cpu()


def _some_tokens(model: PreTrainedModel) -> list[int]:
    return [(7 * i + 3) % model.config.get_text_config().vocab_size for i in range(24)]


def check_same(before: Tensor, after: Tensor, dtypes: Sequence[torch.dtype], what: str) -> None:
    """That numbers differ by rounding alone; `what` says what was done in between."""
    low = any(dtype in (torch.bfloat16, torch.float16) for dtype in dtypes)
    off = ((after - before).abs() / before.abs().clamp(min=1.0)).max().item()
    if not off <= (COARSE if low else CLOSE):
        i = int((after - before).abs().argmax())
        raise ModelError(
            f"{what} gives another model than the one in memory: a text costs {after[i]:.4g} nats a token (or has that score), "
            f"and {before[i]:.4g} before. Nothing is saved; a run's last checkpoint is kept"
        )
