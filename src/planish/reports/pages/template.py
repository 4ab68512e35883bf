"""The templates. Whatever is filled in is escaped, and an undefined name is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2


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
