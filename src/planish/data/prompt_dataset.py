"""The prompts of PPO: encoded, split into training and held-out prompts, and drawn iteration by iteration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.base.random import Permutation
from planish.data.chat.notes import Notes
from planish.data.chat.templates import ChatTemplate
from planish.data.formats.mapping import Columns
from planish.data.formats.registry import Handling
from planish.data.ignored import IgnoredFields
from planish.data.prompts import stream_prompts
from planish.data.rows import Dropped, Prompt
from planish.data.settings import num_held_out


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt with its tokens. `number`, its index among all prompts read, keys the noise of its completions."""

    prompt: Prompt
    tokens: tuple[int, ...]
    source: str
    number: int


@dataclass(frozen=True, slots=True)
class PromptDataset:
    """Training prompts in passes, each shuffled anew, and held-out prompts.

    >>> dataset = read_prompts({"world": "prompts.jsonl"}, {}, template, limit=200, held_out=32, seed=0)
    >>> dataset.of(iteration=3, count=64)          # prompts 192 to 255 of the endless order
    """

    training: tuple[EncodedPrompt, ...]
    held_out: tuple[EncodedPrompt, ...]
    dropped: tuple[Dropped, ...]
    known: tuple[Dropped, ...]  # training prompts that are held out, too
    seed: int
    notes: Notes = field(default_factory=Notes)  # on the prompts
    ignored: IgnoredFields = field(default_factory=IgnoredFields)  # fields that no prompt holds

    def of(self, iteration: int, count: int) -> list[EncodedPrompt]:
        """The prompts of an iteration."""
        passes, indices = np.divmod(np.arange(iteration * count, (iteration + 1) * count), len(self.training))
        orders = {epoch: Permutation(len(self.training), self.seed, "prompts", epoch) for epoch in set(passes.tolist())}
        pairs = zip(passes.tolist(), indices.tolist(), strict=True)
        return [self.training[int(orders[epoch](np.array([index]))[0])] for epoch, index in pairs]

    def account(self) -> dict[str, Any]:
        """The dataset's part of data.json."""
        names = dict.fromkeys(encoded.source for encoded in (*self.training, *self.held_out))
        return {
            "sources": {
                name: {
                    "training": sum(encoded.source == name for encoded in self.training),
                    "held_out": [str(encoded.prompt.origin) for encoded in self.held_out if encoded.source == name],
                }
                for name in names
            },
            "dropped": [{"row": str(row.origin), "reason": row.reason} for row in self.dropped],
            "leaks": [{"row": str(row.origin), "reason": row.reason} for row in self.known],
            "notes": self.notes.account(),
            "ignored_fields": self.ignored.as_records,
        }

    def fingerprint(self, *, fields: bool = False) -> str:
        """A digest of the prompts' tokens, and of all fields of their rows where something depends on these."""
        digest = hashlib.sha256()
        for encoded in (*self.training, *self.held_out):
            digest.update(repr((encoded.number, encoded.tokens)).encode())
            digest.update(repr(encoded.prompt.fields).encode() if fields else b"")
        return digest.hexdigest()[:16]


def read_prompts(
    paths: Mapping[str, str],
    held_out_paths: Mapping[str, str],
    template: ChatTemplate,
    limit: int | None,
    held_out: float,
    seed: int,
    too_long: Literal["error", "drop"] = "error",
    columns: Columns | None = None,
) -> PromptDataset:
    """Reads and tokenizes all prompts, of at most `limit` tokens each.

    Held-out prompts are those of `held_out_paths`; without any, `held_out` prompts of `paths` are drawn by the seed. Equal
    prompts are held out together.
    """
    dropped, notes, handling = list[Dropped](), Notes(), Handling()
    how = template, columns, limit, too_long, dropped, notes, handling
    sources = [_read("prompts", *named, *how) for named in paths.items()]
    kept = [_read("held_out_prompts", *named, *how) for named in held_out_paths.items()]
    training = _numbered([encoded for source in sources for encoded in source])
    evaluation = _numbered([encoded for source in kept for encoded in source], len(training))
    if not held_out_paths and held_out:
        different = list(dict.fromkeys(encoded.tokens for encoded in training))
        count = num_held_out(held_out, len(different))
        if count >= len(different):
            raise ConfigError(
                f"held_out={held_out}: there are {len(different)} different prompts, so none would be left to train on. Lower "
                "held_out"
            )
        order = Permutation(len(different), seed, "held out prompts")(np.arange(count))
        chosen = {different[i] for i in order.tolist()}
        evaluation = [encoded for encoded in training if encoded.tokens in chosen]
        training = [encoded for encoded in training if encoded.tokens not in chosen]
    known = {encoded.tokens for encoded in evaluation}
    leaks = [Dropped(encoded.prompt.origin, "held out, too") for encoded in training if encoded.tokens in known]
    return PromptDataset(
        tuple(training), tuple(evaluation), tuple(dropped), tuple(leaks), seed, notes, handling.ignored
    )


def _read(
    setting: str,
    name: str,
    path: str,
    template: ChatTemplate,
    columns: Columns | None,
    limit: int | None,
    too_long: Literal["error", "drop"],
    dropped: list[Dropped],
    notes: Notes,
    handling: Handling,
) -> list[EncodedPrompt]:
    rows, left_out = list[EncodedPrompt](), list[Dropped]()
    for row in stream_prompts(path, columns=columns, handling=handling):
        if isinstance(row, Dropped):
            left_out.append(row)
            continue
        tokens = tuple(template.encode_prompt(row.messages, row.tools, row.origin))
        if limit is not None and len(tokens) > limit:
            reason = f"{len(tokens)} tokens; with the completion, the model has room for {limit}"
            if too_long == "error":
                raise DataError(
                    f"{row.origin}: {reason}. Lower sampling.max_completion_tokens, take the row out, or set too_long=drop, "
                    "which lists the dropped prompts"
                )
            left_out.append(Dropped(row.origin, reason))
            continue
        rows.append(EncodedPrompt(row, tokens, name, 0))
        notes.add(row.origin, tuple(template.control_notes(row.messages)))
    if not rows:
        why = "".join(f"; {row.origin}: {row.reason}" for row in left_out[:1])
        raise DataError(f"{setting}.{name}={path}: holds no prompt that can be used{why}")
    dropped += left_out
    return rows


def _numbered(rows: Sequence[EncodedPrompt], first: int = 0) -> list[EncodedPrompt]:
    return [replace(encoded, number=first + i) for i, encoded in enumerate(rows)]
