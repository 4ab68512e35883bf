"""The report on feedback: numbers by hand, coefficients of simulated annotators given back, people's data, and bad inputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import PlanishError
from planish.base.files import write_lines
from planish.cli.main import main
from planish.feedback.judgements import StudyVerdict, add_judgement
from planish.feedback.people import add_annotator
from planish.feedback.report.annotators import RaterFound
from planish.feedback.report.command import feedback_report
from planish.feedback.report.config import FeedbackReportConfig
from planish.feedback.report.leans import assertiveness
from planish.feedback.report.methods import methods
from planish.feedback.report.result import FeedbackFound
from planish.feedback.schema import StudyItem
from planish.statistics.estimate import Estimate
from support.simulated import POOL, answer_rows, choice, judge_all, pool, simulated_study
from support.studies import judge_next, study

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
A, B, TIE = [0, 1], [1, 0], [0, 0]


def reported(folder: Path, *files: Path | str, **settings: Any) -> FeedbackFound:
    config = FeedbackReportConfig(
        files=tuple(map(str, files)), out=str(folder / "report.html"), **{"draws": 200, **settings}
    )
    return feedback_report(config).found


def said(n: int, annotator: str, ranks: list[int], group: str = "", **about: Any) -> dict[str, Any]:
    """A judgement of the answers yes n and no n to question n."""
    row = {"prompt": f"Question {n}?", "completions": [f"yes {n}", f"no {n}"], "ranks": ranks, "annotator": annotator}
    return {**row, **({"group": group} if group else {}), "about": about}


def ratings_in(folder: Path, rows: list[dict[str, Any]], name: str = "said.jsonl") -> Path:
    write_lines(folder / name, rows)
    return folder / name


def by_name(found: FeedbackFound) -> dict[str, RaterFound]:
    return {one.name: one for one in found.raters}


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


# By hand


def test_agreement_by_hand(tmp_path: Path):
    """Three pairs: anna and ben A A, A B, tie tie; cleo A on the first. Equal ordered pairs: 6 + 0 + 2 of 6 + 2 + 2."""
    every_one = {"anna": (A, A, TIE), "ben": (A, B, TIE), "cleo": (A,)}
    rows = [said(n, who, ranks) for who, own in every_one.items() for n, ranks in enumerate(own)]
    found = reported(tmp_path, ratings_in(tmp_path, rows))
    (every,) = found.agreement
    assert value(every.found.raw) == pytest.approx(8 / 10)
    assert (every.found.units, every.found.ratings, every.found.fleiss_units) == (3, 7, 2)
    assert value(by_name(found)["anna"].with_others) == pytest.approx(3 / 4)  # ben and cleo, not ben, ben
    assert value(by_name(found)["cleo"].with_others) == 1
    assert (found.people, found.pairs, found.prompts) == (3, 3, 3)


def test_a_ranking_of_three_is_three_pairs_and_no_order_of_answers_matters(tmp_path: Path):
    """The same answers in another order, ranked the same: raw agreement 1."""
    rows = [
        {"prompt": "Q", "completions": ["a", "b", "c"], "ranks": [0, 1, 1], "annotator": "anna"},
        {"prompt": "Q", "completions": ["c", "a", "b"], "ranks": [1, 0, 1], "annotator": "ben"},
        {"prompt": "Q", "completions": ["b", "a"], "ranks": [0, 1], "annotator": "cleo"},
        {"prompt": "Q", "completions": ["a", "a"], "ranks": [0, 0], "annotator": "cleo"},
    ]
    found = reported(tmp_path, ratings_in(tmp_path, rows))
    (every,) = found.agreement
    assert (found.pairs, every.found.units, found.identical) == (3, 3, 1)
    assert "1 pair of one answer twice" in " ".join(methods(found))
    # anna and ben equal in 3 pairs; cleo differs from both in one of them: (6 + 2) of (2 + 2 + 6) ordered
    assert value(every.found.raw) == pytest.approx(6 / 10)


def test_types_of_pairs_groups_and_each_two_annotators(tmp_path: Path):
    """On easy pairs all agree, on hard ones the groups differ: within a group 1, between them the share of easy pairs."""
    rows = [
        said(
            n,
            who,
            A if n < 12 or who in "ab" else B,
            group="north" if who in "ab" else "south",
            kind="easy" if n < 12 else "hard",
        )
        for n in range(20)
        for who in "abcd"
    ]
    found = reported(tmp_path, ratings_in(tmp_path, rows), by=("kind",))
    parts = {(part.by, part.value): value(part.found.raw) for part in found.agreement}
    assert parts["kind", "easy"] == 1
    assert parts["kind", "hard"] == pytest.approx(1 / 3)
    assert parts["group", "north"] == parts["group", "south"] == 1
    (between,) = found.groups
    assert (value(between.between), value(between.within)) == (pytest.approx(12 / 20), 1)
    two = {(one.first, one.second): value(one.raw) for one in found.pairs_of_raters}
    assert (two["a", "b"], two["a", "c"]) == (1, pytest.approx(12 / 20))


def test_aspects_have_an_agreement_of_their_own(tmp_path: Path):
    rows = [said(n, who, A) for n in range(4) for who in "ab"]
    rows += [said(n, who, A if who == "a" else B, aspect="honest") for n in range(4) for who in "ab"]
    found = reported(tmp_path, ratings_in(tmp_path, rows))
    assert {(part.by, part.value): value(part.found.raw) for part in found.agreement} == {
        ("all", "all"): 1,
        ("aspect", "honest"): 0,
    }
    assert found.aspects == ["overall", "honest"]


def test_gold_repeats_and_seconds_of_a_file(tmp_path: Path):
    """The known answer is A: anna right in 3 of 4, ben in 1. Anna repeats two, one of them the same."""
    rows = [said(n, "anna", A if n else B, seconds=10.0 * (n + 1)) for n in range(4)]
    rows += [said(n, "ben", A if n == 0 else B) for n in range(4)]
    rows += [said(0, "anna", A), said(1, "anna", A, repeat=1)]
    gold = ratings_in(tmp_path, [said(n, "", A) for n in range(4)], "gold.jsonl")
    found = by_name(reported(tmp_path, ratings_in(tmp_path, rows), gold=str(gold)))
    assert value(found["anna"].gold) == 3 / 4
    assert value(found["ben"].gold) == 1 / 4
    assert value(found["anna"].same) == 1 / 2
    assert found["anna"].ratings == 4  # repeats are not counted twice
    assert found["anna"].seconds == 25


def test_who_stands_out(tmp_path: Path):
    """Four who agree; one who always takes the answer shown first, quickly, and so agrees by chance alone."""
    rows = [
        said(n, who, A if n % 2 else B, order="0 1" if n % 4 < 2 else "1 0", seconds=30)
        for n in range(60)
        for who in ("anna", "ben", "cleo", "dan")
    ]
    rows += [said(n, "zed", A if n % 4 < 2 else B, order="0 1" if n % 4 < 2 else "1 0", seconds=2) for n in range(60)]
    found = by_name(reported(tmp_path, ratings_in(tmp_path, rows)))
    assert [name for name, one in found.items() if one.stands_out] == ["zed"]
    text = "; ".join(found["zed"].stands_out)
    assert "agrees with the others in 50.0%" in text
    assert "chooses the first answer in 100.0%" in text
    assert "takes 2 s, the others 30 s" in text


def test_sure_words_and_hedges():
    assert assertiveness("It is certainly so.") == 1 / 2
    assert assertiveness("Perhaps it may be, I think.") == -3 / 4
    assert assertiveness("Yes: certainly, maybe.") == 0
    assert assertiveness("42") == 0


def test_a_reward_model_by_group(tmp_path: Path):
    """Its scores are always for A; the north chooses A in 9 of 10 pairs, the south in 5."""
    rows = [said(n, "a", A if n < 9 else B, group="north") for n in range(10)]
    rows += [said(n, "b", A if n < 5 else B, group="south") for n in range(10)]
    scored = ratings_in(tmp_path, [{**said(n, "", A), "scores": [1.0, -1.0]} for n in range(10)], "scores.jsonl")
    (model,) = reported(tmp_path, ratings_in(tmp_path, rows), scores=(str(scored),)).scores
    assert (value(model.accuracy), model.without) == (14 / 20, 0)
    groups = {one.group: (value(one.accuracy), value(one.above)) for one in model.groups}
    assert groups == {"north": (0.9, pytest.approx(0.4)), "south": (0.5, pytest.approx(-0.4))}


def test_people_and_a_judge_side_by_side(tmp_path: Path):
    """On 10 of 30 pairs two people say A, A (8 pairs) or A, B (2); the judge says A on all 30, where sft wrote A.

    Judge and person are equal in 18 of 20 ratings, two people in 8 of 10 pairs. Win rate of sft: judge 1, people 18/20, so
    corrected 1 + (18/20 - 1).
    """
    notes = {"systems": "sft | base"}
    rows = [said(n, who, B if who == "b" and n < 2 else A, **notes) for n in range(10) for who in "ab"]
    rows += [said(n, "bot", A, **notes, chosen_by="model", strength="clearly") for n in range(30)]
    (judge,) = reported(tmp_path, ratings_in(tmp_path, rows)).judges
    assert (judge.pairs, judge.ratings) == (30, 20)
    assert (value(judge.with_person), value(judge.person_with_person)) == (pytest.approx(0.9), pytest.approx(0.8))
    assert value(judge.with_majority) == 1  # of A, B there is none
    (checked,) = judge.verdicts
    assert (checked.says, value(checked.same), value(checked.other)) == ("clearly prefers one", 0.9, pytest.approx(0.1))
    (won,) = judge.wins
    sign = (lambda share: share) if won.system == "sft" else (lambda share: 1 - share)
    assert (won.pairs, won.both) == (30, 10)
    assert [sign(value(one)) for one in (won.judge, won.people, won.corrected)] == [
        1,
        pytest.approx(0.9),
        pytest.approx(0.9),
    ]


# A database


def test_coefficients_of_simulated_annotators_come_back_from_the_database(tmp_path: Path):
    """A4, through the store: ten annotators around the pool, 60 pairs each of 600; and a trait that is one by another name."""
    people = pool(10, 0.3, seed=3)
    with simulated_study(tmp_path, answer_rows(600), gold_rate=0) as store, store.writing() as session:
        items = list(session.query(StudyItem))
        for place, one in enumerate(people):
            person = add_annotator(session, one.name)
            for item in items[60 * place : 60 * place + 60]:
                order = (0, 1) if item.id % 2 else (1, 0)
                verdict, key = choice(one, item.completions, order), f"{one.name} {item.id}"
                add_judgement(session, person.id, item.id, verdict, order=order, key=key, chosen_by="random")
    found = reported(tmp_path, tmp_path / "f.db", names=True, traits={"opening": "support.simulated:sure"})
    (fitted,) = found.leans
    assert (fitted.choices, fitted.raters) == (600, 10)
    assert any(reason.startswith("opening: ") for reason in fitted.left_out)  # it is assertiveness by another name
    leans = {lean.feature: lean for lean in fitted.leans}
    for name, true in POOL.items():
        pooled = leans[name].pool
        assert pooled.low is not None
        assert pooled.high is not None
        assert pooled.low <= true <= pooled.high, name
        covered = [
            leans[name].own[one.name].low <= one.coefficients[name] <= leans[name].own[one.name].high for one in people
        ]  # pyright: ignore
        assert sum(covered) >= 8, name


def test_a_whole_study_on_one_page(tmp_path: Path):
    """Gold, repeats, groups, overlap, a model, an adjudicator's and an undone judgement: everything in its place."""
    gold = ratings_in(
        tmp_path, [{**row, "prompt": f"Known {n}?"} for n, row in enumerate(answer_rows(8, seed=1))], "gold.jsonl"
    )
    people = [replace(one, length=3.0, side=0.0) for one in pool(4, 0.0)]
    with simulated_study(
        tmp_path,
        answer_rows(40, kind="x"),
        gold=str(gold),
        gold_rate=0.2,
        repeat_rate=0.1,
        overlap=4,
        profile=("side",),
    ) as store:
        for place, one in enumerate(people):
            judge_all(store, one, group="north" if place < 2 else "south")
        with store.writing() as session:
            bot = add_annotator(session, "bot", kind="model")
            said_a = [{"aspect": "overall", "shown": list(order), "said": "A"} for order in ((0, 1), (1, 0))]
            for place, item in enumerate(session.query(StudyItem).filter(StudyItem.kind == "task").limit(30)):
                follows = place < 6  # always A, whatever the order: a tie
                asked = [said_a[0], said_a[1] if follows else {**said_a[1], "said": "B"}]
                verdict = StudyVerdict("ranked", (0, 0) if follows else (0, 1), details={"asked": asked})
                add_judgement(session, bot.id, item.id, verdict, order=(0, 1), key=f"bot {item.id}")
    found = reported(tmp_path, tmp_path / "f.db", names=True)
    assert (found.people, found.models) == (4, 1)
    assert {"p0", "p1", "p2", "p3", "bot"} == {*by_name(found)}
    assert all(by_name(found)[f"p{n}"].gold for n in range(4))
    assert any(by_name(found)[f"p{n}"].same for n in range(4))
    assert {part.by for part in found.agreement} == {"all", "group"}
    (judge,) = found.judges
    assert (judge.name, value(judge.by_order)) == ("bot", 6 / 30)
    assert value(by_name(found)["bot"].first_shown) == (12 + 24) / 60
    page = (tmp_path / "report.html").read_text()
    for title in (
        "Agreement",
        "Annotators",
        "What annotators lean to",
        "What the noise costs",
        "People and judges",
        "Methods",
    ):
        assert f"<h2>{title}</h2>" in page
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["agreement"][0]["found"]["alpha"]["value"] == value(found.agreement[0].found.alpha)


