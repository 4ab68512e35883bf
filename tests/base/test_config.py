"""Settings within a setting begin where the setting around them says, also when only some of them are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from planish.base.config import Config, Field, load_config
from planish.base.errors import ConfigError


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


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (
            "inner: {low: 5}\nmiddle: {other: 5}\ninner: {high: 6}\n",
            3,
            "'inner' is written twice in one mapping, first in line 1",
        ),
        ("middle:\n  other: 1\n  other: 2\n", 3, "'other' is written twice in one mapping, first in line 2"),
        ("inner: {low: 1, high: 2, low: 3}\n", 1, "'low' is written twice"),
        ('inner:\n  low: 1\n  "low": 2\n', 3, "'low' is written twice"),
        ("inner: &i\n  low: 1\n  more: *i\n", 3, "*i stands for a value that it is part of"),
        ("inner: &i [1, [2, *i]]\n", 1, "*i stands for a value that it is part of"),
        ("inner: [1,\n", 2, "expected the node content"),
    ],
)
def test_yaml_that_would_drop_a_setting_or_hold_itself_is_refused_with_its_line(
    text: str, line: int, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(Outer, file)
    assert str(error.value).startswith(f"{file}, line {line}: not valid YAML: ")
    assert reason in str(error.value)


def test_the_right_side_of_a_setting_is_read_as_strictly() -> None:
    with pytest.raises(ConfigError, match="'low' is written twice"):
        load_config(Outer, overrides=["inner={low: 1, low: 2}"])


def test_anchors_and_merge_keys_are_read(tmp_path: Path) -> None:
    """A merge key may be overruled beside it, also where what it merges has one of its own."""
    file = tmp_path / "recipe.yaml"
    file.write_text("inner: &a {low: 5, high: 6}\nmiddle:\n  inner: {<<: *a, high: 7}\n  other: 8\n")
    assert load_config(Outer, file) == Outer(
        inner=Inner(low=5, high=6), middle=Middle(inner=Inner(low=5, high=7), other=8)
    )
