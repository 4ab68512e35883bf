"""What members are worth, from all of their coalitions or from some."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from planish.statistics.shapley import shapley_coefficients

MEMBERS = ("a", "b", "c")


def all_coalitions(*sizes: int) -> list[frozenset[str]]:
    return [frozenset(names) for size in sizes for names in combinations(MEMBERS, size)]


def values(coalitions: list[frozenset[str]], worth: dict[str, float]) -> list[float]:
    found = shapley_coefficients(coalitions, MEMBERS)
    assert found is not None
    return (found @ np.array([worth["".join(sorted(names))] for names in coalitions])).tolist()


def test_of_all_coalitions_it_is_the_mean_over_orders() -> None:
    # the glove game: a has a left glove, b and c a right one, a pair is worth 1
    worth = {"": 0, "a": 0, "b": 0, "c": 0, "ab": 1, "ac": 1, "bc": 0, "abc": 1}
    # a adds 1 unless it comes first, in 4 of 6 orders; b adds 1 only where a is there and c is not, in 1 of 6
    assert values(all_coalitions(0, 1, 2, 3), worth) == pytest.approx([4 / 6, 1 / 6, 1 / 6])


@pytest.mark.parametrize("sizes", [(0, 1, 3), (0, 2, 3), (0, 1, 2, 3)])
def test_where_members_do_not_meet_it_is_what_each_is_worth(sizes: tuple[int, ...]) -> None:
    own = {"a": 1.0, "b": -2.0, "c": 5.0}
    worth = {"".join(names): 7 + sum(own[n] for n in names) for s in range(4) for names in combinations(MEMBERS, s)}
    assert values(all_coalitions(*sizes), worth) == pytest.approx([1, -2, 5])


def test_values_add_up_to_what_all_add_to_none() -> None:
    worth = {"": 1, "a": 3, "b": 2, "c": 9, "ab": 4, "ac": 2, "bc": 8, "abc": 5}
    for sizes in ((0, 1, 3), (0, 1, 2, 3)):
        assert sum(values(all_coalitions(*sizes), worth)) == pytest.approx(4)


@pytest.mark.parametrize("sizes", [(1, 2, 3), (0, 1, 2), (0, 3)])
def test_too_few_coalitions_do_not_tell(sizes: tuple[int, ...]) -> None:
    assert shapley_coefficients(all_coalitions(*sizes), MEMBERS) is None


def test_one_member_is_worth_all() -> None:
    found = shapley_coefficients([frozenset(), frozenset("a")], ["a"])
    assert found is not None
    assert found.tolist() == [[-1, 1]]