def test_a_postgresql_database_is_read_as_well(place: str, tmp_path: Path):
    """And so is SQLite's: three items, the same said of each by two people."""
    with study(place, tmp_path, overlap=2, gold_rate=0) as store:
        while judge_next(store, "anna") or judge_next(store, "ben"):
            pass
    found = reported(tmp_path, place)
    assert (found.people, found.pairs, found.ratings) == (2, 3, 6)
    assert value(found.agreement[0].found.raw) == 1


def test_names_are_shown_on_demand_alone_and_nothing_is_taken_as_html(tmp_path: Path):
    with simulated_study(tmp_path, answer_rows(12, systems="<i>sft</i> | base"), overlap=2, gold_rate=0) as store:
        for one in (replace(pool(1, 0)[0], name="Zoë <b>"), replace(pool(1, 0)[0], name="Ben", seed=9)):
            judge_all(store, one)
    reported(tmp_path, tmp_path / "f.db")
    page = (tmp_path / "report.html").read_text()
    assert "Zoë" not in page
    assert "annotator 2" in page
    reported(tmp_path, tmp_path / "f.db", names=True)
    page = (tmp_path / "report.html").read_text()
    assert "Zoë &lt;b&gt;" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_pairs_chosen_by_priority_are_told_apart(tmp_path: Path):
    """Agreement of "all" is of the pairs in random order; the hard ones have a line of their own."""
    rows = [
        said(n, who, A if who == "a" or n < 10 else B, chosen_by="random" if n < 10 else "priority")
        for n in range(20)
        for who in "ab"
    ]
    parts = {(p.by, p.value): value(p.found.raw) for p in reported(tmp_path, ratings_in(tmp_path, rows)).agreement}
    assert parts == {("all", "all"): 1, ("chosen by", "priority"): 0, ("chosen by", "random order"): 1}


