"""Names that a reader meets: one class for each public name, and a docstring that tells what a package holds."""

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

import planish

SOURCE = Path(planish.__file__).parent


def modules() -> dict[str, ast.Module]:
    files = sorted(SOURCE.rglob("*.py"))
    return {str(file.relative_to(SOURCE)): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def test_no_two_public_classes_have_one_name():
    homes: dict[str, list[str]] = defaultdict(list)
    for file, module in modules().items():
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(file)
    assert len(homes) > 100
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_every_package_says_what_it_holds():
    packages = {
        file: ast.get_docstring(module) or "" for file, module in modules().items() if file.endswith("__init__.py")
    }
    assert len(packages) > 10
    assert [file for file, text in packages.items() if len(text.split("\n")[0].split()) < 5] == []


@pytest.mark.parametrize("room", ["data", "world"])
def test_the_way_through_a_room_names_files_and_objects_that_exist(room: str):
    text = importlib.import_module(f"planish.{room}").__doc__ or ""
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+)\.(\w+)`", text)
    assert len(named) > 8
    for path, name in named:
        home = next(home for home in (SOURCE / room, SOURCE) if (home / f"{path}.py").is_file())
        module = importlib.import_module(".".join((home / path).relative_to(SOURCE.parent).parts))
        assert name == "py" or hasattr(module, name), f"{path} has no {name}"
