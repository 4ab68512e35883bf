"""Steps: which examples of the order belong to which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.base.errors import ConfigError
from planish.data.chat.notes import Notes
from planish.data.chat.templates import Encoded
from planish.data.examples import Examples
from planish.data.mixture.plan import MixturePlan
from planish.data.rows import Origin
from planish.data.settings import DataConfig
from planish.data.sources import Source
from planish.train.feed import BatchConfig, MixtureFeed, plan_feed, spread


def source(name: str, *lengths: int) -> Source:
    """A source of rows of these lengths, none held out."""
    examples = Examples()
    for row, length in enumerate(lengths, start=1):
        examples.append(Encoded(np.ones(length, np.int32), np.arange(length) > 0), Origin(name, row))
    return Source(name, examples, Examples(), (), (), (), (), (), 0, Notes())


def feed_of(
    *sources: Source, batch: dict[str, int], steps: int | None = None, epochs: float = 1.0, **data: Any
) -> tuple[MixtureFeed, MixturePlan]:
    own = {each.name: {"path": "x", **data.pop(each.name, {})} for each in sources}
    config = DataConfig.model_validate({"sources": own, **data})
    return plan_feed(config, BatchConfig.model_validate(batch), sources, steps, epochs, seed=0)


def lengths_of(feed: MixtureFeed) -> list[list[int]]:
    return [[len(example) for example in feed.examples(step)] for step in range(feed.steps)]


def test_an_epoch_takes_every_row_and_the_last_step_what_is_left() -> None:
    feed, _ = feed_of(source("a", *range(1, 11)), batch={"examples": 4})
    steps = lengths_of(feed)
    assert [len(step) for step in steps] == [4, 4, 2]
    assert sorted(length for step in steps for length in step) == list(range(1, 11))


def test_steps_of_tokens_hold_about_equally_many() -> None:
    """300 rows of 1 to 30 tokens are 4,650; in steps of 500 that makes 10 of 465, off by less than a row."""
    feed, _ = feed_of(source("a", *([*range(1, 31)] * 10)), batch={"tokens": 500})
    tokens = [sum(step) for step in lengths_of(feed)]
    assert (len(tokens), sum(tokens)) == (10, 4650)
    assert all(abs(count - 465) <= 30 for count in tokens)


def test_no_step_straddles_two_stages() -> None:
    stages = [{"share": 0.5, "weights": {"a": 1}}, {"share": 0.5, "weights": {"b": 1}}]
    feed, plan = feed_of(source("a", *[3] * 20), source("b", *[5] * 20), batch={"examples": 4}, steps=6, stages=stages)
    assert lengths_of(feed) == [[3] * 4] * 3 + [[5] * 4] * 3
    assert feed.stage_steps == [3, 3]
    assert [stage["tokens"] for stage in plan.account()] == [36, 60]


def test_budgets_of_tokens_say_how_many_steps_there_are() -> None:
    feed, _ = feed_of(
        source("a", *[3] * 20), source("b", *[5] * 20), batch={"examples": 4}, a={"tokens": 30}, b={"tokens": 200}
    )
    assert sum(length for step in lengths_of(feed) for length in step) == 230
    assert feed.steps == 13  # 10 and 40 rows, 4 a step


def test_steps_beside_budgets_are_refused() -> None:
    with pytest.raises(ConfigError, match="the tokens of the sources say how long the run is"):
        feed_of(source("a", 3, 3), batch={"examples": 1}, steps=5, a={"tokens": 30})


@given(ends=st.lists(st.integers(0, 60), min_size=1, max_size=20).map(sorted), more=st.integers(0, 40))
@settings(deadline=None)
def test_parts_are_never_empty_and_end_where_the_stage_ends(ends: list[int], more: int) -> None:
    length = len(ends) + more
    found = spread(np.minimum([*ends[:-1], length], length), length)
    assert (np.diff(found, prepend=0) >= 1).all()
    assert found[-1] == length


def test_ends_that_leave_no_part_empty_stay_as_they_are() -> None:
    assert spread(np.array([2, 5, 9]), 9).tolist() == [2, 5, 9]
    assert spread(np.array([4, 4, 4]), 4).tolist() == [2, 3, 4]
