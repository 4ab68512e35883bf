"""The figures of the documentation are what their numbers make of them."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from planish.base.errors import DataError
from planish.evaluate.probe.slick import CATEGORIES
from planish.world.gold.verdict import TERMS

matplotlib = pytest.importorskip("matplotlib", reason="figures need matplotlib: pip install matplotlib")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "figures"
RESULTS, DPO_PATH = FOLDER / "wind_tunnel.json", FOLDER / "dpo_path.json"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of docs/."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module


def worth(**terms: float) -> dict[str, Any]:
    return {"n": 40, "utility": sum(terms.values()), "terms": {term: terms.get(term, 0.0) for term in TERMS}}


def results() -> dict[str, Any]:
    """Made up, and as small as it can be: two kinds of prompts, two seeds, three tasks."""
    classes = {"HighlyKnown": 0.5, "MaybeKnown": 0.2, "WeaklyKnown": 0.1, "Unknown": 0.2}
    never = {"HighlyKnown": 0.0, "MaybeKnown": 0.0, "WeaklyKnown": 0.02, "Unknown": 0.98}
    stable = [
        {"step": step, "tokens": step * 1000, "held_out": loss} for step, loss in ((0, 7.5), (100, 1.2), (200, 1.0))
    ]
    skills = [
        {
            "task": task,
            "cluster": cluster,
            "accuracy": right,
            "low": right - 0.1,
            "high": right + 0.1,
            "chance": 0.5,
            "n": n,
        }
        for task, cluster, right, n in (
            ("copy", "copying", 0.8, 50),
            ("sort", "order", 0.55, 50),
            ("mood", "mood", 0.7, 60),
        )
    ]
    seeds = [{kind: worth(correct=right, wrong=-0.1) for kind in ("known", "all")} for right in (0.7, 0.9)]
    return {
        "command": "python examples/wind_tunnel.py",
        "date": "2026-11-22",
        "curves": {"stable": stable, "decayed": [{"step": 240, "tokens": 240_000, "held_out": 0.8}]},
        "gate": {
            "by_frequency": [{"frequency": 0, "n": 50, **never}, {"frequency": 8, "n": 50, **classes}],
            "all": {"n": 100, **classes},
            "never_seen_known": {"share": 0.02, "low": 0.004, "high": 0.105, "n": 50},
        },
        "skills": skills,
        "sft": {"base": {kind: worth(wrong=-1.0, length=-0.2) for kind in ("known", "all")}, "seeds": seeds},
    }


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "wind_tunnel.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.fixture
def drawings(docs: Callable[[str], ModuleType], tmp_path: Path) -> dict[str, Any]:
    """The figures of the results above, by name."""
    read = docs("figures.results").read(written(tmp_path, results()))
    return {drawing.name: drawing for drawing in docs("make_figures").draw(read)}


def test_figures_in_the_repository_are_what_their_numbers_make(docs: Callable[[str], ModuleType]) -> None:
    locked = re.search(r"^matplotlib==(.*)$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    if locked is None or locked[1] != matplotlib.__version__:
        pytest.skip(f"figures are drawn with the locked matplotlib; here is {matplotlib.__version__}")
    drawn = docs("make_figures").draw_dpo(docs("figures.dpo").read(DPO_PATH))
    drawn += docs("make_figures").draw_places(docs("figures.places").read(FOLDER / "places.json"))
    drawn += docs("make_figures").draw(docs("figures.results").read(RESULTS)) if RESULTS.exists() else []
    there = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
    assert sorted(there) == sorted(drawing.name for drawing in drawn), "run python docs/make_figures.py"
    assert [d.name for d in drawn if there[d.name] != d.svg] == [], "run python docs/make_figures.py"


def test_the_same_numbers_give_the_same_bytes(
    docs: Callable[[str], ModuleType], drawings: dict[str, Any], tmp_path: Path
) -> None:
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # as a user's own settings might
        again = docs("make_figures").draw(docs("figures.results").read(written(tmp_path, results())))
    assert [drawing.svg for drawing in again] == [drawing.svg for drawing in drawings.values()]


def test_a_figure_is_a_picture_with_text_in_it(drawings: dict[str, Any]) -> None:
    assert list(drawings) == [f"wind_tunnel_{name}" for name in ("loss", "known", "skills", "utility", "terms")]
    for drawing in drawings.values():
        root = ElementTree.fromstring(drawing.svg)
        words = " ".join("".join(element.itertext()) for element in root.iter(f"{SVG}text"))
        assert root.findtext(f"{SVG}title") == drawing.title
        assert drawing.title in words
        assert "python examples/wind_tunnel.py (2026-11-22)" in words


def test_words_say_what_the_numbers_are(drawings: dict[str, Any]) -> None:
    assert drawings["wind_tunnel_loss"].says == (
        "0.2 million tokens at a constant learning rate take it to 1.000 nats per token; 0.0 million more, with a rate that "
        "falls, take it to 0.800."
    )
    assert drawings["wind_tunnel_known"].says == (
        "Of 100 probed facts, the smallest class, WeaklyKnown, holds 10%; the gate asks for 12%. Of 50 facts never stated, "
        "2.0% are not Unknown; the gate allows 3%."
    )
    assert drawings["wind_tunnel_skills"].says == (
        "2 of 3 tasks are above chance with their whole interval; not so: sort."  # 0.45 to 0.65 holds 0.5
    )
    # 0.6 and 0.8: mean 0.7, standard deviation 0.1414, t of one degree of freedom 12.706: 12.706 * 0.1414 / sqrt(2) = 1.2706
    assert drawings["wind_tunnel_utility"].says == (
        "Over all 40 prompts, the mean gold utility of an answer is −1.20 before and 0.70 ± 1.27 after."
    )
    assert drawings["wind_tunnel_terms"].says == (
        "What changes most over all prompts: wrong from −1.00 to −0.10, correct from 0.00 to 0.80, length from −0.20 to 0.00."
    )


def test_words_below_say_n_and_the_interval(drawings: dict[str, Any]) -> None:
    assert "95% Wilson intervals over facts" in drawings["wind_tunnel_known"].made
    assert drawings["wind_tunnel_skills"].made.startswith("n = 50 to 60 questions a task.")
    assert "mean of 2 seeds and 95% t-interval over seeds" in drawings["wind_tunnel_utility"].made
    assert "n = 40 of a kind" in drawings["wind_tunnel_terms"].made


def test_t_interval_of_five_seeds(docs: Callable[[str], ModuleType]) -> None:
    # Deviations of -2, -1, 0, 1, 2 tenths: variance 0.1 / 4 = 0.025; 2.776 * sqrt(0.025 / 5) = 0.19629
    mean, half = docs("figures.wind_tunnel").t_interval([0.8, 0.9, 1.0, 1.1, 1.2])
    assert (mean, half) == (pytest.approx(1.0), pytest.approx(0.19629, abs=1e-5))


@pytest.mark.parametrize("tokens", [240_000, 40_000], ids=["from the beginning", "from the branch"])
def test_decay_is_drawn_where_it_branches_off(docs: Callable[[str], ModuleType], tokens: int) -> None:
    curves = {**results()["curves"], "decayed": [{"step": 240, "tokens": tokens, "held_out": 0.8}]}
    tail = docs("figures.results").Curves.model_validate(curves).tail()
    assert [(point.step, point.tokens) for point in tail] == [(200, 200_000), (240, 240_000)]


def test_every_class_and_term_has_a_colour(docs: Callable[[str], ModuleType]) -> None:
    figures = docs("figures.wind_tunnel")
    assert (set(figures.CLASSES), set(figures.TERMS)) == (set(CATEGORIES), set(TERMS))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["gate", "all", "Unknown"], 0.5, "gate: the classes of all add up to 1.300, not 1"),
        (["sft", "base", "known", "utility"], 1.0, "sft.base.known: the terms add up to -1.200, the utility is 1.000"),
        (
            ["sft", "seeds", 1, "known", "n"],
            7,
            "sft.seeds.1: has other kinds of prompts than sft.base, or other counts",
        ),
        (
            ["sft", "base", "all", "terms"],
            {"correct": -1.2},
            "sft.base.all: has the terms correct; needs correct, wrong",
        ),
        (["curves", "decayed", 0, "step"], 200, "curves: the decay has no point after the one it branches off from"),
        (["skills"], [], "skills: List should have at least 1 item"),
        (["date"], None, "date: Input should be a valid string"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(
    docs: Callable[[str], ModuleType], tmp_path: Path, place: list[Any], value: Any, message: str
) -> None:
    values = results()
    inner: Any = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = written(tmp_path, values)
    with pytest.raises(DataError, match=re.escape(f"{path}: {message}")):
        docs("figures.results").read(path)


# The figure of docs/dpo.md


def dpo_run() -> dict[str, Any]:
    """Made up: what A loses and B gains, in 20 equal steps."""
    before, after = [0.75, 0.125, 0.125], [0.375, 0.5, 0.125]
    return {
        "command": "python examples/dpo_by_hand.py",
        "answers": ["A", "B", "C"],
        "beta": 0.5,
        "reference": before,
        "reward": [1.0, 2.0, 0.5],
        "best": after,
        "policies": [[0.75 - step * 0.01875, 0.125 + step * 0.01875, 0.125] for step in range(21)],
        "tilted": [0.375, 0.4375, 0.1875],
        "sampled": {"100": [before, after], "1000": [after, after]},
    }


def dpo_written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "dpo_path.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_the_figure_of_dpo_says_where_it_starts_and_ends(docs: Callable[[str], ModuleType], tmp_path: Path) -> None:
    run = docs("figures.dpo").read(dpo_written(tmp_path, dpo_run()))
    (drawing,) = docs("make_figures").draw_dpo(run)
    words = ["".join(element.itertext()) for element in ElementTree.fromstring(drawing.svg).iter(f"{SVG}text")]
    assert "go from (0.750, 0.125, 0.125) to (0.375, 0.500, 0.125)" in drawing.says
    assert "ends there too (difference 0.062500)" in drawing.says  # .5 - .4375
    assert "Rewards 1, 2, 0.5; beta = 0.5." in drawing.made
    assert "n = 2 seeds each" in drawing.made
    assert {"always A", "always B", "always C", "A  0.3750", "B  0.5000", "C  0.1250"} <= set(words)
    with matplotlib.rc_context({"font.size": 30}):
        (again,) = docs("make_figures").draw_dpo(run)
    assert again.svg == drawing.svg


def test_the_triangle_has_its_answers_in_the_corners(docs: Callable[[str], ModuleType]) -> None:
    placed = docs("figures.dpo").placed([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.0, 0.5)])
    height = 3**0.5 / 2
    assert placed.tolist() == [[0.0, 0.0], [0.5, pytest.approx(height)], [1.0, 0.0], [0.5, 0.0]]


def test_a_path_of_dpo_that_lacks_a_field_is_refused(docs: Callable[[str], ModuleType], tmp_path: Path) -> None:
    path = dpo_written(tmp_path, {**dpo_run(), "policies": []})
    with pytest.raises(DataError, match=re.escape(f"{path}: policies: List should have at least 21 items")):
        docs("figures.dpo").read(path)
    with pytest.raises(DataError, match=r"none\.json: is not there"):
        docs("figures.dpo").read(tmp_path / "none.json")


def test_picture_of_a_report_is_light_small_and_in_the_readme() -> None:
    image = pytest.importorskip("PIL.Image")
    path = FOLDER / "report.png"
    assert path.stat().st_size < 300_000
    assert f"(docs/figures/{path.name})" in (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    with image.open(path) as picture:
        assert picture.size[0] == 1200
        assert min(picture.convert("RGB").getpixel((5, 5))) > 240
