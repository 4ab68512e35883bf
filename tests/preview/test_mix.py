"""What `planish data mix` tells of a recipe, held against what a run of it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from planish.base.errors import ConfigError
from planish.cli.main import main
from planish.commands import COMMANDS
from planish.preview.mix import METHODS, mix, read_recipe
from support.comparison_files import ruled, write
from support.recipes import RECIPES, method_of
from support.refusals import refused


def recipe_of(folder: Path, model: Path, files: dict[str, str], **changes: Any) -> str:
    """Two stages of two sources, two steps in all."""
    sources = {name: {"path": path} for name, path in files.items()}
    one, other = files
    stages = [{"share": 0.5, "weights": {one: 1}}, {"share": 0.5, "weights": {one: 1, other: 3}}]
    recipe = {"model": {"path": str(model)}, "data": {"sources": sources, "stages": stages}, "steps": 2, **changes}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"batch": {"examples": 8}, "out": str(folder / "run"), **recipe}))
    return str(path)


@pytest.mark.parametrize(
    ("command", "files", "changes"),
    [
        ("sft", ("first", "second"), {"num_samples": 0}),
        ("pretrain", ("documents", "first"), {"num_samples": 0}),
        ("reward", ("compared", "ranked"), {"centering": 0.1}),
        ("dpo", ("compared", "ranked"), {"loss": {"name": "ipo"}, "num_samples": 0}),
    ],
)
def test_a_recipe_is_told_as_its_run_writes_it(
    command: str,
    files: tuple[str, ...],
    changes: dict[str, Any],
    tiny_model: Path,
    tiny_data: dict[str, str],
    tmp_path: Path,
) -> None:
    recipe = recipe_of(tmp_path, tiny_model, {name: tiny_data[name] for name in files}, **changes)
    found = mix(read_recipe(recipe))
    assert not (tmp_path / "run").exists()
    main([command, recipe])
    written = json.loads((tmp_path / "run" / "data.json").read_text())
    assert found == {name: written[name] for name in ("sources", "stages")}
    assert [stage["examples"] for stage in found["stages"]] == [8, 8]


def test_stages_of_comparisons_are_shown(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tiny_data[name] for name in ("compared", "ranked")}
    main(["data", "mix", recipe_of(tmp_path, tiny_model, files, margin=0.0)])
    text = " ".join(capsys.readouterr().out.split())
    assert "stage 1: 50.0% of the run, 1 step" in text
    assert "compared 25.00% 2 25.00%" in text  # 1 to 3 of 8
    assert "ranked 75.00% 6 75.00%" in text
    assert "--for" not in text  # only `planish reward` has a margin


@pytest.mark.parametrize("recipe", [path for path in RECIPES if method_of(path) in METHODS], ids=lambda path: path.stem)
def test_the_command_of_every_recipe_is_one_that_reads_it(recipe: Path) -> None:
    """Its files need not be there: what its settings do not tell, the caller does."""
    assert read_recipe(str(recipe), command=method_of(recipe)).command == method_of(recipe)


def test_the_commands_that_may_be_named_are_those_that_are_read() -> None:
    [flag] = [flag for flag in COMMANDS["data mix"].flags if flag.name == "--for"]
    assert flag.choices == tuple(METHODS)


def test_where_settings_fit_several_commands_the_files_tell(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comparisons are for a reward model or DPO, which hold the same; one may say so of files that hold both."""
    compared = recipe_of(tmp_path, tiny_model, {name: tiny_data[name] for name in ("compared", "ranked")})
    assert read_recipe(compared).command == "reward"
    main(["data", "mix", compared])
    assert "as `planish reward` reads it" in capsys.readouterr().out
    said = recipe_of(tmp_path, tiny_model, {name: tiny_data[name] for name in ("first", "second")})
    assert (read_recipe(said).command, read_recipe(said).guessed) == ("sft", True)
    assert (read_recipe(said, command="dpo").command, read_recipe(said, command="dpo").guessed) == ("dpo", False)
    message = refused(lambda: main(["data", "mix", said, "--for", "dpo"]))
    assert "expected comparisons" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"loss": {"name": "dpo", "beta": -1}}, "'loss.beta' is -1"),
        ({"centering": 0.1, "margni": 1}, "unknown setting 'margni'; did you mean 'margin'?"),
        ({"reduction": "mean"}, "'reduction' is 'mean'"),
        ({"epohcs": 2}, "unknown setting 'epohcs'; did you mean 'epochs'?"),
    ],
)
def test_what_no_command_takes_is_named_as_the_nearest_command_does(
    changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    rows = write(tmp_path / "rows.jsonl", ruled(9, 0))
    recipe = recipe_of(tmp_path, tmp_path, {"one": rows, "other": rows}, **changes)
    with pytest.raises(ConfigError) as caught:
        read_recipe(recipe)
    assert str(caught.value).splitlines() == [str(caught.value)]
    assert expected in str(caught.value)


def test_the_best_of_comparisons_is_for_fine_tuning(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", ruled(9, 0))
    recipe = recipe_of(tmp_path, tmp_path, {"one": rows, "other": rows})
    best = ["data.sources.one.take=best", "data.sources.other.take=best"]
    assert (read_recipe(recipe, best).command, read_recipe(recipe, best).guessed) == ("sft", False)
    with pytest.raises(ConfigError, match="take is best"):
        read_recipe(recipe, best, "reward")
