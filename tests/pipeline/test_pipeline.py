"""A recipe of stages does what is not done yet, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from planish import __version__
from planish.base.config import load_config
from planish.base.errors import ConfigError, PlanishError, RunError
from planish.cli.main import main
from planish.commands import STAGES
from planish.pipeline.config import PipelineConfig
from planish.pipeline.run import Pipeline, plan_pipeline, run_pipeline
from planish.train.checkpoint import Checkpoints
from planish.train.record import read_lines
from support.rows import tiny_rows

SHORT: dict[str, Any] = {"steps": 2, "batch": {"examples": 4}}


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    """A file that a test may change."""
    file = tmp_path / "demonstrations.json"
    file.write_text(json.dumps(tiny_rows(12)))
    return file


@pytest.fixture
def recipe(tiny_model: Path, tiny_data: dict[str, str], demonstrations: Path, tmp_path: Path) -> PipelineConfig:
    """sft, then reward and dpo from it, then best of both sft and reward."""

    def learns(command: str, model: str, path: str, **more: Any) -> dict[str, Any]:
        return {
            "run": command,
            "model": {"path": model},
            "data": {"sources": {"rows": {"path": path}}},
            **SHORT,
            **more,
        }

    best = {"run": "best", "model": {"path": "{sft}"}, "reward": {"path": "{reward}"}, "prompts": str(demonstrations)}
    stages = {
        "sft": learns("sft", str(tiny_model), str(demonstrations), num_samples=0),
        "reward": learns("reward", "{sft}", tiny_data["compared"]),
        "best": {**best, "n": 2, "sampling": {"max_completion_tokens": 2, "temperature": 1.0}},
        "dpo": learns("dpo", "{sft}", tiny_data["compared"], num_samples=0),
    }
    return PipelineConfig(out=str(tmp_path / "out"), stages=stages)


def without(recipe: PipelineConfig, *names: str) -> PipelineConfig:
    return recipe.model_copy(update={"stages": {k: v for k, v in recipe.stages.items() if k not in names}})


def with_stages(recipe: PipelineConfig, **stages: Any) -> PipelineConfig:
    return recipe.model_copy(update={"stages": {**recipe.stages, **stages}})


def anew(done: Pipeline) -> list[str]:
    return [each.stage for each in done.stages if not each.before]


def reasons(recipe: PipelineConfig, *overrides: str) -> dict[str, str]:
    return {stage.name: reason for stage, reason in plan_pipeline(recipe, overrides)}


def keys(recipe: PipelineConfig, *overrides: str) -> dict[str, str]:
    return {stage.name: stage.key for stage, _ in plan_pipeline(recipe, overrides)}


def records(out: Path, part: str = "stages") -> list[dict[str, Any]]:
    return json.loads((out / "pipeline.json").read_text())[part]


# What is done, and what is not done again


@pytest.mark.slow
def test_stages_are_done_once_and_a_change_redoes_what_depends_on_it(recipe: PipelineConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run_pipeline(recipe)
    assert anew(first) == ["sft", "reward", "best", "dpo"]
    assert len((out / "best.jsonl").read_text().splitlines()) == 12  # one for each prompt
    for each in records(out):
        assert (out / each["folder"]).exists()
        assert each["state"] == "done"
        assert each["folder"].removesuffix(".jsonl") == f"{each['name']}-{each['key'][:8]}"
    assert (out / "reward").readlink() == Path(first.paths["reward"].name)
    assert yaml.safe_load((out / "dpo" / "config.yaml").read_text())["model"]["path"] == str(first.paths["sft"])

    assert anew(run_pipeline(recipe)) == []

    changed = run_pipeline(recipe, ["stages.reward.optim.lr=1e-3"])
    assert anew(changed) == ["reward", "best"]
    assert changed.paths["sft"] == first.paths["sft"]
    assert (out / "reward").resolve() == changed.paths["reward"].resolve() != first.paths["reward"].resolve()
    assert [each["name"] for each in records(out, "earlier")] == ["reward", "best"]

    back = run_pipeline(recipe)
    assert anew(back) == []
    assert back.paths == first.paths
    assert (out / "reward").resolve() == first.paths["reward"].resolve()


@pytest.mark.slow
def test_a_changed_file_redoes_what_reads_it_and_a_touched_one_nothing(
    recipe: PipelineConfig, demonstrations: Path
) -> None:
    recipe = without(recipe, "best", "dpo")
    text = demonstrations.read_text()
    first = run_pipeline(recipe)
    os.utime(demonstrations, (1, 1))
    assert anew(run_pipeline(recipe)) == []
    demonstrations.write_text(json.dumps(tiny_rows(13)))
    assert reasons(recipe) == {"sft": f"file {demonstrations} changed", "reward": "input sft changed"}
    assert anew(run_pipeline(recipe)) == ["sft", "reward"]
    demonstrations.write_text(text)
    assert run_pipeline(recipe).paths == first.paths


def test_a_stage_whose_output_is_gone_is_done_again(recipe: PipelineConfig) -> None:
    recipe = without(recipe, "reward", "best", "dpo")
    path = run_pipeline(recipe).paths["sft"]
    path.rename(path.with_name("moved"))
    assert reasons(recipe) == {"sft": "its output is gone"}
    assert anew(run_pipeline(recipe)) == ["sft"]
    assert (path / "model" / "config.json").exists()


def test_a_stage_says_why_it_would_be_done(recipe: PipelineConfig, tmp_path: Path) -> None:
    recipe = without(recipe, "best", "dpo")
    assert reasons(recipe) == {"sft": "never run", "reward": "never run"}
    assert not (tmp_path / "out").exists()
    run_pipeline(recipe)
    assert reasons(recipe) == {"sft": "done", "reward": "done"}
    assert reasons(recipe, "stages.sft.optim.lr=1e-4", "stages.sft.seed=3") == {
        "sft": "setting optim.lr changed from 2e-05 to 0.0001; setting seed changed from 0 to 3",
        "reward": "input sft changed",
    }
    assert reasons(recipe, "stages.reward.data.sources.rows.limit=9")["reward"].startswith(
        "setting data.sources.rows.limit"
    )
    other = with_stages(recipe, reward=recipe.stages["sft"])
    assert reasons(other)["reward"] == "command changed from reward to sft"
    moved = load_config(PipelineConfig, None, ["stages.reward.model.path='{sft}/model'"], recipe.model_dump())
    assert reasons(moved)["reward"] == "setting model.path changed from {sft} to {sft}/model"


def test_reasons_compare_with_what_the_recipe_was_last(recipe: PipelineConfig) -> None:
    recipe = without(recipe, "reward", "best", "dpo")
    for now, change in (("2e-05", []), ("0.001", ["stages.sft.optim.lr=1e-3"]), ("2e-05", [])):
        run_pipeline(recipe, change)
        assert reasons(recipe, "stages.sft.optim.lr=1e-4")["sft"] == f"setting optim.lr changed from {now} to 0.0001"


def test_another_planish_does_all_anew(recipe: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = without(recipe, "reward", "best", "dpo")
    run_pipeline(recipe)
    for module in ("pipeline.stages", "pipeline.history"):
        monkeypatch.setattr(f"planish.{module}.__version__", "99")
    assert reasons(recipe) == {"sft": f"planish changed from {__version__} to 99"}


def test_the_key_holds_what_the_result_depends_on(recipe: PipelineConfig, demonstrations: Path, tmp_path: Path) -> None:
    known = keys(recipe)
    assert keys(recipe, f"out={tmp_path / 'elsewhere'}") == known
    assert keys(recipe, "stages.sft.device=cpu", "stages.sft.checkpoint.every=7") == known
    assert keys(recipe, "stages.sft.optim.lr=0.00002") == known  # the default
    two = {"a": {"path": str(demonstrations)}, "b": {"path": str(demonstrations), "weight": 2}}
    turned = dict(reversed(two.items()))
    [some, others] = [
        keys(with_stages(recipe, sft={**recipe.stages["sft"], "data": {"sources": sources}}))["sft"]
        for sources in (two, turned)
    ]
    assert some != others  # sources in another order make another mixture


def test_a_word_that_is_also_a_folder_is_no_input(
    recipe: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = keys(recipe)["dpo"]
    (tmp_path / "dpo").mkdir()  # as loss.name
    (tmp_path / "dpo" / "notes.txt").write_text("x")
    assert keys(recipe)["dpo"] == known


def test_of_a_run_that_is_an_input_only_its_model_counts(recipe: PipelineConfig, tmp_path: Path) -> None:
    run = run_pipeline(without(recipe, "reward", "best", "dpo")).paths["sft"].rename(tmp_path / "run")
    known = keys(recipe, f"stages.sft.model.path={run}")["sft"]
    (run / "metrics.jsonl").write_text("")
    assert keys(recipe, f"stages.sft.model.path={run}")["sft"] == known
    (run / "model" / "chat_template.jinja").write_text("changed")
    assert keys(recipe, f"stages.sft.model.path={run}")["sft"] != known


def test_a_reward_function_is_an_input(
    tiny_model: Path, demonstrations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/short.py").write_text("def score(prompts, completions): return [0.0 for _ in completions]\n")
    rewards = {"short": {"name": "function", "function": "mine.short:score"}}
    models = {"model": {"path": str(tiny_model)}, "value": {"shared": True}}
    ppo = {"run": "ppo", **models, "rewards": rewards, "prompts": {"all": str(demonstrations)}}
    recipe = PipelineConfig(out="out", stages={"ppo": ppo})
    known = keys(recipe)["ppo"]
    Path("mine/short.py").write_text("def score(prompts, completions): return [1.0 for _ in completions]\n")
    assert keys(recipe)["ppo"] != known


# Stopped and taken up


@pytest.mark.slow
def test_stopped_within_a_stage_it_carries_on_within_it(
    recipe: PipelineConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = load_config(
        PipelineConfig, None, ["stages.reward.checkpoint.every=1"], without(recipe, "dpo").model_dump()
    )
    save = Checkpoints.save

    def stop(self: Checkpoints, step: int) -> None:
        save(self, step)
        if "reward" in str(self.folder) and step == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(recipe)
    assert [each["state"] for each in records(tmp_path / "out")] == ["done", "stopped", "waiting"]
    assert reasons(recipe) == {"sft": "done", "reward": "begun, not finished", "best": "never run"}
    metrics = tmp_path / "out" / records(tmp_path / "out")[1]["folder"] / "metrics.jsonl"
    before = metrics.read_text()
    assert anew(run_pipeline(recipe)) == ["reward", "best"]
    assert metrics.read_text().startswith(before)  # with the time that step 1 took: it was not done again
    assert [line["step"] for line in read_lines(metrics) if "loss" in line] == [1, 2]
    run_pipeline(recipe, [f"out={tmp_path / 'straight'}"])
    for file in ("reward/model/model.safetensors", "best.jsonl"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()


def test_an_error_names_its_stage_and_what_is_done_stays_done(recipe: PipelineConfig, tmp_path: Path) -> None:
    recipe = without(recipe, "best", "dpo")
    with pytest.raises(RunError, match=r"^stages\.reward: .*it holds demonstrations; expected comparisons"):
        run_pipeline(recipe, [f"stages.reward.eval_sets.few={tmp_path / 'demonstrations.json'}"])
    assert [each["state"] for each in records(tmp_path / "out")] == ["done", "failed"]
    assert anew(run_pipeline(recipe)) == ["reward"]


@pytest.mark.slow
def test_a_killed_process_leaves_a_pipeline_that_carries_on(recipe: PipelineConfig, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "recipe.yaml"
    changes = ["stages.dpo.steps=15", "stages.dpo.checkpoint.every=1", "stages.dpo.evaluate_every=0"]
    recipe = load_config(PipelineConfig, None, changes, without(recipe, "reward", "best").model_dump())
    recipe = with_stages(recipe, last={**recipe.stages["sft"], "model": {"path": "{dpo}"}})
    file.write_text(yaml.safe_dump(recipe.model_dump(), sort_keys=False))
    process = subprocess.Popen([sys.executable, "-m", "planish", "run", str(file)], stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(out.glob("dpo-*/checkpoints/step-00000002")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [each["state"] for each in records(out)] == ["done", "running", "waiting"]
    [metrics] = out.glob("dpo-*/metrics.jsonl")
    before = [line for line in read_lines(metrics) if line["step"] <= 2]
    assert anew(run_pipeline(file)) == ["dpo", "last"]
    lines = read_lines(metrics)
    assert lines[: len(before)] == before
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 16))


def test_while_a_pipeline_runs_a_second_start_is_refused(
    recipe: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = without(recipe, "reward", "best", "dpo")
    save, refused = Checkpoints.save, list[str]()

    def start_again(self: Checkpoints, step: int) -> None:
        with pytest.raises(RunError, match="another process is running this pipeline") as told:
            run_pipeline(recipe)
        refused.append(str(told.value))
        save(self, step)

    monkeypatch.setattr(Checkpoints, "save", start_again)
    run_pipeline(recipe)
    assert len(refused) == 1


# Mistakes, told before anything is done


def test_every_command_says_where_its_output_lies() -> None:
    for command in STAGES.values():
        with pytest.raises(ConfigError, match="'no_such_setting'") as told:
            load_config(command.load_config_class(), values={"out": "x", "no_such_setting": 1})
        assert "'out'" not in str(told.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["stages.dpo.optim.lrr=1"], r"stages\.dpo: unknown setting 'optim\.lrr'; did you mean 'optim\.lr'\?"),
        (["stages.dpo.loss.beta=-1"], r"stages\.dpo: 'loss\.beta' is -1: .*greater than 0"),
        (["stages.dpo.out=runs/x"], r"stages\.dpo\.out: the pipeline says where"),
        (["stages.dpo.run=dpoo"], r"stages\.dpo\.run is 'dpoo'; it names a command: pretrain, sft"),
        (["stages.dop.optim.lr=1"], r"stages\.dop has no run"),
        (["stages.dpo.model.path='{stf}'"], r"stages\.dpo\.model\.path: there is no stage 'stf'; there is sft\."),
        (
            ["stages.dpo.model.path={sft}"],
            r"stages\.dpo: in YAML, the name of a stage is quoted: \"\{sft\}\"",
        ),
        (["stages.dpo.model.path='{dpo}'"], r"stages\.dpo: needs itself: dpo needs dpo"),
        (["stages.sft.model.path='{dpo}'"], r"stages\.sft: needs itself: sft needs dpo needs sft"),
        (["stages.reward.eval_sets.x='{best}'"], r"stages\.reward: needs itself: reward needs best needs reward"),
        (["stages.best.prompts='{dpo}'"], r"stages\.best: names 'dpo', which is written after it: write dpo first"),
        (["stages.dpo.eval_sets.x=absent.jsonl"], r"stages\.dpo\.eval_sets\.x=absent\.jsonl: no such file or folder"),
        (["stages.sft.model.path=models/absent"], r"stages\.sft\.model\.path=models/absent: no such file or folder"),
        (["stages.dpo.reference=./absent"], r"stages\.dpo\.reference=\./absent: no such file or folder"),
        (["stages.dpo.reference=OUT/sft"], r"stages\.dpo\.reference=.*: is the pipeline's own folder, lies in it or"),
        (["stages.dpo.reference=OUT/.."], r"stages\.dpo\.reference=.*lies in it or holds it"),
        (["stages.dpo={run: dpo, model.path: x}"], r"stages\.dpo: 'model\.path' has dots"),
        (["stages.a b.run=sft"], r"a stage cannot be called 'a b'"),
        (["stage={}"], r"unknown setting 'stage'; did you mean 'stages'\?"),
    ],
)
def test_a_mistake_in_any_stage_stops_all(
    recipe: PipelineConfig, changes: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_pipeline(recipe, [change.replace("OUT", str(tmp_path / "out")) for change in changes])
    assert not (tmp_path / "out").exists()


def test_names_on_the_hub_and_in_packages_are_left_to_be_found(recipe: PipelineConfig) -> None:
    paths = ["stages.sft.model.path=Qwen/Qwen3-0.6B", "stages.sft.data.sources.rows.path=pypi:some==1.0/rows.json"]
    assert reasons(recipe, *paths)["sft"] == "never run"


def test_braces_written_twice_are_plain_text(recipe: PipelineConfig, tmp_path: Path) -> None:
    (tmp_path / "{x}.json").write_text(json.dumps(tiny_rows(12)))
    [(stage, _), *_] = plan_pipeline(recipe, [f"stages.sft.data.sources.rows.path='{tmp_path}/{{{{x}}}}.json'"])
    assert stage.told["files"].keys() >= {f"{tmp_path}/{{x}}.json"}


def test_a_folder_that_is_something_else_is_not_touched(recipe: PipelineConfig, tmp_path: Path) -> None:
    recipe = without(recipe, "reward", "best", "dpo")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match=r"holds files, and no pipeline\.json"):
        run_pipeline(recipe)
    with pytest.raises(RunError, match="is a file; out= names a folder"):
        run_pipeline(recipe, [f"out={tmp_path / 'out' / 'thesis.txt'}"])
    run_pipeline(recipe, [f"out={tmp_path / 'other'}"])
    (tmp_path / "other" / "sft").unlink()
    (tmp_path / "other" / "sft").mkdir()
    with pytest.raises(RunError, match="sft: is not of this pipeline"):
        run_pipeline(recipe, [f"out={tmp_path / 'other'}"])


def test_one_process_only(recipe: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PlanishError, match="start each command by itself with torchrun"):
        run_pipeline(recipe)


# From the command line


@pytest.mark.slow
def test_a_recipe_from_a_world_to_a_page(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stages: dict[str, Any] = {
        "world": {"run": "world", "size": "ci", "comparisons": 20},
        "sft": {
            "model": {"path": str(tiny_model)},
            "data": {"sources": {"a": {"path": "{world}/sources/alpaca.json"}}},
        },
        "more": {"model": {"path": "{sft}"}, "data": {"sources": {"b": {"path": "{world}/sources/idk.jsonl"}}}},
        "said": {"run": "sample", "model": {"path": "{more}"}, "prompts": "{world}/prompts/dev.jsonl"},
    }
    for name in ("sft", "more"):
        stages[name] |= {"run": "sft", **SHORT, "num_samples": 0}
        stages[name]["data"] |= {"max_held_out": 4, "max_tokens": 200, "too_long": "truncate"}
    stages["said"] |= {"max_completion_tokens": 2, "temperature": 1.0, "num_samples": 3}
    Path("recipe.yaml").write_text(yaml.safe_dump({"out": "runs/all", "stages": stages}, sort_keys=False))
    main(["run", "recipe.yaml", "stages.more.batch.examples=3", "--dry-run"])
    assert capsys.readouterr().out.count("never run") == 4
    main(["run", "recipe.yaml", "stages.more.batch.examples=3"])
    shown = capsys.readouterr()
    assert "[1/4] world: planish world make (never run)\n" in shown.err
    assert "page:  planish report runs/all\n" in shown.out
    note = json.loads(Path("runs/all/world/world.json").read_text())
    assert (note["settings"]["comparisons"], note["settings"]["parts"]) == (20, 24)  # 24 as in size ci
    assert len(Path("runs/all/said.jsonl").read_text().splitlines()) == 3 * note["rows"]["prompts/dev.jsonl"]
    main(["report", "runs/all"])
    page = Path("runs/all/report.html").read_text()
    assert page.index("sft-") < page.index("more-")
    assert "2 runs side by side" in page
    capsys.readouterr()
    main(["run", "recipe.yaml", "stages.more.batch.examples=3"])
    assert capsys.readouterr().out.count("done before") == 4


def test_data_scores_questions_and_a_page_are_stages_too(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "questions.jsonl").write_text(
        '{"prompt": "red?", "answers": ["blue"]}\n{"prompt": "cat?", "answers": ["dog"]}\n'
    )
    rows = {"sources": {"rows": {"path": "{common}"}}}
    stages: dict[str, Any] = {
        "common": {"run": "convert", "files": [tiny_data["compared"]], "kind": "comparisons"},
        "rm": {"run": "reward", "model": {"path": str(tiny_model)}, "data": rows, **SHORT},
        "scores": {"run": "score", "model": {"path": "{rm}"}, "rows": "{common}"},
        "known": {"run": "know", "model": {"path": str(tiny_model)}, "questions": str(tmp_path / "questions.jsonl")},
        "page": {"run": "report", "runs": ["{rm}"]},
    }
    stages["known"]["probe"] = {"shots": 1, "prompts": 1}
    recipe = PipelineConfig(out=str(tmp_path / "out"), stages=stages)
    paths = run_pipeline(recipe).paths
    scored, known = (
        [json.loads(line) for line in paths[name].read_text().splitlines()] for name in ("scores", "known")
    )
    assert [len(row["scores"]) for row in scored][:3] == [2, 3, 4]  # as many as completions
    assert [row["category"] for row in known] == ["Unknown", "Unknown"]
    assert paths["page"].read_text().startswith("<!DOCTYPE html>")
    assert anew(run_pipeline(recipe)) == []


def test_a_page_of_a_pipeline_without_a_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text("out: all\nstages:\n  tunnel: {run: world, size: ci}\n")
    main(["run", "recipe.yaml"])
    assert "planish report" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no stage of this pipeline has started"):
        main(["report", "all"])
