"""The commands `planish world …`: make a world, and ask it what an answer is worth."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.base.errors import ConfigError

if TYPE_CHECKING:
    from planish.world.gold.utility import World
    from planish.world.settings import WorldConfig

SETTING = re.compile(r"[a-z_]+=.*")  # "3 + 4 = 7" is an answer


def add_world_commands(commands: Any) -> None:
    world = commands.add_parser("world", help="the wind tunnel: a world in which every fact is known")
    actions = world.add_subparsers(title="commands", required=True, metavar="COMMAND")

    make = actions.add_parser("make", help="write a world: corpus, tokenizer, instruction sources, prompts, questions")
    make.add_argument("settings", nargs="*", metavar="key=value", help="size=base (or ci, large) seed=0 signal=none …")
    make.add_argument("--out", required=True, help="the folder to write")
    make.set_defaults(run=_make)

    ask = actions.add_parser("ask", help="what the world knows of an answer: its label, its utility, and why")
    ask.add_argument(
        "settings",
        nargs="+",
        metavar="PROMPT | ANSWER | key=value",
        help='"Where was Tavo Brelin born?", and the answer to judge; without one, what a good answer says. size=base seed=0 '
        "…, as the world was made",
    )
    _add_world(ask)
    ask.set_defaults(run=_ask, takes_files=True)

    judge = actions.add_parser("judge", help="judge a file of completions, or the recorded answers of a run")
    judge.add_argument("answers", help="a file that `planish sample` wrote, or a run's folder")
    judge.add_argument("--out", help="jsonl file of verdicts; default is verdicts.jsonl in the run, none for a file")
    judge.add_argument("settings", nargs="*", metavar="key=value", help="size=base seed=0 …, as the world was made")
    _add_world(judge)
    judge.set_defaults(run=_judge)

    rank = actions.add_parser("rank", help="let annotators of a pool compare a model's answers to each prompt")
    rank.add_argument("answers", help="a file that `planish sample … num_samples=4` wrote")
    rank.add_argument("--world", required=True, help="a folder that `planish world make` wrote")
    rank.add_argument("--pool", default="expert", help="expert, crowd, copycats, judge or oracle; default is expert")
    rank.add_argument("--out", required=True, help="jsonl file of comparisons to write")
    rank.set_defaults(run=_rank)


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--world", help="a folder that `planish world make` wrote; absent is the world of the settings")


def _make(options: argparse.Namespace) -> None:
    from planish.world.make import make_world

    made = make_world(_config(options.settings), Path(options.out))
    for file, rows in made.rows.items():
        print(f"{rows:>8,}  {made.path / file}")
    print(f"hash {made.digest}")


def _ask(options: argparse.Namespace) -> None:
    from planish.world.gold.files import judge_one

    words = [text for text in options.settings if not SETTING.fullmatch(text)]
    if len(words) not in (1, 2):
        raise ConfigError(f"expected a prompt and perhaps an answer, each in quotes; found {len(words)} texts")
    options.settings = [text for text in options.settings if text not in words]
    world = _world(options)
    if len(words) == 1:
        print(world.understand(words[0]).ask.sentence)
        return
    judgement = judge_one(world, *words)
    print(f"{judgement.verdict.label}, utility {judgement.verdict.utility:+.2f}")
    for reason in judgement.verdict.reasons:
        print(f"  {reason}")


def _judge(options: argparse.Namespace) -> None:
    import json

    from planish.base.files import write_text
    from planish.world.gold.files import judge_file
    from planish.world.gold.terminal import show_judgements

    path = Path(options.answers)
    of_run = path.is_dir()
    out = options.out or (path / "verdicts.jsonl" if of_run else None)
    judged = list(judge_file(_world(options), path / "samples.jsonl" if of_run else path))
    if out:
        lines = [json.dumps({**record, **judgement.record()}, ensure_ascii=False) for record, judgement in judged]
        write_text(Path(out), "".join(f"{line}\n" for line in lines))
    steps = sorted({record.get("step", 0) for record, _ in judged})
    for step in steps:
        title = f"after step {step}" if of_run else str(path)
        show_judgements(title, [judgement for record, judgement in judged if record.get("step", 0) == step])


def _rank(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.world.annotators.rank import RankConfig, rank

    values = {name: getattr(options, name) for name in ("answers", "world", "pool", "out")}
    ranked = rank(load_config(RankConfig, values=values))
    print(
        f"{ranked.comparisons} comparisons in {options.out}; {ranked.alone} of {ranked.prompts} prompts had one answer alone"
    )


def _world(options: argparse.Namespace) -> World:
    from planish.world.gold.utility import World
    from planish.world.make import open_world

    if options.world and options.settings:
        raise ConfigError(f"--world says what the world is: leave out {options.settings[0]}")
    return open_world(Path(options.world)) if options.world else World(_config(options.settings))


def _config(settings: list[str]) -> WorldConfig:
    """A size with changes; base where none is named."""
    from planish.base.config import load_config
    from planish.world.settings import SIZES, WorldConfig

    sizes = [text.removeprefix("size=") for text in settings if text.startswith("size=")]
    size = sizes[-1] if sizes else "base"
    if size not in SIZES:
        raise ConfigError(f"size={size}: there are {', '.join(SIZES)}")
    return load_config(WorldConfig, None, [text for text in settings if not text.startswith("size=")], SIZES[size])
