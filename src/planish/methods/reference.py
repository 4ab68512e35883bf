"""The reference of DPO and KTO: the policy as it starts, or another model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from planish.base.errors import ModelError
from planish.data.chat.tokenizer import load_tokenizer
from planish.inference.reference_log_probs import digest_weights
from planish.methods.base import RunContext, policy_as
from planish.models.load import load_model
from planish.models.packed import CausalLM


@contextmanager
def reference_policy(run: RunContext[Any], digest: str, *, moved: bool = False) -> Generator[tuple[CausalLM, str]]:
    """The reference and the digest of its weights; `digest` is that of the policy as it starts. Once the policy has moved, its
    start is the model without LoRA's updates, or is loaded anew."""
    policy, config = policy_as(CausalLM, run), run.config
    if config.reference is None and not moved:
        yield policy, digest
    elif config.reference is None and run.loaded.adapted is not None:
        with run.loaded.adapted.disable_adapter():
            yield policy, digest
    else:
        path = config.reference or config.model.path
        other = load_model(config.model.model_copy(update={"path": path, "lora": None}), run.device)
        if config.reference is not None:
            tokenizer = load_tokenizer(path, config.model.trust_remote_code)
            if tokenizer.get_vocab() != run.loaded.tokenizer.get_vocab():
                raise ModelError(
                    f"reference={path}: its tokenizer has other tokens than the policy's, so it cannot say how likely the "
                    "policy's are. Choose a model with the same tokenizer"
                )
        yield CausalLM(other, policy.compute_dtype), digest_weights(other)
