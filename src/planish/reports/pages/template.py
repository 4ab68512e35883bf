"""The templates. Whatever is filled in is escaped, and an undefined name is an error. Plotly's code is compressed."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs


def template(name: str, filters: Mapping[str, Any]) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("planish", "reports/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(name)


@cache
def packed_plotly() -> str:
    """Plotly's JavaScript, 5 MB, as 2 MB of text that the page unpacks; its license is its first lines."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
