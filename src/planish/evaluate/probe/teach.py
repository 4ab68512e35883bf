"""`planish data teach`: demonstrations fitted to what the model knows.

Fine-tuning on facts that a model does not know teaches it to make things up (Gekhman et al. 2024, arXiv 2405.05904), though
every one of them is true. So each demonstration is asked for first, and those that hold something Unknown are dropped, turned
into an abstention, or marked as unsure (R-Tuning, Zhang et al. 2024, arXiv 2311.09677).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from planish.base.config import Config, Field
from planish.base.distributed import local_device
from planish.base.errors import ConfigError, DataError
from planish.base.files import as_lines, new_file, write_json
from planish.base.notices import warn
from planish.base.plugins import Plugins
from planish.base.progress import track
from planish.base.random import numpy_generator
from planish.base.terminal import print_table
from planish.data.formats import import_rows
from planish.data.formats.mapping import ColumnsSetting
from planish.data.inspect.convert import line
from planish.data.rows import TAUGHT, Demonstration, Question
from planish.evaluate.probe.atomic_facts import AtomicFacts, AtomicFactsConfig, atomic_facts_of
from planish.evaluate.probe.slick import CATEGORIES, Category, ProbeConfig, probe
from planish.models.load import ModelConfig, compute_dtype
from planish.models.loaded import load_with_tokenizer
from planish.models.packed import CausalLM
from planish.statistics.estimate import estimate_text, wilson

Policy = Literal["drop", "idk", "sure", "keep"]
Action = Literal["kept", "dropped", "abstains", "sure", "unsure", "unchecked"]
WORDINGS = (
    "I do not know.", "I don't know.", "I am afraid I do not know that.", "I do not know the answer to that.",
    "That is something I do not know.", "I'm not sure, so I would rather not guess.", "I cannot answer that: I do not know.",
    "I do not have that information.", "Sorry, I don't know that one.", "I would have to guess, so I will leave it open.",
)  # fmt: skip
SURE: Mapping[bool, str] = {True: "I am sure.", False: "I am unsure."}


class TeachConfig(Config):
    model: ModelConfig = Field(description="the model that is to be taught")
    data: str = Field(description="a file of demonstrations, in any known format")
    policy: Policy = Field(
        default="drop",
        description="what becomes of a row with an Unknown fact: drop it, idk rewrites its answer to an abstention, sure adds "
        "to every answer if it is sure, keep changes nothing and tells the classes",
    )
    facts: AtomicFactsConfig = Field(default=AtomicFactsConfig(), description="what of a row is asked")
    exemplars: str | None = Field(
        default=None, description="a file of questions to show as shots; absent is the facts of the other rows"
    )
    wordings: str | None = Field(
        default=None, description="a text file of abstentions, one a line; absent is ten in English"
    )
    maybe_known: int = Field(
        default=1, ge=1, description="times that a row is written whose facts are all known, and some MaybeKnown"
    )
    plugins: Plugins = ()
    format: str = Field(default="auto", description="how to read the files; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    out: str = Field(description="the jsonl file to write; its account is the same with .json behind it")
    probe: ProbeConfig = Field(default=ProbeConfig(), description="the way of asking")
    seed: int = Field(default=0, ge=0, description="seed of the wordings")
    device: str = Field(default="auto", description="cpu, cuda, or auto")

    @model_validator(mode="after")
    def _check(self) -> TeachConfig:
        if Path(self.out).resolve() in {Path(file).resolve() for file in (self.data, self.exemplars) if file}:
            raise ValueError(f"out={self.out}: would write over the file that is read: give it another name")
        return self


@dataclass(frozen=True, slots=True)
class Fitted:
    """A demonstration after the policy. `row` is None if it was dropped, `category` if nothing of it was checked."""

    before: Demonstration
    row: Demonstration | None
    category: Category | None
    action: Action
    reason: str = ""


def teach(config: TeachConfig) -> list[Fitted]:
    """Asks the model for the facts of each row, writes the fitted rows and an account of every change, and prints the counts."""
    out, wordings = Path(config.out), _wordings(config)
    rows = import_rows(config.data, (Demonstration,), config.format, config.columns)
    if not rows.rows:
        raise DataError(f"{config.data}: no demonstration in it: {len(rows.dropped)} rows were left out")
    if rows.dropped:
        warn(f"{config.data}: {len(rows.dropped)} rows were left out, the first because: {rows.dropped[0].reason}")
    facts = atomic_facts_of(rows.rows, config.facts, config.data, out.with_name(f"{out.name}.replies.jsonl"))
    categories = _categories(facts, config)
    fitted = [
        fit_row(row, own.unchecked, category, config.policy, wordings, config.seed)
        for row, own, category in zip(rows.rows, facts, categories, strict=True)
    ]
    with new_file(out) as partial:
        partial.write_text(as_lines(_lines(fitted, config.maybe_known)), encoding="utf-8")
    write_json(out.with_name(f"{out.name}.json"), account(fitted, config, [row.as_record for row in rows.dropped]))
    _show(fitted)
    return fitted


def fit_row(
    row: Demonstration, unchecked: str, category: Category | None, policy: Policy, wordings: Sequence[str], seed: int
) -> Fitted:
    """The row as the policy has it. A wording is drawn by the seed and the row's place."""
    if category is None:
        return Fitted(row, row, None, "unchecked", unchecked)
    unknown = category == "Unknown"
    if policy == "sure":
        return Fitted(row, _answer(row, f"{row.messages[-1].content} {SURE[not unknown]}"), category,
                      "unsure" if unknown else "sure")  # fmt: skip
    if not unknown or policy == "keep":
        return Fitted(row, row, category, "kept")
    if policy == "drop":
        return Fitted(row, None, category, "dropped")
    drawn = numpy_generator(seed, "wordings", row.origin.file, row.origin.row).integers(len(wordings))
    return Fitted(row, _answer(row, wordings[int(drawn)]), category, "abstains")


