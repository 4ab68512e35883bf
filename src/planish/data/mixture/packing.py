"""Packing: a step's examples as micro-batches, shared out to ranks. It changes memory and speed, never the sum."""

from __future__ import annotations

from collections.abc import Sequence

from planish.base.types import Example, Packed, pack


def deal(examples: Sequence[Example], budget: int, rank: int = 0, ranks: int = 1) -> list[Packed]:
    """This rank's micro-batches: rows of about `budget` tokens, equally many on every rank.

    Longest first, each example goes to the micro-batch with the fewest tokens. A micro-batch exceeds the budget only with a
    single example. A rank without work gets a row without learnt tokens: sharded ranks must call forward together.
    """
    order = sorted(range(len(examples)), key=lambda i: (-len(examples[i]), i))
    total = sum(len(example) for example in examples)
    bins = _round_up(max(1, min(-(-total // budget), len(examples))), ranks)
    while not _fits(dealt := _lightest_first(examples, order, bins), examples, budget):
        bins += ranks
    return [pack([examples[i] for i in sorted(members)]) for members in dealt[rank::ranks]]


def _lightest_first(examples: Sequence[Example], order: Sequence[int], bins: int) -> list[list[int]]:
    members: list[list[int]] = [[] for _ in range(bins)]
    loads = [0] * bins
    for i in order:
        lightest = loads.index(min(loads))
        members[lightest].append(i)
        loads[lightest] += len(examples[i])
    return members


def _fits(dealt: list[list[int]], examples: Sequence[Example], budget: int) -> bool:
    return all(len(members) <= 1 or sum(len(examples[i]) for i in members) <= budget for members in dealt)


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
