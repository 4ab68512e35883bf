"""Attacks and bad inputs, and what the server answers to each. The numbers are those of docs/howto/annotate.md's threats."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from planish.feedback.guard import LARGEST
from planish.feedback.judgements import judgements
from planish.feedback.markdown import render
from planish.feedback.schema import StudyAnnotator
from planish.feedback.store import Store
from support.annotation_server import Client, Reply, new_key, serving, token
from support.studies import person, study

Attack = Callable[[Client], Reply]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, int]]:
    folder = tmp_path_factory.mktemp("attacked")
    with (
        study(folder / "feedback.db", folder, aspects=("honest",), profile=("country",)) as store,
        serving(store) as port,
    ):
        for name in ("me", "victim"):
            Client(port, token(store, name)).post("/welcome", {"profile": {}})
        yield store, port


@pytest.fixture
def client(served: tuple[Store, int]) -> Client:
    store, port = served
    return Client(port, token(store, "victim"))


def sent(**changes: Any) -> Attack:
    """A judgement with these fields changed."""
    return lambda client: client.post("/judgements", client.judgement(**changes))


def raw(body: bytes) -> Attack:
    return lambda client: client.post("/judgements", body)


def posted(path: str, body: Any, **headers: str) -> Attack:
    return lambda client: client.post(path, body, **headers)


def got(path: str, **headers: str) -> Attack:
    return lambda client: client.request("GET", path.replace("TOKEN", client.token), **headers)


def other_token(change: Callable[[str], str]) -> Attack:
    return lambda client: Client(client.port, change(client.token)).get()


UNDO = {"assignment": 1, "revision": 0}
ATTACKS: dict[str, tuple[Attack, int]] = {
    # who may come in
    "no token": (got("/a/"), 404),
    "an empty path": (got("/"), 404),
    "a guessed token": (got("/a/1-" + "A" * 32), 403),
    "a token cut short": (other_token(lambda token: token[:-1]), 403),
    "a token of another person's number": (other_token(lambda token: "1" + token[1:]), 403),
    "a number that no database holds": (other_token(lambda token: "99999999999" + token[1:]), 403),
    "a token with SQL in it": (got("/a/1-'%20OR%20'1'='1"), 403),
    "an owner's page with an annotator's token": (got("/a/TOKEN/study"), 403),
    "an invitation by an annotator": (posted("/people", {"name": "friend"}), 403),
    "an annotator who lets others in again": (posted("/people/1/again", {}), 403),
    # other sites
    "a form of another site": (posted("/undo", b"assignment=1", Content_Type="application/x-www-form-urlencoded"), 415),
    "a form that looks like text": (posted("/undo", UNDO, Content_Type="text/plain"), 415),
    "another origin": (posted("/undo", UNDO, Origin="https://evil.example"), 403),
    "a sandboxed origin": (posted("/undo", UNDO, Origin="null"), 403),
    "a request that another site starts": (posted("/undo", UNDO, Sec_Fetch_Site="cross-site"), 403),
    "no header of the page's script": (
        lambda client: client.request("POST", f"/a/{client.token}/undo", b"{}", Content_Type="application/json"),
        403,
    ),
    "a name that leads here (DNS rebinding)": (got("/a/TOKEN", Host="evil.example"), 421),
    "a host with a user in it": (got("/a/TOKEN", Host="localhost@evil.example"), 421),
    "a broken host": (got("/a/TOKEN", Host="[::1"), 421),
    # addresses
    "a path upwards": (got("/a/TOKEN/../../../etc/passwd"), 404),
    "a path upwards in disguise": (got("/..%2f..%2fetc%2fpasswd"), 404),
    "a template by name": (got("/task.html"), 404),
    "the database by name": (got("/feedback.db"), 404),
    "documents of the interface": (got("/openapi.json"), 404),
    "another method": (lambda client: client.request("DELETE", f"/a/{client.token}"), 405),
    "a method to see headers with": (lambda client: client.request("TRACE", f"/a/{client.token}"), 405),
    # what is sent
    "too much": (raw(b'{"comment": "' + b"x" * LARGEST + b'"}'), 413),
    "nothing": (raw(b""), 422),
    "no JSON": (raw(b"{"), 422),
    "JSON that nests without end": (raw(b"[" * 100_000), 422),
    "a list": (raw(b"[]"), 422),
    "not a number": (raw(b'{"seconds": NaN}'), 422),
    "half a character": (raw(b'{"comment": "\\ud800"}'), 422),
    "bytes that are no text": (raw(b'{"comment": "\xff"}'), 422),
    "the character NUL": (sent(comment="a\0b"), 422),
    "a field that nobody knows": (sent(role="owner"), 422),
    "another person's assignment": (sent(assignment=1), 404),
    "an assignment that does not exist": (sent(assignment=99_999), 404),
    "an assignment beyond every number": (sent(assignment=2**70), 422),
    "a revision of the future": (sent(revision=7), 409),
    "guidelines that were never shown": (sent(guideline="0" * 16), 422),
    "a key that is not one": (sent(key="x"), 422),
    "ranks of three": (sent(ranks=[0, 1, 2]), 422),
    "ranks with a gap": (sent(ranks=[0, 5]), 422),
    "ranks below zero": (sent(ranks=[-1, 0]), 422),
    "ranks as text": (sent(ranks=["0", "1"]), 422),
    "true for a rank": (sent(ranks=[True, False]), 422),
    "a strength that nobody knows": (sent(strength="utterly"), 422),
    "a verdict that nobody knows": (sent(verdict="A"), 422),
    "no reason why one cannot tell": (sent(verdict="cannot_tell", ranks=None, strength=""), 422),
    "an aspect that nobody asked for": (sent(aspects={"funny": {"ranks": [0, 1]}}), 422),
    "a mark on an answer that is not there": (sent(spans=[{"answer": 5, "quote": "x", "kind": "bad"}]), 422),
    "a hundred marks": (sent(spans=[{"answer": 0, "quote": "x", "kind": "bad"}] * 100), 422),
    "a comment without end": (sent(comment="x" * 5_001), 422),
    "time that runs backwards": (sent(seconds=-1.0), 422),
    "a profile with a field of one's own": (posted("/welcome", {"profile": {"role": "owner"}}), 422),
    "an undo of another person's": (posted("/undo", UNDO), 404),
    "a draft of another person's": (posted("/drafts", {**UNDO, "content": "{}"}), 404),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_changes_nothing(name: str, served: tuple[Store, int], client: Client):
    store, port = served
    Client(port, token(store, "me")).task()  # holds assignment 1
    attack, status = ATTACKS[name]
    reply = attack(client)
    assert (reply.status, "Traceback" in reply.text) == (status, False)
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    with store.reading() as session:
        assert list(judgements(session)) == []
        assert session.query(StudyAnnotator).count() == 2
    assert client.task() is not None


def test_a_body_without_a_length_is_not_longer_for_it(client: Client):
    """Chunks that never end: the server stops reading."""
    head = (
        f"POST /a/{client.token}/undo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Planish: 1\r\n"
    )
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        try:
            for _ in range(LARGEST // 0x4000 + 2):
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b" 413 " in connection.recv(100)


def test_the_page_sets_no_cookie_and_tells_nobody_where_it_came_from(client: Client):
    headers = client.get().headers
    assert "set-cookie" not in headers
    assert "server" not in headers
    assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
    assert headers["x-content-type-options"] == "nosniff"
    page = client.get().text
    assert "<script>" not in page
    assert "style=" not in page
    assert " on" not in {tag for tag in page.split("<") if "=" in tag and tag.startswith("button on")}
    assert "http://" not in page.replace(f"http://127.0.0.1:{client.port}", "")


TEXTS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    '[x](https://e.example/"onmouseover="alert(1))',
    "<https://evil.example/?q=<script>>",
    '```"><script>alert(1)</script>\nx\n```',
    "<svg/onload=alert(1)>",
    "</div></form><form action=https://evil.example>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
]


@pytest.mark.parametrize("text", TEXTS)
def test_an_answer_cannot_do_anything(text: str):
    """Of an answer's own markup nothing is left: no element beyond Markdown's, no attribute beyond a code block's class."""
    import re

    html = str(render(text))
    tags = re.findall(r"<(/?)(\w+)([^>]*)>", html)
    assert {name for _, name, _ in tags} <= {"p", "span", "pre", "code", "br", "div"}
    assert all(re.fullmatch(r'( class="[^"<>]*")?', attributes) for _, _, attributes in tags)


