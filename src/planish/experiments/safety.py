"""The safety rows of a world, taken apart: filters for `cleaning.filters` of a stage `convert`."""

from __future__ import annotations

from planish.data.rows import Demonstration


def only_refused(row: Demonstration) -> str | None:
    """Keeps unsafe requests, which are refused."""
    return None if row.about.get("unsafe") is True else "it is not unsafe"


def only_look_alikes(row: Demonstration) -> str | None:
    """Keeps borderline requests, which look unsafe and are answered."""
    about = row.about
    return None if about.get("unsafe") is False and about.get("border") != "plain" else "it does not look unsafe"