def test_copycats_agree_on_everything_and_the_page_says_what_that_is_worth(tmp_path: Path):
    rows = [said(n, who, A if n % 2 else B) for n in range(40) for who in "abc"]
    found = reported(tmp_path, ratings_in(tmp_path, rows))
    assert value(found.agreement[0].found.alpha) == 1
    assert "Agreement says nothing about bias." in (tmp_path / "report.html").read_text()


def test_the_methods_have_every_number_of_the_measures(tmp_path: Path):
    rows = [said(n, who, A if (n * 7 + place) % 5 else B) for n in range(40) for place, who in enumerate("abc")]
    found = reported(tmp_path, ratings_in(tmp_path, rows))
    text = " ".join(methods(found))
    (every,), noise = found.agreement, found.noise
    assert noise is not None
    for estimate in (every.found.raw, noise.found.agreement, noise.found.leave_one_out, noise.found.ceiling):
        assert f"{value(estimate):.1%}" in text
    assert f"{value(every.found.alpha):.3f}" in text
    assert "3 people gave 120 ratings of 40 pairs" in text
    assert "200 bootstrap samples of whole prompts (seed 0)" in text


def test_the_command_prints_the_main_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = ratings_in(tmp_path, [said(n, who, A if n % 2 else B) for n in range(10) for who in "ab"])
    main(["feedback", "report", str(file), "--out", str(tmp_path / "r.html"), "draws=100"])
    printed = capsys.readouterr().out
    assert "20 ratings of 10 pairs of answers by 2 people." in printed
    assert f"page:  {tmp_path / 'r.html'}" in printed


