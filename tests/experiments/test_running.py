"""Claims are run, decided, written into the ledger, shown and verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import planish
from planish.base.errors import ConfigError, RunError
from planish.cli.main import main
from planish.experiments import run
from planish.experiments.claim import ClaimConfig, claim_names, expanded, load_claim
from planish.experiments.command import Again, ClaimsConfig, claims, work_of
from planish.experiments.ledger import SHIPPED, check_ledger, opened, read_ledger, write_ledger
from planish.experiments.recipe import pipeline_of
from planish.experiments.run import check_work, run_claim
from planish.experiments.verdict import decide
from support.claims import claim, write_claim


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "claims")


def run_of(path: str, out: str, **more: Any) -> Any:
    [state] = claims(ClaimsConfig(action="run", claim=path, out=out, **more))
    return state


# A claim of numbers


def test_a_claim_is_run_decided_shown_and_verified(
    tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_claim(tmp_path / "mine.yaml")
    main(["claims", "run", path, "--out", out])
    assert "Reproduced: 1 of 1 criterion holds, in 3 seeds." in capsys.readouterr().out
    ledger = json.loads((Path(out) / "mine.json").read_text())
    [decision] = ledger["decisions"]
    # the same noise in both arms: the difference is 2 for every prompt and seed
    assert (decision["value"], decision["seeds"], decision["prompts"], decision["answer"]) == (
        pytest.approx(2),
        3,
        20,
        "holds",
    )
    assert len(ledger["measures"]["some"]["value"]) == 3
    page = (Path(out) / "mine.html").read_text()
    assert "some is more than none" in page
    assert f"planish claims verify {path} --seed 0" in page
    main(["claims", "show", path, "--out", out])
    main(["claims", "verify", path, "--seed", "2", "--out", out])
    assert capsys.readouterr().out.count(" same") == 6  # two arms, three measures


def test_a_claim_is_a_function_of_the_public_door_too(tmp_path: Path, out: str) -> None:
    [state] = planish.claims("run", write_claim(tmp_path / "mine.yaml"), out=out, seeds=4)
    assert (state.ledger.verdict, state.ledger.seeds) == ("reproduced", [0, 1, 2, 3])


def test_seeds_in_processes_of_their_own_give_the_same_ledger(tmp_path: Path, out: str) -> None:
    path = write_claim(tmp_path / "mine.yaml")
    run_of(path, out)
    run_of(path, f"{out}-2", jobs=2)
    assert (Path(out) / "mine.json").read_bytes() == (Path(f"{out}-2") / "mine.json").read_bytes()


def test_fewer_seeds_or_arms_are_a_trial_that_leaves_the_ledger_open(tmp_path: Path, out: str) -> None:
    path = write_claim(tmp_path / "mine.yaml")
    state = run_of(path, out, seeds=1)
    assert state.ledger.claim == "mine.trial"
    assert read_ledger(Path(out), "mine") is None
    assert run_of(path, out, arms="some").ledger.decisions == []  # nothing to subtract
    assert run_of(path, out, seeds=4).ledger.seeds == [0, 1, 2, 3]  # more are the claim


def test_a_seed_that_comes_out_otherwise_is_told(tmp_path: Path, out: str) -> None:
    path = write_claim(tmp_path / "mine.yaml")
    run_of(path, out)
    file = Path(out) / "mine.json"
    ledger = json.loads(file.read_text())
    ledger["measures"]["some"]["exact"] = [{"value": 1.5, "low": None, "high": None, "n": 1}] * 3
    file.write_text(json.dumps(ledger))
    found = claims(ClaimsConfig(action="verify", claim=path, out=out))
    answers = {(one.arm, one.measure): one.answer for one in found if isinstance(one, Again)}
    assert (answers["some", "exact"], answers["some", "value"]) == ("outside", "same")
    with pytest.raises(SystemExit, match=r"exact of some is 1; the ledger has 1\.5"):
        main(["claims", "verify", path, "--out", out])


@pytest.mark.parametrize(
    ("criterion", "answer"),
    [
        ({"arm": "some", "above": 1.0}, "holds"),
        ({"arm": "some", "below": 1.0}, "opposite"),
        ({"arm": "none", "above": 0.0}, "not shown"),
        ({"arm": "none", "within": 1.5}, "holds"),
        ({"arm": "none", "within": 0.01}, "not shown"),
        ({"arm": "some", "within": 0.5}, "opposite"),
    ],
)
def test_a_criterion_is_decided_by_its_interval(
    criterion: dict[str, Any], answer: str, tmp_path: Path, out: str
) -> None:
    config = ClaimConfig(**claim(criteria=[{"says": "so", "measure": "value", **criterion}]))
    found = {arm: {"value": [run_values(arm, seed) for seed in range(5)]} for arm in ("none", "some")}
    verdict, [decision] = decide(config, found)
    assert decision.answer == answer
    assert verdict == {"holds": "reproduced", "opposite": "opposite", "not shown": "not reproduced"}[answer]


def run_values(arm: str, seed: int) -> dict[str, float]:
    from support.claims import drawn

    return drawn(seed, 2.0 if arm == "some" else 0.0)["value"]


def test_criteria_of_a_claim_share_the_chance_of_an_error() -> None:
    criteria = [{"says": str(bound), "measure": "value", "arm": "some", "above": bound} for bound in (1.6, 1.0)]
    found = {arm: {"value": [run_values(arm, seed) for seed in range(5)]} for arm in ("none", "some")}
    _, decisions = decide(ClaimConfig(**claim(criteria=criteria)), found)
    _, [alone] = decide(ClaimConfig(**claim(criteria=criteria[:1])), found)
    assert decisions[0].holm >= alone.holm
    assert decisions[1].holm == pytest.approx(2 * decide(ClaimConfig(**claim(criteria=criteria[1:])), found)[1][0].holm)


# Stages of a recipe


def test_values_of_settings_become_arms() -> None:
    assert expanded({"optim.lr": [1e-4, "1e-3"], "model.lora.rank": [4]}) == {
        "lr=0.0001, rank=4": {"optim.lr": 1e-4, "model.lora.rank": 4},
        "lr=1e-3, rank=4": {"optim.lr": "1e-3", "model.lora.rank": 4},
    }
    assert [*expanded({"sft.seed": [1], "ppo.seed": [2]})] == ["sft.seed=1, ppo.seed=2"]


def of_recipe(tmp_path: Path, tiny_model: Path, rows: str, **more: Any) -> str:
    changes = {
        "model.path": str(tiny_model),
        "data": {"sources": {"rows": {"path": rows}, "more": {"path": rows}}, "max_held_out": 4},
        "steps": 1,
        "batch.examples": 2,
        "num_samples": 0,
    }
    settings = {
        "function": None,
        "run": "sft",
        "changes": changes,
        "arms": {"slow": {"optim.lr": 1e-6}, "fast": {"optim.lr": 1e-2, "leave_out": "data.sources.more"}},
        "seeds": 2,
        "measures": {"loss": {"of": "metric", "field": "held_out/all"}},
        "criteria": [{"says": "fast is lower", "measure": "loss", "arm": "fast", "minus": "slow", "below": 0}],
    }
    return write_claim(tmp_path / "mine.yaml", **settings | more)


def test_arms_change_the_recipe_and_seeds_every_stage(
    tmp_path: Path, tiny_model: Path, tiny_data: dict[str, str]
) -> None:
    config = load_claim(of_recipe(tmp_path, tiny_model, tiny_data["first"]))
    made = pipeline_of(config, "fast", 7, tmp_path, {"steps": 3}, {}).stages["sft"]
    assert [*made["data"]["sources"]] == ["rows"]
    assert (made["seed"], made["steps"], made["optim"]) == (7, 3, {"lr": 1e-2})
    assert len(pipeline_of(config, "slow", 7, tmp_path, {}, {}).stages["sft"]["data"]["sources"]) == 2


@pytest.mark.slow
def test_a_claim_that_was_stopped_carries_on_to_the_same_bytes(
    tmp_path: Path, out: str, tiny_model: Path, tiny_data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = of_recipe(tmp_path, tiny_model, tiny_data["first"])
    run_of(path, out)
    count, real = 0, run.run_pipeline

    def stopped(config: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return real(config)

    monkeypatch.setattr(run, "run_pipeline", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_of(path, f"{out}-2")
    run_of(path, f"{out}-2")
    assert count == 5  # the stopped one was begun twice, none that was done
    assert (Path(out) / "mine.json").read_bytes() == (Path(f"{out}-2") / "mine.json").read_bytes()
    assert len(read_ledger(Path(out), "mine").keys["fast"]) == 2  # type: ignore[union-attr]


# Those that come with planish


@pytest.mark.parametrize("name", claim_names())
def test_the_ledger_has_the_criteria_as_they_were_fixed(name: str) -> None:
    ledger = read_ledger(SHIPPED, name)
    assert ledger is not None, "python docs/make_claims.py fixes the criteria of a new claim"
    check_ledger(ledger, load_claim(name))
    assert (ledger.verdict == "open") == (not ledger.version)


@pytest.mark.parametrize("name", claim_names())
def test_every_arm_of_a_claim_can_be_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    work = work_of(name, ClaimsConfig(out=str(tmp_path / "out")))
    check_work(work)
    assert work.claim.source
    assert work.claim.not_shown
    assert work.claim.if_reproduced
    assert work.claim.if_not


def test_a_criterion_that_is_changed_after_the_runs_is_refused(tmp_path: Path, out: str) -> None:
    path = write_claim(tmp_path / "mine.yaml")
    run_of(path, out)
    write_claim(tmp_path / "mine.yaml", sentence="In other words.")
    run_of(path, out)  # prose may change
    criteria = [{"says": "easier", "measure": "value", "arm": "some", "above": 0.0}]
    write_claim(tmp_path / "mine.yaml", criteria=criteria)
    for action in ("run", "show"):
        with pytest.raises(RunError, match="the claim was changed after its criteria were fixed: criteria"):
            claims(ClaimsConfig(action=action, claim=path, out=out))


def test_a_ledger_that_is_edited_is_refused(tmp_path: Path) -> None:
    config = ClaimConfig(**claim())
    write_ledger(tmp_path, opened("mine", config))
    file = tmp_path / "mine.json"
    file.write_text(file.read_text().replace('"above": 1.0', '"above": 0.5'))
    ledger = read_ledger(tmp_path, "mine")
    assert ledger is not None
    with pytest.raises(RunError, match="was changed by hand"):
        check_ledger(ledger, config)


def test_a_stop_before_the_first_run_leaves_the_criteria_fixed(tmp_path: Path) -> None:
    work = work_of(
        write_claim(tmp_path / "mine.yaml", arms={"none": {}, "some": {"effect": "two"}}),
        ClaimsConfig(out=str(tmp_path)),
    )
    with pytest.raises((RunError, ConfigError)):
        run_claim(work)
    ledger = read_ledger(tmp_path, "mine")
    assert ledger is not None
    assert (ledger.verdict, ledger.digest) == ("open", work.claim.digest)
