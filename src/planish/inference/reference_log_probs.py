"""Numbers of a frozen model for every completion, computed once and kept beside the run: DPO's reference, the confidence that a
reward model reads.

    RUN/reference.safetensors     one float64 a completion, by source; its metadata say of which weights and which tokens
    RUN/confidence.safetensors    one float64 a completion and feature

A file is used again if, and only if, weights and tokens are the same to the last bit; else it is computed anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from planish.base.distributed import barrier, is_main
from planish.base.files import new_file
from planish.base.progress import track
from planish.base.types import Example, Packed
from planish.data.examples import Examples
from planish.data.mixture.pairs import sequence_sums
from planish.inference.sequences import sequence_values
from planish.models.packed import CausalLM


def attach_reference(
    reference: CausalLM, digest: str, sets: Mapping[str, Examples], path: Path, micro_tokens: int, device: torch.device
) -> bool:
    """Gives every completion its log-probability under the reference. True if they were found in the file."""
    key = {"weights": digest, "precision": str(reference.compute_dtype), "tokens": digest_tokens(sets)}
    found, known = kept_values(
        lambda examples: sequence_values(
            lambda packed: completion_logprobs(reference, packed), examples, micro_tokens, device
        ),
        sets,
        path,
        key,
    )
    attach(found, sets)
    return known


def kept_values(
    compute: Callable[[Any], np.ndarray],
    sets: Mapping[str, Sequence[Example] | Examples],
    path: Path,
    key: Mapping[str, str],
) -> tuple[dict[str, np.ndarray], bool]:
    """The values of each set, from the file if it is of this key, and whether they were."""
    found = _read(path, key)
    if found is not None:
        return found, True
    found = {name: compute(examples) for name, examples in track(list(sets.items()), path.stem)}
    barrier()
    if is_main():
        with new_file(path) as partial:
            save_file(found, str(partial), metadata={**key, "values": _digest_values(found)})
    return found, False


def attach(values: Mapping[str, np.ndarray], sets: Mapping[str, Examples]) -> None:
    """Gives every completion of these sets its number, as `Choices.reference`."""
    for name, examples in sets.items():
        if examples.choices is not None:
            examples.choices.reference = values[name]


def completion_logprobs(policy: CausalLM, packed: Packed) -> Tensor:
    """log p(completion | prompt), the sum over its learnt tokens, [S], in float64."""
    return sequence_sums(policy(packed).double(), packed)


def digest_weights(module: nn.Module) -> str:
    """SHA-256 of all weights with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def digest_tokens(sets: Mapping[str, Examples]) -> str:
    digest = hashlib.sha256()
    for name, examples in sets.items():
        digest.update(name.encode())
        examples.update_digest(digest)
    return digest.hexdigest()


def _read(path: Path, key: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    """The values in the file, if they are of these weights and tokens. A damaged file is computed anew like a stale one."""
    if not path.exists():
        return None
    try:
        with safe_open(str(path), "np") as file:
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no mapping)
            return values if file.metadata() == {**key, "values": _digest_values(values)} else None
    except SafetensorError:
        return None


def _digest_values(values: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(values):
        digest.update(name.encode() + np.ascontiguousarray(values[name]).tobytes())
    return digest.hexdigest()
