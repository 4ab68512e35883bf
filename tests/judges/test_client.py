"""How a judge behind a server is asked: what happens when it is silent, slow, busy, or knows no structured answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.errors import ConfigError, RunError
from planish.base.http import seconds_to_wait
from planish.base.parallel import in_threads
from planish.judges import client as clients
from planish.judges.client import LlmClient
from planish.judges.config import LlmConfig, LlmJudgeConfig
from planish.judges.questions import VERDICT
from support.llm_server import Sent, llm_server


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PAUSE", 0.0)


def client(url: str, folder: Path, **settings: Any) -> LlmClient:
    return LlmClient(LlmConfig(base_url=url, model="m", **settings), folder / "replies.jsonl", VERDICT)


def test_json_is_asked_for_and_a_server_that_knows_none_is_asked_in_words_alone(tmp_path: Path) -> None:
    def refuses(body: dict[str, Any], number: int) -> Sent:
        return Sent("unknown field response_format", 400) if "response_format" in body else Sent("A")

    with llm_server(lambda body, number: Sent('{"verdict": "A"}')) as able:
        assert client(able.url, tmp_path / "able").replies(["who?"]) == ['{"verdict": "A"}']
    schema = able.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["verdict"]["enum"] == ["A", "B", "tie"]
    with llm_server(refuses) as unable:
        assert client(unable.url, tmp_path / "unable", concurrency=1).replies(["who?", "and who?"]) == ["A", "A"]
    assert ["response_format" in body for body in unable.bodies] == [True, False, False]


def test_json_is_not_asked_of_a_judge_with_room_for_thoughts(tmp_path: Path) -> None:
    with llm_server(lambda body, number: Sent("A")) as server:
        client(server.url, tmp_path / "aloud", max_tokens=2000).replies(["who?"])
        client(server.url, tmp_path / "told", max_tokens=2000, structured=True).replies(["who?"])
    assert ["response_format" in body for body in server.bodies] == [False, True]


def test_a_reply_that_was_cut_says_so(tmp_path: Path) -> None:
    with llm_server(lambda body, number: Sent("I prefer A", finish="length")) as server:
        assert client(server.url, tmp_path).replies(["who?"]) == ["I prefer A…"]


def test_kept_replies_serve_another_address_timeout_and_concurrency(tmp_path: Path) -> None:
    with llm_server(lambda body, number: Sent(str(number))) as first:
        found = client(first.url, tmp_path).replies(["who?", "and who?"])
    with llm_server(lambda body, number: Sent("anew")) as second:
        assert client(second.url, tmp_path, timeout=7, concurrency=1).replies(["who?", "and who?"]) == found
        assert not second.bodies
        assert client(second.url, tmp_path, max_tokens=3).replies(["who?"]) == ["anew"]  # another question


def test_a_busy_server_is_waited_for_as_long_as_it_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six refusals, more than a server that fails gets; the wait counts, not their number."""
    busy = Sent("slow down", 429, {"Retry-After": "0.05"})
    with llm_server(lambda body, number: busy if number < 6 else Sent("A")) as server:
        begun = time.monotonic()
        assert client(server.url, tmp_path, structured=False).replies(["who?"]) == ["A"]
        assert time.monotonic() - begun > 6 * 0.05
    assert capsys.readouterr().err.count("HTTP 429: slow down; asking again") == 1
    with llm_server(lambda body, number: Sent("tomorrow", 429, {"Retry-After": "86400"})) as server:
        with pytest.raises(RunError, match=r"HTTP 429: tomorrow. It asks to wait 86,400 seconds"):
            client(server.url, tmp_path / "other").replies(["who?"])
        assert len(server.bodies) == 1


def test_retry_after_may_be_a_date() -> None:
    assert seconds_to_wait("12") == 12
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_to_wait("Wed, 21 Oct 2215 07:28:00 GMT") > 1e9  # type: ignore[operator]
    assert seconds_to_wait("soon") is None
    assert seconds_to_wait(None) is None


@pytest.mark.parametrize("sent", [Sent("A", sleeps=1.0), Sent("A", drips=True)])
def test_a_server_that_is_silent_or_drips_is_asked_twice_and_told_at_the_first(
    sent: Sent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with llm_server(lambda body, number: sent) as server:
        with pytest.raises(RunError, match=r"no answer within timeout=0.1 seconds.*the same command continues"):
            client(server.url, tmp_path, timeout=0.1).replies(["who?"])
        assert len(server.bodies) == 2
    assert "no answer within timeout=0.1 seconds; asking again" in capsys.readouterr().err


def test_a_failing_server_is_asked_four_times(tmp_path: Path) -> None:
    with llm_server(lambda body, number: Sent("oh", 500)) as server:
        with pytest.raises(RunError, match="HTTP 500: oh"):
            client(server.url, tmp_path).replies(["who?"])
        assert len(server.bodies) == 4


def test_a_failure_ends_the_round_and_keeps_what_was_under_way(tmp_path: Path) -> None:
    """One of two questions is refused while the other is answered: its reply is kept, those behind them are not asked."""

    under_way = threading.Event()

    def reply(body: dict[str, Any], number: int) -> Sent:
        if body["messages"][0]["content"] == "0":
            under_way.wait(60)
            return Sent("no", 403)
        under_way.set()
        return Sent("A", sleeps=0.2)

    with llm_server(reply) as server:
        asking = client(server.url, tmp_path, concurrency=2)
        with pytest.raises(RunError, match="HTTP 403: no"):
            asking.replies([str(i) for i in range(10)])
        assert len(server.bodies) <= 3  # a third may have begun before the refusal came
    assert [json.loads(line)["reply"] for line in (tmp_path / "replies.jsonl").read_text().splitlines()] == ["A"] * (
        len(server.bodies) - 1
    )


def test_ctrl_c_does_not_wait_for_a_silent_server(tmp_path: Path) -> None:
    """The silence would last longer than the process has before it counts as stuck."""
    code = (
        "import signal, sys; from pathlib import Path; from planish.judges.client import *; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs begin without it
        "c = LlmClient(LlmServerConfig(base_url=sys.argv[1], model='m'), Path(sys.argv[2]), {'verdict': {}}); "
        "print('asks', flush=True); c.replies(['?'])"
    )
    with llm_server(lambda body, number: Sent("A", sleeps=400)) as server:
        command = [sys.executable, "-c", code, server.url, str(tmp_path / "replies.jsonl")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not server.bodies and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            assert "KeyboardInterrupt" in process.communicate(timeout=200)[1]


def test_results_come_with_their_places_and_the_first_error_ends_the_work() -> None:
    assert sorted(in_threads(lambda n: n * n, [3, 1, 2], 2)) == [(0, 9), (1, 1), (2, 4)]
    assert list(in_threads(str, [], 2)) == []
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda n: 1 // n, [1, 0, 1], 1))


def test_a_question_of_ones_own_shows_all_that_is_judged(tmp_path: Path) -> None:
    values = {"base_url": "http://127.0.0.1:9", "model": "m"}
    with pytest.raises(
        ConfigError, match=r"question: has no \{second\} in it; expected \{prompt\}, \{first\}, \{second\}"
    ):
        load_config(LlmJudgeConfig, values={**values, "question": "{prompt}: {first}?"})
