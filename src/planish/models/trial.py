"""Packing, tried on a model when it is loaded: only trying tells, for some models ignore a row's layout without a word.

A few short documents run one by one, through the model's own forward, and packed. They reach what a config makes possible:
windows, chunks and first contexts are made small for the trial; some places are read by nobody, before and between those that
are learnt; a prompt has two completions, and a neighbour changes. Weights of low precision are widened meanwhile, layer by layer,
since rounding would hide what is wrong. A last pass is in the precision of training.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from planish.base.errors import ModelError
from planish.base.types import Choices, Example, Packed, pack, unshared
from planish.models.attention import NAME, attention_in_use
from planish.models.last_layer import set_reads_everywhere
from planish.models.rope import angle_limit, by_sequence
from planish.models.trial_conditions import LEAST, is_low, small_limits, widened

# Rounding of float32 is below 1e-5; attending to the neighbour moves even an untrained model by more than this.
TOLERANCE = {torch.float64: 1e-7, torch.float32: 5e-5}
WIDENED, COARSE = 5e-4, 0.1  # of weights of low precision: widened, and as they are
LEAK = 1e-5  # of a neighbour or of a later token, neither of which may change a number at all


@dataclass(frozen=True, slots=True)
class Forwards:
    """The numbers of a row from a pass for each sequence, and from one pass over it; the context of training, if that computes in
    another type than the weights'."""

    apart: Callable[[PreTrainedModel, Packed], Tensor]
    together: Callable[[PreTrainedModel, Packed], Tensor]
    precision: Callable[[], AbstractContextManager[Any]] | None = None


@dataclass(frozen=True, slots=True)
class TrialRows:
    """A row of three documents, and the same row with other tokens in the first; the last document with another ending, by
    itself. `before` are its targets before that."""

    row: Packed
    neighbour: Packed
    ending: Packed
    before: int


@torch.no_grad()
def try_packing(model: PreTrainedModel, forward: Forwards, *, causal: bool) -> tuple[str | None, bool]:
    """Why the model cannot take packed rows, or None; and whether it can compute a prompt once for several completions. Where it
    cannot be packed it keeps its own attention. With `causal`, one whose numbers depend on later tokens is refused."""
    own, found_angles = attention_in_use(model), by_sequence(model)
    with ExitStack() as conditions:
        rows, expected, tolerance = _one_by_one(model, forward, conditions)
        if causal:
            _check_causal(model, forward, rows, expected, tolerance)
        if not found_angles and angle_limit(model.config.get_text_config()) is not None:
            return "its rotary angles depend on the longest text of a row, and its code does not say where", False
        why, shared = _attempts(model, forward, rows, expected, tolerance)
    if why is None and (forward.precision or is_low(model.dtype)):
        why = _fails_in_training(model, forward, rows.row if shared else unshared(rows.row))
        if why is not None:
            model.set_attn_implementation(own)
    return why, shared and why is None


def _one_by_one(model: PreTrainedModel, forward: Forwards, conditions: ExitStack) -> tuple[TrialRows, Tensor, float]:
    """The rows, what the model's own forward gives for them, and how far from that rounding may lead, under the hardest
    conditions that its code can take: a limit may count something else, or the type of one weight be taken for all."""
    ways = [(small_limits, widened)] * is_low(model.dtype) + [(small_limits, as_it_is), (as_it_is, as_it_is)]
    for limits, precision in ways:
        rows = trial_rows(model, conditions.enter_context(limits(model)) or LEAST)
        conditions.enter_context(precision(model))
        try:
            expected = forward.apart(model, unshared(rows.row))
        except Exception:
            conditions.close()
            if limits is as_it_is:
                raise
        else:
            return rows, expected, WIDENED if precision is widened else TOLERANCE.get(model.dtype, COARSE)
    raise AssertionError("the last way returns or raises")


def as_it_is(_: PreTrainedModel) -> AbstractContextManager[None]:
    """No condition at all."""
    return nullcontext()


def _attempts(
    model: PreTrainedModel, forward: Forwards, rows: TrialRows, expected: Tensor, tolerance: float
) -> tuple[str | None, bool]:
    """The first way of packing that works, the fastest ones first."""
    own, why = attention_in_use(model), None
    for shared, everywhere in product((True, False), (False, True)):
        set_reads_everywhere(model, on=everywhere)
        model.set_attn_implementation(NAME)
        why, final = _why_not(model, forward, rows, expected, tolerance, shared=shared)
        if why is None:
            return None, shared
        model.set_attn_implementation(own)
        if final:
            break
    set_reads_everywhere(model, on=False)
    return why, False


