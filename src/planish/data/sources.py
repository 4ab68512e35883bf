"""The sources of a run: their rows read, tokenized, split into training and held-out rows, and listed in data.json.

Rows are read twice and never held all at once. The first pass takes a digest of each; the digests decide which rows are
left out, held out and trained on. The second pass tokenizes them.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from planish.base.errors import ConfigError, DataError
from planish.base.progress import track
from planish.base.random import Permutation
from planish.data.chat.notes import Notes
from planish.data.chat.templates import ChatTemplate
from planish.data.cleaning.fingerprints import split_digest
from planish.data.cleaning.run import clean
from planish.data.examples import Encodable, Encoding, Examples, encode_into
from planish.data.formats import stream_rows
from planish.data.ignored import IgnoredFields
from planish.data.rows import LEARNT, TAUGHT, Comparison, Demonstration, Dropped, Judged, Labelled, as_records
from planish.data.settings import DataConfig, SourceConfig, num_held_out

UNUSED, TRAINING, HELD_OUT = 0, 1, 2
SHUFFLED, LENGTH = NO_FIELDS = ("shuffled", "length")


@dataclass(frozen=True, slots=True)
class Source:
    """A tokenized source: its training and held-out examples, and the rows that were left out."""

    name: str
    training: Examples
    held_out: Examples
    held_out_prompts: tuple[Demonstration, ...]
    held_out_comparisons: tuple[Comparison, ...]  # the rows of held-out examples, if they are comparisons
    dropped: tuple[Dropped, ...]
    truncated: tuple[Dropped, ...]
    leaks: tuple[Dropped, ...]  # training rows that are also in an evaluation set or held out
    over_limit: int  # rows beyond the source's limit
    notes: Notes  # what the chat template does to its rows
    ignored: tuple[dict[str, Any], ...] = ()  # fields that no row holds, as IgnoredFields lists them
    taught: Mapping[str, int] = field(default_factory=dict[str, int])  # rows by what `planish data teach` did to them
    keys: np.ndarray | None = None  # of the training examples, in whose order they are learnt

    def account(self) -> dict[str, Any]:
        """This source's entry in data.json."""
        return {
            "training": _sizes(self.training),
            "held_out": {**_sizes(self.held_out), "rows": self.held_out.names},
            "dropped": as_records(self.dropped),
            "truncated": as_records(self.truncated),
            "leaks": as_records(self.leaks),
            "over_limit": self.over_limit,
            "notes": self.notes.account(),
            "ignored_fields": list(self.ignored),
            **({"taught": dict(self.taught)} if self.taught else {}),
        }


E = TypeVar("E", bound=Encodable)


@dataclass(slots=True)
class SourceRows(Generic[E]):
    """The rows of these kinds of one source, read again on each iteration, and the records without one."""

    name: str
    config: SourceConfig
    kinds: tuple[type[E], ...]
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    ignored: IgnoredFields = field(default_factory=IgnoredFields)

    def __iter__(self) -> Iterator[E]:
        self.dropped.clear()
        self.ignored.clear()
        for path in [self.config.path] if isinstance(self.config.path, str) else self.config.path:
            for row in self._stream(path):
                if isinstance(row, Dropped):
                    self.dropped.append(row)
                else:
                    yield row

    def _stream(self, path: str) -> Iterator[E | Dropped]:
        handling = replace(self.config.handling, ignored=self.ignored)
        if Labelled in self.kinds:
            for row in stream_rows(path, (Judged, Comparison), self.config.format, self.config.columns, handling):
                yield from cast(Iterator[E | Dropped], labelled(row))
            return
        if self.config.take == "demonstrations":
            yield from stream_rows(path, self.kinds, self.config.format, self.config.columns, handling)
            return
        for row in stream_rows(path, (Comparison,), self.config.format, self.config.columns, handling):
            yield row if isinstance(row, Dropped) else cast(E | Dropped, best_of(row))


def labelled(row: Judged | Comparison | Dropped) -> Iterator[Labelled | Dropped]:
    """Answers with their labels: one that was judged by itself, or the two of a comparison, of which the better is desirable."""
    if isinstance(row, Dropped):
        yield row
        return
    prompt = tuple(replace(message, trained=False) for message in row.prompt)
    if isinstance(row, Judged):
        if not isinstance(row.verdict, bool):
            raise DataError(
                f"{row.origin}: the verdict is {row.verdict!r}, a word; expected true (desirable) or false. "
                "Write the field `label` with true and false"
            )
        yield Labelled((*prompt, replace(row.completion, trained=True)), row.origin, (), row.about, row.verdict)
    elif len(row.pairs) != 1 or len(row.ranks) != 2:
        problem = "are tied" if not row.pairs else "are a ranking, not a pair"
        yield Dropped(
            row.origin, f"its {len(row.ranks)} completions {problem}: which of them are desirable is not said"
        )
    else:
        for answer, rank in zip(row.completions, row.ranks, strict=True):
            turns = (*prompt, replace(answer, trained=True))
            yield Labelled(turns, row.origin, row.tools, row.about, rank == min(row.ranks))


