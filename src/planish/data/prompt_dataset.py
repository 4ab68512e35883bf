"""The prompts that a policy is trained on by sampling: which belong to an iteration, and which are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.base.random import Permutation
from planish.data.chat.templates import ChatTemplate
from planish.data.prompts import stream_prompts
from planish.data.rows import Dropped, Prompt
from planish.data.settings import num_held_out


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the policy reads it. `number` keys the noise of its completions: it is its place among all prompts read."""

    prompt: Prompt
    tokens: tuple[int, ...]
    source: str
    number: int


@dataclass(frozen=True, slots=True)
class PromptDataset:
    """Pass after pass over the training prompts, each in an order of its own.

    >>> book = read_prompts({"world": "prompts.jsonl"}, {}, template, limit=200, held_out=32, seed=0)
    >>> book.of(iteration=3, count=64)          # prompts 192 to 255 of the endless order
    """

    training: tuple[EncodedPrompt, ...]
    held_out: tuple[EncodedPrompt, ...]
    dropped: tuple[Dropped, ...]
    known: tuple[Dropped, ...]  # training prompts that are watched, too
    seed: int

    def of(self, iteration: int, count: int) -> list[EncodedPrompt]:
        size = len(self.training)
        places = np.arange(iteration * count, (iteration + 1) * count)
        orders = {each: Permutation(size, self.seed, "prompts", each) for each in set((places // size).tolist())}
        return [self.training[int(orders[place // size](np.array([place % size]))[0])] for place in places.tolist()]

    def account(self) -> dict[str, Any]:
        """What data.json says of them."""
        names = dict.fromkeys(asked.source for asked in (*self.training, *self.held_out))
        return {
            "sources": {
                name: {
                    "training": sum(asked.source == name for asked in self.training),
                    "held_out": [str(asked.prompt.origin) for asked in self.held_out if asked.source == name],
                }
                for name in names
            },
            "dropped": [{"row": str(row.origin), "reason": row.reason} for row in self.dropped],
            "leaks": [{"row": str(row.origin), "reason": row.reason} for row in self.known],
        }

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in (self.training, self.held_out):
            for asked in part:
                digest.update(repr((asked.number, asked.tokens)).encode())
        return digest.hexdigest()[:16]


def read_prompts(
    paths: Mapping[str, str],
    watched: Mapping[str, str],
    template: ChatTemplate,
    limit: int | None,
    held_out: float,
    seed: int,
    too_long: Literal["error", "drop"] = "error",
) -> PromptDataset:
    """Reads and tokenises all prompts. `limit` is the tokens that a prompt may have; `held_out` prompts of `paths` are drawn by
    the seed unless files to be `watched` are named. Equal prompts are held out together."""
    dropped: list[Dropped] = []
    found = [_read("prompts", *named, template, limit, too_long, dropped) for named in paths.items()]
    seen = [_read("held_out_prompts", *named, template, limit, too_long, dropped) for named in watched.items()]
    training = _numbered([asked for rows in found for asked in rows])
    watching = _numbered([asked for rows in seen for asked in rows], len(training))
    if not watched and held_out:
        different = list(dict.fromkeys(asked.tokens for asked in training))
        count = num_held_out(held_out, len(different))
        if count >= len(different):
            raise ConfigError(
                f"held_out={held_out}: there are {len(different)} different prompts, so none would be left to learn from. Lower "
                "held_out"
            )
        places = Permutation(len(different), seed, "held out prompts")(np.arange(count))
        chosen = {different[i] for i in places.tolist()}
        watching = [asked for asked in training if asked.tokens in chosen]
        training = [asked for asked in training if asked.tokens not in chosen]
    known = {asked.tokens for asked in watching}
    leaks = [Dropped(asked.prompt.origin, "watched, too") for asked in training if asked.tokens in known]
    return PromptDataset(tuple(training), tuple(watching), tuple(dropped), tuple(leaks), seed)


def _read(
    setting: str,
    name: str,
    path: str,
    template: ChatTemplate,
    limit: int | None,
    too_long: Literal["error", "drop"],
    dropped: list[Dropped],
) -> list[EncodedPrompt]:
    rows, left_out = list[EncodedPrompt](), list[Dropped]()
    for row in stream_prompts(path):
        if isinstance(row, Dropped):
            left_out.append(row)
            continue
        tokens = tuple(template.encode_prompt(row.messages, row.tools))
        if limit is not None and len(tokens) > limit:
            reason = f"{len(tokens)} tokens; with the completion, the model has room for {limit}"
            if too_long == "error":
                raise DataError(
                    f"{row.origin}: {reason}. Lower sampling.max_completion_tokens, take the row out, or set too_long=drop, "
                    "which lists what it drops"
                )
            left_out.append(Dropped(row.origin, reason))
            continue
        rows.append(EncodedPrompt(row, tokens, name, 0))
    if not rows:
        why = "".join(f"; {each.origin}: {each.reason}" for each in left_out[:1])
        raise DataError(f"{setting}.{name}={path}: holds no prompt that can be asked{why}")
    dropped += left_out
    return rows


def _numbered(rows: Sequence[EncodedPrompt], first: int = 0) -> list[EncodedPrompt]:
    return [EncodedPrompt(asked.prompt, asked.tokens, asked.source, first + i) for i, asked in enumerate(rows)]