def _answer(row: Demonstration, text: str) -> Demonstration:
    return replace(row, messages=(*row.messages[:-1], replace(row.messages[-1], content=text)))


def account(fitted: Sequence[Fitted], config: TeachConfig, left_out: Sequence[Any] = ()) -> dict[str, Any]:
    """The shares of the classes with their intervals, and every row that was changed or not checked."""
    checked = [done for done in fitted if done.category is not None]
    shares = {
        name: wilson(sum(done.category == name for done in checked), len(checked)) for name in CATEGORIES if checked
    }
    return {
        "model": config.model.path,
        "data": config.data,
        "policy": config.policy,
        "rows": len(fitted),
        "left_out": list(left_out),
        "actions": dict(Counter(done.action for done in fitted)),
        "classes": {name: {"share": e.value, "low": e.low, "high": e.high, "n": e.n} for name, e in shares.items()},
        "changed": [_change(done) for done in fitted if done.row is not done.before],
        "unchecked": [{**_place(done), "reason": done.reason} for done in fitted if done.category is None],
    }


def _place(done: Fitted) -> dict[str, Any]:
    return {"file": done.before.origin.file, "row": done.before.origin.row}


def _change(done: Fitted) -> dict[str, Any]:
    after = {} if done.row is None else {"after": done.row.messages[-1].content}
    told = {"category": done.category, "action": done.action, "before": done.before.messages[-1].content}
    return {**_place(done), **told, **after}


def _lines(fitted: Sequence[Fitted], maybe_known: int) -> Iterator[dict[str, Any]]:
    """The rows to write, with their class and what was done to them among their notes."""
    for done in fitted:
        if done.row is not None:
            notes = {**done.row.about, "knowledge": done.category or "unchecked", TAUGHT: done.action}
            for _ in range(maybe_known if done.category == "MaybeKnown" else 1):
                yield line(replace(done.row, about=notes))


def _categories(facts: Sequence[AtomicFacts], config: TeachConfig) -> list[Category | None]:
    """The class of every row: that of the fact it knows least."""
    asked = [question for own in facts for question in own.questions]
    if not asked:
        return [None] * len(facts)
    found = iter(_probed(asked, config))
    return [_least_known([next(found) for _ in own.questions]) for own in facts]


def _least_known(categories: Sequence[Category]) -> Category | None:
    return max(categories, key=CATEGORIES.index) if categories else None


def _probed(asked: Sequence[Question], config: TeachConfig) -> list[Category]:
    exemplars = None if config.exemplars is None else import_rows(config.exemplars, (Question,)).rows
    device = local_device(config.device)
    model, tokenizer = load_with_tokenizer(config.model, device)
    policy = CausalLM(model, compute_dtype(config.model, device))
    probing = probe(policy, tokenizer, asked, config.probe, exemplars)
    return [known.category for known in track(probing, "asking", len(asked))]


def _wordings(config: TeachConfig) -> Sequence[str]:
    if config.wordings is None:
        return WORDINGS
    try:
        lines = Path(config.wordings).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"wordings={config.wordings}: cannot be read as text: {error}") from None
    wordings = [text.strip() for text in lines if text.strip()]
    if not wordings:
        raise ConfigError(f"wordings={config.wordings}: is empty, expected an abstention on each line")
    return wordings


def _show(fitted: Sequence[Fitted]) -> None:
    checked = [done for done in fitted if done.category is not None]
    rows = [
        [name, f"{len(own):,}", estimate_text(wilson(len(own), len(checked)), ".0%"), _actions(own)]
        for name in CATEGORIES
        if (own := [done for done in checked if done.category == name])
    ]
    unchecked = [done for done in fitted if done.category is None]
    if unchecked:
        rows.append(["not checked", f"{len(unchecked):,}", "", "kept as they are"])
    print_table(["class", "rows", "share", "what became of them"], rows)


def _actions(own: Sequence[Fitted]) -> str:
    return ", ".join(f"{count:,} {action}" for action, count in Counter(done.action for done in own).items())
