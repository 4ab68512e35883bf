"""Databases of feedback: a file, and a PostgreSQL server where there is one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from planish.feedback import store
from support.postgres import postgres

store.PRAGMAS = tuple(setting.replace("FULL", "OFF") for setting in store.PRAGMAS)  # tests outlive no power cut
numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "feedback.db")
    import psycopg

    url: str = request.getfixturevalue("postgres_url")
    name = f"study{next(numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return url.replace("/postgres?", f"/{name}?")