def best_of(row: Comparison) -> Demonstration | Dropped:
    """The best completion as a demonstration."""
    if (count := row.ranks.count(min(row.ranks))) > 1:
        return Dropped(row.origin, f"{count} completions share the first rank, so none is best")
    return _first_best(row)


def _first_best(row: Comparison) -> Demonstration:
    """The first of the best completions as a demonstration."""
    best = row.completions[row.ranks.index(min(row.ranks))]
    return Demonstration((*row.prompt, best), row.origin, row.tools, row.about)


def prepare_sources(
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate | None,
    max_tokens: int,
    seed: int,
    folder: Path | None = None,
    kinds: tuple[type[Encodable], ...] = LEARNT,
) -> list[Source]:
    """Reads and tokenizes every source. The same files and settings give the same examples on every rank.

    The tokens are kept in nameless files in `folder`, by default that of temporary files.
    """
    sources = [SourceRows(name, source, kinds) for name, source in config.sources.items()]
    digests = [_digests(source) for source in sources]
    cleaning = clean(sources, config.cleaning)
    parts = [_split(config, source, digests[k], sorted(cleaning.removed[k]), seed) for k, source in enumerate(sources)]
    copies = [_held_out_elsewhere(k, config, digests, parts) for k in range(len(sources))]
    prepared: list[Source] = []
    for k, source in enumerate(sources):
        training, held_out = Encoding(Examples(k, folder)), Encoding(Examples(k, folder), comparisons=[])
        reading = _Reading(source, parts[k], copies[k], training, held_out, fields=number_fields(config))
        encode_into(reading.rows(), tokenizer, template, max_tokens, config.too_long)
        if config.row_weight is not None:
            training.examples.weights = _values(training.examples, reading.numbers[config.row_weight])
        _refuse_empty(source.name, {"train on": training} | ({"hold out": held_out} if config.held_out else {}))
        measurable = set(held_out.examples.names)
        removed = (Dropped(row.origin, row.reason) for row in cleaning.removed[k].values())
        known = (Dropped(row.origin, row.reason) for row in cleaning.leaks[k] if parts[k][row.ordinal] == TRAINING)
        prepared.append(
            Source(
                source.name,
                training.examples,
                held_out.examples,
                tuple(row for row in reading.prompts if str(row.origin) in measurable),
                tuple(held_out.comparisons or ()),
                (*source.dropped, *removed, *training.dropped, *held_out.dropped),
                (*training.truncated, *held_out.truncated),
                (*known, *reading.leaks),
                int(np.count_nonzero(parts[k] == UNUSED)) - len(cleaning.removed[k]),
                training.notes.merged(held_out.notes),
                tuple(source.ignored.as_records),
                reading.taught,
                order_keys(config.order, training.examples, reading.numbers),
            )
        )
    return prepared


@dataclass(slots=True)
class _Reading:
    """The second pass over a source, which sends each row where the first pass decided."""

    source: SourceRows[Encodable]
    parts: np.ndarray
    copies: dict[int, str]
    training: Encoding
    held_out: Encoding
    prompts: list[Demonstration] = field(default_factory=list[Demonstration])
    leaks: list[Dropped] = field(default_factory=list[Dropped])
    taught: Counter[str] = field(default_factory=Counter[str])
    fields: Mapping[str, str] = field(default_factory=dict[str, str])  # settings that name a field with numbers
    numbers: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])  # by field and origin

    def rows(self) -> Iterator[tuple[Encodable, Encoding]]:
        number = -1
        for number, row in enumerate(track(self.source, f"tokenizing {self.source.name}", len(self.parts))):
            part = self.parts[number] if number < len(self.parts) else UNUSED
            if part == HELD_OUT and isinstance(row, Demonstration | Comparison):
                self.prompts.append(row if isinstance(row, Demonstration) else _first_best(row))
            if number in self.copies:
                self.leaks.append(Dropped(row.origin, f"a copy is held out in source '{self.copies[number]}'"))
            if part != UNUSED:
                self.taught.update([str(row.about[TAUGHT])] if TAUGHT in row.about else ())
                for setting, name in self.fields.items() if part == TRAINING else ():
                    self.numbers.setdefault(name, {})[str(row.origin)] = _number(row, setting, name)
                yield row, self.held_out if part == HELD_OUT else self.training
        if number + 1 != len(self.parts):
            raise DataError(
                f"{self.source.config.path}: {len(self.parts)} rows at first, {number + 1} when read again: the data changed "
                "in between. Start again when nothing writes to them."
            )


