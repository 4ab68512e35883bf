"""Markdown and code of answers as HTML that cannot do anything: no HTML of the answer's own, no image, and links as text."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from html import escape
from re import findall
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

LONGEST_DIFF = 4_000  # words of an answer, beyond which comparing takes too long


def _link_open(self: Any, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]) -> str:
    shown = tokens[at].markup == "autolink"  # its text is the address
    env.setdefault("links", []).append("" if shown else str(tokens[at].attrGet("href") or ""))
    return '<span class="link">'


def _link_close(self: Any, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]) -> str:
    address = env["links"].pop()
    return "</span>" + (f' <span class="address">({escape(address)})</span>' if address else "")


def _image(self: Any, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]) -> str:
    source, title = escape(str(tokens[at].attrGet("src") or "")), escape(tokens[at].content)
    return f'<span class="link">[picture: {title}]</span> <span class="address">({source})</span>'


def _renderer(breaks: bool) -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False, "breaks": breaks}).enable(["table", "strikethrough"])
    for name, rule in (("link_open", _link_open), ("link_close", _link_close), ("image", _image)):
        renderer.add_render_rule(name, rule)
    return renderer


RENDERERS = {breaks: _renderer(breaks) for breaks in (True, False)}


@lru_cache(maxsize=512)
def render(text: str, breaks: bool = True) -> Markup:
    """The HTML. Line ends of an answer are kept, those of a document only fill its lines."""
    return Markup(RENDERERS[breaks].render(text, {}))


def differences(one: str, other: str) -> tuple[Markup, Markup] | None:
    """Both texts with the words marked that the other has not; None if they are too long to compare."""
    words = [findall(r"\s+|\w+|[^\w\s]", text) for text in (one, other)]
    if max(map(len, words)) > LONGEST_DIFF:
        return None
    sides: tuple[list[str], list[str]] = ([], [])
    for kind, a, b, c, d in SequenceMatcher(None, *words, autojunk=False).get_opcodes():
        for side, tag, part in ((0, "del", words[0][a:b]), (1, "ins", words[1][c:d])):
            text = escape("".join(part))
            sides[side].append(text if kind == "equal" or not text else f"<{tag}>{text}</{tag}>")
    return Markup("".join(sides[0])), Markup("".join(sides[1]))
