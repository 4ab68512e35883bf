"""A plan as a table and a few sentences."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from planish.base.terminal import terminal
from planish.base.text import count_text, duration_text, listed
from planish.preview.plan.ledger import PARTS
from planish.preview.plan.plan import PER_NODE, Hardware, Plan, Remedy


def gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def hardware_text(hardware: Hardware, ranks: int | None = None) -> str:
    card, count = hardware.card, ranks or hardware.ranks
    if card.name == "cpu":
        return f"{count_text(count, 'process', 'processes')} on this machine's CPU"
    return f"{count} × {card.name}" + ("" if card.name.endswith("GB") else f" ({card.memory / 1e9:.0f} GB)")


def show_plan(plan: Plan, console: Console | None = None) -> None:
    console = console or terminal()
    console.print(f"planish {plan.command} on {hardware_text(plan.hardware)}: computed, not measured\n")
    for line in _workload(plan):
        console.print(line, soft_wrap=True)
    console.print()
    console.print(_table(plan))
    console.print()
    for line in [*_costs(plan), "", *verdict(plan)]:
        console.print(line, soft_wrap=True)


def _workload(plan: Plan) -> list[str]:
    found, volume = plan.found, plan.volume
    trained = "all of them trained" if found.trained == found.weights else f"{found.trained:,} of them trained"
    chosen = "set" if plan.config.batch.micro_tokens else "chosen for model and device"
    rows = "prompts" if plan.command == "ppo" else "training rows"
    return [
        f"model     {found.weights:,} weights, {trained}; {plan.config.model.dtype}",
        f"run       {volume.rows:,} {rows}, {count_text(volume.steps, 'step')}, {volume.tokens:,} tokens"
        + (", if every completion is as long as it may be" if plan.command == "ppo" else ""),
        f"one pass  batch.micro_tokens={found.micro_tokens:,}, {chosen}; the largest has {found.tokens:,} and keeps "
        f"{found.kept / max(found.tokens, 1) / 1e6:.2f} MB a token for its backward pass",
    ]


def _table(plan: Plan) -> Table:
    found = plan.found
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("GB of a card" if plan.hardware.card.name != "cpu" else "GB of a process")
    for phase in found.phases:
        table.add_column(phase, justify="right")
    for part in PARTS:
        if any(phase.get(part, 0) >= 5e6 for phase in found.phases.values()):
            table.add_row(part, *(f"{phase.get(part, 0) / 1e9:.2f}" for phase in found.phases.values()))
    table.add_row("together", *(f"{found.peak(phase) / 1e9:.2f}" for phase in found.phases), style="bold")
    return table


def _costs(plan: Plan) -> list[str]:
    found, hardware, lines = plan.found, plan.hardware, list[str]()
    lines.append(f"products     {found.flop / 1e9:,.2f} GFLOP a token, what is computed twice included")
    if (seconds := plan.seconds) is not None:
        total = sum(seconds.values())
        parts = ", ".join(f"{name} {duration_text(each)}" for name, each in seconds.items())
        rate = (plan.volume.tokens + plan.volume.document_tokens) / total
        lines.append(
            f"time         {duration_text(total)} at {hardware.mfu:.0%} of the card's products ({parts}): {rate:,.0f} tokens a "
            f"second, {rate / hardware.ranks:,.0f} a card"
        )
    elif hardware.card.name != "cpu":
        lines.append("time         not known: name a card (--gpu h100) in place of its memory")
    if hardware.ranks > 1:
        step = found.wire * plan.passes
        lines.append(f"wire         {gigabytes(found.wire)} sent by a rank for a pass, {gigabytes(step)} for a step")
    each = found.checkpoint / hardware.disk
    lines.append(
        f"checkpoint   {gigabytes(found.checkpoint)}; written, read back and hashed: {duration_text(3 * each)} at "
        f"{hardware.disk / 1e9:g} GB/s"
    )
    lines.append(
        f"model/       {gigabytes(plan.export)}; {duration_text(2 * plan.export / hardware.disk)} to write and read back"
    )
    load, export = plan.host
    lines.append(
        f"machine      {gigabytes(load)} of its memory while {count_text(min(hardware.ranks, PER_NODE), 'process', 'processes')} "
        f"load{'s' if hardware.ranks == 1 else ''} the model, {gigabytes(export)} while it is saved"
    )
    return lines


def verdict(plan: Plan) -> list[str]:
    """Whether it fits; else what would make it fit."""
    found, card = plan.found, plan.hardware.card
    need, room = found.peak(found.worst), card.room
    if plan.fits:
        lines = [f"It fits: {found.worst} needs most, {gigabytes(need)} of {gigabytes(room)}."]
        if plan.most_tokens and plan.most_tokens > found.micro_tokens and plan.passes > 1:
            lines.append(
                f"batch.micro_tokens={plan.most_tokens} is the largest that does: fewer passes, the same numbers."
            )
        return lines
    lines = [f"It does not fit: {found.worst} needs {gigabytes(need)}, and there are {gigabytes(room)}."]
    lines += [f"It fits with {_change(plan, change)}" for change in plan.changes]
    if not plan.changes:
        lines.append(
            "Nothing that planish can set makes it fit on up to 64 cards: take a smaller model, shorter rows or larger cards."
        )
    return lines


def _change(plan: Plan, change: Remedy) -> str:
    more = [] if change.ranks == plan.hardware.ranks else [hardware_text(plan.hardware, change.ranks)]
    settings = [" ".join(change.settings)] if change.settings else []
    return f"{listed([*more, *settings])}: {gigabytes(change.found.peak(change.found.worst))}."
