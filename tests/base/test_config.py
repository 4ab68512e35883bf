"""Settings within a setting begin where the setting around them says, also when only some of them are given."""

from __future__ import annotations

import pytest

from planish.base.config import Config, Field, load_config


class Inner(Config):
    low: int = Field(default=1)
    high: int = Field(default=2)


class Middle(Config):
    inner: Inner = Field(default=Inner(low=10))
    other: int = Field(default=3)


class Outer(Config):
    inner: Inner = Field(default=Inner(low=10))
    middle: Middle = Field(default=Middle(inner=Inner(low=20, high=40)))


@pytest.mark.parametrize(
    ("overrides", "inner", "middle"),
    [
        ([], Inner(low=10, high=2), Middle(inner=Inner(low=20, high=40))),
        (["inner.high=5"], Inner(low=10, high=5), Middle(inner=Inner(low=20, high=40))),
        (["inner.low=5"], Inner(low=5, high=2), Middle(inner=Inner(low=20, high=40))),
        (["middle.other=5"], Inner(low=10), Middle(inner=Inner(low=20, high=40), other=5)),
        (["middle.inner.low=5"], Inner(low=10), Middle(inner=Inner(low=5, high=40))),
    ],
)
def test_what_is_not_given_is_as_the_setting_around_it_says(overrides: list[str], inner: Inner, middle: Middle) -> None:
    assert load_config(Outer, overrides=overrides) == Outer(inner=inner, middle=middle)
