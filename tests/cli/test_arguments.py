"""What is typed becomes settings, and what cannot be is told with the nearest that can."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from planish.base.command import load
from planish.base.errors import ConfigError
from planish.cli.arguments import build_parser, kind_of, read_request
from planish.cli.main import main
from planish.cli.results import RESULTS
from planish.commands import COMMANDS
from support.refusals import refused


def request(*words: str) -> Any:
    options, rest = build_parser().parse_known_args(words)
    return read_request(options, rest)


def test_every_command_names_a_config_and_a_function_that_exist() -> None:
    for name, command in COMMANDS.items():
        assert callable(load(command.function)), name
        if command.config:
            fields = load(command.config).model_fields
            for argument in (*command.words, *command.flags):
                assert argument.setting.split(".")[0] in fields, f"{name} {argument.name}"
            assert name in RESULTS


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("optim.lr=1e-4", "setting"),
        ("data.sources.my-file.path=a b", "setting"),
        ("3 + 4 = 7", "text"),
        ("pypi:some==1.0/rows.json", "text"),
        ("runs/lr=1", "text"),
        ("recipe.yaml", "recipe"),
        ("model", "model"),
        ("run", "model"),
        ("rows.jsonl", "file"),
        ("a=b.jsonl", "file"),
        ("What is love?", "text"),
        ("x" * 5000, "text"),
        ("", "text"),
    ],
)
def test_a_word_is_a_setting_a_recipe_a_model_a_file_or_text(
    word: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("model", "run/model"):
        Path(folder).mkdir(parents=True)
    Path("model/config.json").write_text("{}")
    for file in ("rows.jsonl", "a=b.jsonl"):
        Path(file).write_text("{}")
    assert kind_of(word) == kind


def test_flags_and_words_give_settings() -> None:
    found = request(
        "sft", "r.yaml", "--model", "M", "--data", "a/x.jsonl", "lr=1", "--data", "y.json.gz", "--out", "R", "z=2"
    )
    assert (found.recipe, found.settings) == ("r.yaml", ["lr=1", "z=2"])
    assert found.values == {
        "model.path": "M",
        "data.sources.x": {"path": "a/x.jsonl"},
        "data.sources.y": {"path": "y.json.gz"},
        "out": "R",
    }


@pytest.mark.parametrize("command", ["sft", "pretrain", "reward", "dpo", "data mix"])
def test_columns_are_those_of_all_files_of_data(command: str) -> None:
    found = request(*command.split(), "--columns", "prompt=Q,completion=A", "--data", "x.csv", "--data", "y.csv")
    assert found.values == {
        "data.sources.x": {"path": "x.csv"},
        "data.sources.y": {"path": "y.csv"},
        "data.sources.x.columns": "prompt=Q,completion=A",
        "data.sources.y.columns": "prompt=Q,completion=A",
    }


def test_columns_without_a_file_are_refused_with_the_setting_of_a_recipe() -> None:
    with pytest.raises(
        ConfigError, match=r"--columns goes with --data FILE; in a recipe set data\.sources\.NAME\.columns"
    ):
        request("sft", "r.yaml", "--columns", "prompt=Q")


def test_a_table_is_inspected_and_converted_by_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("Frage,Antwort\nName a fruit.,A pear.\n", encoding="utf-8")
    columns = ["--columns", "prompt=frage,completion=antwort"]
    assert "Name the columns, such as --columns prompt=Frage" in refused(lambda: main(["data", "inspect", "a.csv"]))
    main(["data", "inspect", "a.csv", *columns])
    assert "prompt_completion (prompt=Frage,completion=Antwort)" in capsys.readouterr().out
    main(["data", "convert", "a.csv", *columns, "--out", "a.jsonl"])
    written = json.loads(Path("a.jsonl").read_text(encoding="utf-8"))
    assert [turn["content"] for turn in written["messages"]] == ["Name a fruit.", "A pear."]


def test_columns_of_files_are_not_for_the_sources_of_a_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {sources: {mine: {path: a.csv}}}\n", encoding="utf-8")
    said = refused(lambda: main(["data", "inspect", str(recipe), "--columns", "prompt=Frage"]))
    assert "columns is for files; in a recipe each source has its own" in said


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    found = request("sft", "--data", "a/train.jsonl", "--data", "b/train.jsonl")
    assert [*found.values] == ["data.sources.a-train", "data.sources.b-train"]
    with pytest.raises(Exception, match="named twice"):
        request("sft", "--data", "a.jsonl", "--data", "a.jsonl")


def test_words_before_between_and_behind_flags_keep_their_order() -> None:
    for words in (["M", "P", "--out", "o", "n=2"], ["--out", "o", "M", "n=2", "P"], ["M", "n=2", "--out", "o", "P"]):
        found = request("best", *words)
        assert found.values == {"model.path": "M", "prompts": "P", "out": "o"}
        assert found.settings == ["n=2"]


def test_a_reward_of_ppo_is_a_path_beside_which_further_settings_have_room() -> None:
    assert request("ppo", "--reward", "runs/rm").values == {"rewards.reward": {"path": "runs/rm"}}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stf"], "there is no command 'stf'; did you mean 'planish sft'?"),
        (["data", "inpsect"], "there is no command 'data inpsect'; did you mean 'planish data inspect'?"),
        (["xyzzy"], "there are pretrain, sft, "),
        (["sft", "--lr", "1e-4"], "settings are written without dashes: optim.lr=1e-4"),
        (["sft", "--learning-rate=1e-4"], "settings are written without dashes: optim.lr=1e-4"),
        (["sft", "--optim.lr", "1e-4"], "optim.lr=1e-4"),
        (["sft", "--modle", "x"], "did you mean --model?"),
        (["sft", "--xyzzy"], "planish sft --help lists flags and settings"),
    ],
)
def test_what_the_parser_does_not_know_is_told_with_the_nearest(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sft"], "planish sft --model models/smollm2 --data recipes/data/alpaca.json --out runs/sft"),
        (["sample"], "planish sample models/smollm2 "),
        (["data", "mix"], "planish data mix recipes/"),
        (["sft", "a.yaml", "b.yaml"], "one recipe at a time: a.yaml, b.yaml"),
        (["sft", "rows.jsonl"], "rows.jsonl: is a file: write --data rows.jsonl"),
        (["sft", "steps", "3"], "steps: there is no such file or folder; a setting is written steps=…"),
        (["sample", "M", "P", "Q"], "Q: "),
        (
            ["sft", "--model", "models/nothing", "--data", "rows.jsonl", "--out", "r"],
            "models/nothing: there is no such folder",
        ),
    ],
)
def test_what_the_settings_do_not_hold_is_told(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(json.dumps({"instruction": "a", "output": "b"}))
    assert says in refused(lambda: main(words))


def test_a_command_of_one_process_is_refused_on_several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "start it without torchrun" in refused(lambda: main(["sample", "M", "P", "--out", "o.jsonl"]))


def imported(code: str) -> str:
    code += "\nimport sys; print([m for m in ('torch', 'transformers', 'pydantic', 'yaml') if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("words", [["--help"], ["sft", "--help"], ["settings", "sft", "lr"], ["settings"]])
def test_help_and_settings_import_nothing_heavy(words: list[str]) -> None:
    code = f"from planish.cli.main import main\ntry: main({words})\nexcept SystemExit: pass"
    assert imported(code).endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        ("sft --model a --data d.json", ["a"]),
        ("sample a p.jsonl --out o.jsonl", ["a"]),
        ("compare a b --prompts p.jsonl --reward c --reference d", ["a", "b", "c", "d"]),
        ("world ask Q A", []),
    ],
)
def test_models_of_words_and_flags(arguments: str, models: list[str]) -> None:
    assert request(*arguments.split()).models() == models


def test_a_model_that_is_not_here_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = "import sys; from planish.cli.main import main\n"
    code += "try: main(['chat', 'runs/none'])\nexcept SystemExit as error: print(error.code)\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["planish: runs/none: there is no such folder.", "False"]
