"""The database: its tables on both servers, judgements that are kept once, and who gets what."""

from __future__ import annotations

import json
import stat
import tomllib
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text

import planish.feedback
from planish.base.errors import ConfigError, DataError, RunError
from planish.feedback.assignment import disputed, let_try_again, next_assignment, order_of
from planish.feedback.config import AnnotateConfig
from planish.feedback.judgements import (
    AlreadyJudgedError,
    Opinion,
    StudyVerdict,
    add_judgement,
    check_verdict,
    judgements,
    undo,
)
from planish.feedback.people import add_annotator, annotator_of, renew_token, token_of
from planish.feedback.reading import read_answers
from planish.feedback.schema import Assignment, Base, Event, StudyItem, StudyJudgement
from planish.feedback.store import alembic_config, open_store
from planish.feedback.study import add_items, settle
from support.recipes import ROOT
from support.studies import FIRST, comparisons, judge_next, person, save, settings_of, study


def test_migrations_make_the_tables_of_the_schema_and_can_be_taken_back(place: str):
    store = open_store(place)
    with closing(store), store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    with store.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with closing(open_store(place)) as again, again.writing() as session:
        assert session.scalars(select(StudyItem)).all() == []
    store.close()


def test_a_database_of_a_newer_planish_is_refused(tmp_path: Path):
    with closing(open_store(tmp_path / "feedback.db")) as store, store.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RunError, match="9999, which a newer planish made"):
        open_store(tmp_path / "feedback.db")


def test_what_is_no_database_is_refused(tmp_path: Path):
    (tmp_path / "notes.db").write_text("These are notes, and not a database. " * 30)
    with pytest.raises(RunError, match=r"notes\.db: the database cannot be opened: file is not a database"):
        open_store(tmp_path / "notes.db")
    with pytest.raises(ConfigError, match="is a folder; expected the name of a file"):
        open_store(tmp_path)
    with pytest.raises(ConfigError, match="no database"):
        open_store("nosuch://host/name")
    with pytest.raises(RunError, match="cannot be opened"):
        open_store(f"postgresql://planish@/none?host={tmp_path}")
    with pytest.raises(RunError, match=r"^postgresql://me:\*\*\*@/none\?host=.*: the database cannot be opened"):
        open_store(f"postgresql://me:secret:@/none?host={tmp_path}")


def test_the_file_is_for_its_owner_alone(tmp_path: Path):
    open_store(tmp_path / "feedback.db").close()
    assert stat.S_IMODE((tmp_path / "feedback.db").stat().st_mode) == 0o600


def test_the_same_key_twice_is_one_judgement(place: str, tmp_path: Path):
    with study(place, tmp_path) as store:
        me, settings = person(store), settings_of(store)
        with store.writing() as session:
            assignment = next_assignment(session, me, settings).assignment
            assert assignment is not None
            first = save(session, assignment, FIRST, "key")
        with store.writing() as session:
            again = save(
                session, session.get_one(Assignment, assignment.id), StudyVerdict("all_bad"), "key", revision=0
            )
            assert (again.id, again.verdict) == (first.id, "ranked")
            assert len(list(judgements(session))) == 1


def test_of_two_tabs_the_first_counts(place: str, tmp_path: Path):
    with study(place, tmp_path) as store:
        me, settings = person(store), settings_of(store)
        with store.writing() as session:
            assignment = next_assignment(session, me, settings).assignment
            assert assignment is not None
            save(session, assignment, FIRST, "one tab")
            with pytest.raises(AlreadyJudgedError, match="another tab"):
                save(session, assignment, StudyVerdict("all_bad"), "another tab")


def test_an_undone_judgement_stays_but_does_not_count(place: str, tmp_path: Path):
    with study(place, tmp_path) as store:
        me, settings = person(store), settings_of(store)
        judge_next(store, "me")
        with store.writing() as session:
            later = next_assignment(session, me, settings).assignment
            first = session.scalars(select(Assignment).order_by(Assignment.id)).first()
            assert first is not None
            undo(session, first)
            assert list(judgements(session)) == []
            assert next_assignment(session, me, settings).assignment is first  # before the later one
            save(session, first, StudyVerdict("all_bad"), "second thoughts")
            assert [row.judgement.verdict for row in judgements(session)] == ["all_bad"]
            assert len(session.scalars(select(StudyJudgement)).all()) == 2
            assert next_assignment(session, me, settings).assignment is later


def test_going_back_twice_leads_to_the_item_before(place: str, tmp_path: Path):
    """The last one was undone twice, the one before it once, and that comes first all the same."""
    with study(place, tmp_path) as store:
        me, settings = person(store), settings_of(store)
        for _ in range(2):
            judge_next(store, "me")
        with store.writing() as session:
            first, last = session.scalars(select(Assignment).order_by(Assignment.id)).all()
            undo(session, last)
            save(session, last, FIRST, "again")
            undo(session, last)
            undo(session, first)
            assert (last.revision, first.revision) == (2, 1)
            assert next_assignment(session, me, settings).assignment is first


