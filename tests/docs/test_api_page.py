"""docs/api.md says what the docstrings and signatures of the public names say."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

import planish
from support.recipes import ROOT


@pytest.fixture(scope="module")
def make_api() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(make_api: ModuleType) -> None:
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == make_api.page(), "run python docs/make_api.py"


def test_every_public_name_has_its_place(make_api: ModuleType) -> None:
    named = [name for names, _ in make_api.SECTIONS.values() for name in names]
    assert sorted(named) == sorted(planish.__all__)
