"""The command line. Nothing heavy is imported until a command runs, so `--help` answers at once.

planish sft --model M --data FILE --out RUN        settings by flag
planish sft recipes/x.yaml optim.lr=1e-4           settings by recipe, changed by key=value
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from planish.base.command import load
from planish.base.errors import ConfigError, PlanishError
from planish.base.interrupt import Stopped, ending_on_signals
from planish.base.model_folder import check_model_folder
from planish.base.notices import NORMAL, QUIET, VERBOSE, set_verbosity, working
from planish.cli.arguments import Request, build_parser, read_request, unknown_command, unknown_flag
from planish.cli.completion import complete
from planish.commands import VERIFIERS


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; an error that a person can act on is printed without a traceback, and the exit status is 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "_ARGCOMPLETE" in os.environ:
        complete(build_parser())
    if problem := unknown_command(arguments):
        _refuse(problem)
    options, rest = build_parser().parse_known_args(arguments)  # argparse loses words that follow a flag
    if strange := [text for text in rest if text.startswith("-")]:
        _refuse(unknown_flag(options.name, strange[0], *arguments[arguments.index(strange[0]) + 1 :][:1]))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        with ending_on_signals():
            run(read_request(options, rest))
    except PlanishError as error:
        sys.exit(f"planish: {error}")
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"planish: {where}{error.strerror or error}")
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Stopped) else Stopped()
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"\nplanish: {stopped.message}", file=sys.stderr)
        sys.exit(stopped.status)


def _refuse(message: str) -> NoReturn:
    """Ends as argparse does where the command line cannot be read."""
    print(f"planish: {message}", file=sys.stderr)
    sys.exit(2)


def run(request: Request) -> None:
    """Runs the command of a request and prints what came of it."""
    command = request.command
    dry_run = getattr(request.options, "dry_run", False)
    if (dry_run or not command.ranks) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(f"planish {request.name} runs in one process: start it without torchrun")
    for model in request.models():
        if ":" not in model and model not in VERIFIERS:  # module:function, and rewards by name
            check_model_folder(model)  # at once, not after the seconds that importing torch takes
    if not command.config:
        load(command.function)(request)
        return
    if not (command.bare or request.recipe or request.settings or request.values):
        raise ConfigError(
            f"planish {request.name} needs settings, for example\n  {command.example}\nplanish {request.name} --help lists more"
        )
    set_verbosity(QUIET if request.options.quiet else VERBOSE if request.options.verbose else NORMAL)
    with working("starting"):
        config_class = command.load_config_class()
    from planish.base.config import load_config
    from planish.cli.results import PLANS, RESULTS

    config = load_config(config_class, request.recipe, request.settings, request.values)
    if dry_run:
        PLANS[request.name](load(command.dry_run)(config))
        return
    result = command.run(config)
    if int(os.environ.get("RANK", "0")) == 0:
        RESULTS[request.name](config, result)
