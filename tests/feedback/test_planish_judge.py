"""Models as annotators: verdicts from both orders, rubrics, juries, examples, what is kept and what is told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import ConfigError, PlanishError, RunError
from planish.base.files import write_lines
from planish.cli.main import main
from planish.data.formats import import_rows
from planish.data.rows import Comparison, Message, Origin, Prompt
from planish.feedback.command import judge
from planish.feedback.config import FeedbackExportConfig
from planish.feedback.export import export_comparisons
from planish.feedback.judgements import StudyVerdict
from planish.feedback.judging.combine import jury_verdict, majority, ranks_of
from planish.feedback.judging.config import JudgeAnswersConfig
from planish.feedback.schema import Guideline
from planish.feedback.store import open_store
from planish.judges.config import LlmJudgeConfig
from planish.judges.llm import LlmJudge
from support.llm_server import Sent, llm_server
from support.makers import always, by_taste, judged, known_pairs, knows, likes_length, quality_order, rows_of

RUBRICS: dict[str, dict[str, Any]] = {
    "overall": {},
    "aspects": {"rubric": "aspects", "aspects": ["honest", "brief"]},
    "both": {"rubric": "both", "aspects": ["honest"]},
    "grades": {"rubric": "grades"},
    "grades by aspect": {"rubric": "grades", "aspects": ["truthfulness", "helpfulness"]},
    "jury": {"jury": {"a": {}, "b": {}, "c": {}}},
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.judges.client.PAUSE", 0.0)


# The test of every maker of preferences


@pytest.mark.parametrize("rubric", RUBRICS)
@pytest.mark.parametrize("answers", [2, 4])
def test_pain_27_a_judge_that_knows_yields_labels_that_are_all_right_under_every_shuffle(
    rubric: str, answers: int, tmp_path: Path
):
    for seed in range(3):
        summaries, rows = judged(
            by_taste(knows), known_pairs(6, answers, seed), tmp_path / str(seed), seed=seed, **RUBRICS[rubric]
        )
        assert {len(rows), *(own.items * len(summaries) for own in summaries)} == {6 * len(summaries)}
        assert [row.judgement.ranks for row in rows] == [quality_order(row) for row in rows]
        assert (summaries[-1].ties, summaries[-1].split) == (0, 0)


@pytest.mark.parametrize("rubric", RUBRICS)
@pytest.mark.parametrize("answers", [2, 4])
def test_pain_27_a_judge_that_always_says_one_thing_yields_none(rubric: str, answers: int, tmp_path: Path):
    words = "5" if "grades" in rubric else "A"
    summaries, rows = judged(always(words), known_pairs(12, answers), tmp_path, **RUBRICS[rubric])
    assert [row.judgement.ranks for row in rows] == [[0] * answers for _ in rows]
    (first, *_), last = summaries, summaries[-1]
    assert last.ties == last.items == 12
    if words == "A":
        assert first.split == first.pairs > 0
        assert "follow the order" in first.findings[0]
        assert "in the first place" in first.findings[1]
    export_comparisons(FeedbackExportConfig(database=str(tmp_path / "feedback.db"), out=str(tmp_path / "out.jsonl")))
    assert [pair for row in import_rows(tmp_path / "out.jsonl", (Comparison,)).rows for pair in row.pairs] == []


def test_pain_27_a_judge_that_likes_length_is_found_out(tmp_path: Path):
    write_lines(tmp_path / "gold.jsonl", known_pairs(24, seed=5))
    longest = known_pairs(12, seed=6)[
        1::2
    ]  # in these the longer answer is the better one, so its choices alone look well
    for taste, found in ((likes_length, ["likes length"]), (knows, [])):
        gold = {"gold": str(tmp_path / "gold.jsonl")}
        (summary,), _ = judged(by_taste(taste), longest, tmp_path / taste.__name__, **gold)
        assert [finding.split(":")[0] for finding in summary.findings] == found
    (summary,), _ = judged(by_taste(likes_length), known_pairs(12), tmp_path / "no gold")
    assert summary.findings[0].startswith("chooses the longer answer in 100.0%")


def test_pain_27_the_judge_of_compare_passes_too(tmp_path: Path):
    rows = known_pairs(12)
    prompts = [Prompt((Message("user", row["prompt"]),), Origin("made up", n)) for n, row in enumerate(rows)]
    own, base = ([[row["completions"][side]] for row in rows] for side in (0, 1))
    for reply, expected in ((by_taste(knows), None), (always("A"), 0.5)):
        with llm_server(reply) as server:
            compared = LlmJudge(LlmJudgeConfig(base_url=server.url, model="m"), tmp_path / f"{expected}.jsonl")
            verdicts = compared.verdicts(prompts, own, base)
        right = [float(row["ranks"][0] < row["ranks"][1]) for row in rows]
        assert verdicts.outcomes == [[expected if expected is not None else won] for won in right]
        assert verdicts.split == (0 if expected is None else 12)


# What is asked


def test_a_pair_is_asked_in_both_orders_with_the_criterion(tmp_path: Path):
    bodies: list[dict[str, Any]] = []

    def reply(body: dict[str, Any], number: int) -> Sent:
        bodies.append(body)
        return by_taste(knows)(body, number)

    judged(
        reply, known_pairs(1), tmp_path, rubric="both", aspects=["honest"], criteria={"honest": "Says what it knows."}
    )
    asked = [body["messages"][0]["content"] for body in bodies]
    pairs = [tuple(re.findall(r"<answer \w>\n(\w+)", text)) for text in asked]
    assert sorted(pairs) == sorted([("good", "bad"), ("bad", "good")] * 2)
    assert (
        sum("This alone counts, whatever else the answer is: honest. Says what it knows." in text for text in asked)
        == 2
    )
    assert all("user: Question 0?" in text and "{" not in text for text in asked)
    shape = bodies[0]["response_format"]["json_schema"]["schema"]["properties"]
    assert shape["verdict"]["enum"] == ["A", "B", "tie"]


def test_examples_are_gold_pairs_but_never_the_one_in_question(tmp_path: Path):
    gold = known_pairs(4, seed=1)
    write_lines(tmp_path / "gold.jsonl", [{**row, "prompt": f"Gold {n}?"} for n, row in enumerate(gold)])
    asked: list[str] = []

    def reply(body: dict[str, Any], number: int) -> Sent:
        asked.append(body["messages"][0]["content"])
        return by_taste(knows)(body, number)

    (summary,), rows = judged(reply, known_pairs(3), tmp_path, gold=str(tmp_path / "gold.jsonl"), shots=2)
    assert len(asked) == 2 * (3 + 4)
    for text in asked:
        examples, _, question = text.rpartition("</example>")
        subject = re.findall(r"user: (.*)\n", question)[-1]
        assert examples.count("<example>") == 2
        assert subject not in examples
        assert [re.findall(r"<answer A>\n(\w+)", part)[0] for part in examples.split("</example>")] == ["good", "bad"]
        assert re.findall(r"\n\n([AB])\n", examples) == ["A", "B"]
    assert (summary.gold.n, summary.gold.value) == (4, 1.0)  # type: ignore[union-attr]
    assert {row.assignment.chosen_by for row in rows} == {"gold", "model"}


def test_the_prompt_is_a_file_that_is_kept_with_the_guidelines(tmp_path: Path):
    words = "By {guidelines}, and by {criterion}: {prompt} / <answer A>\n{first}\n</answer A><answer B>\n{second}\n</answer B>"
    (tmp_path / "own.txt").write_text(words)
    (tmp_path / "guide.md").write_text("the rules {first}")
    _, rows = judged(
        by_taste(knows),
        known_pairs(2),
        tmp_path,
        prompt=str(tmp_path / "own.txt"),
        guidelines=str(tmp_path / "guide.md"),
    )
    assert [row.judgement.ranks for row in rows] == [quality_order(row) for row in rows]
    store = open_store(tmp_path / "feedback.db")
    with store.reading() as session:
        kept = session.get_one(Guideline, rows[0].judgement.guideline).text
    store.close()
    assert words in kept
    assert "the rules {first}" in kept


def test_a_reply_that_cannot_be_read_is_asked_for_again_and_then_left_without_a_verdict(tmp_path: Path):
    def mumbles(body: dict[str, Any], number: int) -> Sent:
        if "Question 1?" in body["messages"][0]["content"]:
            return Sent("Both have their merits.")
        first_time = len(body["messages"]) == 1
        return Sent("Well, hard to say!") if first_time else by_taste(knows)(body, number)

    (summary,), rows = judged(mumbles, known_pairs(3), tmp_path)
    ranks = {row.item.prompt[0]["content"]: row.judgement.ranks for row in rows}
    assert ranks["Question 1?"] is None
    assert [row.judgement.ranks for row in rows if row.judgement.ranks] == [
        quality_order(row) for row in rows if row.judgement.ranks
    ]
    asked = [asked for row in rows for asked in row.judgement.details["asked"]]
    assert (summary.unable, summary.unread, all(one["repaired"] for one in asked)) == (1, 2, True)
    (unable,) = (row.judgement for row in rows if row.judgement.ranks is None)
    assert (unable.verdict, unable.reason) == ("cannot_tell", "The replies name no verdict")


def test_a_local_model_is_read_by_its_log_probabilities(tiny_model: Path, tmp_path: Path):
    """An untrained model: whatever it says, the orders are kept, and the mean of both decides where that is asked for."""
    write_lines(tmp_path / "answers.jsonl", known_pairs(3))
    (tmp_path / "pair.txt").write_text("{criterion} {prompt} {first} {second}")
    (tmp_path / "one.txt").write_text("{criterion} {prompt} {answer}")
    for average in (False, True):
        out = tmp_path / f"{average}.db"
        values = {"answers": [str(tmp_path / "answers.jsonl")], "out": str(out), "prompt": str(tmp_path / "pair.txt")}
        judge(
            load_config(JudgeAnswersConfig, values={**values, "judge": {"path": str(tiny_model), "average": average}})
        )
        for row in rows_of(out):
            one, other = row.judgement.details["asked"]
            assert [one["shown"], other["shown"]] == [[0, 1], [1, 0]]
            lead = one["log_odds"] - other["log_odds"]
            follows = {one["said"], other["said"]} != {"A", "B"} and {one["said"], other["said"]} != {"tie"}
            assert row.judgement.details["split"] == follows
            if follows:
                assert row.judgement.ranks == ([0, 0] if not average else [0, 1] if lead > 0 else [1, 0])
    judge(
        load_config(
            JudgeAnswersConfig,
            values={
                **values,
                **{"rubric": "grades", "prompt": str(tmp_path / "one.txt"), "annotator": "g"},
                "judge": {"path": str(tiny_model)},
            },
        )
    )
    grades = [
        one["said"] for row in rows_of(out) if row.annotator.name == "g" for one in row.judgement.details["asked"]
    ]
    assert len(grades) == 6
    assert all(1 < grade < 10 for grade in grades)


# Juries


def test_a_jury_is_its_majority_and_only_that_is_learnt(tmp_path: Path):
    def members(body: dict[str, Any], number: int) -> Sent:
        return by_taste(likes_length if body["model"] == "odd" else knows)(body, number)

    summaries, rows = judged(members, known_pairs(4), tmp_path, jury={"a": {}, "b": {}, "odd": {}})
    assert [own.name for own in summaries] == ["a", "b", "odd", "jury"]
    right = {
        name: sum(row.judgement.ranks == quality_order(row) for row in rows if row.annotator.name == name)
        for name in ("a", "odd", "jury")
    }
    assert right == {"a": 4, "odd": 2, "jury": 4}
    assert {row.assignment.chosen_by for row in rows} == {"juror", "model"}
    for path in (tmp_path / "feedback.db", tmp_path / "out.jsonl"):
        if path.suffix == ".jsonl":
            export_comparisons(FeedbackExportConfig(database=str(tmp_path / "feedback.db"), out=str(path)))
        read = import_rows(path, (Comparison,)).rows
        assert {row.annotator for row in read} == {"jury"}
        assert len(read) == 4


def test_votes_are_counted_pair_by_pair():
    assert majority([[0, 1, 2], [0, 1, 2], [2, 0, 1]]) == (2.0, 1.0, 0.0)
    assert majority([[0, 1], [1, 0]]) == (0.5, 0.5)
    assert ranks_of(majority([[0, 1, 2], [1, 2, 0], [2, 0, 1]])) == (0, 0, 0)  # a circle is a tie
    yes, no = StudyVerdict("ranked", (0, 1)), StudyVerdict("cannot_tell", reason="x")
    assert jury_verdict({"a": yes, "b": no}).ranks == (0, 1)
    assert jury_verdict({"a": yes, "b": no, "c": no}).kind == "cannot_tell"


# What is kept and told


def test_the_same_command_again_asks_nothing_and_new_items_alone(tmp_path: Path):
    _, before = judged(by_taste(knows), known_pairs(3), tmp_path)
    _, same = judged(always("no reply"), known_pairs(3), tmp_path)
    assert [row.judgement.key for row in same] == [row.judgement.key for row in before]
    _, more = judged(by_taste(knows), known_pairs(5), tmp_path)
    assert len(more) == 5
    assert [row.judgement.ranks for row in more] == [quality_order(row) for row in more]


def test_both_databases_keep_the_same(place: str, tmp_path: Path):
    replies = str(tmp_path / "kept.jsonl")
    judged(by_taste(knows), known_pairs(3), tmp_path, out=place, replies=replies, jury={"a": {}, "b": {}})
    rows = rows_of(place)
    assert [row.judgement.ranks for row in rows] == [quality_order(row) for row in rows]
    assert len(rows) == 9


def said(rows: list[Any]) -> list[Any]:
    times = ("tokens_in", "tokens_out")
    return [
        (
            row.judgement.key,
            row.judgement.ranks,
            row.assignment.shown,
            {k: v for k, v in row.judgement.details.items() if k not in times},
        )
        for row in rows
    ]


@pytest.mark.slow
def test_a_judge_that_is_killed_ends_in_the_same_rows(tmp_path: Path):
    """kill -9 while it asks, three times; then to the end."""
    rows = known_pairs(80)
    _, straight = judged(by_taste(knows), rows, tmp_path / "straight")
    folder = tmp_path / "killed"
    folder.mkdir()
    write_lines(folder / "answers.jsonl", rows)
    asked: list[str] = []

    def slowly(body: dict[str, Any], number: int) -> Sent:
        asked.append(body["messages"][0]["content"])
        return Sent(by_taste(knows)(body, number).words, sleeps=0.02)

    with llm_server(slowly) as server:
        settings = ["--server", server.url, "--model", "judge", "--out", str(folder / "feedback.db"), "-q"]
        command = [sys.executable, "-m", "planish", "judge", str(folder / "answers.jsonl"), *settings]
        for more in (20, 60, None):
            goal = None if more is None else len(asked) + more
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ) as process:
                while goal is not None and len(asked) < goal and process.poll() is None:
                    time.sleep(0.01)
                if goal is not None:
                    process.send_signal(signal.SIGKILL)
                assert process.wait(60) == (0 if goal is None else -signal.SIGKILL)
    assert said(rows_of(folder / "feedback.db")) == said(straight)
    assert len(asked) <= 160 + 2 * 4  # beside what was under way, nothing was asked twice


def test_cost_tokens_and_time_are_told_before_and_a_budget_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]):

    def run(budget: float | None = None, input_price: float = 1000.0, output_price: float = 2000.0) -> Any:
        usage = {"prompt_tokens": 10_000, "completion_tokens": 1}
        with llm_server(lambda body, number: Sent("A", usage=usage, sleeps=0.01)) as server:
            model = {"base_url": server.url, "model": "judge", "input_price": input_price, "output_price": output_price}
            values = {"answers": [str(tmp_path / "a.jsonl")], "out": str(tmp_path / "f.db"), "budget": budget}
            return judge(load_config(JudgeAnswersConfig, values={**values, "judge": model}))

    write_lines(tmp_path / "a.jsonl", known_pairs(20))
    with pytest.raises(ConfigError, match=r"budget=1: it will cost [\d.]+ at least"):
        run(budget=1)
    told = capsys.readouterr().err
    assert "20 items, 40 questions to each judge" in told
    assert re.search(r"judge: some [\d,]+ tokens to read and up to 640 to write, cost [\d.]+ to [\d.]+", told)
    cheap = {"input_price": 100.0, "output_price": 0.0}
    with pytest.raises(RunError, match=r"budget=5: 6\.0000 is spent, after 6 of 40 replies, which are kept"):
        run(budget=5.0, **cheap)
    assert "judge: a reply takes" in capsys.readouterr().err
    assert 6 <= len((tmp_path / "f.db.replies.jsonl").read_text().splitlines()) < 20
    assert run(**cheap)[0].tokens_in == 40 * 10_000  # what was paid before counts, too


# Bad input


def write(folder: Path, **files: str) -> dict[str, str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in files}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"judge": None}, "judge: name one judge"),
        ({"jury": {"a": {}}}, "jury: has one member"),
        ({"jury": {"a": {}, "jury": {}}}, "annotator: the jury needs a name that none of its members has"),
        ({"judge": {"base_url": "ftp://x", "model": "m"}}, "base_url='ftp://x' is no http://host:port"),
        ({"judge": {"base_url": "http://127.0.0.1:9"}}, r"judge.model.* is needed"),
        (
            {"judge": {"base_url": "http://127.0.0.1:9", "model": "m"}},
            "judge http://127.0.0.1:9.*no server answers there",
        ),
        ({"judge": {"path": "no/such/model"}}, "no/such/model"),
        ({"judge": {"name": "gold", "path": "x"}}, r"'judge.name' is 'gold'; there are llm, local"),
        ({"judge": {"base_url": "http://x", "model": "m", "api_key_env": "NO_SUCH_KEY"}}, "api_key_env=NO_SUCH_KEY"),
        ({"judge": {"base_url": "http://x", "model": "m", "input_price": -1}}, "input_price"),
        ({"judge": {"base_url": "http://x", "model": " "}}, "expected a name of 1 to 100 printable characters"),
        ({"rubric": "taste"}, "rubric"),
        ({"rubric": "aspects"}, "rubric=aspects: the study has no aspects; name some"),
        ({"aspects": ["a" * 61], "rubric": "both"}, "expected a name of 1 to 60 characters"),
        ({"criteria": {"charm": "It charms."}}, "criteria.charm: is not asked for; there are overall"),
        ({"prompt": "none.txt"}, "prompt=none.txt: cannot be read: No such file"),
        ({"prompt": "half.txt"}, r"half.txt: has no {second} in it; expected {criterion}, {prompt}, {first}, {second}"),
        ({"prompt": "pair.txt", "rubric": "grades"}, r"pair.txt: has no {answer} in it"),
        ({"prompt": "latin.txt"}, "latin.txt: cannot be read: .*UTF-8"),
        ({"shots": 2}, "shots=2: .*has 0 other gold pairs"),
        ({"shots": 2, "rubric": "grades"}, "shots=2: gold pairs are ranked overall; expected rubric=overall or both"),
        ({"shots": 1, "prompt": "pair.txt"}, r"has no {examples} in it, where shots=1 would be shown"),
        ({"out": "postgresql://u@h/d"}, "replies: name a file that keeps the replies"),
        ({"out": "."}, "is a folder; expected the name of a file"),
        ({"answers": ["none.jsonl"]}, "none.jsonl"),
        ({"answers": []}, "there is nothing to compare"),
        ({"answers": ["alone.jsonl"]}, "there is nothing to compare"),
        ({"gold": "two.jsonl"}, "two.jsonl row 1: gold items have a right answer; expected comparisons, with ranks"),
        ({"limit": 0}, "limit"),
        ({"budget": 0}, "budget"),
        ({"replies": "broken.jsonl"}, "broken.jsonl: not the replies of a judge"),
    ],
)
def test_bad_input_is_one_error_that_says_what_to_do(
    settings: dict[str, Any], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    pair = "{criterion} {prompt} {first} {second}"
    write(tmp_path, **{"half.txt": "{criterion} {prompt} {first}", "pair.txt": pair, "broken.jsonl": "[]\n"})
    (tmp_path / "latin.txt").write_bytes("für {prompt}".encode("latin-1"))
    write_lines(tmp_path / "answers.jsonl", known_pairs(2))
    write_lines(tmp_path / "alone.jsonl", [{"prompt": "Why?", "completion": "So."}])
    write_lines(tmp_path / "two.jsonl", [{"prompt": "Why?", "completion": word} for word in ("So.", "Because.")])
    with llm_server(by_taste(knows)) as server:
        own = {"base_url": server.url, "model": "judge"}
        values: dict[str, Any] = {"answers": ["answers.jsonl"], "out": "f.db", "judge": own, **settings}
        if "jury" in values:
            values["judge"], values["jury"] = None, dict.fromkeys(values["jury"], own)
        with pytest.raises(PlanishError, match=problem):
            judge(load_config(JudgeAnswersConfig, values=values))
        assert not server.bodies  # nothing was asked, or paid for


def test_a_judge_of_the_same_name_must_be_the_same_judge(tmp_path: Path):
    judged(by_taste(knows), known_pairs(2), tmp_path)
    for settings in ({"rubric": "grades"}, {"criteria": {"overall": "It is short."}}, {"repair": False}):
        with pytest.raises(ConfigError, match=r"judge: has judged 2 items .* another name \(annotator=…\)"):
            judged(by_taste(knows), known_pairs(2), tmp_path, **settings)
    with pytest.raises(ConfigError, match="the study does not ask for honest; it asks for none"):
        judged(by_taste(knows), known_pairs(2), tmp_path, rubric="both", aspects=["honest"])
    (_,), rows = judged(by_taste(knows), known_pairs(2), tmp_path, rubric="grades", annotator="grader")
    assert {row.annotator.name for row in rows} == {"judge", "grader"}


def test_a_judge_that_cannot_be_read_at_all_is_stopped(tmp_path: Path):
    with pytest.raises(RunError, match=r"judge: none of its 64 replies can be read, such as 'Hm\.'.*raise max_tokens"):
        judged(always("Hm."), known_pairs(40), tmp_path)
    assert rows_of(tmp_path / "feedback.db") == []


def test_the_command_says_what_came_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_lines(tmp_path / "answers.jsonl", known_pairs(12))
    with llm_server(always("A")) as server:
        flags = ["--server", server.url, "--model", "first", "--out", str(tmp_path / "f.db")]
        main(["judge", str(tmp_path / "answers.jsonl"), *flags])
    said = capsys.readouterr()
    assert re.search(r"first +12 +12 +12 of 12 +0", said.out)
    assert "first: 12 of 12 choices follow the order of the answers: these are ties" in said.err
    assert said.out.endswith(f"next:  planish feedback export {tmp_path / 'f.db'} --out comparisons.jsonl\n")
