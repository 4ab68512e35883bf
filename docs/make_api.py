"""Writes docs/api.md from the docstrings and signatures of `planish.__all__`: `python docs/make_api.py`; a test compares."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import planish

PAGE = Path(__file__).parent / "api.md"

HEAD = """# Python API

`import planish` offers all that follows and loads nothing heavy; torch comes with the first call. Settings are keyword arguments,
nested as in a recipe (`optim={"lr": 1e-4}`) or dotted (`**{"optim.lr": 1e-4}`); [Settings](settings.md) lists them. Made by
`python docs/make_api.py`.
"""

CONFIGS = "`load_config` reads these. Each has the settings of a command."
SECTIONS = {
    "Training": (("sft", "pretrain", "reward", "dpo", "kto", "ppo"), ""),
    "A finished run": (("Run",), ""),
    "Using and measuring models": (("sample", "score", "best_of_n", "compare", "know"), ""),
    "Recipes and pages": (("run", "claims", "report"), ""),
    "Rows": (("Demonstration", "Comparison", "Message"), "All formats of data become rows of these types."),
    "Configs": (
        (
            "load_config",
            "PretrainConfig",
            "SftConfig",
            "RewardConfig",
            "DpoConfig",
            "KtoConfig",
            "PpoConfig",
            "CompareConfig",
        ),
        CONFIGS,
    ),
    "Errors": (("PlanishError", "ConfigError", "DataError", "ModelError", "RunError"), ""),
}
WIDTH = 100  # of a signature on one line


class Verbatim:
    """Text that a signature shows without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def page() -> str:
    parts = [HEAD.strip()]
    for title, (names, intro) in SECTIONS.items():
        parts += [f"## {title}", *([intro] if intro else [])]
        for name in names:
            parts += entry(name, getattr(planish, name))
    return "\n\n".join(parts) + "\n"


def entry(name: str, item: Any) -> list[str]:
    """Heading, signature, docstring and members of a public name."""
    parts = [f"### `{name}`"]
    if inspect.isfunction(item):
        return [*parts, code(signature(f"planish.{name}", item)), prose(item)]
    if issubclass(item, BaseModel):
        command = name.removesuffix("Config").lower()
        return [*parts, f"Settings of [`planish {command}`](settings.md#planish-{command})."]
    if issubclass(item, Exception):
        above = item.__base__
        return (
            [*parts, f"{prose(item)} A kind of `{above.__name__}`."]
            if above is not Exception
            else [*parts, prose(item)]
        )
    parts += [code(signature(f"planish.{name}", item)), prose(item)]
    for member, value in vars(item).items():
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            returns = inspect.signature(value.fget).return_annotation if value.fget else ""
            parts += [f"#### `{name}.{member}`", code(f"{member}: {returns}"), prose(value)]
        elif inspect.isfunction(value):
            parts += [f"#### `{name}.{member}`", code(signature(member, value)), prose(value)]
    return parts


def signature(name: str, item: Callable[..., Any]) -> str:
    """The call with its types, a parameter a line where it would be long."""
    found = inspect.signature(item)
    parameters = [
        parameter.replace(annotation=Verbatim(str(parameter.annotation)), default=default(parameter.default))
        for parameter in found.parameters.values()
        if parameter.name != "self"
    ]
    returns = found.return_annotation
    # A class returns itself; that need not be said.
    ending = "" if inspect.isclass(item) or returns is inspect.Signature.empty else f" -> {returns}"
    line = name + str(inspect.Signature(parameters)) + ending
    if len(line) <= WIDTH:
        return line
    texts = [str(parameter) for parameter in parameters]
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        texts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    return "\n".join([f"{name}(", *(f"    {text}," for text in texts), f"){ending}"])


def default(value: object) -> object:
    factory = value is not inspect.Parameter.empty and type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"
    return Verbatim("{}") if factory else value


def prose(item: object) -> str:
    """The docstring as Markdown: examples become blocks of code."""
    text = inspect.getdoc(item)
    if not text:
        raise SystemExit(f"{item} has no docstring; write one, and run python docs/make_api.py again")
    text = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", text)
    blocks = [code(block) if block.startswith(">>>") else block for block in text.split("\n\n")]
    return "\n\n".join(blocks)


def code(text: str) -> str:
    return f"```pycon\n{text}\n```" if text.startswith(">>>") else f"```python\n{text}\n```"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
