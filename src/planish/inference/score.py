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
from planish.base.distributed import is_main, local_device
from planish.base.errors import DataError
from planish.base.files import json_line, new_file
from planish.base.notices import warn
from planish.base.plugins import Plugins
from planish.base.progress import track
from planish.base.types import Example
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tokenizer import load_tokenizer, open_template
from planish.data.chat.tool_calls import as_dicts
from planish.data.examples import conversations
from planish.data.formats import stream_rows
from planish.data.formats.mapping import ColumnsSetting
from planish.data.mixture.pairs import join_completions
from planish.data.rows import Comparison, Demonstration, Dropped, Message, Prompt
from planish.inference.score_offset import check_scores, kept_scores
from planish.inference.sequences import sequence_values
from planish.models.load import ModelConfig, check_folder, context_length
from planish.models.loaded import load_reward_model
from planish.models.micro_batch import default_micro_tokens

ROWS = 256  # read, tokenized and scored together
OTHER_TOKENS = 4  # tokens of a poor tokenizer for one of a good one
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
        self.limit, self.path = context_length(loaded.model.config), config.path
        self.truncated = 0  # answers that were scored as far as they fit
        check_scores(self.scorer, config.path)

    def score(self, rows: Sequence[Scorable]) -> list[list[float]]:
        return self._scores(rows, self._encoded(rows))

    def score_answers(self, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """Scores of a model's answers to each prompt. One that the context has no room for is scored as far as it fits."""
        rows = [scorable(prompt, own) for prompt, own in zip(prompts, texts, strict=True)]
        encoded = self._encoded(rows)
        for i, chats in enumerate(encoded):
            if self.limit is not None and max(len(chat.tokens) for chat in chats) > self.limit:
                rows[i] = scorable(prompts[i], [self._fitting(prompts[i], text) for text in texts[i]])
                encoded[i] = self._encoded([rows[i]])[0]
        return self._scores(rows, encoded)

    def check_room(self, prompts: Sequence[Prompt], most: int, *, same_tokens: bool) -> None:
        check_answer_room(self.template, self.limit, self.path, prompts, most if same_tokens else OTHER_TOKENS * most)

    def _encoded(self, rows: Sequence[Scorable]) -> list[list[Any]]:
        return _encoded(self.template, rows)

    def _scores(self, rows: Sequence[Scorable], encoded: Sequence[Sequence[Any]]) -> list[list[float]]:
        examples = [self._example(row, chats) for row, chats in zip(rows, encoded, strict=True)]
        values = iter(sequence_values(self.scorer, examples, self.micro_tokens, self.device).tolist())
        return [list(islice(values, len(chats))) for chats in encoded]

    def _fitting(self, prompt: Prompt, text: str) -> str:
        """The text, or as much of its beginning as there is room for."""

        def fits(length: int) -> bool:
            return len(self._encoded([scorable(prompt, [text[:length]])])[0][0].tokens) <= (self.limit or 0)

        if fits(len(text)):
            return text
        self.truncated += 1
        if self.truncated == 1:
            warn(f"{prompt.origin}: an answer is longer than {self.path} has room for, and cut there")
        low, high = 0, len(text)  # the longest that fits lies from low to below high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return text[:low]

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


def check_reward_model(path: str, prompts: Sequence[Prompt]) -> None:
    """Refuses, without reading weights, what is no reward model or has no room for an answer to some prompt."""
    config = ModelConfig(path=path)
    settings = check_folder(config, scores=True)
    kept_scores(settings, path)
    check_answer_room(open_template(path, load_tokenizer(path)), context_length(settings), path, prompts, 0)


def check_answer_room(
    template: ChatTemplate, limit: int | None, path: str, prompts: Sequence[Prompt], most: int
) -> None:
    """Refuses, before anything is sampled, a prompt that leaves a reward model no room for an answer; says so if one of `most`
    tokens would be cut."""
    if limit is None or not prompts:
        return
    rows = [scorable(prompt, [""]) for prompt in prompts]
    batches = [_encoded(template, rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
    lengths = [len(chats[0].tokens) for batch in batches for chats in batch]
    longest = max(range(len(lengths)), key=lambda i: lengths[i])
    if lengths[longest] >= limit:
        raise DataError(
            f"{prompts[longest].origin}: {lengths[longest]} tokens without an answer, and {path} was made for {limit}. Take the "
            "longest prompts out, or name a reward model with a longer context"
        )
    if is_main() and lengths[longest] + most > limit:
        warn(
            f"{path} was made for {limit} tokens, of which the longest prompt takes {lengths[longest]}: an answer for which it "
            "has no room is scored as far as it fits"
        )


def _encoded(template: ChatTemplate, rows: Sequence[Scorable]) -> list[list[Any]]:
    chats = [conversations(_spoken(row)) for row in rows]
    encoded = iter(template.encode([chat for each in chats for chat in each]))
    return [[next(encoded) for _ in each] for each in chats]


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
