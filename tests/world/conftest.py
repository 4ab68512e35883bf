"""The files of one world of size ci, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from planish.world.make import make_world
from support.worlds import ci_config


@pytest.fixture(scope="session")
def ci_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, do not write to it."""
    return make_world(ci_config(), tmp_path_factory.mktemp("worlds") / "ci").path
