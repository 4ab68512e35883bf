"""An inspection in the terminal, and the sentences that it shares with the page.

Learnt text is underlined and colored; without a terminal it is written between ⟦ and ⟧.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from planish.base.terminal import terminal
from planish.base.text import count_text, listed
from planish.data.chat.notes import MEANINGS
from planish.data.ignored import ignored_text
from planish.data.inspect.result import (
    Inspection,
    Judgements,
    KindView,
    Lengths,
    Listing,
    Piece,
    SafetyKind,
    Sample,
    ShownPart,
    SourceView,
)

MOST_SHOWN = 1500  # characters of one part of a row in the terminal
BARS = " ▁▂▃▄▅▆▇█"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
FEW_REASONS = 5
SAFETY: tuple[SafetyKind, ...] = get_args(SafetyKind)
LOOK_ALIKES = 0.1  # of them for each refusal; below that the mixture gets a warning
MEASURES = {"row": "whole row", "prompt": "prompt", "completion": "each completion", "learnt": "in the loss"}
FATES = {
    "stops the run": "would stop the run",
    "dropped": "would be dropped",
    "truncated": "would be cut at the end",
    "split": "would be split, without loss",
}


def show(inspection: Inspection, console: Console | None = None, most_listed: int = 5) -> None:
    """Prints an inspection, with at most `most_listed` rows of each list."""
    console = console or terminal()
    console.print(Text(visible(lead(inspection)), "bold"))
    console.print(Text(unit_text(inspection)))
    says, warns = safety_text(inspection)
    if says:
        console.print(Text(f"! {says}" if warns else says, "yellow" if warns else ""))
    for source in inspection.sources:
        _show_source(source, inspection, console, most_listed)


def _show_source(source: SourceView, inspection: Inspection, console: Console, most_listed: int) -> None:
    console.print()
    console.rule(Text(visible(source.name), "bold"), align="left")
    console.print(Text(visible(source_text(source))))
    for warning in warnings(source):
        console.print(Text(f"! {visible(warning)}", "yellow"))
    _show_listing("did not fit", source.unfit, console, most_listed)
    for kind in source.kinds:
        if kind.rows or kind.dropped.count or kind.unfit.count:
            _show_kind(kind, inspection, console, most_listed)


def _show_kind(kind: KindView, inspection: Inspection, console: Console, most_listed: int) -> None:
    console.print()
    if kind.lengths:
        console.print(_length_table(kind, inspection))
    for sentence in kind_text(kind):
        console.print(Text(visible(sentence)))
    _show_listing(f"gave no {kind.kind}: dropped", kind.dropped, console, most_listed)
    _show_listing(f"did not fit as {kind.kind}", kind.unfit, console, most_listed)
    for fate, listing in kind.fates.items():
        _show_listing(FATES[fate], listing, console, most_listed)
    for told, listing in kind.notes.items():
        _show_listing(f"to note: {MEANINGS[told]}", listing, console, most_listed)
    for sample in kind.samples:
        _show_sample(sample, inspection, console)


def _length_table(kind: KindView, inspection: Inspection) -> Table:
    table = Table(
        title=f"{kind.kind}: {kind.rows:,}", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    table.add_column(inspection.unit, style="dim")
    for name in ("count", "total", "least", "median", "mean", "95%", "99%", "most"):
        table.add_column(name, justify="right")
    table.add_column("least to most")
    for name, lengths in kind.lengths.items():
        table.add_row(MEASURES[name], *length_cells(lengths), sparkline(lengths))
    return table


def _show_listing(what: str, listing: Listing, console: Console, most: int) -> None:
    if not listing.count:
        return
    console.print(Text(f"\n{count_text(listing.count, 'row')} {what}", "bold"))
    if listing.count > most and len(listing.reasons) > 1:
        for reason, count in top(listing.reasons):
            console.print(Text(f"  {count:,}: {visible(reason)}"), soft_wrap=True)
    for row in listing.rows[:most]:
        place = f"{row.file} row {row.row}: " if row.row and row.file not in row.reason else ""
        console.print(Text(f"  {visible(place)}{visible(row.reason)}"), soft_wrap=True)
    if more := listing.count - len(listing.rows[:most]):
        console.print(Text(f"  and {more:,} more; --list names them all"))


def _show_sample(sample: Sample, inspection: Inspection, console: Console) -> None:
    about = ", ".join(f"{key}: {value}" for key, value in sample.about.items())
    heading = f"\n{sample.file} row {sample.row} ({sample.why}), {sample.length:,} {inspection.unit}"
    console.print(Text(visible(heading), "bold cyan"), Text(visible(about), "dim"), soft_wrap=True)
    for part in sample.parts:
        if part.heading:
            console.print(Text(visible(part.heading), "bold"))
        console.print(part_text(part, plain=not console.is_terminal or console.no_color), soft_wrap=True)


def part_text(part: ShownPart, plain: bool = False) -> Text:
    """The pieces in their styles. `plain` puts learnt text in brackets, for output without styles."""
    text = Text()
    for piece in shortened(part.pieces, MOST_SHOWN):
        words = visible(piece.text)
        style = f"{'bold green underline' if piece.learnt else ''} {'dim' if piece.special else ''}".strip()
        text.append(f"⟦{words}⟧" if plain and piece.learnt else words, style)
    return text


def shortened(pieces: Sequence[Piece], most: int) -> Iterator[Piece]:
    """The start and the end of a long text, with a note of how much is left out between them."""
    total = sum(len(piece.text) for piece in pieces)
    head, tail = most * 2 // 3, total - most // 3
    at = 0
    for piece in pieces:
        start, stop, at = at, at + len(piece.text), at + len(piece.text)
        if total <= most:
            yield piece
            continue
        if start < head:
            yield Piece(piece.text[: head - start], piece.learnt, piece.special)
        if start <= head < stop:
            yield Piece(f" … {tail - head:,} characters not shown … ", special=True)
        if stop > tail:
            yield Piece(piece.text[max(tail - start, 0) :], piece.learnt, piece.special)


def visible(text: str) -> str:
    """Replaces control characters: a row must not move the cursor or color the screen."""
    return CONTROL.sub(lambda match: chr(0x2400 + ord(match[0])) if ord(match[0]) < 0x20 else "\ufffd", text)


def lead(inspection: Inspection) -> str:
    """One sentence on all rows and all faults."""
    kinds = [kind for source in inspection.sources for kind in source.kinds if kind.rows]
    rows: dict[str, int] = {}
    fates: dict[str, int] = {}
    for kind in kinds:
        rows[kind.kind] = rows.get(kind.kind, 0) + kind.rows
        for fate, listing in kind.fates.items():
            fates[fate] = fates.get(fate, 0) + listing.count
    held = listed([counted(count, kind) for kind, count in rows.items()]) or "no row"
    total = sum(kind.lengths["row"].total for kind in kinds)
    sentence = f"{held} in {count_text(len(inspection.sources), 'source')}, {total:,} {inspection.unit}"
    dropped = sum(kind.dropped.count for source in inspection.sources for kind in source.kinds)
    wrong = [f"{inspection.unfit:,} did not fit"] if inspection.unfit else []
    wrong += [f"{dropped:,} dropped by their format"] if dropped else []
    wrong += [f"{count:,} {FATES[fate]}" for fate, count in fates.items()]
    return f"{sentence}; {listed(wrong)}." if wrong else f"{sentence}."


def counted(number: int, kind: str) -> str:
    return count_text(number, kind.removesuffix("s"), kind)


def unit_text(inspection: Inspection) -> str:
    if inspection.unit == "characters":
        return (
            "Lengths count characters. With --model M they count tokens, as a run does, and rows over max_tokens "
            "are listed."
        )
    limit = f"max_tokens is {inspection.max_tokens:,}, " if inspection.max_tokens else "max_tokens is not known, "
    return f"Tokens are those of {inspection.model}; {limit}too_long is {inspection.too_long}."


def safety_text(inspection: Inspection) -> tuple[str, bool]:
    """The share of rows that refuse and of their look-alikes, and whether that is a warning; empty where no row refuses."""
    rows = sum(kind.rows for source in inspection.sources for kind in source.kinds if kind.kind == "demonstrations")
    refusals, alike = (sum(source.safety.get(kind, 0) for source in inspection.sources) for kind in SAFETY)
    if not refusals or not rows:
        return "", False
    says = (
        f"Safety: {count_text(refusals, 'row')} refuse ({refusals / rows:.1%} of the demonstrations), {alike:,} sound harmful "
        f"and are answered ({alike / rows:.1%}), by the words in them."
    )
    if alike >= LOOK_ALIKES * refusals:
        return says, False
    return (
        f"{says} Refusals without enough safe look-alikes teach a model to refuse what sounds harmful: see "
        "docs/howto/safety-data.md, and planish data refuse, which writes look-alikes.",
        True,
    )


def source_text(source: SourceView) -> str:
    """The paths of a source, its formats and its rows."""
    read = f"format {listed(source.formats)}: " if source.formats else ""
    kinds = [counted(kind.rows, kind.kind) for kind in source.kinds]
    gave = f", read as {' or as '.join(kinds)}" if kinds else ""
    return f"{', '.join(source.paths)}, {read}{count_text(source.records, 'record')}{gave}."


def warnings(source: SourceView) -> list[str]:
    """Fields that no row holds, and placeholders that nobody filled in."""
    return [f"{sentence}." for sentence in ignored_text(source.ignored)] + _unfilled(source)


def _unfilled(source: SourceView) -> list[str]:
    if not source.placeholders:
        return []
    names = [f"{name} in {count_text(count, 'row')}" for name, count in top(source.placeholders)]
    rest = len(source.placeholders) - len(names)
    names += [f"{rest:,} more names"] if rest else []
    return [f"Placeholders that were not filled in: {listed(names)}. A model would learn to write them."]


def kind_text(kind: KindView) -> list[str]:
    """Turns, roles, verdicts and what comparisons hold."""
    lines: list[str] = []
    if kind.turns:
        turns = sorted(kind.turns)
        several = f"{turns[0]} to {turns[-1]} turns" if len(turns) > 1 else count_text(turns[0], "turn")
        roles = listed([f"{count:,} by the {role}" for role, count in kind.roles.items()])
        lines.append(f"{several} per row; in total {roles}.")
    if kind.verdicts:
        lines.append(f"Verdicts: {_counts(kind.verdicts)}.")
    return lines + (judgement_text(kind.judgements) if kind.judgements and kind.rows else [])


def judgement_text(judgements: Judgements) -> list[str]:
    sizes = listed(
        [f"{count:,} with {size} completions each" for size, count in sorted(judgements.completions.items())]
    )
    lines = [
        f"Comparisons: {sizes}. {count_text(judgements.pairs, 'pair')} with a preference, {count_text(judgements.ties, 'tie')}."
    ]
    if unequal := judgements.longer_preferred + judgements.shorter_preferred:
        lines.append(
            f"The longer completion is preferred in {judgements.longer_preferred / unequal:.1%} of the {unequal:,} pairs of "
            "unequal length."
        )
    if judgements.annotators:
        lines.append(f"{count_text(len(judgements.annotators), 'annotator')}: {_counts(judgements.annotators)}.")
    if judgements.groups:
        lines.append(f"{count_text(len(judgements.groups), 'group')}: {_counts(judgements.groups)}.")
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    few = [f"{name} {count:,}" for name, count in top(counts)]
    rest = len(counts) - len(few)
    return listed([*few, *([f"{rest:,} more"] if rest else [])])


def top(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: -pair[1])[:FEW_REASONS]


def length_cells(lengths: Lengths) -> list[str]:
    numbers = (lengths.count, lengths.total, lengths.least, lengths.median)
    return [
        *(f"{number:,}" for number in numbers),
        f"{lengths.mean:,.1f}",
        *(f"{number:,}" for number in (lengths.p95, lengths.p99, lengths.most)),
    ]


def sparkline(lengths: Lengths) -> str:
    """A bar for each bin; outliers are in the last."""
    tallest = max(part.count for part in lengths.bins)
    return "".join(BARS[-(-part.count * 8 // tallest)] for part in lengths.bins)
