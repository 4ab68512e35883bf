"""The command `run`: a whole recipe of stages. Nothing heavy is imported until it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from planish.base.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from planish.pipeline.run import Pipeline


def add_run_command(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="do the stages of a recipe, one after the other; those that are done are not done again",
        description="Do the stages of a recipe, one after the other. What is done and has not changed is not done again.",
    )
    run.add_argument(
        "settings", nargs="+", metavar="RECIPE.yaml | key=value", help="recipe, and changes: stages.sft.optim.lr=1e-4 …"
    )
    run.add_argument("--dry-run", action="store_true", help="only say which stages would be done, and why")
    run.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from rich.console import Console

    from planish.pipeline.run import plan_pipeline, run_pipeline

    recipes = [text for text in options.settings if "=" not in text]
    overrides = [text for text in options.settings if "=" in text]
    if len(recipes) != 1:
        raise ConfigError(f"expected one recipe, a YAML file with stages; found {', '.join(recipes) or 'none'}")
    if options.dry_run:
        table = _table("stage", "command", "would be done because")
        for stage, reason in plan_pipeline(recipes[0], overrides):
            table.add_row(stage.name, stage.command, reason)
        Console(highlight=False).print(table)
        return
    done = run_pipeline(recipes[0], overrides)
    Console(highlight=False).print(_summary(done))
    if any((each.path / "config.yaml").exists() for each in done.stages):
        print(f"page:  planish report {done.path}")


def _summary(done: Pipeline) -> Table:
    from planish.base.text import duration_text

    table = _table("stage", "command", "state", "time", "output")
    for each in done.stages:
        state = "done before" if each.before else "done"
        table.add_row(each.stage, each.command, state, duration_text(each.seconds), str(each.path))
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
