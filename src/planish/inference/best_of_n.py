"""Best of n: of several completions of each prompt, the one that a reward model likes best, written as a demonstration.

The simplest improvement of a policy, and the baseline of the others: nothing is trained. Its distance to the policy is at
most KL = log n - (n - 1) / n (Stiennon et al. 2020; Beirami et al. 2024), and fine-tuning on the result (rejection sampling,
Touvron et al. 2023) makes a policy of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from planish.base.config import Config, Field
from planish.base.distributed import local_device
from planish.base.files import json_line, new_file, write_lines
from planish.base.plugins import Plugins
from planish.base.progress import track
from planish.base.random import subsample
from planish.data.chat.tool_calls import as_dicts
from planish.data.formats.mapping import ColumnsSetting
from planish.data.prompts import import_prompts
from planish.data.rows import Dropped, Message, as_records
from planish.inference.room import check_room
from planish.inference.sample import SamplingConfig, sample
from planish.inference.score import RewardModel
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import load_chat_model

PROMPTS = 64  # sampled and scored together


class BestConfig(Config):
    model: ModelConfig = Field(description="the policy that completes")
    reward: ModelConfig = Field(description="the reward model that chooses")
    prompts: str = Field(description="a file of prompts, or of demonstrations of any known format")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    out: str = Field(description="the jsonl file of demonstrations to write")
    limit: int | None = Field(default=None, ge=1, description="number of prompts, drawn by the seed; absent is all")
    plugins: Plugins = ()
    empty: Literal["keep", "drop"] = Field(
        default="keep", description="treatment of prompts whose best completion has no words: keep, or drop and list"
    )
    n: int = Field(default=16, ge=2, description="completions of each prompt")
    sampling: SamplingConfig = Field(
        default=SamplingConfig(temperature=1.0),
        description="sampling of the completions; the bound of the KL holds at temperature 1",
    )
    device: str = Field(default="auto", description="cpu, cuda, or auto")


@dataclass(frozen=True, slots=True)
class BestOfNResult:
    """Mean scores with and without choosing, over all prompts, and the number whose best completion has no words."""

    prompts: int
    mean_score: float  # of all completions
    mean_best: float
    kl: float  # at most, in nats
    empty: int = 0


def kl_of_best(n: int) -> float:
    """log n - (n - 1) / n: an upper bound of KL(best of n, policy), nearly reached where no completion comes twice."""
    return math.log(n) - (n - 1) / n


def best_of_n(config: BestConfig) -> BestOfNResult:
    """Writes one demonstration a prompt, with the prompt's notes, the score of the best, the mean score, and n in `about`.

    The best completion may have no words: the model ended at once, and the reward model liked that. `ended` beside the
    messages says that it is meant; with `empty=drop` such prompts are listed in a file beside `out` instead.
    """
    device = local_device(config.device)
    judge = RewardModel(config.reward, device)
    loaded = load_chat_model(config.model, device)
    policy, template = loaded.causal_lm(), loaded.template
    asked = subsample(import_prompts(config.prompts, columns=config.columns), config.limit, config.sampling.seed)
    encoded_prompts = [template.encode_prompt(prompt.messages, prompt.tools, prompt.origin) for prompt in asked]
    most = config.sampling.max_completion_tokens
    limit = context_length(loaded.model.config)
    check_room(asked, encoded_prompts, most, limit, config.model.path, "sampling.max_completion_tokens")
    judge.check_room(asked, most, same_tokens=judge.template.tokenizer.get_vocab() == loaded.tokenizer.get_vocab())
    means: list[float] = []
    bests: list[float] = []
    empty: list[Dropped] = []
    with new_file(Path(config.out)) as partial, partial.open("w", encoding="utf-8") as file:
        for start in track(range(0, len(asked), PROMPTS), "prompts", -(-len(asked) // PROMPTS)):
            some = asked[start : start + PROMPTS]
            encoded = encoded_prompts[start : start + PROMPTS]
            sampled = sample(
                policy, loaded.tokenizer, encoded, config.sampling, template.stop_token_ids, config.n, start
            )
            texts = [[completion.text for completion in completions] for completions in sampled]
            ended = [[completion.ended for completion in completions] for completions in sampled]
            scored = judge.score_answers(some, texts)
            for prompt, row, ends, scores in zip(some, texts, ended, scored, strict=True):
                best = int(np.argmax(scores))
                means.append(float(np.mean(scores)))
                bests.append(scores[best])
                if not row[best].strip():
                    empty.append(Dropped(prompt.origin, "its best completion has no words"))
                    if config.empty == "drop":
                        continue
                messages = as_dicts((*prompt.messages, Message("assistant", row[best])))
                about = {**prompt.about, "score": scores[best], "mean_score": means[-1], "n": config.n}
                tools = {"tools": [dict(tool) for tool in prompt.tools]} if prompt.tools else {}
                file.write(json_line({"messages": messages, **tools, "ended": ends[best], "about": about}))
    if empty and config.empty == "drop":
        write_lines(Path(f"{config.out}.dropped"), as_records(empty))
    return BestOfNResult(len(asked), float(np.mean(means)), float(np.mean(bests)), kl_of_best(config.n), len(empty))
