"""The answers of a system to prompts of which it is known if they should be refused: sampled, read from a file, or recorded by a
run; and their rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from planish.base.errors import DataError
from planish.base.files import json_lines_in
from planish.base.notices import warn
from planish.data.chat.tool_calls import as_dicts
from planish.data.formats import import_rows
from planish.data.rows import Demonstration, Judged, Message, Origin, Prompt
from planish.evaluate.refusals.cases import CaseFields, RefusalCase, cases_of
from planish.inference.room import check_room
from planish.inference.sample import SamplingConfig, sample
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import load_chat_model
from planish.statistics.estimate import Estimate
from planish.statistics.refusal_result import LabelledRequest, RefusalSystem, system_of

VISITS = "refusals.jsonl"  # in a run's folder, written by its visits


@dataclass(frozen=True, slots=True)
class RefusalAnswers:
    """The answers of a system, one for each case."""

    name: str
    path: str
    step: int | None
    cases: Sequence[RefusalCase]
    texts: Sequence[str]


def read_answers(path: str, name: str, fields: CaseFields) -> RefusalAnswers:
    """Those of a file: demonstrations, judged answers, or what `planish sample` wrote."""
    rows = import_rows(path, (Demonstration, Judged))
    if rows.dropped:
        warn(f"{path}: {len(rows.dropped)} rows were left out, the first because: {rows.dropped[0].reason}")
    if not rows.rows:
        raise DataError(f"{path}: no answer in it: {len(rows.dropped)} rows were left out")
    split = [_split(row) for row in rows.rows]
    cases = cases_of([prompt for prompt, _ in split], fields, path)
    texts = {prompt.origin: text for prompt, text in split}
    return RefusalAnswers(name, path, None, cases, [texts[case.prompt.origin] for case in cases])


def _split(row: Demonstration | Judged) -> tuple[Prompt, str]:
    if isinstance(row, Judged):
        return Prompt(row.prompt, row.origin, about=row.about), row.completion.content
    if row.messages[-1].role != "assistant":
        raise DataError(
            f"{row.origin}: ends with a turn of the {row.messages[-1].role}, expected an answer of the assistant"
        )
    return Prompt(row.messages[:-1], row.origin, about=row.about), row.messages[-1].content


def read_visits(folder: str, name: str) -> list[RefusalAnswers]:
    """Those that a run recorded, each step as a system."""
    path, steps = Path(folder) / VISITS, defaultdict[int, list[dict[str, Any]]](list)
    try:
        for line in json_lines_in(path.read_text(encoding="utf-8")):
            steps[line["step"]].append(line)
        return [
            RefusalAnswers(
                f"{name} step {step:,}",
                folder,
                step,
                [_case(line, Origin(str(path), row)) for row, line in enumerate(lines, start=1)],
                [line["answer"] for line in lines],
            )
            for step, lines in sorted(steps.items())
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not what a run records of refusals ({type(error).__name__}: {error})") from None


def _case(line: dict[str, Any], origin: Origin) -> RefusalCase:
    turns = tuple(Message(turn["role"], turn["content"]) for turn in line["prompt"])
    return RefusalCase(Prompt(turns, origin), line["unsafe"], tuple(line["groups"]), tuple(line["pairs"]))


def ask_model(
    name: str, path: str, cases: Sequence[RefusalCase], sampling: SamplingConfig, device: torch.device
) -> RefusalAnswers:
    """Those of a model, in its chat template."""
    loaded = load_chat_model(ModelConfig(path=path), device)
    policy, template, most = loaded.causal_lm(), loaded.template, sampling.max_completion_tokens
    prompts = [case.prompt for case in cases]
    encoded = [template.encode_prompt(prompt.messages, prompt.tools, prompt.origin) for prompt in prompts]
    limit = context_length(loaded.model.config)
    check_room(prompts, encoded, most, limit, path, "sampling.max_completion_tokens")
    sampled = sample(policy, loaded.tokenizer, encoded, sampling, template.stop_token_ids)
    return RefusalAnswers(name, path, None, cases, [completion.text for (completion,) in sampled])


Helpfulness = Callable[[RefusalAnswers], Estimate | None]


def summarize(
    answers: RefusalAnswers, labels: Sequence[str | None], helpful: Helpfulness | None = None
) -> RefusalSystem:
    """The rates of a system."""
    labelled = [
        LabelledRequest(case.unsafe, case.groups, case.pairs, label)
        for case, label in zip(answers.cases, labels, strict=True)
    ]
    return system_of(answers.name, answers.path, answers.step, labelled, helpful(answers) if helpful else None)


def lines_of(answers: RefusalAnswers, labels: Sequence[str | None]) -> Iterator[dict[str, Any]]:
    """{"system", "prompt", "unsafe", "groups", "pairs", "answer", "label"}, and "step" of a run."""
    for case, text, label in zip(answers.cases, answers.texts, labels, strict=True):
        step = {} if answers.step is None else {"step": answers.step}
        yield {
            "system": answers.name,
            **step,
            "prompt": as_dicts(case.prompt.messages),
            "unsafe": case.unsafe,
            "groups": list(case.groups),
            "pairs": list(case.pairs),
            "answer": text,
            "label": label,
        }
