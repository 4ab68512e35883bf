"""The page of claims and the README's table are those of the ledger."""

from __future__ import annotations

import sys

import pytest

from support.recipes import ROOT


@pytest.fixture
def make_claims(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    import make_claims

    return make_claims


def test_the_page_and_the_readme_are_current(make_claims) -> None:
    assert make_claims.PAGE.read_text(encoding="utf-8") == make_claims.text(), "run python docs/make_claims.py"
    assert make_claims.README.read_text(encoding="utf-8") == make_claims.readme(), "run python docs/make_claims.py"


def test_every_claim_has_a_line_in_the_legend(make_claims) -> None:
    legend = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    assert [name for name in make_claims.claim_names() if f"| {name} |" not in legend] == []
