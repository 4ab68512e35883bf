"""Writes docs/settings.md from the settings themselves: `python docs/make_settings.py`. A test keeps the two together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from planish.base.config import Config
from planish.methods.know import KnowConfig
from planish.methods.pretrain import NewModel, PretrainConfig
from planish.methods.sft import SftConfig
from planish.world.settings import WorldConfig

HEAD = """# Settings

Every setting of every method. A recipe is a YAML file with these names; `key=value` on the command line changes one
(`optim.lr=1e-4`). An unknown name stops the run before anything is loaded. Made by `python docs/make_settings.py`.
"""

WORLD = "These are of `size=base`; `size=ci` and `size=large` change them (src/planish/world/settings.py)."


def rows(config: type[Config], prefix: str = "", defaults: Config | None = None) -> list[str]:
    lines: list[str] = []
    for name, field in config.model_fields.items():
        inner = [kind for kind in configs_in(field.annotation) if kind is not NewModel]
        repeated = "dict" in str(field.annotation) or "tuple" in str(field.annotation)
        key = f"{prefix}{name}" + (".*" if repeated and inner else "")
        if inner and not field.is_required() and "None" in str(field.annotation):
            lines.append(f"| `{key}` | absent | {field.description} |")
        if inner:
            given = field.default if isinstance(field.default, Config) else None
            lines += [line for kind in inner for line in rows(kind, f"{key}.", given)]
        else:
            value = getattr(defaults, name) if defaults else field.default
            default = "needed" if field.is_required() and not defaults else shown(value)
            lines.append(f"| `{key}` | {default} | {field.description} |")
    return lines


def configs_in(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [config for argument in get_args(annotation) for config in configs_in(argument)]


def shown(value: Any) -> str:
    return "absent" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(lines: list[str]) -> str:
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *lines])


def page() -> str:
    both = rows(SftConfig)
    own = [line for line in rows(PretrainConfig) if line not in both]
    new = rows(NewModel, "model.")
    sections = ["## `planish sft`", table(both), "## `planish pretrain`"]
    sections += [
        "All of the above but `reduction`. In place of `model.path`, a new model is described by:",
        table(new + own),
    ]
    sections += ["## `planish know`", table(rows(KnowConfig)), "## `planish world`", WORLD, table(rows(WorldConfig))]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(page(), encoding="utf-8")
