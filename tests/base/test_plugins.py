"""Names that planish does not know: those of a module of the reader's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field as Tag

from planish.base import plugins
from planish.base.config import Config, Field, dump_config, load_config
from planish.base.errors import ConfigError
from planish.base.plugins import OrPlugin, Plugins, find_function

MODULE = """
from tests_of_plugins import Shape

class Hexagon(Shape):
    side: float = 1.0

def area(side):
    return side * side

number = 7
"""


class Shape(Config):
    name: Any = None


class Circle(Shape):
    name: Literal["circle"] = "circle"
    radius: float = Field(default=1.0, gt=0)


class Square(Shape):
    name: Literal["square"] = "square"


class Measured(Config):
    name: Literal["function"] = "function"
    function: str
    weight: float = 1.0


class Settings(Config):
    plugins: Plugins = ()
    shape: Annotated[Circle | Square, Tag(discriminator="name"), OrPlugin("shape.name", Shape)] = Circle()
    reward: Annotated[Measured | Square, Tag(discriminator="name"), OrPlugin("reward", function=Measured)] = Square()


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """my_shapes.py in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tests_of_plugins", sys.modules[__name__])
    monkeypatch.setattr(plugins, "_modules", {})
    (tmp_path / "my_shapes.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("my_shapes", None)


def read(*overrides: str) -> Settings:
    return load_config(Settings, overrides=overrides)


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(*overrides)
    return str(error.value)


def test_a_class_of_the_readers_is_chosen_by_module_and_name_and_read_back_from_its_yaml(module: Path) -> None:
    config = read("shape.name=my_shapes:Hexagon", "shape.side=2")
    assert (type(config.shape).__name__, config.shape.side) == ("Hexagon", 2.0)  # pyright: ignore[reportAttributeAccessIssue]
    assert "shape:\n  name: my_shapes:Hexagon\n  side: 2.0\n" in dump_config(config)
    (module / "run.yaml").write_text(dump_config(config))
    assert load_config(Settings, "run.yaml") == config


def test_a_name_alone_is_looked_up_in_the_modules_of_plugins() -> None:
    assert type(read("plugins=my_shapes", "shape.name=Hexagon").shape).__name__ == "Hexagon"
    assert "'shape.name' is 'Octagon'; there are circle, square" in refused("plugins=[my_shapes]", "shape.name=Octagon")


def test_a_plug_in_made_in_python_is_named_for_the_yaml() -> None:
    config = Settings(shape=find_class()(side=3.0))
    assert dump_config(config).split("shape:")[1].startswith("\n  name: my_shapes:Hexagon\n  side: 3.0\n")


def find_class() -> Any:
    return plugins.find_plugin("my_shapes:Hexagon", "shape.name", Shape)


def test_names_of_the_library_are_read_and_refused_as_before() -> None:
    assert read("shape={name: circle, radius: 2}").shape == Circle(radius=2)
    assert read("shape=square").shape == Square()  # a name alone
    assert "'shape.radius' is -1" in refused("shape={name: circle, radius: -1}")
    assert "unknown setting 'shape.radios'; did you mean 'shape.radius'?" in refused("shape={name: circle, radios: 1}")


def test_a_function_becomes_the_setting_function() -> None:
    expected = Measured(function="my_shapes:area")
    assert read("reward=my_shapes:area").reward == read("reward.name=my_shapes:area").reward == expected
    assert read("reward={name: my_shapes:area, weight: 2}").reward == Measured(function="my_shapes:area", weight=2)
    assert read("plugins=my_shapes", "reward=area").reward == Measured(function="area")
    assert find_function("area", "reward")(3) == 9


def test_each_mistake_is_named(module: Path) -> None:
    assert "plugins=nowhere: No module named 'nowhere'. Expected a module in" in refused("plugins=nowhere")
    assert "shape.name=nowhere:X: No module named 'nowhere'" in refused("shape.name=nowhere:X")
    near = f"shape.name=my_shapes:Hexagone: my_shapes ({module / 'my_shapes.py'}) has no Hexagone"
    assert refused("shape.name=my_shapes:Hexagone") == near
    assert "expected a subclass of tests_of_plugins.Shape" in refused("shape.name=my_shapes:area").replace(
        __name__, "tests_of_plugins"
    )
    assert refused("reward=my_shapes:number") == "reward=my_shapes:number: is 7, expected a function"
    wrong = refused("shape.name=my_shapes:Hexagon", "shape.sid=2")
    assert wrong == "shape.name=my_shapes:Hexagon: unknown setting 'sid'; did you mean 'side'?"
    with pytest.raises(ConfigError, match="expected module:function, or a function of a module in plugins"):
        find_function("area", "reward.function")
