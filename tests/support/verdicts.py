"""Verdicts written by hand, and pairs of them drawn at random, for the tests of annotators."""

from __future__ import annotations

from planish.base.random import numpy_generator
from planish.world.gold.verdict import TERMS, Term, Verdict


def verdict(num_tokens: int = 10, assertive: float = 0, marker: int = 0, **terms: float) -> Verdict:
    """`verdict(correct=2, wrong=-1)`: what is not named adds nothing."""
    assert set(terms) <= set(TERMS)
    utility: dict[Term, float] = {term: float(terms.get(term, 0)) for term in TERMS}
    return Verdict("true", utility, (), num_tokens, assertive, marker)


def random_pairs(num_pairs: int, seed: int, *place: str | int) -> list[tuple[Verdict, Verdict]]:
    """Answers of 0 to 3 right and 0 to 2 wrong claims, some with a made-up record, of 5 to 44 tokens."""
    numbers = numpy_generator(seed, "verdicts", *place)
    size = 2 * num_pairs
    correct, wrong, fabricated = numbers.integers(0, 4, size), numbers.integers(0, 3, size), numbers.random(size) < 0.2
    num_tokens, assertive, marker = (
        numbers.integers(5, 45, size),
        numbers.random(size) < 0.5,
        numbers.integers(-1, 2, size),
    )
    answers = [
        verdict(
            int(num_tokens[i]),
            float(assertive[i]),
            int(marker[i]),
            correct=int(correct[i]),
            wrong=-int(wrong[i]),
            fabricated=-float(fabricated[i]),
        )
        for i in range(size)
    ]
    return list(zip(answers[::2], answers[1::2], strict=True))
