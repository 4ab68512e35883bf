"""What is stored about a person, exported, and deleted; what the owner sees."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from planish.feedback.judgements import StudyVerdict, judgements
from planish.feedback.overview import overview
from planish.feedback.store import open_store
from support.annotation_server import Client, serving, token
from support.studies import FIRST, judge_next, settings_of, study


def test_a_person_sees_takes_and_deletes_what_is_stored(tmp_path: Path):
    """Afterwards not a byte of the name is in the file."""
    with study(tmp_path / "f.db", tmp_path, profile=("country", "age"), group_by="country") as store:
        with serving(store) as port:
            client = Client(port, token(store, "Wilhelmina"))
            assert client.post("/welcome", {"profile": {"country": "Ruritania", "age": " "}}).status == 200
            assert client.post("/judgements", client.judgement(comment="Zendastreet is nice")).status == 200
            stored = client.get("/stored.json").json
            assert (stored["person"]["profile"], stored["person"]["group"]) == ({"country": "Ruritania"}, "Ruritania")
            assert [said["comment"] for said in stored["judgements"]] == ["Zendastreet is nice"]
            assert "Ruritania" in client.get("/stored").text
            assert client.post("/delete", {"judgements": False}).status == 200
            assert client.get().status == 403
        with store.reading() as session:
            row = next(iter(judgements(session)))
            assert (row.annotator.name, row.annotator.group, row.judgement.comment) == ("", "", "")
            assert row.judgement.ranks is not None
    with closing(open_store(tmp_path / "f.db")) as store, store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("f.db*"))
    assert [word for word in (b"Wilhelmina", b"Ruritania", b"Zendastreet") if word in kept] == []


def test_judgements_can_be_deleted_with_the_person(place: str, tmp_path: Path):
    with study(place, tmp_path) as store, serving(store) as port:
        judge_next(store, "anna")
        judge_next(store, "ben")
        client = Client(port, token(store, "anna"))
        assert client.post("/delete", {"judgements": True}).status == 200
        with store.reading() as session:
            assert [row.annotator.name for row in judgements(session)] == ["ben"]
        owner = Client(port, token(store, "me"))
        assert owner.post("/delete", {"judgements": True}).status == 422


def test_the_owner_sees_agreement_known_answers_and_repeats(place: str, tmp_path: Path):
    """Two people agree on one of two pairs: 50%; of values (+, +) and (+, -), alpha is 1 - 3 * 2 / (3 * 1 * 2) = 0."""
    with study(place, tmp_path, items=2, overlap=2, gold_rate=0) as store:
        for name, verdicts in (("a", (FIRST, FIRST)), ("b", (FIRST, StudyVerdict("ranked", (1, 0), "slightly")))):
            for verdict in verdicts:
                judge_next(store, name, verdict)
        with store.reading() as session:
            seen = overview(session, settings_of(store))
        assert (seen.judged, seen.several, seen.raw, seen.disputed) == (2, 2, 0.5, 1)
        assert seen.alpha is not None
        assert abs(seen.alpha) < 1e-12
        assert [(one.person.name, one.done, str(one.gold)) for one in seen.people] == [
            ("me", 0, "–"),
            ("a", 2, "–"),
            ("b", 2, "–"),
        ]
