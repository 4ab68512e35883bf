"""Models side by side: the real command on tiny models, with each kind of judge."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError, PlanishError, RunError
from planish.base.files import one_process_in
from planish.base.model_folder import names_of_models
from planish.cli.main import main
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.prompts import import_prompts
from planish.evaluate.compare import answers as compare_answers
from planish.evaluate.compare.run import CompareConfig, compare
from planish.inference.best_of_n import kl_of_best
from planish.methods.reward_model import RewardConfig, reward_model
from planish.models.load import ModelConfig, load_model, save_model
from planish.world.make import make_world, open_world
from support.llm_server import Sent, llm_server
from support.worlds import ci_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def other(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with other weights."""
    model, tokenizer = load_model(ModelConfig(path=str(tiny_model)), CPU), load_tokenizer(tiny_model)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    save_model(model, tokenizer, folder := tmp_path_factory.mktemp("models") / "other")
    return folder


@pytest.fixture(scope="module")
def reward(tiny_model: Path, tiny_data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"model.path": str(tiny_model), "data.sources": {"compared": {"path": tiny_data["compared"]}}, "steps": 3}
    out = tmp_path_factory.mktemp("reward") / "rm"
    return reward_model(load_config(RewardConfig, values={**values, "out": str(out), "optim.lr": 1e-2}))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(ci_config(), tmp_path_factory.mktemp("worlds") / "ci").path


@pytest.fixture
def given(tiny_model: Path, other: Path, reward: Path, tmp_path: Path) -> dict[str, Any]:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"say {i} red"}) + "\n" for i in range(25)))
    return {
        "models": {"first": {"path": str(tiny_model)}, "second": {"path": str(other)}},
        "prompts": str(prompts),
        "judge": {"name": "reward", "path": str(reward)},
        "sampling.max_completion_tokens": 6,
        "out": str(tmp_path / "out"),
    }


def config(values: dict[str, Any], **changes: Any) -> CompareConfig:
    return load_config(CompareConfig, values={**values, **changes})


def lines_of(out: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "answers.jsonl").read_text().splitlines()]


SAMPLED = {"sampling.temperature": 1.0, "num_samples": 3}


# What comes out


