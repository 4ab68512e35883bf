"""Names beside points: only where there is room."""

from __future__ import annotations

from planish.reports.figures.labels import label_places

AXES = (0.0, 1.0), (0.0, 1.0)


def test_name_is_on_the_side_that_is_inside_the_figure() -> None:
    assert label_places(["ppo", "dpo"], [(0.1, 0.5), (0.98, 0.5)], *AXES) == ["top right", "top left"]


def test_name_avoids_other_names_and_points() -> None:
    points = [(0.5, 0.5), (0.5, 0.5)]
    places = label_places(["ppo", "dpo"], points, *AXES)
    assert None not in places
    assert places[0] != places[1]
    assert label_places(["ppo"], points[:1], *AXES, unnamed=[(0.53, 0.53)]) != ["top right"]


def test_name_without_room_is_left_to_the_legend() -> None:
    crowd = [(0.5 + dx / 60, 0.5 + dy / 40) for dx in range(-6, 7) for dy in range(-4, 5) if (dx, dy) != (0, 0)]
    assert label_places(["a very long name"], [(0.5, 0.5)], *AXES, unnamed=crowd) == [None]
