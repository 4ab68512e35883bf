"""The command `know`: which questions a model can answer. Nothing heavy is imported until it runs."""

from __future__ import annotations

import argparse
from typing import Any


def add_know_command(commands: Any) -> None:
    know = commands.add_parser(
        "know",
        help="sort questions by how well a model knows their answers",
        description="Sort questions by how well a model knows their answers: HighlyKnown, MaybeKnown, WeaklyKnown, Unknown.",
    )
    know.add_argument("model", help="a run, or a Hugging Face folder")
    know.add_argument("questions", help="a file of questions with their right answers")
    know.add_argument("--exemplars", metavar="FILE", help="questions to show as shots; default is the other questions")
    know.add_argument("--by", metavar="FIELD", help="field of the questions to count the classes by")
    know.add_argument(
        "--out", required=True, metavar="know.jsonl", help="the file to write, one line for each question"
    )
    know.add_argument("settings", nargs="*", metavar="key=value", help="probe.method=sampled limit=100 …")
    know.set_defaults(run=_know)


def _know(options: argparse.Namespace) -> None:
    from planish.base.config import load_config
    from planish.evaluate.probe.run import KnowConfig, know

    values: dict[str, Any] = {"model.path": options.model, "questions": options.questions, "out": options.out}
    values |= {key: value for key in ("exemplars", "by") if (value := getattr(options, key)) is not None}
    found = know(load_config(KnowConfig, None, options.settings, values))
    print(f"{len(found)} questions in {options.out}")
