"""What is wrong with a claim is said in one sentence, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planish.cli.main import main
from support.claims import write_claim

SFT: dict[str, Any] = {
    "function": None,
    "run": "sft",
    "changes": {"model.path": "MODEL", "data.sources.rows.path": "ROWS", "steps": 1},
    "arms": {"a": {}, "b": {"optim.lr": 1e-3}},
    "measures": {"loss": {"of": "metric", "field": "held_out/all"}},
    "criteria": [{"says": "lower", "measure": "loss", "arm": "a", "minus": "b", "below": 0}],
}
SO = {"says": "so", "measure": "value", "arm": "some", "above": 0}


def criterion(**more: Any) -> dict[str, Any]:
    return {"criteria": [{key: value for key, value in {**SO, **more}.items() if value is not None}]}


def sft(**more: Any) -> dict[str, Any]:
    return {**SFT, **more}


def measure(**more: Any) -> dict[str, Any]:
    return sft(measures={"loss": more})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"sentenze": "x"}, "unknown setting 'sentenze'; did you mean 'sentence'?"),
        ({"criteria": None}, "'criteria' is needed and absent"),
        ({"function": None}, "the arm none has nothing to run: set recipe, run"),
        ({"recipe": "recipes/wind_tunnel.yaml"}, "has either a recipe or a function"),
        ({"function": "support.claims:absent"}, "has no absent"),
        (
            {"function": "support.claims:wrong", "arms": {"some": {}}, **criterion()},
            "returned seven, expected numbers by the name",
        ),
        ({"function": "support.claims:failing", "arms": {"some": {}}, **criterion()}, "KeyError: 'nothing'"),
        ({"arms": "both"}, "arms: 'both' is no set of mixtures"),
        ({"arms": 3}, "arms is a int: expected names with the settings"),
        ({"arms": {"x": [1, 2], "some": {}}}, "arms: x is a list of values and some is not"),
        ({"arms": {"x": []}}, "arms: a list of values is empty"),
        ({"arms": {"some": 3}}, "arms: some is 3: expected the settings that it changes"),
        ({"arms": {"a/b": {}}}, "arms: 'a/b' is no name"),
        ({"seeds": 0}, "'seeds' is 0"),
        (criterion(above=None), "'so' needs one bound: above, below or within"),
        (criterion(below=1), "'so' needs one bound"),
        (criterion(arm="sme"), "'so': there is no arm 'sme'; there is some"),
        (criterion(minus="nil"), "there is no arm 'nil'"),
        (criterion(minus="*"), "minus is *, and takes one arm"),
        (criterion(measure="vale"), "there is no measure vale; there are value, mean, exact"),
        (sft(run="stf"), "run is 'stf'; it names a command: "),
        (sft(recipe="recipes/none.yaml"), "recipe: recipes/none.yaml: there is no such file"),
        (
            sft(run=None, recipe="recipes/world_sft.yaml"),
            "has no stages; of a recipe for one command, `run` says which",
        ),
        (sft(criteria=[{"says": "s", "measure": "lss", "below": 0}]), "there is no measure 'lss'; there is loss"),
        (
            sft(arms={"a": {"optim.lrr": 1}, "b": {}}),
            "arm a: stages.sft: unknown setting 'optim.lrr'; did you mean 'optim.lr'?",
        ),
        (
            sft(arms={"a": {"leave_out": "data.sources.web"}, "b": {}}),
            "the recipe has no sft.data.sources.web to leave out",
        ),
        (
            sft(run=None, recipe="recipes/instructgpt.yaml"),
            "changes: data.sources.rows.path: there is no stage 'data'; there are sft, reward",
        ),
        (measure(of="metrics", field="x"), "measures.loss.of is 'metrics'; there are wins, score, "),
        (measure(of="metric"), "metric needs field: set measures.loss.field"),
        (measure(of="wins", system="a"), "wins is read from the output of compare, and the stage sft is sft"),
        (measure(of="metric", field="x", stage="ppo"), "measures.loss.stage: there is no stage 'ppo'; there are sft"),
    ],
)
def test_a_bad_claim_is_told(
    more: dict[str, Any],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_model: Path,
    tiny_data: dict[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "changes" in more:
        more = more | {
            "changes": {**more["changes"], "model.path": str(tiny_model), "data.sources.rows.path": tiny_data["first"]}
        }
    with pytest.raises(SystemExit) as caught:
        main(["claims", "run", write_claim(tmp_path / "mine.yaml", **more)])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "E99"], "there is no claim 'E99'; there is "),
        (["run", "absent.yaml"], "absent.yaml: there is no such file"),
        (["rnu", "E1"], "'action' is 'rnu'"),
        (["show"], "planish claims show needs a claim, such as E1"),
        (["run", "E17", "arms=sums"], "arms: there is no arm 'sums'; there are sum, "),
        (["run", "E17", "seeds=0"], "seeds is 0: at least one"),
        (["run", "E17", "seeds=[-1]"], "seeds"),
        (["run", "E17", "changes.steps=2"], "changes and world are for arms with a recipe"),
        (["verify", "E17", "--seed", "99"], "E17: seed 99 cannot be verified: its ledger has 0, 1"),
        (["verify", "E1"], "E1: seed 0 cannot be verified: it has not been run"),
        (["run", "E17", "--jobs", "0"], "'jobs' is"),
    ],
)
def test_a_bad_command_is_told(words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["claims", *words])
    assert says in str(caught.value)


def test_a_ledger_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text('{"claim": "mine"}')
    with pytest.raises(SystemExit, match=r"mine\.json: is no ledger of claims: "):
        main(["claims", "show", write_claim(tmp_path / "mine.yaml"), "--out", str(tmp_path)])
