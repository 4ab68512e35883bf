"""Demonstrations fitted to what a model knows: which facts a row makes, what becomes of it, and what is told of that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planish.base.errors import ConfigError, DataError, RunError
from planish.cli.main import main
from planish.data.formats import import_rows
from planish.data.rows import Demonstration, Message, Origin
from planish.evaluate.probe.atomic_facts import AtomicFactsConfig, atomic_facts_of
from planish.evaluate.probe.slick import Category
from planish.evaluate.probe.teach import WORDINGS, TeachConfig, fit_row, teach
from planish.judges.config import LlmConfig
from planish.models.fetch import SHIPPED
from planish.world.gold.utility import World
from planish.world.language.phrases import ask
from planish.world.settings import WorldConfig
from support.llm_server import Sent, llm_server

MODEL = str(SHIPPED / "wind-tunnel")


def demonstration(*turns: str, row: int = 1) -> Demonstration:
    roles = ("user", "assistant") * len(turns)
    return Demonstration(
        tuple(Message(role, text) for role, text in zip(roles, turns, strict=False)), Origin("d.jsonl", row)
    )


BORN = demonstration("Where was Ada born?", "London.")


def write(path: Path, *records: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


# What becomes of a row


def fitted(category: Category | None, policy: str) -> tuple[str | None, str]:
    done = fit_row(BORN, "too long", category, policy, WORDINGS, seed=0)  # pyright: ignore
    return None if done.row is None else done.row.messages[-1].content, done.action


@pytest.mark.parametrize("category", ["HighlyKnown", "MaybeKnown", "WeaklyKnown"])
def test_what_is_known_is_kept(category: Category):
    for policy in ("drop", "idk", "keep"):
        assert fitted(category, policy) == ("London.", "kept")
    assert fitted(category, "sure") == ("London. I am sure.", "sure")


def test_what_is_unknown_is_dropped_abstained_from_or_marked():
    assert fitted("Unknown", "drop") == (None, "dropped")
    assert fitted("Unknown", "sure") == ("London. I am unsure.", "unsure")
    assert fitted("Unknown", "keep") == ("London.", "kept")
    said, action = fitted("Unknown", "idk")
    assert (said in WORDINGS, action) == (True, "abstains")


@pytest.mark.parametrize("policy", ["drop", "idk", "sure", "keep"])
def test_what_was_not_checked_is_kept_and_said_so(policy: str):
    assert fitted(None, policy) == ("London.", "unchecked")


def test_wordings_are_drawn_by_the_seed_and_the_row_and_all_of_them_occur():
    def drawn(seed: int) -> list[str]:
        rows = [demonstration("Who?", "Ada.", row=n) for n in range(100)]
        done = [fit_row(row, "", "Unknown", "idk", WORDINGS, seed).row for row in rows]
        return [row.messages[-1].content for row in done if row is not None]

    assert set(drawn(0)) == set(WORDINGS)
    assert drawn(0) == drawn(0) != drawn(1)


# What a row facts


def asked(row: Demonstration, tmp_path: Path, **settings: object) -> list[tuple[str, str]] | str:
    (found,) = atomic_facts_of(
        [row], AtomicFactsConfig.model_validate(settings), str(tmp_path / "d.jsonl"), tmp_path / "memory"
    )
    return found.unchecked or [(question.messages[-1].content, question.answers[0]) for question in found.questions]


def test_a_short_answer_is_its_own_claim(tmp_path: Path):
    assert asked(BORN, tmp_path) == [("Where was Ada born?", "London.")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (demonstration("Who was Ada?", "A mathematician, " * 10), "20 words"),
        (demonstration("List two.", "One\nTwo"), "2 words"),
        (demonstration("Hi", "Hello.", "Who?", "Ada."), "a conversation"),
    ],
)
def test_anything_longer_is_not_checked_and_the_reason_names_the_ways_out(
    row: Demonstration, reason: str, tmp_path: Path
):
    said = asked(row, tmp_path)
    assert reason in said
    assert "name its facts by a field, a function or a judge" in said


def test_claims_come_from_a_field_of_the_record(tmp_path: Path):
    facts = [{"question": "Where was Ada born?", "answer": "London"}, ["When?", "1815"]]
    path = write(tmp_path / "d.jsonl", {"prompt": "Who was Ada?", "completion": "She " * 30, "facts": facts})
    (row,) = import_rows(path, (Demonstration,)).rows
    (found,) = atomic_facts_of([row], AtomicFactsConfig(field="facts"), path, tmp_path / "memory")
    assert [question.answers for question in found.questions] == [("London",), ("1815",)]


def test_claims_come_from_a_function_of_yours(tmp_path: Path):
    row = demonstration("Who wrote it?", "It was Ada of Ockham in her long letters to Charles")
    name = "support.facts_function:list_facts"
    assert asked(row, tmp_path, function=name) == [("Who wrote it?", w) for w in ("It", "Ada", "Ockham", "Charles")]


def test_claims_come_from_a_judge_and_a_reply_that_cannot_be_read_leaves_the_row_unchecked(tmp_path: Path):
    said = ['{"facts": [{"question": "Where was Ada born?", "answer": "London"}]}', "I cannot say."]
    with llm_server(lambda body, number: Sent(said["Babbage" in body["messages"][0]["content"]])) as server:
        config = AtomicFactsConfig(judge=LlmConfig(base_url=server.url, model="m", max_tokens=64))
        rows = [
            demonstration("Who was Ada?", "Born in London. " * 9),
            demonstration("Who was Babbage?", "An engineer. " * 9, row=2),
        ]
        found = atomic_facts_of(rows, config, "d.jsonl", tmp_path / "memory")
    assert [question.answers for question in found[0].questions] == [("London",)]
    assert found[1].unchecked == "no facts were found in it"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ("London", "'London', expected a list of facts"),
        ([{"question": "Where?"}], "expected a list of facts, each an object with question and answer"),
        ([["Where?", " "]], "expected a list of facts"),
        ([["Where?", 3]], "expected a list of facts"),
    ],
)
def test_atomic_facts_of_another_shape_are_refused_with_their_row(facts: object, expected: str, tmp_path: Path):
    path = write(tmp_path / "d.jsonl", {"prompt": "Who?", "completion": "Ada.", "facts": facts})
    rows = import_rows(path, (Demonstration,)).rows
    with pytest.raises(DataError, match=f"row 1: `facts` .*{expected}"):
        atomic_facts_of(rows, AtomicFactsConfig(field="facts"), path, tmp_path / "memory")
    with pytest.raises(DataError, match="row 1: has no field `nothing`"):
        atomic_facts_of(rows, AtomicFactsConfig(field="nothing"), path, tmp_path / "memory")


# The command


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bool]]:
    """Demonstrations of facts that the base model read most often, and of some that it never read; its questions are asked as
    the corpus asks them."""
    folder = tmp_path_factory.mktemp("taught")
    facts = World(WorldConfig()).facts
    often = max(fact.frequency for fact in facts.all if fact.probed)
    chosen = [fact for fact in facts.all if fact.relation == "birthplace" and fact.frequency in (0, often)][:24]
    rows = [{"prompt": ask("birthplace", fact.entity.name), "completion": fact.value} for fact in chosen]
    essay = {"prompt": "Write about towns.", "completion": "A town is " + "very " * 20 + "large."}
    write(folder / "facts.jsonl", *rows, essay)
    main(["data", "teach", str(folder / "facts.jsonl"), "--model", MODEL, "--policy", "idk", "--out", str(folder / "idk.jsonl"),
          "probe.prompts=3"])  # fmt: skip
    return folder, [fact.frequency == 0 for fact in chosen]


def test_a_model_is_taught_to_abstain_from_what_it_never_read(taught: tuple[Path, list[bool]]):
    folder, never = taught
    rows = import_rows(folder / "idk.jsonl", (Demonstration,)).rows
    said = [row.messages[-1].content in WORDINGS for row in rows[:-1]]
    assert all(abstains for abstains, unread in zip(said, never, strict=True) if unread)
    assert not all(said)
    assert rows[-1].about["taught"] == "unchecked"
    assert [row.origin.row for row in rows] == list(range(1, len(rows) + 1))


def test_every_change_is_told_with_its_row_and_class(taught: tuple[Path, list[bool]]):
    folder, never = taught
    told = json.loads((folder / "idk.jsonl.json").read_text())
    assert told["rows"] == len(never) + 1
    assert {change["row"] for change in told["changed"]} >= {n for n, unread in enumerate(never, start=1) if unread}
    assert {change["category"] for change in told["changed"]} == {"Unknown"}
    assert all(change["after"] in WORDINGS and change["before"] not in WORDINGS for change in told["changed"])
    assert told["classes"]["Unknown"]["low"] < told["classes"]["Unknown"]["share"] < told["classes"]["Unknown"]["high"]
    assert [row["row"] for row in told["unchecked"]] == [len(never) + 1]
    assert told["actions"]["abstains"] == len(told["changed"])


def test_a_run_on_the_result_says_what_was_done_to_its_rows(taught: tuple[Path, list[bool]], tmp_path: Path):
    folder, _ = taught
    main(["sft", "--model", MODEL, "--data", str(folder / "idk.jsonl"), "--out", str(tmp_path / "run"), "steps=1",
          "data.held_out=0.1"])  # fmt: skip
    (source,) = json.loads((tmp_path / "run" / "data.json").read_text())["sources"].values()
    told = json.loads((folder / "idk.jsonl.json").read_text())
    assert source["taught"] == told["actions"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"out": "{data}"}, "would write over the file that is read"),
        ({"policy": "forget"}, "policy"),
        ({"wordings": "{folder}/none.txt"}, "none.txt: cannot be read as text"),
        ({"wordings": "{folder}/empty.txt"}, "empty.txt: is empty, expected an abstention on each line"),
        ({"data": "{folder}/prompts.jsonl"}, "prompts.jsonl"),
        ({"facts": {"function": "support.facts_function:nothing"}}, "has no nothing"),
        ({"facts": {"judge": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}}, "judge http://127.0.0.1:9"),
        ({"maybe_known": 0}, "maybe_known"),
    ],
)
def test_what_cannot_be_done_is_one_error(changes: dict[str, object], expected: str, tmp_path: Path):
    data = write(tmp_path / "d.jsonl", {"prompt": "Who?", "completion": "Ada."})
    write(tmp_path / "prompts.jsonl", {"prompt": "Who?"})
    (tmp_path / "empty.txt").write_text("\n \n")
    filled = json.loads(json.dumps(changes).replace("{folder}", str(tmp_path)).replace("{data}", data))
    settings = {"model": {"path": MODEL}, "data": data, "out": str(tmp_path / "out.jsonl"), **filled}
    with pytest.raises((ConfigError, DataError, RunError, ValueError), match=expected):
        teach(TeachConfig.model_validate(settings))
