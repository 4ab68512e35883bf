"""The log-probabilities that DPO keeps of its reference: computed once, and never used of other weights or tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from planish.base.types import pack, unshared
from planish.data.chat.templates import Encoded
from planish.data.examples import Examples
from planish.data.rows import Origin
from planish.inference.reference_log_probs import attach_reference, digest_weights
from planish.models.packed import CausalLM
from support.examples import compared, random_examples
from support.models import eager, logprobs_one_by_one, random_model

CPU = torch.device("cpu")
HERE = Origin("rows", 1)
ROWS = [
    compared(random_examples([40], seed=5)[0], prompt_length=10, ends=(17, 25, 30, 40)),
    compared(random_examples([12], seed=7)[0], prompt_length=4, ends=(7, 12)),
]


@pytest.fixture
def kept(tmp_path: Path) -> tuple[CausalLM, dict[str, Examples], Path]:
    """A policy, its comparisons, and where their log-probabilities are kept."""
    examples = Examples()
    for row in ROWS:
        examples.append(Encoded(row.tokens, row.loss_mask), HERE, row.choices)
    return CausalLM(random_model("llama")), {"rows": examples}, tmp_path / "reference.safetensors"


def attached(policy: CausalLM, sets: dict[str, Examples], path: Path) -> tuple[bool, list[float]]:
    """Whether the file was used, and what the comparisons then say."""
    known = attach_reference(policy, digest_weights(policy.model), sets, path, 64, CPU)
    choices = [sets["rows"][i].choices for i in range(len(sets["rows"]))]
    return known, [value for each in choices if each for value in each.reference]


def test_the_reference_is_computed_once_and_then_read(kept: tuple[CausalLM, dict[str, Examples], Path]) -> None:
    policy, sets, path = kept
    model = eager(random_model("llama"))
    alone = [each for row in ROWS for each in unshared(pack([row])).examples]
    expected = [logprobs_one_by_one(model, [each]).sum().item() for each in alone]
    known, values = attached(policy, sets, path)
    assert not known
    assert values == pytest.approx(expected, abs=1e-4)
    written = path.stat().st_mtime_ns
    assert attached(policy, sets, path) == (True, values)
    assert path.stat().st_mtime_ns == written


def another_weight(policy: CausalLM, sets: dict[str, Examples], path: Path) -> None:
    policy.model.get_parameter("model.norm.weight").data[3] += 1e-6


def another_token(policy: CausalLM, sets: dict[str, Examples], path: Path) -> None:
    sets["rows"] = Examples()
    for row in ROWS:
        tokens = np.where(row.tokens == row.tokens[0], 5, row.tokens)
        sets["rows"].append(Encoded(tokens, row.loss_mask), HERE, row.choices)


def another_precision(policy: CausalLM, sets: dict[str, Examples], path: Path) -> None:
    policy.compute_dtype = torch.bfloat16


def another_value(policy: CausalLM, sets: dict[str, Examples], path: Path) -> None:
    with safe_open(str(path), "np") as file:
        metadata = file.metadata()
    save_file({name: values + 1 for name, values in load_file(path).items()}, path, metadata)


def cut_short(policy: CausalLM, sets: dict[str, Examples], path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def emptied(policy: CausalLM, sets: dict[str, Examples], path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "change",
    [another_weight, another_token, another_precision, another_value, cut_short, emptied],
    ids=lambda change: change.__name__,
)
def test_a_reference_that_is_stale_or_damaged_is_never_used(
    change: Any, kept: tuple[CausalLM, dict[str, Examples], Path]
) -> None:
    policy, sets, path = kept
    attached(policy, sets, path)
    change(policy, sets, path)
    known, values = attached(policy, sets, path)
    assert not known
    again = CausalLM(random_model("llama"), policy.compute_dtype)
    again.model.load_state_dict(policy.model.state_dict())
    assert attached(again, sets, path.with_name("anew.safetensors")) == (False, values)
    assert attached(policy, sets, path) == (True, values)