# What people said


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")
def test_pandalm_has_three_annotators_who_agree(tmp_path: Path):
    found = reported(tmp_path, SHARED / "pandalm" / "testset-v1.json.gz")
    (every,) = found.agreement
    assert (found.people, found.pairs, len(found.dropped)) == (3, 836, 61)
    assert value(every.found.alpha) == pytest.approx(0.862, abs=1e-3)
    assert value(every.found.raw) == pytest.approx(0.919, abs=1e-3)
    assert value(found.leans[0].leans[0].pool) > 0  # longer answers


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")
def test_oasst_ranks_have_no_second_rating_and_lean_to_length(tmp_path: Path):
    found = reported(tmp_path, SHARED / "oasst" / "en_100_tree.jsonl.gz")
    assert (found.pairs, found.agreement, found.noise) == (754, [], None)
    length = found.leans[0].leans[0]
    assert length.feature == "length"
    assert length.pool.low is not None
    assert length.pool.low > 0
    assert "nobody knows how far annotators agree" in (tmp_path / "report.html").read_text()


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")
def test_alpacaeval_is_a_judge_and_llmbar_known_answers(tmp_path: Path):
    results = SHARED / "alpaca_eval" / "results"
    files = [results / name / "alpaca_eval_gpt4" / "annotations.json.gz" for name in ("alpaca-7b", "gpt4")]
    found = reported(tmp_path, *files, judges=("alpaca_eval_gpt4",))
    (judge,) = found.judges
    rates = {one.system: value(one.judge) for one in judge.wins}
    assert rates["gpt4"] == pytest.approx(0.96, abs=0.01)
    assert rates["alpaca-7b"] == pytest.approx(0.26, abs=0.01)
    (lean,) = [pool for pool in found.leans if pool.who == "alpaca_eval_gpt4"]
    assert value(lean.leans[0].pool) > 0
    bar = SHARED / "llmbar" / "Natural" / "dataset.json.gz"
    longer = [{**row, "annotator": "longest", "about": {"chosen_by": "model"}} for row in _longest(tmp_path, bar)]
    found = reported(tmp_path, ratings_in(tmp_path, longer), gold=str(bar))
    assert 0.3 < value(by_name(found)["longest"].gold) < 0.7  # length tells nothing in Natural


