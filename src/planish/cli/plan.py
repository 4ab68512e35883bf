"""The command `plan`, whose config is that of the command that the recipe is for."""

from __future__ import annotations

import sys

from planish.base.config import load_config
from planish.base.errors import ConfigError, PlanishError
from planish.cli.arguments import Request


def plan_command(request: Request) -> None:
    """Prints the plan; the exit status is 1 where the run does not fit."""
    if not (request.recipe or request.settings or request.values):
        raise ConfigError(f"planish plan reads a recipe: {request.command.example}")
    options = request.options
    ranks = int(_number("--gpus", options.gpus, 1, 65536, whole=True)) if options.gpus else 1
    mfu = _number("--mfu", options.mfu, 0.001, 1) if options.mfu else 0.4
    disk = _number("--disk", options.disk, 0.001, 10_000) if options.disk else 1.0
    if options.gpu is None:
        raise ConfigError(f"planish plan needs --gpu, a card's name or its memory in GB: {request.command.example}")
    from planish.preview.plan.cards import find_card
    from planish.preview.plan.plan import Hardware, Planner, read_any
    from planish.preview.plan.terminal import show_plan

    hardware = Hardware(find_card(options.gpu, ranks), ranks, mfu, disk * 1e9)
    command = getattr(options, "for")
    if request.recipe is not None and command is None:
        _refuse_pipeline(request.recipe)
    made = Planner(
        lambda changes: read_any(request.recipe, [*request.settings, *changes], command, request.values), hardware
    ).plan()
    show_plan(made)
    if not made.fits:
        sys.exit(1)


def _number(flag: str, text: str, least: float, most: float, *, whole: bool = False) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{flag} {text}: expected {kind} from {least:g} to {most:,g}")
    return number


def _refuse_pipeline(path: str) -> None:
    from planish.pipeline.config import PipelineConfig

    try:
        load_config(PipelineConfig, path)
    except PlanishError:
        return
    raise ConfigError(
        f"{path}: is a pipeline, and a plan is of one stage: write the settings of the stage as a recipe, with a model that is "
        "there where it names another stage"
    )
