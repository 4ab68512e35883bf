"""The command `data mix`, whose config is that of the command that the recipe is for."""

from __future__ import annotations

from planish.base.errors import ConfigError
from planish.cli.arguments import Request


def mix_command(request: Request) -> None:
    from planish.preview.mix import mix, read_recipe
    from planish.reports.read.mixture import show_mixture, show_sources

    if not (request.recipe or request.settings or request.values):
        raise ConfigError(f"planish data mix reads a recipe that has data.sources: {request.command.example}")
    command = getattr(request.options, "for")
    recipe = read_recipe(request.recipe, request.settings, command, request.values)
    account = mix(recipe)
    if recipe.guessed:
        print(f"as `planish {recipe.command}` reads it, since its settings fit several commands; --for names another\n")
    show_sources(account["sources"], request.options.list)
    show_mixture(account["stages"])