def _digests(source: SourceRows[Encodable]) -> np.ndarray:
    digests = array("Q", map(split_digest, track(source, f"reading {source.name}")))
    return np.array(digests, np.uint64)


def _split(
    config: DataConfig, source: SourceRows[Encodable], digests: np.ndarray, removed: Sequence[int], seed: int
) -> np.ndarray:
    """The part of each row: unused, training or held out. Copies of a held-out row are held out with it.

    Real files repeat themselves: only 898 of the 2,025 English conversations of chatterbot-corpus differ.
    """
    parts = np.zeros(len(digests), np.uint8)
    kept = np.delete(np.arange(len(digests)), removed)
    order = Permutation(len(kept), seed, "held out", source.name)
    used = kept[order(np.arange(min(source.config.limit or len(kept), len(kept))))]
    parts[used] = TRAINING
    wanted, count = num_held_out(config.held_out, len(used)), 0
    if config.held_out < 1:
        wanted = min(wanted, config.max_held_out)
    for i in used:
        if count >= wanted:
            break
        if parts[i] == TRAINING:
            copies = (digests == digests[i]) & (parts == TRAINING)
            parts[copies] = HELD_OUT
            count += int(np.count_nonzero(copies))
    if count == len(used):
        few = "have too few prompts" if {Comparison, Labelled} & {*source.kinds} else "are too few"
        dropped = "".join(f"; the first that was dropped: {row.origin}: {row.reason}" for row in source.dropped[:1])
        raise DataError(
            f"{source.config.path}: {len(used)} rows {few} that differ: source '{source.name}' needs one to train on and one to "
            f"hold out{dropped}"
        )
    training = used[parts[used] == TRAINING]
    parts[training[math.ceil(source.config.training_share * len(training)) :]] = UNUSED
    return parts


def _held_out_elsewhere(
    number: int, config: DataConfig, digests: Sequence[np.ndarray], parts: Sequence[np.ndarray]
) -> dict[int, str]:
    """Training rows of a source that another source holds out, with the name of that source."""
    copies: dict[int, str] = {}
    for k, name in enumerate(config.sources):
        if k != number:
            leaking = np.isin(digests[number], digests[k][parts[k] == HELD_OUT]) & (parts[number] == TRAINING)
            copies |= dict.fromkeys(np.flatnonzero(leaking).tolist(), name)
    return copies


def _refuse_empty(name: str, parts: Mapping[str, Encoding]) -> None:
    for what, encoding in parts.items():
        if not len(encoding.examples):
            first = encoding.dropped[0]
            raise ConfigError(
                f"source '{name}' has no row left to {what}; the first dropped: {first.origin}: {first.reason}"
            )


def number_fields(config: DataConfig) -> dict[str, str]:
    """Settings that name a field of the rows with numbers, with the field."""
    named = {"order": config.order.removeprefix("-"), "row_weight": config.row_weight}
    return {setting: name for setting, name in named.items() if name is not None and name not in NO_FIELDS}


def _number(row: Encodable, setting: str, name: str) -> float:
    value = row.about.get(name)
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or (setting == "row_weight" and number <= 0):
        found = "has none" if value is None else f"has {value!r}"
        there = ", ".join(sorted(row.about)) or "none"
        above = " above 0" if setting == "row_weight" else ""
        raise DataError(
            f"{row.origin}: data.{setting}={name} needs a number{above} in the field {name} of every row, and this one {found}; "
            f"its fields: {there}"
        )
    return number


def _values(examples: Examples, numbers: Mapping[str, float]) -> np.ndarray:
    return np.array([numbers[name] for name in examples.names])


def order_keys(order: str, examples: Examples, numbers: Mapping[str, Mapping[str, float]]) -> np.ndarray | None:
    """The numbers that order the training examples, lowest first; None if they are shuffled."""
    if order == SHUFFLED:
        return None
    name = order.removeprefix("-")
    keys = examples.num_tokens if name == LENGTH else _values(examples, numbers[name])
    return -keys if order.startswith("-") else keys


def held_out_digest(sources: Sequence[Source]) -> str:
    """A digest of all rows that are held out."""
    return measured_digest([(source.held_out, source.held_out_comparisons) for source in sources])


def measured_digest(sets: Iterable[tuple[Examples, Sequence[Comparison]]]) -> str:
    """A digest of rows that are measured on: their tokens, and of comparisons what else their ranking depends on."""
    digest = hashlib.sha256()
    for examples, comparisons in sets:
        examples.update_digest(digest)
        about = [(row.group, row.annotator, row.ranks, row.scores) for row in comparisons]
        digest.update(repr(about).encode())
    return digest.hexdigest()


def _sizes(examples: Examples) -> dict[str, int]:
    return {"examples": len(examples), "tokens": int(examples.num_tokens.sum()), "learnt_tokens": examples.num_targets}
