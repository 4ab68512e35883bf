"""What scores a completion, and how several scores become one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError, ModelError, RunError
from planish.base.types import pack
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.rows import Message, Origin, Prompt
from planish.inference.sample import Completion
from planish.inference.score import RewardModel
from planish.judges.client import LlmClient
from planish.methods.ppo.rewards import (
    FunctionReward,
    GoldReward,
    LlmReward,
    LlmSource,
    ModelReward,
    ModelSource,
    Rollouts,
    open_rewards,
    to_example,
)
from planish.methods.reward_model import RewardConfig, reward_model
from planish.models.load import ModelConfig, num_embeddings
from planish.world.gold.files import judge_one
from planish.world.gold.utility import World
from planish.world.make import make_world
from planish.world.settings import SIZES, WorldConfig
from support.llm_server import Sent, llm_server

CPU = torch.device("cpu")


def rollouts_of(template: ChatTemplate, prompt: str, *texts: str) -> Rollouts:
    row = Prompt((Message("user", prompt),), Origin("made up", 1))
    encode: Any = template.tokenizer
    completions = [
        Completion(text, (*encode(text, add_special_tokens=False)["input_ids"], template.stop_token_id), ended=True)
        for text in texts
    ]
    return Rollouts(row, tuple(template.encode_prompt(row.messages)), tuple(completions))


@pytest.fixture(scope="module")
def judge(tiny_model: Path, tiny_data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reward_model(
        load_config(
            RewardConfig,
            values={
                "model": {"path": str(tiny_model), "dtype": "float64"},
                "data": {"sources": {"compared": {"path": tiny_data["compared"]}}},
                "steps": 2,
                "out": str(tmp_path_factory.mktemp("judge") / "run"),
            },
        )
    )


def test_completions_lie_behind_their_prompt_and_are_learnt_whole(tiny_model: Path) -> None:
    template = ChatTemplate(load_tokenizer(tiny_model))
    rollouts = rollouts_of(template, "say red", "red", "blue green")
    example = to_example(rollouts)
    first, second = (len(each.tokens) for each in rollouts.completions)
    assert example.choices is not None
    assert example.choices.ends == (len(rollouts.tokens) + first, len(rollouts.tokens) + first + second)
    assert example.loss_mask.sum() == first + second
    assert pack([example]).num_sequences == 2


def test_pain_19_a_reward_model_reads_tokens_of_its_own_kind_and_the_text_of_others(
    judge: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """With the same tokenizer the sampled tokens, with another the text anew: the scores are those of `planish score`."""
    from support.tokenizers import tiny_tokenizer

    template = ChatTemplate(load_tokenizer(judge / "model"))
    model = RewardModel(ModelConfig(path=str(judge), dtype="float64"), CPU)
    here = rollouts_of(template, "say red", "red", "blue green cat")
    rewards = ModelReward(model, template)
    assert rewards.reads_tokens
    chat = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token if m.role == 'assistant' }}\n{% endfor %}"
    chat += "{% if add_generation_prompt %}assistant: {% endif %}"
    other = ChatTemplate(tiny_tokenizer(template=chat, eos="<eos>", pad="<pad>"))
    there = rollouts_of(other, "say red", "red", "blue green cat")
    assert here.completions[0].tokens != there.completions[0].tokens
    elsewhere = ModelReward(model, other)
    assert not elsewhere.reads_tokens
    np.testing.assert_allclose(rewards([here]), elsewhere([there]), atol=1e-10)


def test_a_token_that_the_reward_model_has_no_embedding_of_is_read_as_text(judge: Path) -> None:
    """Policies have embeddings to spare, of no token, and may sample one."""
    template = ChatTemplate(load_tokenizer(judge / "model"))
    model = RewardModel(ModelConfig(path=str(judge), dtype="float64"), CPU)
    rewards, rollouts = ModelReward(model, template), rollouts_of(template, "say red", "red")
    beyond = num_embeddings(model.scorer.model) + 3
    spare = replace(rollouts.completions[0], tokens=(beyond, *rollouts.completions[0].tokens))
    found = rewards([replace(rollouts, completions=(spare,))])
    np.testing.assert_allclose(found, rewards([rollouts]), atol=1e-10)


def test_a_reward_model_reads_the_text_of_completions_that_are_empty_or_end_in_spaces(
    judge: Path, tiny_model: Path
) -> None:
    """A policy may write them at any time, so they must not stop the run."""
    from support.tokenizers import tiny_tokenizer

    chat = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token if m.role == 'assistant' }}\n{% endfor %}"
    chat += "{% if add_generation_prompt %}assistant: {% endif %}"
    other = ChatTemplate(tiny_tokenizer(template=chat, eos="<eos>", pad="<pad>"))
    model = RewardModel(ModelConfig(path=str(judge), dtype="float64"), CPU)
    reward = ModelReward(model, other)
    assert np.isfinite(reward([rollouts_of(other, "say red", "", " ", " red \n")])).all()


def given(numbers: Any) -> FunctionReward:
    reward = FunctionReward("mine", "support.rewards:letters")
    reward.scorer.function = lambda prompts, completions: numbers
    return reward


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([1.0], "for each of 2 completions; it returned 1$"),
        (None, "returned None"),
        ([1.0, None], r"returned \[1.0, None\]"),
        ([1.0, float("nan")], "returned nan"),
    ],
)
def test_a_function_that_gives_no_number_for_each_completion_is_named(
    numbers: Any, said: str, tiny_model: Path
) -> None:
    rollouts = rollouts_of(ChatTemplate(load_tokenizer(tiny_model)), "say red", "red", "blue")
    with pytest.raises(ConfigError, match=rf"rewards\.mine\.function: support.rewards:letters must return.*{said}"):
        given(numbers)([rollouts])


def test_a_function_is_called_on_the_main_rank_alone(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks add up what each knows, and the others know nothing: a function that draws lots gives all of them the same."""
    monkeypatch.setattr("planish.methods.ppo.rewards.is_main", lambda: False)
    monkeypatch.setattr("planish.methods.ppo.rewards.all_sum_list", lambda mine: [2.0 + each for each in mine])
    rollouts = rollouts_of(ChatTemplate(load_tokenizer(tiny_model)), "say red", "red", "blue")
    assert given([5.0, 6.0])([rollouts]).tolist() == [2.0, 2.0]


