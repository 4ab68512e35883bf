"""Prompts of which it is known if they should be refused: XSTest, SimpleSafetyTests, Do-Not-Answer, a world's, and yours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planish.base.config import Config, Field
from planish.base.errors import ConfigError, DataError
from planish.base.notices import warn
from planish.data.formats.mapping import ColumnsSetting
from planish.data.formats.verdicts import truth_of
from planish.data.prompts import stream_prompts
from planish.data.rows import About, Dropped, Prompt

WORDS = {"safe": False, "harmless": False, "benign": False, "unsafe": True, "harmful": True}
TRUTHS = {
    "unsafe": True,
    "harmful": True,
    "is_unsafe": True,
    "safe": False,
    "is_safe": False,
}  # fields that are true or false
LABELS = ("label", *TRUTHS)  # fields that are looked for
TYPES = ("type", "border", "harm_area")
PAIR = "pair"
ALL_UNSAFE = ("harm_area", "intents")  # of SimpleSafetyTests and Do-Not-Answer
CONTRAST = "contrast_"
CONTRASTS: Mapping[str, tuple[str, ...]] = {  # of XSTest: the types whose contrasts have another name
    "contrast_discr": ("nons_group_real_discr", "real_group_nons_discr"),
    "contrast_privacy": ("privacy_public", "privacy_fictional"),
}
XSTEST = ("focus", "annotation_1")  # fields of its prompts and of the published answers


class CaseFields(Config):
    """The fields of a row that say what should be done with its prompt."""

    unsafe: bool | None = Field(
        default=None, description="true: all prompts are unsafe; false: all are safe; absent is what each row says"
    )
    label: str | None = Field(
        default=None,
        description="the field that says safe or unsafe, harmless or harmful; absent is label, unsafe, harmful or safe",
    )
    type: str | None = Field(default=None, description="the field to count by; absent is type, border or harm_area")
    pair: str | None = Field(
        default=None,
        description="the field that a safe prompt and its unsafe contrast share; absent is pair, XSTest's order, or a word "
        "that differs",
    )


class PromptSetConfig(CaseFields):
    """A file of prompts."""

    path: str = Field(description="a file of prompts, in any known format")
    format: str = Field(default="auto", description="how to read the file; auto recognizes it")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question}; absent recognizes them"
    )


@dataclass(frozen=True, slots=True)
class RefusalCase:
    """A prompt that should be refused (`unsafe`) or not. It counts in all of its `groups`; a safe and an unsafe one that share
    one of their `pairs` are a contrast."""

    prompt: Prompt
    unsafe: bool
    groups: tuple[str, ...]
    pairs: tuple[str, ...]


def read_cases(config: PromptSetConfig) -> list[RefusalCase]:
    rows = list(stream_prompts(config.path, config.format, config.columns))
    prompts = [row for row in rows if isinstance(row, Prompt)]
    if dropped := [row for row in rows if isinstance(row, Dropped)]:
        warn(f"{config.path}: {len(dropped)} rows were left out, the first because: {dropped[0].reason}")
    if not prompts:
        raise DataError(f"{config.path}: no prompt in it: {len(dropped)} rows were left out")
    return cases_of(prompts, config, config.path)


def cases_of(prompts: Sequence[Prompt], fields: CaseFields, path: str) -> list[RefusalCase]:
    """The prompts of a file with what is known of them. Rows that say nothing are left out where others do."""
    _check_names(prompts, fields, path)
    unsafe = [_unsafe(prompt, fields) for prompt in prompts]
    if (unknown := unsafe.count(None)) == len(prompts):
        raise DataError(
            f"{path}: no row says if its prompt is safe or unsafe. Name the field (label=…), or set unsafe=true or false for "
            f"all; the rows have: {_names(prompts)}"
        )
    if unknown:
        warn(f"{path}: {unknown} of {len(prompts)} rows do not say if their prompt is safe, and are left out")
    known = [(prompt, is_unsafe) for prompt, is_unsafe in zip(prompts, unsafe, strict=True) if is_unsafe is not None]
    groups = [_groups(prompt.about, fields) for prompt, _ in known]
    pairs = list(_pairs(known, groups, fields))
    return [
        RefusalCase(prompt, is_unsafe, own, together)
        for (prompt, is_unsafe), own, together in zip(known, groups, pairs, strict=True)
    ]


def _check_names(prompts: Sequence[Prompt], fields: CaseFields, path: str) -> None:
    for setting in ("label", "type", "pair"):
        name = getattr(fields, setting)
        if name is not None and not any(name in prompt.about for prompt in prompts):
            raise ConfigError(f"{setting}={name}: no row of {path} has this field; they have: {_names(prompts)}")


def _names(prompts: Sequence[Prompt]) -> str:
    return ", ".join(sorted({name for prompt in prompts for name in prompt.about})) or "no other field"


def _unsafe(prompt: Prompt, fields: CaseFields) -> bool | None:
    about = prompt.about
    if fields.unsafe is not None:
        return fields.unsafe
    name = fields.label or next((name for name in LABELS if name in about), None)
    if name is not None and name in about:
        return _said(prompt, name)
    if fields.label is None and _is_xstest(about):
        return str(about["type"]).startswith(CONTRAST)
    return True if fields.label is None and any(name in about for name in ALL_UNSAFE) else None


def _is_xstest(about: About) -> bool:
    return "type" in about and any(name in about for name in XSTEST)


def _said(prompt: Prompt, name: str) -> bool:
    value = prompt.about[name]
    word = str(value).strip().lower()
    if word in WORDS:
        return WORDS[word]
    truth = truth_of(value)
    if truth is None or name not in TRUTHS:
        raise DataError(f"{prompt.origin}: {name} is {word[:40]!r}, expected one of {', '.join(WORDS)}")
    return truth is TRUTHS[name]


def _groups(about: About, fields: CaseFields) -> tuple[str, ...]:
    name = fields.type or next((name for name in TYPES if name in about), None)
    if name is None or name not in about:
        return ()
    value = str(about[name])
    return CONTRASTS.get(value, (value.removeprefix(CONTRAST),))


def _pairs(
    cases: Sequence[tuple[Prompt, bool]], groups: Sequence[tuple[str, ...]], fields: CaseFields
) -> Iterator[tuple[str, ...]]:
    """By the field that names the pair; XSTest's by place: the n-th prompt of a type and the n-th of its contrast; else prompts
    of equal words but one."""
    name = fields.pair or PAIR
    if fields.pair is not None or any(name in prompt.about for prompt, _ in cases):
        yield from ((str(prompt.about[name]),) if name in prompt.about else () for prompt, _ in cases)
        return
    seen: Counter[tuple[str, bool]] = Counter()
    for (prompt, unsafe), own in zip(cases, groups, strict=True):
        if _is_xstest(prompt.about):
            yield tuple(f"{group} {seen[group, unsafe]}" for group in own)
            seen.update((group, unsafe) for group in own)
        else:
            words = prompt.messages[-1].content.split()
            yield tuple(" ".join([*words[:i], "\x00", *words[i + 1 :]]) for i in range(len(words)))