def test_a_wheel_has_the_pages_and_the_guidelines():
    folder = Path(planish.feedback.__file__).parent
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["planish"]
    packed = {file for pattern in data for file in folder.parent.glob(pattern)}
    others = {file for file in folder.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert len(others) > 8
    assert others <= packed


def test_every_item_goes_to_as_many_people_as_it_wants(place: str, tmp_path: Path):
    """Three items for two of three people each: six judgements, and nobody gets an item twice."""
    with study(place, tmp_path, overlap=2) as store:
        got: list[tuple[str, int]] = []
        for _ in range(3):
            got += [(name, item.id) for name in ("a", "b", "c") if (item := judge_next(store, name)) is not None]
        assert len(got) == len({*got}) == 6
        assert [*Counter(item for _, item in got).values()] == [2, 2, 2]


def test_an_item_that_was_left_goes_to_others(tmp_path: Path):
    with study(tmp_path / "f.db", tmp_path, items=1, hold=1) as store:
        me, you, settings = person(store), person(store, "you"), settings_of(store)
        with store.writing() as session:
            opened = next_assignment(session, me, settings).assignment
            assert opened is not None
            assert next_assignment(session, you, settings).assignment is None
            opened.created -= 61  # a minute has passed
            assert next_assignment(session, you, settings).assignment is not None


def test_answers_are_shown_in_an_order_of_the_seed(tmp_path: Path):
    """Both orders come, the order is kept, and a repeat turns it round."""
    with study(tmp_path / "f.db", tmp_path, items=20, repeat_rate=0.5, repeat_gap=1, gold_rate=0) as store:
        while judge_next(store, "me") is not None:
            pass
        with store.reading() as session:
            rows = list(judgements(session))
            assert {tuple(row.assignment.shown) for row in rows} == {(0, 1), (1, 0)}
            shown = {(row.item.id, row.assignment.repeat): row.assignment.shown for row in rows}
            repeats = [item for item, repeat in shown if repeat]
            assert len(repeats) > 2
            assert all(shown[item, 1] == shown[item, 0][::-1] for item in repeats)
            for row in rows:
                if row.assignment.repeat == 0:
                    assert row.assignment.shown == order_of(row.item, row.annotator.id, seed=0)


def test_items_of_high_priority_come_first_beside_random_ones(tmp_path: Path):
    from planish.base.files import write_lines

    rows = [{**row, "about": {"doubt": n}} for n, row in enumerate(comparisons(60))]
    write_lines(tmp_path / "doubts.jsonl", rows)
    with study(tmp_path / "f.db", tmp_path, items=0 + 1, priority=None) as store:
        with store.writing() as session:
            settings = settle(session, AnnotateConfig(out="f", priority="doubt", gold_rate=0), None)
            add_items(session, read_answers([str(tmp_path / "doubts.jsonl")]).answers, "task", settings)
        for _ in range(20):
            judge_next(store, "me")
        with store.reading() as session:
            chosen = [(row.assignment.chosen_by, row.item.priority) for row in judgements(session)]
        by_priority = [value for chosen_by, value in chosen if chosen_by == "priority"]
        assert 4 <= len(by_priority) <= 16
        assert by_priority == sorted(by_priority, reverse=True)
        assert min(by_priority) > 35


def test_training_and_test_come_first_and_a_failed_test_ends_the_sitting(tmp_path: Path):
    wrong = StudyVerdict("ranked", (1, 0), "slightly")
    with study(tmp_path / "f.db", tmp_path, gold_rate=0.5) as store:
        settings = settings_of(store)
        with store.writing() as session:
            for kind, number in (("training", 1), ("test", 2), ("gold", 2)):
                file = tmp_path / f"{kind}.jsonl"
                rows = [{**row, "prompt": f"{kind} {row['prompt']}"} for row in comparisons(number)]
                file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
                add_items(session, read_answers([str(file)]).answers, kind, settings)
        kinds = [item.kind for _ in range(3) if (item := judge_next(store, "me", wrong)) is not None]
        assert kinds == ["training", "test", "test"]
        me = person(store)
        with store.writing() as session:
            assert not next_assignment(session, me, settings).passed
            let_try_again(session, me)
        again = [item.kind for _ in range(2) if (item := judge_next(store, "me")) is not None]
        assert again == ["test", "test"]
        rest = [item.kind for _ in range(9) if (item := judge_next(store, "me")) is not None]
        assert rest.count("task") == 3
        assert {*rest} <= {"task", "gold"}


def test_an_adjudicator_gets_what_others_disagree_on(tmp_path: Path):
    with study(tmp_path / "f.db", tmp_path, overlap=2) as store:
        for name, verdict in (("a", FIRST), ("b", StudyVerdict("ranked", (1, 0), "clearly"))):
            judge_next(store, name, verdict)
        judge_next(store, "a")
        judge_next(store, "b")
        with store.writing() as session:
            queue = [item.id for item in session.scalars(disputed())]
            judge = add_annotator(session, "judge", role="adjudicator")
            assignment = next_assignment(session, judge, settings_of(store)).assignment
            assert assignment is not None
            assert (queue, assignment.chosen_by) == ([assignment.item_id], "adjudication")
            save(session, assignment, FIRST, "settled")
            assert session.scalars(disputed()).all() == []


def test_a_model_judges_by_the_same_tables(place: str, tmp_path: Path):
    """Both orders of an item, with what they cost; a retry adds nothing."""
    with study(place, tmp_path) as store, store.writing() as session:
        model = add_annotator(session, "qwen", kind="model")
        item = session.scalars(select(StudyItem)).first()
        assert item is not None
        verdict = StudyVerdict("ranked", (0, 1), "clearly", {"honest": Opinion((0, 0))}, details={"tokens": 412})
        for repeat, order in enumerate(((0, 1), (1, 0), (1, 0))):
            repeat = min(repeat, 1)
            add_judgement(
                session, model.id, item.id, verdict, order=order, repeat=repeat, key=f"qwen {item.id} {repeat}"
            )
        rows = list(judgements(session))
        assert [(row.assignment.shown, row.judgement.details) for row in rows] == [
            ([0, 1], {"tokens": 412}),
            ([1, 0], {"tokens": 412}),
        ]
        assert rows[0].judgement.aspects == {"honest": {"ranks": [0, 0], "strength": ""}}


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [
        (StudyVerdict("ranked"), "without ranks"),
        (StudyVerdict("ranked", (0, 2)), "without gaps"),
        (StudyVerdict("ranked", (0, 1, 2)), "expected 2"),
        (StudyVerdict("ranked", (-1, 0)), "from 0 up"),
        (StudyVerdict("ranked", (0, 0), "clearly"), "a tie has no strength"),
        (StudyVerdict("cannot_tell"), "gives a reason"),
        (StudyVerdict("cannot_tell", (0, 1), reason="tired"), "no ranks"),
        (StudyVerdict("all_bad", (0, 1)), "are tied"),
        (StudyVerdict("ranked", (0, 1), aspects={"honest": Opinion((1, 1))}), "from 0 up"),
        (StudyVerdict("ranked", (0, 1), spans=[{"answer": 2, "kind": "good", "quote": "x"}]), "expected 0 to 1"),
    ],
)
def test_verdicts_that_do_not_fit_are_refused(verdict: StudyVerdict, problem: str):
    with pytest.raises(DataError, match=problem):
        check_verdict(verdict, 2)


