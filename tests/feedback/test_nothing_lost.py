"""No judgement is lost, doubled or given to somebody else: kill -9, two tabs, retries, a full disk."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, select

from planish.base.files import write_lines
from planish.feedback.judgements import judgements
from planish.feedback.schema import StudyJudgement
from planish.feedback.store import open_store
from support.annotation_server import Client, Process, new_key, serving, token
from support.studies import comparisons, person, study


@pytest.mark.slow
def test_a_killed_server_has_every_judgement_that_it_acknowledged_once(tmp_path: Path):
    """Somebody judges without a rest while kill -9 ends the server; then the one in flight is sent again."""
    write_lines(tmp_path / "answers.jsonl", comparisons(300))
    server = Process(tmp_path, str(tmp_path / "answers.jsonl"), "invite=[anna]")
    client, acknowledged, last = server.client("anna"), list[str](), dict[str, object]()
    client.begin()
    killer = threading.Timer(1.0, server.process.kill)
    killer.start()
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            last = client.judgement(comment=f"number {len(acknowledged)}")
            if client.post("/judgements", last).status == 200:
                acknowledged.append(str(last["key"]))
    killer.join()
    server.kill()
    assert 3 < len(acknowledged) < 300
    with closing(open_store(tmp_path / "feedback.db")) as store:
        with store.reading() as session:
            kept = [row.judgement.key for row in judgements(session)]
        assert kept in (acknowledged, [*acknowledged, last["key"]])
        with serving(store) as port:
            again = Client(port, client.token)
            assert again.post("/judgements", last).status == 200
            assert again.post("/judgements", last).status == 200
            assert again.task() is not None
        with store.reading() as session:
            rows = list(judgements(session))
            assert Counter(row.judgement.key for row in rows) == Counter({*acknowledged, last["key"]})
            assert {row.annotator.name for row in rows} == {"anna"}


def test_double_clicks_and_retries_at_once_are_one_judgement(place: str, tmp_path: Path):
    with study(place, tmp_path) as store, serving(store) as port:
        client = Client(port, token(store, "me"))
        client.begin()
        sent, replies = client.judgement(), list[int]()
        threads = [
            threading.Thread(target=lambda: replies.append(client.post("/judgements", sent).status)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert replies == [200] * 8
        with store.reading() as session:
            assert len(session.scalars(select(StudyJudgement)).all()) == 1


def test_two_tabs_are_one_judgement_and_the_second_goes_on(place: str, tmp_path: Path):
    with study(place, tmp_path) as store, serving(store) as port:
        client = Client(port, token(store, "me"))
        client.begin()
        one, other = client.judgement(), client.judgement(ranks=[1, 0])
        assert (one["assignment"], one["key"] != other["key"]) == (other["assignment"], True)
        replies = [client.post("/judgements", sent) for sent in (one, other)]
        assert [reply.status for reply in replies] == [200, 409]
        assert "another tab" in replies[1].json["error"]
        following = client.task()
        assert following is not None
        assert following["assignment"] != one["assignment"]


@pytest.mark.slow
def test_judgements_of_many_at_once_are_each_ones_own(place: str, tmp_path: Path):
    """Eight people, twelve items for two each: 24 judgements, all by those who sent them."""
    with study(place, tmp_path, items=12, overlap=2, gold_rate=0) as store, serving(store) as port:
        names = [f"p{n}" for n in range(8)]
        clients = {name: Client(port, token(store, name)) for name in names}

        def sit(name: str) -> None:
            clients[name].begin()
            while (task := clients[name].task()) is not None:
                body = {**task, "verdict": "all_bad", "comment": name}
                assert clients[name].post("/judgements", body).status == 200

        threads = [threading.Thread(target=sit, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with store.reading() as session:
            rows = list(judgements(session))
        assert Counter(row.item.id for row in rows) == Counter(dict.fromkeys({row.item.id for row in rows}, 2))
        assert len(rows) == 24
        assert all(row.judgement.comment == row.annotator.name for row in rows)


def test_a_full_disk_is_told_and_the_same_judgement_is_saved_later(tmp_path: Path):
    with study(tmp_path / "feedback.db", tmp_path) as store:
        client = Client(0, token(store, "me"))
        limit = {"pages": 1}  # the smallest number of pages that SQLite may use: as many as there are
        event.listen(store.engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count={limit['pages']}"))
        with serving(store) as port:
            client.port = port
            client.begin()
            sent = client.judgement(comment="x" * 4_000, rewrite="y " * 15_000)
            store.engine.dispose()  # connections from now on have no room
            full = client.post("/judgements", sent)
            assert (full.status, full.json["error"]) == (
                503,
                "the database did not take it: database or disk is full",
            )
            limit["pages"] = 1_000_000
            store.engine.dispose()
            assert client.post("/judgements", sent).status == 200
        with store.reading() as session:
            assert [len(row.judgement.rewrite) for row in judgements(session)] == [29_999]


def test_a_page_of_before_an_undo_does_not_count(tmp_path: Path):
    with study(tmp_path / "f.db", tmp_path) as store, serving(store) as port:
        client = Client(port, token(store, "me"))
        client.begin()
        first = client.judgement(comment="first thoughts")
        assert client.post("/judgements", first).status == 200
        back = {"assignment": first["assignment"], "revision": 0}
        assert [client.post("/undo", back).status for _ in range(2)] == [200, 200]  # a double click
        opened = client.task()
        assert opened is not None
        assert (opened["assignment"], opened["revision"]) == (first["assignment"], 1)
        draft = client.get().text.partition('data-draft="')[2].partition('"')[0].replace("&#34;", '"')
        assert json.loads(draft)["comment"] == "first thoughts"
        assert client.post("/judgements", {**first, "key": new_key()}).status == 409
        assert client.post("/judgements", client.judgement()).status == 200


def test_drafts_return_and_those_of_past_pages_are_left(tmp_path: Path):
    with study(tmp_path / "f.db", tmp_path) as store, serving(store) as port:
        client = Client(port, token(store, "me"))
        client.begin()
        task = client.judgement()
        draft = {"assignment": task["assignment"], "revision": 0, "content": '{"comment": "half"}'}
        assert client.post("/drafts", draft).status == 200
        assert "&#34;half&#34;" in client.get().text
        assert client.post("/judgements", task).status == 200
        assert client.post("/drafts", draft).status == 200
        assert "&#34;half&#34;" not in client.get().text
        assert person(store).name == "me"