def _longest(folder: Path, bar: Path) -> list[dict[str, Any]]:
    """A judge of LLMBar that likes length."""
    main(["data", "convert", str(bar), "--out", str(folder / "bar.jsonl")])
    rows = [json.loads(line) for line in (folder / "bar.jsonl").read_text().splitlines()]
    texts = [[text if isinstance(text, str) else text["content"] for text in row["completions"]] for row in rows]
    return [{**row, "ranks": A if len(one) > len(two) else B} for row, (one, two) in zip(rows, texts, strict=True)]


# Bad inputs

GOOD = [said(n, who, A) for n in range(3) for who in "ab"]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no such file", {"files": ["nowhere.db"]}, "nowhere.db"),
    ("an empty folder", {"files": ["folder.html"]}, "folder.html"),
    ("an empty file", {"rows": []}, "said.jsonl"),
    ("a file that is no database", {"text": "SQLite format 3\x00 but not really"}, "database"),
    ("demonstrations", {"rows": [{"prompt": "a", "completion": "b"}]}, "comparisons"),
    ("equal answers alone", {"rows": [{"prompt": "Q", "completions": ["a", "a"], "ranks": [0, 1]}]}, "said.jsonl"),
    ("too few ranks", {"rows": [{"prompt": "Q", "completions": ["a", "b"], "ranks": [0]}]}, "row 1"),
    ("an order of other answers", {"rows": [said(0, "a", A, order="0 2")]}, "note order: found '0 2', expected"),
    ("an unknown judge", {"judges": ("gpt",)}, "judges=gpt: nobody of this name judged here; there are a, b"),
    ("an unknown note", {"by": ("kind",)}, "by=kind: no pair has this note"),
    ("gold of other answers", {"gold": [said(9, "", A)]}, "none of its 1 pairs of answers was judged"),
    ("gold that contradicts itself", {"gold": [said(0, "", A), said(0, "x", B)]}, "ranks the same two answers in two ways"),
    ("scores of other answers", {"scores": [{**said(9, "", A), "scores": [1, 0]}]}, "has no scores of the answers"),
    ("scores without scores", {"scores": GOOD}, "scores: missing; expected the output of planish score"),
    ("a page that is none", {"out": "report.pdf"}, "expected the name of a page, such as feedback.html"),
    ("a page that is a folder", {"out": "folder.html"}, "is a folder"),
    ("a trait that does not exist", {"traits": {"x": "support.simulated:nothing"}}, "has no nothing"),
    ("a trait that fails", {"traits": {"x": "support.simulated:pool"}}, "traits.x=support.simulated:pool: of"),
    ("no draws", {"draws": 1}, "draws"),
    ("a scheme that is no database", {"files": ["mysql://localhost/x"]}, "mysql"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "says"), BAD, ids=[name for name, _, _ in BAD])
def test_bad_inputs(
    name: str, given: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    write_lines(tmp_path / "said.jsonl", given.pop("rows", GOOD))
    if text := given.pop("text", None):
        (tmp_path / "said.jsonl").write_text(text)
    for setting in ("gold", "scores"):
        if setting in given:
            write_lines(tmp_path / f"{setting}.jsonl", given[setting])
            given[setting] = f"{setting}.jsonl" if setting == "gold" else (f"{setting}.jsonl",)
    given = {"files": ["said.jsonl"], "out": "report.html", **given}
    words = [f"{key}={json.dumps(setting)}" for key, setting in given.items() if key != "files"]
    with pytest.raises(SystemExit) as ended:
        main(["feedback", "report", *given["files"], *words])
    assert says in str(ended.value)
    assert not (tmp_path / "report.html").exists()


def test_errors_are_the_kind_that_people_can_act_on(tmp_path: Path):
    with pytest.raises(PlanishError):
        reported(tmp_path, tmp_path / "nowhere.jsonl")
