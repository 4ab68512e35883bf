"""Using a reward model: a score for every row of a file, whichever tokenizer the model that wrote it had.

Texts are rendered and tokenised with the reward model's own chat template and tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from planish.base.config import Config, Field
from planish.base.distributed import local_device
from planish.base.errors import DataError
from planish.base.files import json_line, new_file
from planish.base.plugins import Plugins
from planish.base.progress import track
from planish.base.types import Example
from planish.data.chat.tool_calls import as_dicts
from planish.data.examples import conversations
from planish.data.formats import stream_rows
from planish.data.formats.mapping import ColumnsSetting
from planish.data.mixture.pairs import join_completions
from planish.data.rows import Comparison, Demonstration, Dropped, Message, Prompt
from planish.inference.score_offset import check_scores
from planish.inference.sequences import sequence_values
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import load_reward_model
from planish.models.micro_batch import default_micro_tokens

ROWS = 256  # read, tokenized and scored together
Scorable = Demonstration | Comparison


class RewardModel:
    """A trained reward model with its tokenizer and chat template.

    >>> judge = RewardModel(ModelConfig(path="runs/rm"), device)
    >>> judge.score([row])          # one list a row: of a conversation its score, of a comparison one for each completion
    [[0.31, -1.2]]
    """

    def __init__(self, config: ModelConfig, device: torch.device, micro_tokens: int | None = None) -> None:
        loaded = load_reward_model(config, device)
        self.template, self.device, self.scorer = loaded.template, device, loaded.scorer()
        self.micro_tokens = micro_tokens or default_micro_tokens(loaded.model, device, loaded.compute_dtype)
        self.limit = context_length(loaded.model.config)
        check_scores(self.scorer, config.path)

    def score(self, rows: Sequence[Scorable]) -> list[list[float]]:
        chats = [conversations(_spoken(row)) for row in rows]
        counts = [len(each) for each in chats]
        encoded = iter(self.template.encode([chat for each in chats for chat in each]))
        examples = [self._example(row, [next(encoded) for _ in range(n)]) for row, n in zip(rows, counts, strict=True)]
        values = iter(sequence_values(self.scorer, examples, self.micro_tokens, self.device).tolist())
        return [list(islice(values, n)) for n in counts]

    def _example(self, row: Scorable, encoded: Sequence[Any]) -> Example:
        longest = max(len(each.tokens) for each in encoded)
        if self.limit is not None and longest > self.limit:
            raise DataError(
                f"{row.origin}: {longest} tokens, more than the {self.limit} that the reward model was made for"
            )
        if not all(each.loss_mask.any() for each in encoded):
            raise DataError(f"{row.origin}: no turn of the assistant to score")
        laid, choices = join_completions(row.ranks if isinstance(row, Comparison) else (0,), encoded)
        return Example(laid.tokens, laid.loss_mask, str(row.origin), choices=choices)


def _spoken(row: Scorable) -> Scorable:
    """A conversation with no turn left out: it is scored at its last, whether or not that is one to imitate."""
    if isinstance(row, Comparison):
        return row
    return replace(row, messages=tuple(replace(message, trained=True) for message in row.messages))


class ScoreConfig(Config):
    model: ModelConfig = Field(description="the reward model: a run of `planish reward`, or its model folder")
    rows: str = Field(description="a file of conversations or comparisons, in any known format")
    out: str = Field(description="the jsonl file to write")
    limit: int | None = Field(default=None, ge=1, description="number of rows, the first ones; absent is all")
    plugins: Plugins = ()
    format: str = Field(default="auto", description="how to read the file; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    device: str = Field(default="auto", description="cpu, cuda, or auto")


def scorable(prompt: Prompt, texts: Sequence[str]) -> Scorable:
    """The prompt with these answers."""
    answers = tuple(Message("assistant", text) for text in texts)
    if len(answers) == 1:
        return Demonstration((*prompt.messages, *answers), prompt.origin, prompt.tools)
    return Comparison(prompt.messages, answers, tuple(range(len(answers))), prompt.origin, tools=prompt.tools)


def score_file(config: ScoreConfig) -> int:
    """Writes one line for each row: its text, its score or scores, and its `about`. Rows are read as they are needed."""
    judge = RewardModel(config.model, local_device(config.device))
    count = 0
    with new_file(Path(config.out)) as partial, partial.open("w", encoding="utf-8") as file:
        for some in _batches(track(islice(_rows(config), config.limit), "scoring")):
            for row, scores in zip(some, judge.score(some), strict=True):
                file.write(json_line(_line(row, scores)))
                count += 1
    if not count:
        raise DataError(f"{config.rows}: holds no conversation and no comparison to score")
    return count


def _rows(config: ScoreConfig) -> Iterator[Scorable]:
    for row in stream_rows(config.rows, (Demonstration, Comparison), config.format, config.columns):
        if isinstance(row, Dropped):
            raise DataError(f"{row.origin}: {row.reason}; every row must have a score, so take it out first")
        yield row


def _batches(rows: Iterable[Scorable]) -> Iterator[list[Scorable]]:
    left = iter(rows)
    while some := list(islice(left, ROWS)):
        yield some


def _line(row: Scorable, scores: list[float]) -> dict[str, Any]:
    value: dict[str, Any]
    if isinstance(row, Demonstration):
        value = {"messages": as_dicts(row.messages), "tools": [dict(tool) for tool in row.tools], "score": scores[0]}
        if not row.messages[-1].content.strip() and not row.messages[-1].tool_calls:
            value["ended"] = bool(row.about.get("ended", True))  # an answer of no words can be read back
    else:
        calls = any(message.tool_calls for message in row.completions)
        said = as_dicts(row.completions) if calls else [message.content for message in row.completions]
        value = {"prompt": as_dicts(row.prompt), "completions": said, "ranks": list(row.ranks), "scores": scores}
        value |= {"tools": [dict(tool) for tool in row.tools], "annotator": row.annotator, "group": row.group}
    return {name: v for name, v in {**value, "about": dict(row.about)}.items() if v not in ("", [], {})}
