"""Settings: frozen typed models, read from YAML and changed by `key.sub=value`, that refuse what they do not know.

>>> class Optim(Config):
...     lr: float = Field(default=2e-5, gt=0, description="peak learning rate")
>>> load_config(Optim, overrides=["lr=1e-4"]).lr
0.0001
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from planish.base.errors import ConfigError
from planish.base.files import recipes_hint
from planish.base.settings import components_in, explain
from planish.base.strict_yaml import parse_yaml

__all__ = ["Config", "Field", "dump_config", "load_config"]


class Config(BaseModel):
    """A component's settings. Every field has a bound or a choice, and one sentence.

    Settings named in `changeable` may differ when a run resumes: the result does not depend on them.
    """

    changeable: ClassVar[frozenset[str]] = frozenset({"device", "tracker", "checkpoint", "out"})
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """Settings of a component that are not given are those of the default that this config declares for it, not those of
        the component's own class. `true` for a component that may be absent is the component with its defaults."""
        if not isinstance(given, dict):
            return given
        values = {name: _switched(cls, name, value) for name, value in cast(Tree, given).items()}
        return _laid_over({name: field.default for name, field in cls.model_fields.items()}, cls, values)


C = TypeVar("C", bound=Config)
Tree = dict[str, Any]


def load_config(
    kind: type[C],
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> C:
    """Reads `file`, lays `values` and then `overrides` over it, and checks the whole.

    `overrides` are `optim.lr=3e-6`; the right side is read as YAML. A setting that does not exist is named, with the
    nearest that does.
    """
    tree = _read_yaml(Path(file)) if file is not None else {}
    for key, value in (values or {}).items():
        _assign(tree, key.split("."), value, key)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{override}' is not a setting: write key=value, for example optim.lr=3e-6")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"'{override}': the right side is read as YAML ({_problem(error)}); put it into quotes: {key}='\"…\"'"
            ) from None
        if kind.model_config.get("extra") == "ignore" and key.split(".")[0] not in kind.model_fields:
            raise ConfigError(f"'{override}' is no setting here; there are {', '.join(kind.model_fields)}")
        _assign(tree, key.split("."), value, override)
    return validate(kind, tree, str(file) if file is not None else "the settings")


def validate(kind: type[C], tree: Tree, source: str) -> C:
    """The settings as their class, or an error that names `source` and the setting."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(kind, error, source)) from None


def _switched(kind: type[Config], name: str, value: Any) -> Any:
    field = kind.model_fields.get(name)
    if isinstance(value, bool) and field and field.default is None and bool not in get_args(field.annotation):
        return ({} if value else None) if components_in(field.annotation) else value
    return value


def _laid_over(defaults: Tree, kind: type[Config], given: Tree) -> Tree:
    """The given settings; those within a component over the component's default. One of several kinds by name stands alone."""
    filled = dict(given)
    for name, value in given.items():
        default = defaults.get(name)
        if (
            isinstance(value, dict)
            and isinstance(default, Config)
            and kind.model_fields[name].annotation is type(default)
        ):
            own = {each: getattr(default, each) for each in type(default).model_fields}
            filled[name] = {**own, **_laid_over(own, type(default), cast(Tree, value))}
    return filled


def changeable_settings(config: Config, prefix: str = "") -> Iterator[str]:
    """The keys of settings that may differ when a run resumes; all below such a key may, too."""
    for name in type(config).model_fields:
        value, key = getattr(config, name), f"{prefix}{name}"
        if name in config.changeable:
            yield key
        elif isinstance(value, Config):
            yield from changeable_settings(value, f"{key}.")
        elif isinstance(value, dict):
            for inner, item in cast(Tree, value).items():
                if isinstance(item, Config):
                    yield from changeable_settings(item, f"{key}.{inner}.")


def without(tree: Tree, keys: Collection[str], prefix: str = "") -> Tree:
    """The settings but for those of these dotted keys."""
    return {
        name: without(cast(Tree, value), keys, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in tree.items()
        if f"{prefix}{name}" not in keys
    }


def is_below(key: str, keys: Collection[str]) -> bool:
    """True if a dotted key is one of these, or below one."""
    words = key.split(".")
    return any(".".join(words[:n]) in keys for n in range(1, len(words) + 1))


def dump_config(config: Config) -> str:
    """The resolved settings as YAML, in the order in which they are declared."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> Tree:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.{recipes_hint(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            f"{path}{f', line {mark.line + 1}' if mark else ''}: not valid YAML: {_problem(error)}"
        ) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of settings, this is a {type(tree).__name__}")
    return cast(Tree, tree)


def _problem(error: yaml.YAMLError) -> str:
    """The problem, without its place."""
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    return ": ".join(filter(None, parts)) or str(error)


def _assign(tree: Tree, keys: list[str], value: Any, shown: str) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"'{shown}': {key} is a single value, it holds no further settings")
        tree = cast(Tree, below)
    tree[keys[-1]] = value


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves by their dotted keys: {"a": {"b": 1}} is {"a.b": 1}. Lists and empty dictionaries are leaves."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    items = cast(dict[Any, Any], tree).items()
    return {k: v for key, below in items for k, v in flat(below, f"{prefix}.{key}" if prefix else str(key)).items()}