def test_answers_profiles_and_names_are_shown_as_text(served: tuple[Store, int]):
    store, port = served
    evil = '"><img src=x onerror=alert(1)>'
    with store.writing() as session:
        from planish.feedback.people import add_annotator, token_of

        owner = Client(port, token_of(session, add_annotator(session, "me")))
        added = add_annotator(session, evil, group=evil)
        guest = Client(port, token_of(session, added))
        number = added.id
    assert guest.post("/welcome", {"profile": {"country": evil}}).status == 200
    for page in (owner.get("/study").text, guest.get("/stored").text, guest.get().text):
        assert "<img" not in page
    assert json.loads(guest.get("/stored.json").text)["person"]["profile"] == {"country": evil}
    assert owner.post(f"/people/{number}/remove", {}).status == 200
    assert guest.get().status == 403


def test_a_key_of_one_person_is_no_use_to_another(served: tuple[Store, int], tmp_path: Path):
    with study(tmp_path / "f.db", tmp_path, overlap=2) as store, serving(store) as port:
        one, other = (Client(port, token(store, name)) for name in ("one", "other"))
        one.begin()
        other.begin()
        body = one.judgement(key=new_key())
        assert one.post("/judgements", body).status == 200
        reply = other.post("/judgements", other.judgement(key=body["key"]))
        assert (reply.status, "belongs to another judgement" in reply.text) == (422, True)
        assert person(store, "other").name == "other"