def test_only_the_right_token_opens_the_page(place: str, tmp_path: Path):
    with study(place, tmp_path) as store, store.writing() as session:
        owner, other = add_annotator(session, "me"), add_annotator(session, "other")
        token = token_of(session, owner)
        assert annotator_of(session, token) is owner
        stolen = f"{other.id}-{token.partition('-')[2]}"
        wrong = ["", "1-", token[:-1], token + "A", stolen, f"999{token}", token.replace("1-", "١-", 1), token + "\n"]
        assert [annotator_of(session, word) for word in wrong] == [None] * len(wrong)
        fresh = renew_token(session, owner)
        assert annotator_of(session, token) is None
        assert annotator_of(session, fresh) is owner


def test_a_study_keeps_its_settings_and_announces_new_guidelines(place: str, tmp_path: Path):
    with study(place, tmp_path, overlap=2, aspects=("honest",)) as store:
        with store.writing() as session:
            kept = settle(session, AnnotateConfig(out="f", overlap=3), "# New ones")
            assert (kept.overlap, kept.aspects) == (3, ("honest",))
            events = [event.kind for event in session.scalars(select(Event))]
            assert events == ["invited", "settings", "guidelines"]
        with store.writing() as session, pytest.raises(ConfigError, match="begun with seed=0"):
            settle(session, AnnotateConfig(out="f", seed=1), None)


def test_the_same_files_again_add_nothing(place: str, tmp_path: Path):
    with study(place, tmp_path) as store, store.writing() as session:
        answers = read_answers([str(tmp_path / "answers.jsonl")]).answers
        added = add_items(session, answers, "task", settings_of(store))
        assert (added.new, added.known) == (0, 3)
