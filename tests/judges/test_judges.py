"""Judges: what makes a win, and an LLM that is asked through a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError, RunError
from planish.data.rows import Message, Origin, Prompt
from planish.judges.base import Scores, judged_by_scores
from planish.judges.config import GoldJudgeConfig, LlmJudgeConfig, RewardJudgeConfig
from planish.judges.llm import LlmJudge
from planish.judges.open import open_judge
from planish.methods.reward_model import RewardConfig, reward_model
from planish.world.make import make_world
from support.llm_server import Sent, llm_server
from support.worlds import ci_config

CPU = torch.device("cpu")
PROMPT = Prompt((Message("user", "say red"),), Origin("made up", 1))


# Judges that score


def test_the_higher_score_wins_and_rounding_is_a_tie() -> None:
    found = judged_by_scores({"ours": Scores([[1.0, 0.3, 2.0]]), "base": Scores([[0.5, 0.1 + 0.2, 3.0]])}, "base")
    assert {name: own.outcomes for name, own in found.verdicts.items()} == {"ours": [[1.0, 0.5, 0.0]]}


def test_same_text_has_the_same_score_whoever_says_it(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    values = {"model.path": str(tiny_model), "data.sources": {"compared": {"path": tiny_data["compared"]}}, "steps": 3}
    path = reward_model(load_config(RewardConfig, values={**values, "out": str(tmp_path / "rm"), "optim.lr": 1e-2}))
    judge = open_judge(RewardJudgeConfig(path=str(path)), [PROMPT], tmp_path / "replies.jsonl", CPU)
    found = judge.judge([PROMPT], {"a": [["red blue", "red"]], "b": [["red", "red blue"]]}, "b")
    assert found.scores["a"].values[0] == found.scores["b"].values[0][::-1]
    assert sorted(found.verdicts["a"].outcomes[0]) in ([0.0, 1.0], [0.5, 0.5])


def test_gold_refuses_a_prompt_of_no_world_when_it_is_opened(tmp_path: Path) -> None:
    world = make_world(ci_config(), tmp_path / "world").path
    with pytest.raises(DataError, match=r"made up row 1: the world does not understand"):
        open_judge(GoldJudgeConfig(world=str(world)), [PROMPT], tmp_path / "replies.jsonl", CPU)


# A judge that is asked


def prefers_the_longer(body: dict[str, Any], number: int) -> Sent:
    """Of answers of one length the first. It fails once."""
    first, second = re.findall(r"<answer .>\n(.*?)\n</answer", body["messages"][0]["content"], re.DOTALL)
    return Sent("A" if len(first) >= len(second) else "B.", status=200 if number else 503)


@pytest.mark.parametrize("path", ["", "/v1"])
def test_llm_is_asked_in_both_orders_and_never_twice(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.judges.client.PAUSE", 0.0)
    monkeypatch.setenv("A_KEY", "open sesame")
    answers = {"own": [["longer answer", "short", "twin", "one"]], "base": [["short", "longer answer", "twin", "two"]]}

    def judged(url: str) -> Any:
        config = LlmJudgeConfig(base_url=url.removesuffix("/v1") + path, model="m", api_key_env="A_KEY")
        return open_judge(config, [PROMPT], tmp_path / "replies.jsonl", CPU).judge([PROMPT], answers, "base")

    with llm_server(prefers_the_longer) as server:
        found = judged(server.url)
        assert found.scores == {}
        assert found.verdicts["own"].outcomes == [[1.0, 0.0, 0.5, 0.5]]
        assert (found.verdicts["own"].split, found.verdicts["own"].unread) == (1, 0)  # of one length: always the first
        # two pairs ask the same two questions the other way round, the twins none: 2 + 2 questions, and one that failed
        assert len(server.asked) == 5
        assert set(server.asked) == {("/v1/chat/completions", "Bearer open sesame")}
        with (tmp_path / "replies.jsonl").open("a") as file:
            file.write('{"key": "cut sh')
        assert judged(server.url) == found
        assert len(server.asked) == 5


def test_a_judge_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.judges.client.PAUSE", 0.0)
    with pytest.raises(RunError, match=r"judge http://127.0.0.1:9/v1/chat/completions: .*refused"):  # before an answer
        LlmJudge(LlmJudgeConfig(base_url="http://127.0.0.1:9", model="m"), tmp_path / "replies.jsonl")
    with pytest.raises(ConfigError, match="api_key_env=NO_SUCH_KEY"):
        LlmJudge(LlmJudgeConfig(base_url="http://x", model="m", api_key_env="NO_SUCH_KEY"), tmp_path / "r")
