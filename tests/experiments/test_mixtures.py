"""Arms in words: mixtures of a recipe's sources, the ability matrix, what a source is worth, and how far its rows go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from planish.cli.main import main
from planish.data.mixture.order import normalized_weights
from planish.experiments.claim import MEAN, WORST, ClaimConfig
from planish.experiments.command import ClaimsConfig, claims
from planish.experiments.matrix import make_matrix, read_matrix, with_overall
from planish.experiments.matrix_page import curve_text, difference_table, matrix_table, matrix_text, worth_table
from planish.experiments.mixtures import make_mixtures
from planish.experiments.recipe import pipeline_of
from planish.experiments.verdict import decide
from support.mixtures import tiny_mixture, write_recipe

SOURCES = ("a", "b", "c")
OWN = {"a": 1.0, "b": 0.5, "c": -0.2}  # what each source adds to the ability x
WORDS = ["none", "all", "each source alone", "leave one out"]


def test_arms_in_words_have_the_sources_that_they_say() -> None:
    made = make_mixtures([*WORDS, "pairs"], SOURCES, "sft")
    assert made.members == {
        "none": (),
        "all": SOURCES,
        "only a": ("a",),
        "only b": ("b",),
        "only c": ("c",),
        "without a": ("b", "c"),
        "without b": ("a", "c"),
        "without c": ("a", "b"),
        "a + b": ("a", "b"),
        "a + c": ("a", "c"),
        "b + c": ("b", "c"),
    }
    assert made.arms["only b"] == {"sft.data.stages": [{"share": 1.0, "only": ["b"]}]}


def test_of_two_sources_one_left_out_is_the_other_alone() -> None:
    assert [*make_mixtures([*WORDS, "pairs"], ("a", "b"), "sft").members] == ["none", "all", "only a", "only b"]


def test_sizes_are_shares_of_the_training_rows() -> None:
    made = make_mixtures(["sizes", "sizes alone"], ("a",), "sft")
    assert made.sizes["a at 0.03"] == ("a", 0.03)
    assert made.arms["a at 0.1"] == {"sft.data.sources.a.training_share": 0.1}
    assert [*made.arms["only a at 1"]] == ["sft.data.sources.a.training_share", "sft.data.stages"]


def test_only_keeps_the_sources_own_weights() -> None:
    assert normalized_weights(["a", "b", "c"], [10, 30, 60], {"a": None, "c": None}, "x") == pytest.approx(
        (1 / 7, 0, 6 / 7)
    )
    assert normalized_weights(["a", "b"], [10, 30], {"a": 0.2}, "x") == (1.0, 0.0)


# A claim of mixtures


def config_of(words: list[str], tmp_path: Path, **more: Any) -> ClaimConfig:
    settings = {"model": {"path": "m"}, "data": {"sources": {name: {"path": f"{name}.json"} for name in SOURCES}}}
    recipe = write_recipe(tmp_path / "recipe.yaml", settings)
    tree = {"sentence": "x", "run": "sft", "recipe": recipe, "arms": words, **more}
    return ClaimConfig.model_validate(tree)


def found_of(config: ClaimConfig, seeds: int = 3, noise: float = 0.01) -> dict[str, Any]:
    """An ability x that rises with what each source adds, and y that is best with b alone; ten prompts."""
    rng, found = np.random.default_rng(0), dict[str, Any]()
    for arm, members in config.mixtures.items():
        x, y = 1 + sum(OWN[name] for name in members), 1.2 if members == ("b",) else 1.0
        found[arm] = {
            name: [{f"p{i}": value + rng.normal(scale=noise) for i in range(10)} for _ in range(seeds)]
            for name, value in (("x", x), ("y", y))
        }
    return found


ABILITIES = {"x": {"of": "score", "system": "s"}, "y": {"of": "score", "system": "s"}}


def test_the_matrix_knows_the_best_and_the_worst_and_what_a_source_is_worth(tmp_path: Path) -> None:
    config = config_of(WORDS, tmp_path, measures=ABILITIES)
    matrix = make_matrix(config, found_of(config), {})
    rows = dict(matrix_table(matrix).rows)
    assert [arm for arm, cells in rows.items() if cells[2].mark == "best"] == ["without c"]  # 2.5, all have 2.3
    assert [arm for arm, cells in rows.items() if cells[2].mark == "worst"] == ["only c"]  # none, with 1, is aside
    assert [arm for arm, cells in rows.items() if cells[3].mark == "best"] == ["only b"]
    assert {name: worth["x"].value for name, worth in matrix.worth.items()} == pytest.approx(OWN, abs=0.02)
    sure = {name: cells[1].mark for name, cells in worth_table(matrix).rows}
    assert sure == {"a": "sure", "b": "sure", "c": "sure"}
    without_a = dict(difference_table(matrix).rows)["without a"][0]
    assert (without_a.value[:2], without_a.mark) == ("−1", "sure") or without_a.value.startswith("−0.9")
    said = matrix_text(matrix)
    assert said.startswith("Of 7 mixtures, “without c” has the best mean")
    assert "The whole mixture leads in 0 of 2 columns, a single source in 1: y." in said


def test_one_seed_has_intervals_by_prompt(tmp_path: Path) -> None:
    config = config_of(WORDS, tmp_path, measures=ABILITIES)
    matrix = make_matrix(config, found_of(config, seeds=1), {})
    assert matrix.cells["all"]["x"].low is not None
    assert matrix.mean["all"].low is not None
    assert matrix.worth["a"]["x"].low is not None


def test_losses_are_turned_so_that_more_is_better(tmp_path: Path) -> None:
    config = config_of(WORDS, tmp_path)  # the held-out loss of each source
    assert {measure.of for measure in config.measures.values()} == {"row_loss"}
    found = found_of(config)
    found = {arm: {"a": own["x"], "b": own["y"], "c": own["y"]} for arm, own in found.items()}
    matrix = make_matrix(config, found, {})
    assert matrix.worth["a"]["a"].value == pytest.approx(-1, abs=0.02)  # it raises the loss
    best = [arm for arm, cells in matrix_table(matrix).rows if cells[2].mark == "best"]
    assert best == ["only c"]
    assert matrix.worst["all"] == ("a", matrix.worst["all"][1])


def test_without_the_untrained_model_no_source_has_a_worth(tmp_path: Path) -> None:
    config = config_of(WORDS[1:], tmp_path, measures=ABILITIES)
    assert make_matrix(config, found_of(config), {}).worth == {}


def test_criteria_may_be_about_the_mean_and_the_worst_of_all(tmp_path: Path) -> None:
    criteria = [
        {"says": "alone is worse", "measure": MEAN, "arm": "only *", "minus": "all", "below": 0},
        {"says": "b alone leads in y", "measure": "y", "arm": "only b", "minus": "all", "above": 0},
        {"says": "nor worse in the worst", "measure": WORST, "arm": "only c", "minus": "all", "below": 0},
    ]
    config = config_of(WORDS, tmp_path, measures=ABILITIES, criteria=criteria)
    verdict, decisions = decide(config, with_overall(config, found_of(config)))
    assert verdict == "reproduced"
    assert [decision.arm for decision in decisions] == ["only a", "only b", "only c", "only b", "only c"]


def test_a_slope_over_arms_is_a_criterion(tmp_path: Path) -> None:
    arms = {"1": {}, "2": {}, "4": {}}
    so = {"says": "it rises", "measure": "v", "over": {"1": 1, "2": 2, "4": 4}, "above": 0}
    config = ClaimConfig.model_validate({"sentence": "x", "function": "a:b", "arms": arms, "criteria": [so]})
    found = {arm: {"v": [{f"p{i}": 3 * float(arm) + i for i in range(5)} for _ in range(2)]} for arm in arms}
    _, [decision] = decide(config, found)
    assert decision.value == pytest.approx(3)
    assert (decision.arm, decision.answer) == ("slope over arms", "holds")
    assert decide(config, {"1": found["1"]})[1] == []  # of a trial with fewer arms


def test_settings_may_differ_by_seed(tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "recipe.yaml", {"model": {"path": "m"}, "data": {"sources": {"a": {"path": "a"}}}})
    tree = {
        "sentence": "x",
        "run": "sft",
        "recipe": path,
        "arms": {"one": {"data.sources.a.path": {"by_seed": ["p", "q"]}}},
    }
    so = [{"says": "s", "measure": "m", "below": 0}]
    config = ClaimConfig.model_validate({**tree, "criteria": so, "measures": {"m": {"of": "metric", "field": "loss"}}})
    paths = [
        pipeline_of(config, "one", seed, tmp_path, {}, {}).stages["sft"]["data"]["sources"]["a"]["path"]
        for seed in range(3)
    ]
    assert paths == ["p", "q", "p"]


def test_a_curve_of_sizes_says_until_where_rows_pay(tmp_path: Path) -> None:
    config = config_of(["sizes"], tmp_path)
    rows = {arm: round(1000 * share) for arm, (_, share) in config.sizes.items()}
    found = {
        arm: {name: [{"": 2 + (5 * n**-0.5 if arm.startswith(f"{name} ") else 0.0)}] for name in SOURCES}
        for arm, n in rows.items()
    }
    matrix = make_matrix(config, found, rows)
    own = next(one for one in matrix.curves if (one.source, one.measure) == ("a", "a"))
    other = next(one for one in matrix.curves if (one.source, one.measure) == ("a", "b"))
    assert [point.rows for point in own.points] == [10, 30, 100, 300, 1000]
    assert curve_text(own).startswith("a doubling still pays with all 1,000 rows")
    assert curve_text(other).startswith("no doubling pays, from 10 rows on")


# Real runs


def claim_file(tmp_path: Path, model: Path, data: dict[str, str], **more: Any) -> str:
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_mixture(model, data))
    path = tmp_path / "mine.yaml"
    tree = {"sentence": "Which source gives what?", "run": "sft", "recipe": recipe, "arms": WORDS, "seeds": 1, **more}
    path.write_text(yaml.safe_dump({key: value for key, value in tree.items() if value is not None}))
    return str(path)


@pytest.mark.slow
def test_a_matrix_is_run_written_and_shown(
    tmp_path: Path, tiny_model: Path, tiny_data: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = claim_file(tmp_path, tiny_model, tiny_data, arms=["none", "all", "each source alone", "sizes alone"])
    out = tmp_path / "out"
    main(["claims", "run", path, "--out", str(out)])
    assert "Of 4 mixtures, " in capsys.readouterr().out
    matrix = read_matrix(out, "mine")
    assert matrix is not None
    assert [*matrix.cells] == ["none", "all", "only first", "only second", "only texts"]
    assert [*matrix.worth] == ["first", "second", "texts"]
    untrained = matrix.cells["none"]["first"]
    metrics = [json.loads(line) for line in next(out.glob("seed-0/sft-*/metrics.jsonl")).read_text().splitlines()]
    assert untrained.low is not None
    before = {round(sum(cell.value for cell in cells.values()), 9) for cells in matrix.cells.values()}
    assert len(before) == 5  # every mixture ends elsewhere
    assert any("held_out/first" in line for line in metrics)
    sizes = [[point.rows for point in one.points] for one in matrix.curves if one.source == "first"]
    assert sizes[0] == [1, 2, 4, 12, 38]  # of the 38 rows that are not held out
    page = (out / "mine.html").read_text()
    for text in ("The ability matrix", "Beside the whole mixture", "What each source is worth", "How far rows go"):
        assert text in page
    [state] = claims(ClaimsConfig(action="show", claim=path, out=str(out)))
    assert state.matrix == matrix


def test_held_out_rows_stay_the_same_with_fewer_rows_and_fewer_sources(tiny_data: dict[str, str]) -> None:
    from planish.data.settings import SourceConfig
    from planish.data.sources import HELD_OUT, TRAINING, SourceRows, _split  # pyright: ignore[reportPrivateUsage]
    from planish.methods.sft import SftConfig

    def parts(share: float) -> Any:
        source = SourceConfig(path=tiny_data["first"], training_share=share)
        tree = {
            "model": {"path": "m"},
            "out": "o",
            "data": {"sources": {"first": source.model_dump()}, "max_held_out": 4},
        }
        config = SftConfig.model_validate(tree).data
        return _split(config, SourceRows("first", source, ()), np.arange(40, dtype=np.uint64), [], 0)

    whole, fewer, fewest = parts(1.0), parts(0.3), parts(0.01)
    assert np.array_equal(whole == HELD_OUT, fewer == HELD_OUT)
    assert [int((each == TRAINING).sum()) for each in (whole, fewer, fewest)] == [38, 12, 1]
    assert set(np.flatnonzero(fewest == TRAINING)) < set(np.flatnonzero(fewer == TRAINING))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"arms": ["pears"]}, "arms: 'pears' is no set of mixtures: there are none, all, each source alone"),
        ({"arms": "everything"}, "arms: 'everything' is no set of mixtures"),
        ({"arms": []}, "arms: none are written"),
        ({"arms": [3]}, "arms: 3 is no set of mixtures"),
        ({"mixed": "dpo"}, "mixed: there is no stage 'dpo'; there are sft"),
        ({"recipe": None, "run": None}, "arms: mixtures are of a recipe's sources: set recipe, or run"),
        ({"function": "a:b"}, "arms: mixtures are of a recipe's sources"),
        ({"recipe": "absent.yaml"}, "recipe: absent.yaml: there is no such file"),
        ({"changes": {"data.stages": [{"share": 1.0}]}}, "sft.data.stages says what is learnt when"),
        ({"changes": {"data.sources.first.tokens": 9}}, "sft.data.sources has tokens"),
        ({"changes": {"leave_out": ["data.sources.second", "data.sources.texts"]}}, "nothing to mix"),
        ({"changes": {"data.sources": {"a/b": {"path": "x"}}}}, "arms: 'only a/b' is no name"),
        ({"measures": {"x": {"of": "row_loss"}}}, "measures.x: row_loss needs field"),
        ({"measures": {"x": {"of": "row_loss", "field": "first", "better": "more"}}}, "measures.x.better"),
        ({"measures": {"x": {"of": "row_loss", "field": "first", "unit": 0}}}, "measures.x.unit"),
        ({"measures": {"x": {"of": "row_loss", "field": "f", "where": {"a": ["b"]}}}}, "where chooses lines for field and term"),
        ({"worth": 0}, "'worth' is 0"),
        ({"criteria": [{"says": "s", "measure": "mean", "arm": "all", "below": 0}]}, "no measure 'mean'; there is first,"),
        ({"criteria": [{"says": "s", "measure": "first", "over": {"all": 1}, "above": 0}]}, "over needs two arms or more"),
        ({"criteria": [{"says": "s", "measure": "first", "over": {"all": 1, "al": 2}, "above": 0}]}, "there is no arm 'al'"),
        ({"changes": {"data.order": {"by_seed": []}}}, "by_seed: {'by_seed': []}: expected a list of values"),
        ({"arms": {"x": {"data.stages": [{"share": 1.0, "only": ["frist"]}]}}, "criteria": True}, "frist"),
        ({"arms": {"x": {"data.stages": [{"share": 1.0, "only": []}]}}, "criteria": True}, "data.stages.0.only"),
        (
            {"arms": {"x": {"data.stages": [{"share": 1.0, "only": ["first"], "weights": {"first": 1}}]}}, "criteria": True},
            "a stage has either only",
        ),
        ({"changes": {"data.sources.first.training_share": 0}}, "training_share' is 0"),
    ],
)  # fmt: skip
def test_bad_mixtures_are_told(
    more: dict[str, Any], says: str, tmp_path: Path, tiny_model: Path, tiny_data: dict[str, str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    if more.get("criteria") is True:
        more = more | {"criteria": [{"says": "s", "measure": "l", "below": 0}]}
        more |= {"measures": {"l": {"of": "row_loss", "field": "first"}}}
    with pytest.raises(SystemExit) as caught:
        main(["claims", "run", claim_file(tmp_path, tiny_model, tiny_data, **more)])
    assert says in str(caught.value)
