"""Plug-ins: formats, losses, advantage estimators, rewards, judges and filters of your own.

`module:name` names one. The modules in the setting `plugins` are imported before the other settings are read; a name that planish
does not know is looked up in them.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, cast

import pydantic as p
from pydantic_core import CoreSchema, core_schema

from planish.base.config import Config, Tree, validate
from planish.base.errors import ConfigError, users_line

DOTTED = re.compile(r"\w+(?:\.\w+)*:\w+")  # module:name
_modules: dict[str, ModuleType] = {}  # those of `plugins`, in order


def import_plugin(module: str, setting: str) -> ModuleType:
    """A module on Python's path, or beside where the command runs."""
    sys.path.insert(0, "")  # as `python -m` would
    try:
        return import_module(module)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{setting}: {error}. Expected a module in {Path.cwd()} or on Python's path") from error
    except Exception as error:
        raise ConfigError(f"{setting}: cannot be imported: {users_line(error, '')}") from error
    finally:
        sys.path.remove("")


def _import_all(modules: tuple[str, ...]) -> tuple[str, ...]:
    _modules.update({module: import_plugin(module, f"plugins={module}") for module in modules})
    return modules


ABOUT = "modules of yours to import: formats, losses, estimators, rewards, judges, filters (docs/howto/plug-ins.md)"
Names = Annotated[tuple[str, ...], p.BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Plugins = Annotated[Names, p.AfterValidator(_import_all), p.Field(description=ABOUT)]


def code_of(name: str) -> list[Path]:
    """The file of an imported module, and those that it imports from the folder in which it was found. Of an installed package
    the module alone: its version says the rest."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return []
    start = Path(file)
    root = start.parents[name.count(".") + (start.name == "__init__.py")]
    if "site-packages" in root.parts:
        return [start]
    found = [start]
    for path in found:  # grows as it is read
        package = (root / path).parent.relative_to(root).parts
        found += [other for other in _imports(path, root, package) if other not in found]
    return [start, *sorted(found[1:])]


def source_of(name: str) -> str:
    """The text of a function module:name; empty if it is not to be had."""
    module, _, attribute = name.partition(":")
    try:
        return inspect.getsource(vars(sys.modules[module])[attribute])
    except (KeyError, TypeError, OSError):
        return ""


def _imports(path: Path, root: Path, package: tuple[str, ...]) -> list[Path]:
    """The files below `root` that a file imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError):
        return []
    names: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = (*above, *(node.module or "").split(".")) if node.module else above
            names += [module, *((*module, alias.name) for alias in node.names)]
    files = [file for parts in names if parts for file in _files_of(root, parts)]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def _files_of(root: Path, parts: tuple[str, ...]) -> list[Path]:
    """Where a module and the packages around it would be."""
    inner = [root.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    return [*inner, root.joinpath(*parts[:-1], f"{parts[-1]}.py")]


def find_plugin(name: str, setting: str, kind: type | None = None) -> Any:
    """The function, or with a `kind` its subclass, that `name` names. None if it has no colon and no plug-in knows it."""
    path, _, attribute = name.rpartition(":")
    modules = [import_plugin(path, f"{setting}={name}")] if path else [*_modules.values()]
    found = next((vars(module)[attribute] for module in modules if attribute in vars(module)), None)
    if found is None and path:
        raise ConfigError(f"{setting}={name}: {path} ({modules[0].__file__}) has no {attribute}")
    fits = callable(found) if kind is None else isinstance(found, type) and issubclass(found, kind)
    if found is not None and not fits:
        expected = f"a subclass of {kind.__module__}.{kind.__name__}" if kind else "a function"
        raise ConfigError(f"{setting}={name}: is {found!r}, expected {expected}")
    return found


def find_function(name: str, setting: str) -> Callable[..., Any]:
    """The function that `name` names."""
    if (function := find_plugin(name, setting)) is None:
        raise ConfigError(f"{setting}={name}: expected module:function, or a function of a module in plugins")
    return function


@dataclass(frozen=True)
class OrPlugin:
    """Annotates a union of settings that `name` tells apart. An unknown name may be that of a plug-in: a subclass of `base`, or a
    function, which becomes the setting `function` of the class `function`."""

    setting: str
    base: type[Config] | None = None
    function: type[Config] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: p.GetCoreSchemaHandler) -> CoreSchema:
        dump = core_schema.plain_serializer_function_ser_schema(Config.model_dump)  # with the plug-in's own fields
        return core_schema.no_info_wrap_validator_function(self._choose, handler(source), serialization=dump)

    def _choose(self, value: Any, known: p.ValidatorFunctionWrapHandler) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        try:
            return known(value)
        except p.ValidationError as error:
            problem = error.errors()[0]
            if problem["loc"] or not problem["type"].startswith("union_tag") or not (chosen := self._plugin(value)):
                raise
            return chosen

    def _plugin(self, value: Any) -> Config | None:
        if self.base and isinstance(value, self.base):  # made in Python
            return value.model_copy(update={"name": f"{type(value).__module__}:{type(value).__name__}"})
        name = cast(Tree, value).get("name") if isinstance(value, dict) else None
        found = find_plugin(name, self.setting, self.base) if isinstance(name, str) else None
        if found is None or self.function is None:
            return validate(found, value, f"{self.setting}={name}") if found else None
        return validate(self.function, {**value, "name": "function", "function": name}, self.setting)
