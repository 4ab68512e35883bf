"""Builds the pages as a static site: `make docs`. It opens from the disk, loads nothing from a network, and can be searched.

The order is that of docs/index.md. Formulas become MathML. A link that leads nowhere, and a page that would load something from
a network, fail the build.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

project = html_title = "planish"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "docs/**.md", "log/**.md", "recipes/**.md"]
exclude_patterns = [".*", "build", "dist", "runs", "models", "src", "tests"]
html_theme = "furo"
html_static_path, html_css_files = ["site"], ["phone.css"]
html_copy_source = html_show_copyright = False
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 6
suppress_warnings = ["misc.highlighting_failure"]  # examples with … in them

CONTENTS = {"docs/index", "log/README"}  # pages whose links are the order of others
ENTRY = (
    '<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">planish</a>\n'
)
FUNCTION, THIN = re.compile("<mi>(?:ln|log|exp|tanh|logit)</mi>"), '<mspace width="0.17em" />'
REMOTE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|link)\b[^>]*\b(?:src|href)=["'](?:https?:)?//[^>]*>"""
    r"""|(?:url\(\s*["']?|@import\s+["'])(?:https?:)?//[^)]*"""
)


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(inline_formula, None), block_renderers=(formula, None))
    app.connect("source-read", add_contents)
    app.connect("build-finished", finish)


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Makes the sidebar from a page's links, section by section."""
    if page.startswith("recipes/") or page == "CHANGELOG":
        source[0] = f"---\norphan: true\n---\n{source[0]}"
    if page not in CONTENTS:
        return
    seen: set[str] = set()
    for section in re.split(r"^## ", source[0], flags=re.M):
        title, _, text = section.partition("\n")
        found = [link for link in re.findall(r"\]\(([^):#]+)\.md\)", text) if link not in seen]
        seen.update(found)
        if found:
            caption = "" if title.startswith("# ") else f":caption: {title}\n"
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(found) + "\n```\n"


def inline_formula(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def formula(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def mathml(tex: str, display: Literal["inline", "block"]) -> str:
    """The formula, with the thin space before a function's name and after it that TeX puts there."""
    return FUNCTION.sub(rf"{THIN}\g<0>{THIN}", convert(tex, display=display))


def finish(app: Sphinx, error: Exception | None) -> None:
    """Adds the first page at the top, and looks for anything that would be loaded from a network."""
    if error is not None:
        return
    (app.outdir / "index.html").write_text(ENTRY, encoding="utf-8")
    remote = [
        f"{file}: {found[0]}"
        for file in Path(app.outdir).rglob("*")
        if file.suffix in (".html", ".css")
        for found in REMOTE.finditer(file.read_text(encoding="utf-8"))
    ]
    if remote:
        raise ExtensionError("the site loads from a network; it has to work without:\n" + "\n".join(remote))
