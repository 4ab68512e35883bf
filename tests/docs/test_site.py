"""The pages become a site that can be read and searched without a network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.recipes import ROOT

BUILD = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", "docs"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [*BUILD, "--doctree-dir", str(folder / "doctrees"), ".", str(folder / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow
def test_every_page_is_in_the_site_and_its_sidebar(site: Path) -> None:
    sidebar = (site / "docs" / "index.html").read_text(encoding="utf-8").split("sidebar-tree", 1)[1]
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / "docs" / name).exists()
        assert page.stem == "index" or f'href="{name}"' in sidebar, f"link {page.name} from docs/index.md"


@pytest.mark.slow
def test_formulas_are_mathml_and_the_search_has_an_index(site: Path) -> None:
    text = re.sub(
        r"^```.*?^```|`[^`\n]*`", "", (ROOT / "docs" / "dpo.md").read_text(encoding="utf-8"), flags=re.M | re.S
    )
    formulas = re.findall(r"\$\$[^$]+\$\$|\$[^$]+\$", text)
    assert (site / "docs" / "dpo.html").read_text(encoding="utf-8").count("<math ") == len(formulas) > 50
    assert '"docs/dpo"' in (site / "searchindex.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', True),
        ('@import "https://cdn.example/x.css";', True),
        ("src: url(https://cdn.example/x.woff2)", True),
        ('<a href="https://example.org">a link to follow</a>', False),
        ('<script src="../_static/x.js"></script>', False),
    ],
)
def test_what_would_be_loaded_from_a_network_is_found(text: str, remote: bool) -> None:
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("docs_conf", ROOT / "docs" / "conf.py")
    assert spec is not None
    assert spec.loader is not None
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    assert bool(conf.REMOTE.search(text)) == remote