def test_a_reward_model_that_was_never_centred_is_refused(judge: Path, tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(judge / "model", tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    del settings["score_check"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(settings))
    template = ChatTemplate(load_tokenizer(judge / "model"))
    with pytest.raises(ModelError, match="a score of 0 means nothing"):
        open_rewards({"rm": ModelSource(path=str(tmp_path / "model"))}, template, CPU, 768, tmp_path)


def test_gold_is_the_worlds_utility_and_refuses_what_the_world_does_not_know(tmp_path: Path, tiny_model: Path) -> None:
    make_world(WorldConfig(**SIZES["ci"]), tmp_path / "world")
    asked = json.loads((tmp_path / "world/prompts/train.jsonl").read_text().splitlines()[0])["prompt"]
    world, template = World(WorldConfig(**SIZES["ci"])), ChatTemplate(load_tokenizer(tiny_model))
    texts = (world.parse(asked).ask.sentence, "cat")
    gold = GoldReward(str(tmp_path / "world"))
    found = gold([rollouts_of(template, asked, *texts)])
    assert found.tolist() == [judge_one(world, asked, text).verdict.utility for text in texts]
    assert found[0] > found[1]
    with pytest.raises(DataError, match="made up row 1"):
        gold([rollouts_of(template, "Who let the dogs out?", "cat")])


@pytest.fixture
def server() -> Iterator[tuple[str, list[int]]]:
    """Grades an answer by its length."""
    seen: list[int] = []

    def grade(body: dict[str, Any], _: int) -> Sent:
        (answer,) = re.findall(r"<answer>\n(.*?)\n</answer>", body["messages"][0]["content"], re.DOTALL)
        seen.append(len(answer))
        return Sent(f"Of 10, I give {len(answer)}.")

    with llm_server(grade) as http:
        yield http.url, seen


def test_a_served_judges_grades_become_scores_and_are_asked_for_once(
    server: tuple[str, list[int]], tiny_model: Path, tmp_path: Path
) -> None:
    url, seen = server
    template = ChatTemplate(load_tokenizer(tiny_model))
    rollouts = [rollouts_of(template, "say red", "r", "red", "r"), rollouts_of(template, "say ten", "ten words!")]
    for _ in range(2):  # as a run that is taken up again
        reward = LlmReward("judge", LlmSource(base_url=url, model="m"), tmp_path / "replies.jsonl")
        np.testing.assert_allclose(reward(rollouts), [-1, (3 - 5.5) / 4.5, -1, 1])
    assert sorted(seen) == [1, 3, 10]


def test_a_reply_without_a_grade_stops_the_run_or_counts_as_it_was_asked_to(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replies = iter(["8", "Very good, 11 of 12!", "8", "Very good, 11 of 12!"])
    monkeypatch.setattr(LlmClient, "replies", lambda self, questions: [next(replies) for _ in questions])
    rollouts = rollouts_of(ChatTemplate(load_tokenizer(tiny_model)), "say red", "red", "blue")

    def scored(**changes: Any) -> list[float]:
        monkeypatch.setattr(LlmClient, "check", lambda self: None)
        source = LlmSource(base_url="http://127.0.0.1:9/v1", model="m", **changes)
        return LlmReward("judge", source, tmp_path / "replies.jsonl")([rollouts]).tolist()

    with pytest.raises(RunError, match=r"said 'Very good, 11 of 12!'.*set rewards\.judge\.unread"):
        scored()
    assert scored(unread=1) == [(8 - 5.5) / 4.5, -1]
    said = "rewards.judge: 1 of 2 replies have no grade and count as 1, such as 'Very good, 11 of 12!'"
    assert said in capsys.readouterr().err
