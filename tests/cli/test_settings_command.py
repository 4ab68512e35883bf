"""Settings are listed and searched in the terminal, from a file that says what the configs say."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from planish.cli.main import main
from planish.cli.settings import FILE, settings_of_commands
from planish.commands import COMMANDS
from support.recipes import ROOT
from support.refusals import refused


@pytest.fixture(scope="module")
def make_settings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_file_say_what_the_configs_say(make_settings: ModuleType) -> None:
    for path, text in ((ROOT / "docs" / "settings.md", make_settings.page()), (FILE, make_settings.data())):
        assert path.read_text(encoding="utf-8") == text, "run python docs/make_settings.py"


def test_the_settings_that_help_shows_exist() -> None:
    every = settings_of_commands()
    assert {name: {*command.shown} - {row[0] for row in every.get(name, [])} for name, command in COMMANDS.items()} == {
        name: set() for name in COMMANDS
    }


def test_help_shows_the_settings_that_people_use_and_where_the_rest_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sft", "--help"])
    shown = capsys.readouterr().out
    assert "optim.lr=2e-05" in shown
    assert "steps (absent)" in shown
    assert "optim.eps" not in shown
    assert f"all {len(settings_of_commands()['sft'])} settings: planish settings sft" in shown
    assert "planish sft --model models/smollm2 --data recipes/data/alpaca.json --out runs/sft" in shown


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    main(["settings", *words])
    return capsys.readouterr().out.splitlines()


def test_settings_of_a_command_are_listed_and_searched(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(listed(capsys, "data", "convert")) >= len(settings_of_commands()["data convert"])
    found = [line.split()[0] for line in listed(capsys, "sft", "lora")]
    assert found == [
        "optim.lr=2e-05",
        "model.lora",
        "model.lora.rank=16",
        "model.lora.alpha=32",
        "model.lora.targets=all-linear",
    ]
    assert any(line.startswith("kl.beta=0.02") for line in listed(capsys, "ppo", "kl"))


def test_all_commands_are_searched_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    title, row, *_ = listed(capsys, "warmup_ratio")
    assert title == "planish pretrain, sft, reward, dpo, kto, ppo"
    assert row.startswith("optim.warmup_ratio=0.03")
    assert [line.split()[0] for line in listed(capsys) if " settings " in line][:2] == ["pretrain", "sft"]
    assert "has xyzzy in its name" in refused(lambda: main(["settings", "xyzzy"]))
