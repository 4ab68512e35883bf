"""Writes docs/settings.md from the settings themselves: `python docs/make_settings.py`. A test keeps the two together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from planish.base.config import Config
from planish.data.settings import DataConfig
from planish.evaluate.compare.run import CompareConfig
from planish.evaluate.probe.run import KnowConfig
from planish.methods.base import RunConfig
from planish.methods.dpo import DpoConfig
from planish.methods.ppo.config import PpoConfig
from planish.methods.pretrain import NewModel, PretrainConfig
from planish.methods.reward_model import RewardConfig
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
        if inner == [DataConfig] and name != "data":
            lines.append(f"| `{key}.…` | absent | {field.description}; its settings are those of `data` |")
            continue
        if len(inner) > 1:
            lines += choices(key, field, inner)
            continue
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


def choices(key: str, field: FieldInfo, kinds: list[type[Config]]) -> list[str]:
    """A setting that is one of several by name: the names, and each one's own settings."""
    by_name = {kind.model_fields["name"].default: kind for kind in kinds}
    default = "needed" if field.is_required() else shown(field.default.name)
    lines = [f"| `{key}.name` | {default} | {field.description}: {', '.join(by_name)} |"]
    for name, kind in by_name.items():
        own = [line for line in rows(kind, f"{key}.") if not line.startswith(f"| `{key}.name`")]
        lines += [line.replace("` |", f"` of `{name}` |", 1) for line in own]
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
    sections += against("reward", RewardConfig) + against("dpo", DpoConfig)
    sections += ["## `planish ppo`", table(rows(PpoConfig)), "## `planish compare`", table(rows(CompareConfig))]
    sections += ["## `planish know`", table(rows(KnowConfig)), "## `planish world`", WORLD, table(rows(WorldConfig))]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


def against(command: str, config: type[RunConfig]) -> list[str]:
    """The section of a command whose settings are mostly those of fine-tuning."""
    lacking = [f"`{name}`" for name in SftConfig.model_fields if name not in config.model_fields]
    less = f"All of `planish sft` but {', '.join(lacking)}, and these:"
    known = rows(SftConfig)
    return [f"## `planish {command}`", less, table([line for line in rows(config) if line not in known])]


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(page(), encoding="utf-8")