def test_win_rate_is_that_of_the_scores_in_the_file(given: dict[str, Any]) -> None:
    found = compare(config(given, **SAMPLED))
    first, second = found.systems
    assert first.against is None
    assert second.against is not None
    credit = [
        (np.sign(b["score"] - a["score"]) + 1) / 2
        for line in lines_of(given["out"])
        for a, b in zip(line["answers"]["first"], line["answers"]["second"], strict=True)
    ]
    assert len(credit) == 25 * 3
    assert second.against.rate.value == pytest.approx(np.mean(credit))
    assert second.against.wins == credit.count(1)
    assert second.gain is not None
    assert second.score is not None
    assert first.score is not None
    assert second.gain.value == pytest.approx(second.score.value - first.score.value)
    written = json.loads((Path(given["out"]) / "comparison.json").read_text())
    assert written["systems"][1]["against"]["rate"]["value"] == second.against.rate.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no folder", "models.second: .*nothing: there is no such folder"),
        ("a reward model", "models.second: .*is a reward model, which gives scores and no text"),
        ("no judge", "nothing: there is no such folder"),
        ("a judge that is no reward model", "says nothing of the mean score"),
        ("no reward model to choose", "nothing: there is no such folder"),
        ("no documents", "nothing.jsonl"),
        ("a judge without a server", "judge http://127.0.0.1:9/.*refused"),
        ("no room", "prompts.jsonl row 1: .*max_completion_tokens=300"),
        ("two processes", "another process is at work in this folder"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_model_answers(
    change: str, said: str, given: dict[str, Any], reward: Path, other: Path, tmp_path: Path
) -> None:
    second = lambda path: {"models": {**given["models"], "second": {"path": str(path)}}}  # noqa: E731
    nothing, out = str(tmp_path / "nothing"), Path(given["out"])
    changes: dict[str, dict[str, Any]] = {
        "no folder": second(nothing),
        "a reward model": second(reward),
        "no judge": {"judge": {"name": "reward", "path": nothing}},
        "a judge that is no reward model": {"judge": {"name": "reward", "path": str(other)}},
        "no reward model to choose": {"best_of": {"reward": nothing, "n": 2}},
        "no documents": {"documents": {"sources": {"some": {"path": f"{nothing}.jsonl"}}}},
        "a judge without a server": {"judge": {"name": "llm", "base_url": "http://127.0.0.1:9", "model": "m"}},
        "no room": {"sampling.max_completion_tokens": 300},
        "two processes": {},
    }
    with one_process_in(out) if change == "two processes" else nullcontext(), pytest.raises(PlanishError, match=said):
        compare(config(given, **changes[change]))
    assert not (out / "answers").exists()


def test_a_judge_that_never_names_an_answer_is_an_error_and_one_that_seldom_does_a_warning(
    given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def judged(reply: Any) -> Any:
        with llm_server(reply) as server:
            changes = {
                "judge": {"name": "llm", "base_url": server.url, "model": "m"},
                "limit": 12,
                "sampling.temperature": 1.0,
            }
            return compare(config(given, **changes))

    with pytest.raises(
        RunError, match=r"second: the judge named no answer in 1\d of 1\d pairs, such as 'Both'.*no win rate"
    ):
        judged(lambda body, number: Sent("Both"))
    Path(given["out"], "replies.jsonl").unlink()
    found = judged(lambda body, number: Sent("A" if number % 4 else "Both"))
    assert 0 < found.systems[1].unread < 12
    assert "warning: second: the judge named no answer in" in capsys.readouterr().err


def test_model_against_itself_is_a_tie_throughout(given: dict[str, Any], tiny_model: Path) -> None:
    twin = {**given, "models": {name: {"path": str(tiny_model)} for name in ("one", "two")}}
    found = compare(config(twin, **SAMPLED))  # the noise of an answer comes from its place, so they say the same
    against = found.systems[1].against
    assert against is not None
    assert (against.wins, against.ties, against.losses) == (0, 75, 0)
    assert against.rate.value == 0.5


def test_kl_to_itself_is_none_and_to_another_is_the_mean_log_ratio(given: dict[str, Any], tiny_model: Path) -> None:
    found = compare(config(given, **SAMPLED, **{"reference": str(tiny_model)}))
    own, its = (each.kl for each in found.systems)
    assert own is not None
    assert its is not None
    assert own.value == pytest.approx(0, abs=1e-9)
    ratios = [each["log_ratio"] for line in lines_of(given["out"]) for each in line["answers"]["second"]]
    assert its.value == pytest.approx(np.mean(ratios))
    assert its.low is not None
    assert its.low > 0


def test_kl_agrees_with_the_models_own_logits(given: dict[str, Any], tiny_model: Path, other: Path) -> None:
    """One answer of one prompt, its log-ratio from the plain forward passes of both models."""
    values = config(given, **{"sampling.temperature": 1.0, "limit": 1, "reference": str(tiny_model)})
    policy, reference = (
        compare_answers.PolicyAnswers(ModelConfig(path=str(path)), CPU) for path in (other, tiny_model)
    )
    prompt = policy.encode(import_prompts(given["prompts"]))[0]
    [[completion]] = policy.sample([prompt], values.sampling, 1, 0)
    tokens = torch.tensor([[*prompt, *completion.tokens]])
    sums: list[float] = []
    for path in (other, tiny_model):
        logits = load_model(ModelConfig(path=str(path)), CPU)(input_ids=tokens).logits[0, len(prompt) - 1 : -1]
        sums.append(torch.log_softmax(logits, -1).gather(1, tokens[0, len(prompt) :, None]).sum().item())
    [found] = compare_answers.log_ratios(policy, reference, [prompt], [[completion]], 256)
    assert found == pytest.approx(sums[0] - sums[1], abs=1e-4)


def test_best_of_n_scores_more_than_the_baseline_and_knows_its_kl(
    given: dict[str, Any], tiny_model: Path, reward: Path
) -> None:
    changes = {"best_of": {"reward": str(reward), "n": 8}, "reference": str(tiny_model)}
    found = compare(config(given, **SAMPLED, **changes))
    assert [each.name for each in found.systems] == ["first", "second", "best-of-8"]
    best = found.systems[-1]
    assert best.gain is not None
    assert best.gain.low is not None
    assert best.gain.low > 0
    assert best.against is not None
    # chosen among 8 draws of their own, the best beats one more draw in 8 of 9 cases, were there no ties
    assert best.against.rate.value == pytest.approx(8 / 9, abs=0.1)
    assert best.kl_at_most == kl_of_best(8)
    assert best.kl is None


def test_gold_judge_tells_utility_by_kind(given: dict[str, Any], world: Path) -> None:
    changes = {"prompts": str(world / "prompts" / "test.jsonl"), "limit": 12}
    found = compare(config(given, judge={"name": "gold", "world": str(world)}, **changes))
    asked = {line["answers"]["first"][0]["kind"] for line in lines_of(given["out"])}
    assert [*found.systems[0].kinds] == [*sorted(asked), "all"]
    kinds = [found.systems[1].kinds[kind] for kind in asked]
    assert sum(kind.prompts for kind in kinds) == found.prompts == 12
    total = sum(kind.utility.value * kind.prompts for kind in kinds) / 12
    assert found.systems[1].kinds["all"].utility.value == pytest.approx(total)
    for kind in kinds:  # the terms are what the utility is the sum of
        assert sum(kind.terms.values()) == pytest.approx(kind.utility.value, abs=1e-5)
    assert found.systems[1].score is not None
    assert found.systems[1].score.value == pytest.approx(total)
    judge = open_world(world)
    line = lines_of(given["out"])[3]
    said = line["answers"]["second"][0]
    assert said["score"] == pytest.approx(judge.judge(line["prompt"][-1]["content"], said["text"]).utility, abs=1e-6)


def test_gold_judge_refuses_a_prompt_of_no_world(given: dict[str, Any], world: Path) -> None:
    with pytest.raises(DataError, match=r"prompts.jsonl row 1: the world does not understand"):
        compare(config(given, judge={"name": "gold", "world": str(world)}))


# What is kept


def test_answers_are_used_again_while_weights_and_settings_are_the_same(
    given: dict[str, Any], other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = shutil.copytree(other, tmp_path / "moving")
    values = {**given, "models": {**given["models"], "second": {"path": str(moving)}}}
    asked: list[int] = []
    monkeypatch.setattr(compare_answers, "sample", lambda *a, **k: asked.append(1) or sample(*a, **k))
    before = compare(config(values, **SAMPLED))
    assert len(asked) == 2
    assert compare(config(values, **SAMPLED)) == before
    assert len(asked) == 2
    shutil.rmtree(moving)
    shutil.copytree(given["models"]["first"]["path"], moving)
    after = compare(config(values, **SAMPLED))
    assert len(asked) == 3  # of the second alone
    assert after.systems[1].against != before.systems[1].against
    compare(config(values, **{**SAMPLED, "num_samples": 2}))
    assert len(asked) == 5


def test_repeated_prompt_is_one_cluster(given: dict[str, Any]) -> None:
    file = Path(given["prompts"])
    file.write_text(file.read_text() * 2)
    found = compare(config(given))
    assert found.prompts == 50
    assert found.systems[1].against is not None
    assert found.systems[1].against.prompts == 25


sample = compare_answers.sample


# Settings and the command


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_samples": 2}, "at temperature 0 all would be the same"),
        ({"reference": "x"}, "set sampling.temperature=1"),
        ({"baseline": "third"}, "there are first, second"),
        ({"judge": {"name": "gold", "wrld": "x"}}, "unknown setting 'judge.wrld'; did you mean 'judge.world'?"),
        ({"models": {"a/b": {"path": "x"}}}, "names files"),
        ({"models": {"alone": {"path": "x"}}}, "alone has nothing to be compared to"),
        ({"models": {"best-of-4": {"path": "x"}}, "best_of": {"reward": "y", "n": 4}}, "the system that best_of adds"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_model_loads(
    given: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        config(given, **changes)


def test_models_are_named_by_what_keeps_them_apart() -> None:
    assert names_of_models(["runs/sft", "runs/dpo/model"]) == ["sft", "dpo"]
    assert names_of_models(["runs/a/sft", "runs/b/sft"]) == ["a-sft", "b-sft"]
    with pytest.raises(ConfigError, match="named twice"):
        names_of_models(["runs/sft", "runs/sft"])


def test_command_writes_the_comparison_and_prints_a_table(
    given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [model["path"] for model in given["models"].values()]
    flags = ["--prompts", given["prompts"], "--judge", "reward", "--reward", given["judge"]["path"]]
    main(["compare", *paths, *flags, "--out", given["out"], "sampling.max_completion_tokens=6", "limit=8"])
    said = capsys.readouterr().out
    assert re.search(r"wins over tiny\s+at equal length\s+won/tied/lost\s+score\s+gain\s+tokens\s+ended", said)
    assert re.search(r"other\s+[\d.]+% \([\d.]+ to [\d.]+%\)", said)
    assert json.loads((Path(given["out"]) / "comparison.json").read_text())["prompts"] == 8