def _why_not(
    model: PreTrainedModel, forward: Forwards, rows: TrialRows, expected: Tensor, tolerance: float, *, shared: bool
) -> tuple[str | None, bool]:
    """None where a packed row gives what its sequences give one by one, else what went wrong; and true if no other way of packing
    would do better.

    However coarse the numbers are, those of the other documents must not move when the first one changes.
    """
    row, neighbour = (each if shared else unshared(each) for each in (rows.row, rows.neighbour))
    try:
        found, moved = forward.together(model, row), forward.together(model, neighbour)
    except NotImplementedError as error:
        return str(error), True
    except Exception as error:  # whatever a model's own code does with a row that it does not know
        return in_words(error, model.config.get_text_config()), False
    size = max(1.0, expected.abs().max().item())  # float32 has seven digits of it, in 30 layers about five
    difference = (found - expected).abs().max().item() / size
    if not difference <= tolerance:  # which nan is not, either
        return f"its numbers differ by {difference:.1e} when packed", False
    first = int((row.sequences_L == 0).sum()) if len(found) == row.num_targets else 1
    leak = (found - moved)[first:].abs().max().item()
    return (f"a neighbour in the row moves its numbers by {leak:.1e}" if leak > LEAK else None), False


def _fails_in_training(model: PreTrainedModel, forward: Forwards, row: Packed) -> str | None:
    """The problem in the precision of training, if there is one where the numbers themselves are right."""
    try:
        with forward.precision() if forward.precision else nullcontext():
            found = forward.together(model, row)
    except Exception as error:  # as above
        return in_words(error)
    return None if found.isfinite().all() else "its numbers are not finite in the precision of training"


def _check_causal(
    model: PreTrainedModel, forward: Forwards, rows: TrialRows, expected: Tensor, tolerance: float
) -> None:
    one = expected[len(expected) - rows.ending.num_targets :][: rows.before]
    other = forward.apart(model, rows.ending)[: rows.before]
    size = max(1.0, one.abs().max().item())
    if (moved := (one - other).abs().max().item() / size) > (LEAK if tolerance < COARSE else COARSE):
        name = model.config.name_or_path or type(model).__name__
        way_out = (
            "Its config.json says is_decoder=false; set it to true if it was trained so, or choose another model"
            if getattr(model.config, "is_decoder", None) is False
            else "Choose a model that reads from left to right"
        )
        raise ModelError(
            f"{name}: a later token changes what {type(model).__name__} gives for those before it (by {moved:.1e}). It would see "
            f"the token that it has to predict, and its loss would mean nothing. {way_out}"
        )


CHOOSES_KEYS = re.compile(
    r"index_topk|indexer_(?!types)"
)  # settings of layers that attend to a few keys of their choice


def in_words(error: Exception, config: Any = None) -> str:
    """A failure inside a model's own code, with the place."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if "modeling_" in frame.filename), None)
    if frame is None:  # nothing of the model's: what we make of its output
        return f"its output head is no plain map of its last hidden states ({type(error).__name__}: {error})"
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    if "NoneType" in str(error) and "mask" in (frame.line or ""):
        chosen = next((name for name in vars(config) if CHOOSES_KEYS.match(name)), None) if config else None
        why = f" to choose keys ({chosen})" if chosen else ""
        return f"its code reads a mask of the whole row{why}, which packing does without ({place})"
    return f"its code cannot take a packed row ({place}: {type(error).__name__}: {error})"


def trial_rows(model: PreTrainedModel, longest: int) -> TrialRows:
    """Documents of seven and nine tokens and of `longest`. The second is a prompt of three tokens with two completions, of four
    and of two. The first is not learnt at its beginning, and neither are some places inside the last."""
    vocab_size = model.config.get_text_config().vocab_size
    place = np.arange(longest)
    learnt = (place == 1) | ((place > 3) & (place % 5 > 0))
    change = longest * 2 // 3

    def example(tokens: np.ndarray, mask: np.ndarray, choices: Choices | None = None) -> Example:
        return Example(tokens.astype(np.int32) % vocab_size, mask, "", choices=choices)

    def first(begin: int) -> Example:
        return example(np.arange(7) * 5 + begin, np.isin(np.arange(7), (3, 4, 6)))

    two = example(np.arange(9) * 10 + 6, np.arange(9) > 2, Choices(prompt_length=3, ends=(7, 9), ranks=(0, 1)))
    last, ending = (example(place * 7 + 2 + 3 * (place >= cut), learnt) for cut in (longest, change))
    rows = ([first(3), two, last], [first(4), two, last], [ending])
    return TrialRows(*(pack(row).to(model.device) for row in rows), before=int(learnt[:change].sum()))
