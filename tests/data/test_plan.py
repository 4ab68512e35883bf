"""How many examples of each source a stage holds: shares of examples and of tokens, budgets, and the limit on repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.base.errors import ConfigError
from planish.base.random import numpy_generator
from planish.base.types import Example
from planish.data.chat.templates import Encoded
from planish.data.examples import Examples
from planish.data.mixture.order import Order
from planish.data.mixture.plan import MixturePlan, TokenCount, plan_mixture, stage_targets
from planish.data.rows import Origin
from planish.data.settings import DataConfig


def rows(*lengths: int) -> Examples:
    """Examples of these many tokens."""
    examples = Examples()
    for row, length in enumerate(lengths, start=1):
        examples.append(Encoded(np.ones(length, np.int32), np.arange(length) > 0), Origin("rows.jsonl", row))
    return examples


def settings_of(names: Sequence[str], **changes: Any) -> DataConfig:
    sources = {name: {"path": "x", **changes.pop(name, {})} for name in names}
    return DataConfig.model_validate({"sources": sources, **changes})


def planned(config: DataConfig, sources: dict[str, Examples], *lengths: int, seed: int = 0) -> MixturePlan:
    names, examples = list(sources), list(sources.values())
    return plan_mixture(config, names, examples, stage_targets(config, names, examples), lengths, seed)


def drawn_in(plan: MixturePlan, sources: dict[str, Examples], stage: int) -> list[Example]:
    """The slow way: place by place."""
    examples = list(sources.values())
    places = (plan.mixture[j] for j in range(plan.mixture.starts[stage], plan.mixture.starts[stage + 1]))
    return [replace(examples[place.source][place.row], source=place.source) for place in places]


def tokens_of(plan: MixturePlan, sources: dict[str, Examples], stage: int) -> list[int]:
    totals = [0] * len(sources)
    for example in drawn_in(plan, sources, stage):
        totals[example.source] += len(example)
    return totals


def uneven(count: int, place: str) -> tuple[int, ...]:
    """Lengths as real rows have them: most are short, a few are a hundred times as long."""
    drawn = numpy_generator(0, place).lognormal(3.0, 1.2, count)
    return tuple(np.clip(drawn, 2, 2000).astype(int).tolist())


# Shares


def test_w2_shares_of_examples_are_met_in_each_stage() -> None:
    sources = {"web": rows(*[9] * 900), "chat": rows(*[9] * 300)}
    stages = [{"share": 0.9, "weights": {"web": 1}}, {"share": 0.1, "weights": {"web": 0.55, "chat": 0.45}}]
    plan = planned(settings_of(sources, stages=stages), sources, 1800, 200)
    assert [stage.counts for stage in plan.mixture.stages] == [(1800, 0), (110, 90)]


@pytest.mark.slow
@pytest.mark.parametrize("asked", [(0.5, 0.5), (0.9, 0.1), (0.97, 0.03)])
@pytest.mark.parametrize("seed", range(3))
def test_w2_shares_of_tokens_are_met_though_rows_differ_a_hundredfold(asked: tuple[float, float], seed: int) -> None:
    """To 1% in a stage of 3,600 rows. In one of 400, whose mean length is far from the source's, a single row may be more
    than 1% of all: there, the longest row of the stage is the bound."""
    sources = {"web": rows(*uneven(3000, "web")), "chat": rows(*uneven(700, "chat"))}
    weights = dict(zip(sources, asked, strict=True))
    stages = [{"share": 0.9, "weights": weights}, {"share": 0.1, "weights": weights}]
    plan = planned(settings_of(sources, stages=stages, shares_of="tokens"), sources, 3600, 400, seed=seed)
    for stage, length in enumerate((3600, 400)):
        held = tokens_of(plan, sources, stage)
        assert plan.mixture.stages[stage].length == length
        assert list(plan.tokens[stage]) == held
        longest = max(len(example) for example in drawn_in(plan, sources, stage))
        assert abs(held[0] / sum(held) - asked[0]) < (0.01 if stage == 0 else max(0.01, longest / sum(held)))


def test_without_weights_a_cap_and_a_temperature_say_the_shares() -> None:
    sources = {"big": rows(*[3] * 40), "small": rows(*[3] * 10)}
    capped = planned(settings_of(sources, cap=10), sources, 100)
    evened = planned(settings_of(sources, temperature=2.0), sources, 90)
    assert capped.mixture.stages[0].counts == (50, 50)
    assert evened.mixture.stages[0].counts == (60, 30)  # square roots of 40 and 10: as 2 to 1


# Budgets


def test_budgets_of_tokens_say_how_much_of_each_source_is_learnt() -> None:
    sources = {"web": rows(*uneven(3000, "web")), "chat": rows(*uneven(700, "chat"))}
    plan = planned(settings_of(sources, web={"tokens": 60_000}, chat={"tokens": 20_000}), sources, 0)
    held = tokens_of(plan, sources, 0)
    assert list(plan.tokens[0]) == held
    assert held == pytest.approx([60_000, 20_000], abs=2000)  # the longest row


def test_budgets_by_stage_go_on_where_the_stage_before_stopped() -> None:
    sources = {"a": rows(*[10] * 8), "b": rows(*[5] * 8)}
    stages = [{"tokens": {"a": 60}}, {"tokens": {"a": 40, "b": 100}}]
    plan = planned(settings_of(sources, stages=stages), sources, 0, 0)
    assert [stage.counts for stage in plan.mixture.stages] == [(6, 0), (4, 20)]
    second = plan.account()[1]["sources"]
    assert (second["a"]["passes"], second["a"]["passes_so_far"]) == (0.5, 1.25)
    assert second["b"]["passes"] == 2.5


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), start=st.integers(0, 70), more=st.integers(0, 90))
@settings(deadline=None, max_examples=50)
def test_tokens_between_two_draws_are_those_of_their_rows(lengths: list[int], start: int, more: int) -> None:
    tokens = np.array(lengths)
    order = Order([len(lengths)], seed=1)
    drawn = order(np.zeros(more, np.int64), np.arange(start, start + more))[0]
    count = TokenCount([tokens], order)
    assert count(0, start, start + more) == tokens[drawn].sum()
    assert count(0, start + more, start) == -tokens[drawn].sum()


# What it says, and what it refuses


def test_the_account_tells_rows_tokens_shares_and_passes() -> None:
    sources = {"a": rows(*[10] * 10), "b": rows(*[30] * 10)}
    (stage,) = planned(settings_of(sources, a={"weight": 3.0}, b={"weight": 1.0}), sources, 40).account()
    assert (stage["examples"], stage["tokens"]) == (40, 600)
    assert stage["sources"]["a"] == {
        "asked": 0.75,
        "examples": 30,
        "tokens": 300,
        "share_of_examples": 0.75,
        "share_of_tokens": 0.5,
        "passes": 3.0,
        "passes_so_far": 3.0,
    }


def test_more_passes_than_allowed_stop_the_run() -> None:
    sources = {"a": rows(*[3] * 100), "b": rows(*[3] * 10)}
    message = r"^data.sources.b: the plan has 5.00 passes over its 10 rows, more than repeats=4\. Lower its share"
    with pytest.raises(ConfigError, match=message):
        planned(settings_of(sources, a={"weight": 0.5}, b={"weight": 0.5, "repeats": 4}), sources, 100)
    plan = planned(settings_of(sources, a={"weight": 0.5}, b={"weight": 0.5, "repeats": 5}), sources, 100)
    assert plan.mixture.stages[0].counts == (50, 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": {"tokens": 5}}, "source 'b' has no tokens while others have"),
        ({"a": {"tokens": 5}, "b": {"tokens": 5, "weight": 1.0}}, "replace weights and stages"),
        ({"stages": [{"share": 0.5}, {"tokens": {"a": 5}}]}, "some have tokens and some have shares"),
        ({"stages": [{"share": 0.5}, {"share": 0.4}]}, "add up to 0.9, not to 1"),
        ({"stages": [{"share": 0.5, "tokens": {"a": 5}}]}, "either tokens or a share"),
        (
            {"a": {"weight": 1.0}, "b": {"weight": 1.0}, "cap": 9},
            "cap and temperature are for sources without weights",
        ),
        ({"stages": [{"share": 1.0, "weights": {"a": 1}}], "temperature": 2.0}, "leave out one or the other"),
        ({"stages": [{}]}, "needs its share of the run, or the tokens"),
    ],
)
def test_settings_at_odds_with_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(["a", "b"], **changes)
