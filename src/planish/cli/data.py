"""The commands `planish data …`: look at data, write it in the common format, and see a mixture before training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from planish.base.errors import ConfigError, DataError

COMMANDS = ("sft", "pretrain", "reward", "dpo")
KINDS = ("demonstrations", "documents", "comparisons", "judged", "prompts", "questions")


def add_data_commands(commands: Any) -> None:
    data = commands.add_parser("data", help="look at data, convert it, see a mixture before training")
    actions = data.add_subparsers(title="commands", required=True, metavar="COMMAND")

    inspect = actions.add_parser("inspect", help="counts, lengths, rows with what is learnt marked, rows left out")
    inspect.add_argument(
        "settings", nargs="*", metavar="FILE | RECIPE.yaml | key=value", help="files, or a recipe whose data are read"
    )
    inspect.add_argument("--model", help="count in the tokens of this model; without it, in characters")
    inspect.add_argument("--format", default="auto", help="how to read the files; auto recognises it")
    inspect.add_argument("--rows", type=int, default=5, help="rows to show of each source and kind")
    inspect.add_argument("--list", action="store_true", help="name every row that is dropped, cut, or does not fit")
    inspect.add_argument("--keep-going", action="store_true", help="read on behind a row that does not fit")
    inspect.add_argument("--page", metavar="out.html", help="write a page as well")
    inspect.set_defaults(run=_inspect, takes_files=True)

    convert = actions.add_parser("convert", help="write files of any known format in the common one")
    convert.add_argument(
        "settings",
        nargs="+",
        metavar="FILE | key=value",
        help="files to read, in this order, and cleaning rules to clean them by: exact_copies=true near_copies=0.8 …",
    )
    convert.add_argument("--out", required=True, metavar="x.jsonl | x.parquet", help="the file to write")
    convert.add_argument("--format", default="auto", help="how to read the files; auto recognises it")
    convert.add_argument("--as", dest="kind", choices=KINDS, help="which rows, where the files hold several kinds")
    convert.set_defaults(run=_convert, takes_files=True)

    mix = actions.add_parser("mix", help="show what each stage of a recipe would hold, without training")
    mix.add_argument("settings", nargs="+", metavar="RECIPE.yaml | key=value", help="settings, later ones win")
    mix.add_argument(
        "--for", dest="command", choices=COMMANDS, help="the command, where settings and files do not tell"
    )
    mix.add_argument("--list", action="store_true", help="name every row that is left out, cut, or also measured on")
    mix.set_defaults(run=_mix)


def _inspect(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.data.inspect.run import FEW_LISTED, InspectOptions
    from planish.data.inspect.terminal import show
    from planish.data.rows import LEARNT
    from planish.pipeline.inspect import InspectConfig, inspect

    recipe, files, settings = _sorted(options.settings)
    for setting in settings:
        if setting.split("=")[0].split(".")[0] not in InspectConfig.model_fields:
            raise ConfigError(
                f"'{setting}' is no setting of data: inspect reads {', '.join(InspectConfig.model_fields)}"
            )
    if recipe is None and not files:
        raise ConfigError("nothing to look at: name a file, or a recipe that has data.sources")
    values: dict[str, Any] = {"model": {"path": options.model}} if options.model else {}
    if files:  # they stand in for the recipe's sources, and its stages would name those
        values |= {"data.sources": _named(files, options.format), "data.stages": []}
    config = load_config(InspectConfig, recipe, settings, values)
    listed = None if options.list else FEW_LISTED
    kinds = () if files else LEARNT  # of a recipe, what its run would learn from
    found = inspect(
        config, InspectOptions(kinds=kinds, num_samples=options.rows, listed=listed, keep_going=options.keep_going)
    )
    first = next((source.unfit.rows[0].reason for source in found.sources if source.unfit.count), None)
    if first is not None and not any(source.records for source in found.sources):
        raise DataError(first)  # there is nothing to show
    show(found, most_listed=sys.maxsize if options.list else 5)
    if options.page:
        from planish.report.pages.inspection import write_inspection_page

        write_inspection_page(found, Path(options.page))
        print(f"\npage: {options.page}")
    if first is not None:
        more = (
            "" if options.keep_going else " Reading stopped there; --keep-going reads on where it can, and lists all."
        )
        raise DataError(f"{first}{more}")


def _convert(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.data.cleaning.run import CleaningConfig
    from planish.data.inspect.convert import convert

    rules = [text for text in options.settings if _is_setting(text)]
    files = [text for text in options.settings if text not in rules]
    cleaning = load_config(CleaningConfig, None, rules) if rules else None
    done = convert(files, Path(options.out), options.kind, options.format, cleaning)
    print(f"{done.rows} {done.kind} in {done.out}")
    for row in done.leaks[:5]:
        print(f"also in an evaluation set: {row.origin}: {row.reason}", file=sys.stderr)
    if done.leaks:
        print(f"{len(done.leaks)} rows stand in an evaluation set; remove_leaks=true leaves them out", file=sys.stderr)
    for row in done.first_dropped:
        print(f"left out: {row.origin}: {row.reason}", file=sys.stderr)
    if done.dropped:
        print(f"{done.dropped} left out, all of them listed in {done.dropped_file}", file=sys.stderr)


def _mix(options: argparse.Namespace) -> None:
    from planish.pipeline.mix import mix, read_recipe
    from planish.report.read.mixture import show_mixture, show_sources, stage_views

    recipe, files, settings = _sorted(options.settings)
    if recipe is None or files:
        raise ConfigError(f"mix reads one recipe that has data.sources; found {', '.join(files) or 'none'}")
    read = read_recipe(recipe, settings, options.command)
    account = mix(read)
    if read.guessed:
        print(f"as `planish {read.command}` reads it, since its settings fit several commands; --for names another\n")
    show_sources(account["sources"], options.list)
    show_mixture(stage_views(account["stages"]))


def _sorted(texts: list[str]) -> tuple[str | None, list[str], list[str]]:
    """The recipe, the data files, and the settings among what was given. A YAML file is a recipe if it has `data`."""
    settings = [text for text in texts if _is_setting(text)]
    files = [text for text in texts if text not in settings]
    recipes = [file for file in files if _is_recipe(Path(file))]
    if len(recipes) > 1:
        raise ConfigError(f"one recipe at a time: {', '.join(recipes)}")
    return (recipes[0] if recipes else None), [file for file in files if file not in recipes], settings


def _is_setting(text: str) -> bool:
    return "=" in text and not text.startswith("pypi:") and not Path(text).exists()


def _is_recipe(path: Path) -> bool:
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return False  # the reader of data files says what is wrong
    return isinstance(tree, dict) and "data" in tree


def _named(files: list[str], format: str) -> dict[str, Any]:
    """A source for each file, called after it, with as much of its path as keeps it apart from the others."""
    names = [Path(file).name.split(".")[0] or "data" for file in files]
    return {
        name if names.count(name) == 1 and name != "all" else file: {"path": file, "format": format}
        for name, file in zip(names, files, strict=True)
    }
