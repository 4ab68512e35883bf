"""A conversation in the terminal: what stops an answer does not end it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.base.interrupt import Stopped
from planish.inference import chat as module
from planish.inference.chat import ChatConfig, chat


def converse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path, lines: list[str], **settings: Any
) -> str:
    given = iter(lines)

    def read(prompt: str) -> str:
        line = next(given, None)
        if line is None:
            raise EOFError
        return line

    monkeypatch.setattr("builtins.input", read)
    chat(load_config(ChatConfig, values={"model": {"path": str(model)}, "device": "cpu", **settings}))
    return capsys.readouterr().out


def test_a_conversation_that_is_too_long_can_begin_anew(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model was made for 256 tokens."""
    long = "cat dog " * 200
    said = converse(monkeypatch, capsys, tiny_model, ["say cat", long, "/reset", "say dog"], max_completion_tokens=3)
    assert "made for 256; /reset begins anew" in said
    assert said.count("(cut after 3 tokens: max_completion_tokens)") == 2


def test_an_answer_has_the_room_that_is_left(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = converse(monkeypatch, capsys, tiny_model, ["say cat"], max_completion_tokens=10_000, temperature=0)
    assert "the model has room for no more)" in said or "cut" not in said


def test_ctrl_c_stops_the_answer_and_another_signal_the_command(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []

    def stopped(number: int) -> Any:
        def stream(model: Any, prompt: Any, config: Any, stop: int, heard: Any, turn: int) -> list[int]:
            heard.on_finalized_text("half an ")
            raise Stopped(number=number)

        return stream

    def answer(model: Any, template: Any, messages: Any, config: Any) -> str | None:
        seen.append([message.content for message in messages])
        return real(model, template, messages, config)

    real = module._answer
    monkeypatch.setattr(module, "_answer", answer)
    monkeypatch.setattr(module, "stream", stopped(signal.SIGINT))
    assert "half an \n(stopped)" in converse(monkeypatch, capsys, tiny_model, ["one", "/help", "two"])
    assert seen[-1] == ["one", "half an ", "two"]
    monkeypatch.setattr(module, "stream", stopped(signal.SIGTERM))
    with pytest.raises(Stopped):
        converse(monkeypatch, capsys, tiny_model, ["one"])
