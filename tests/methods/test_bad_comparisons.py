"""Every bad comparison, setting, model or run folder gets one clear error, or is left out and listed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.numpy import load_file

from planish.cli.main import main
from planish.data.chat.tokenizer import load_tokenizer, train_tokenizer
from planish.models.load import build_model, save_model
from planish.train.record import read_lines
from support.comparison_files import Rows, chats, good_files, write
from support.refusals import refused

ASKED = "Is the sky blue?"


def pair(**fields: Any) -> dict[str, Any]:
    return {"prompt": ASKED, "completions": ["Yes.", "No."], "ranks": [0, 1], **fields}


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def turns(asked: str, answer: str) -> Rows:
    return [said("user", asked), said("assistant", answer)]


@dataclass(frozen=True)
class Place:
    """Good files of every kind, a model, and a finished reward model and fine-tuned model."""

    folder: Path
    model: Path

    def file(self, name: str) -> str:
        return str(self.folder / f"{name}.jsonl")

    def run(self, command: str, data: str, out: Path, *changes: str) -> None:
        given = [
            f"model.path={self.model}",
            f"data.sources.rows.path={data}",
            f"out={out}",
            "steps=1",
            "data.held_out=0.2",
        ]
        main([command, *given, *changes])


@pytest.fixture(scope="module")
def place(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    files: dict[str, Rows] = {
        **good_files(),
        "contradicted": [pair(prompt=f"Is it {i}?", scores=[2, 5] if i == 6 else [5, 2]) for i in range(9)],
        "ties": [pair(ranks=[0, 0])],
        "long": [pair(completions=["yes and no " * 100, "no"])],
        "long demonstrations": chats([pair(completions=["yes and no " * 100])]),
        "same": [pair(completions=["yes", "yes"])],
        "empty": [],
    }
    for name, rows in files.items():
        write(folder / f"{name}.jsonl", rows)
    place = Place(folder, tiny_model)
    place.run("reward", place.file("compared"), folder / "reward")
    place.run("sft", place.file("demonstrations"), folder / "sft", "num_samples=0")
    return place


# Rows


HAND_MADE = [pair(prompt=f"Is it {i}?") for i in range(9)]
PAIRED: Rows = [{"prompt": f"Is it {i}?", "chosen": "Yes.", "rejected": "No."} for i in range(9)]
WRITTEN_OUT: Rows = [
    {"chosen": turns(f"Is it {i}?", "Yes."), "rejected": turns(f"Is it {i}?", "No.")} for i in range(9)
]

ROWS: dict[str, tuple[Rows, dict[str, Any], list[str]]] = {
    "a rejected answer of white space": (PAIRED, {**PAIRED[0], "rejected": "\t"}, ["rejected: empty"]),
    "no rejected answer": (PAIRED, {"prompt": ASKED, "chosen": "Yes."}, ["rejected: missing"]),
    "prompts that differ": (
        WRITTEN_OUT,
        {"chosen": turns("Is it?", "Yes."), "rejected": turns("Was it?", "No.")},
        ["rejected", "differ from those of `chosen`", "one prompt"],
    ),
    "no answer at the end": (
        WRITTEN_OUT,
        {"chosen": [said("user", "Is it?")], "rejected": [said("user", "Is it?")]},
        ["chosen", "does not end in a turn of the assistant"],
    ),
    "one completion": (HAND_MADE, pair(completions=["Yes."], ranks=[0]), ["completions: found 1", "two or more"]),
    "completions as one text": (HAND_MADE, pair(completions="Yes. No."), ["completions: found a text", "a list"]),
    "a completion by the user": (HAND_MADE, pair(completions=[said("user", "Yes."), "No."]), ["found turns of user"]),
    "more ranks than completions": (HAND_MADE, pair(ranks=[0, 1, 2]), ["ranks: found 3, expected 2"]),
    "a rank in words": (HAND_MADE, pair(ranks=["best", "worst"]), ["ranks[0]: found 'best'", "a number"]),
    "half a rank": (HAND_MADE, pair(ranks=[0, 0.5]), ["ranks[1]: found 0.5", "a whole number from 0 up"]),
    "a rank below 0": (HAND_MADE, pair(ranks=[-1, 0]), ["ranks[0]: found -1", "a whole number from 0 up"]),
    "a truth value as rank": (HAND_MADE, pair(ranks=[True, False]), ["ranks[0]: found true or false"]),
    "a rank that is not there": (HAND_MADE, pair(ranks=[0, None]), ["ranks[1]: found nothing"]),
    "no ranks": (HAND_MADE, pair(ranks=None), ["ranks: missing"]),
    "no prompt": (HAND_MADE, {"completions": ["Yes.", "No."], "ranks": [0, 1]}, ["prompt: missing"]),
    "a prompt of white space": (HAND_MADE, pair(prompt="  "), ["prompt: empty"]),
    "a prompt that ends in an answer": (HAND_MADE, pair(prompt=turns(ASKED, "Yes.")), ["does not end in a question"]),
    "a score that is no number": (HAND_MADE, pair(scores=[float("nan"), 1]), ["scores[0]", "NaN is not a JSON number"]),
    "an infinite score": (HAND_MADE, pair(scores=[1, float("inf")]), ["scores[1]", "Infinity is not a JSON number"]),
    "a score in words": (HAND_MADE, pair(scores=["good", "bad"]), ["scores[0]: found 'good'"]),
    "fewer scores than completions": (HAND_MADE, pair(scores=[1.0]), ["scores: found 1, expected 2"]),
    "half a character": (HAND_MADE, pair(completions=["\ud800", "No."]), ["completions[0]", "half a character"]),
}


@pytest.mark.parametrize("command", ["reward", "dpo"])
@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_stops_the_run_and_is_named(case: str, command: str, place: Place, tmp_path: Path) -> None:
    good, bad, expected = ROWS[case]
    file = write(tmp_path / "rows.jsonl", [*good, bad])
    message = refused(lambda: place.run(command, file, tmp_path / "run"))
    assert message.startswith(f"planish: {file} row 10, field ")
    for part in expected:
        assert part in message


LEFT_OUT: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "identical answers": (
        pair(completions=["Yes.", "Yes."]),
        [],
        "completions 1 and 2 are the same, but ranked apart",
    ),
    "all tied": (pair(ranks=[1, 1]), [], "its 2 completions are all tied: there is no pair to learn from"),
    "too long": (
        pair(completions=["yes " * 90, "no"]),
        ["data.too_long=drop", "data.max_tokens=60"],
        "tokens, more than max_tokens=60",
    ),
    "the same once cut": (
        pair(completions=["yes " * 90, "yes " * 80]),
        ["data.too_long=truncate", "data.max_tokens=60"],
        "completions 1 and 2 are the same tokens, but ranked apart",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_row_that_teaches_nothing_is_left_out_and_listed(case: str, place: Place, tmp_path: Path) -> None:
    bad, changes, reason = LEFT_OUT[case]
    place.run("reward", write(tmp_path / "rows.jsonl", [*HAND_MADE, bad]), tmp_path / "run", *changes)
    account = json.loads((tmp_path / "run" / "data.json").read_text())["sources"]["rows"]
    (listed,) = account["dropped"]
    assert listed["row"] == 10
    assert listed["reason"].endswith(reason)
    assert account["training"]["examples"] + account["held_out"]["examples"] == 9


@pytest.mark.parametrize("command", ["reward", "dpo"])
def test_measured_rows_are_accounted_for(command: str, place: Place, tmp_path: Path) -> None:
    """Five rows: two to measure on, one of the same answers, a tie, and one that is too long."""
    rows = [
        *HAND_MADE[:2],
        pair(completions=["Yes.", "Yes."]),
        pair(ranks=[1, 1]),
        pair(completions=["yes " * 90, "no"]),
    ]
    file = write(tmp_path / "further.jsonl", rows)
    changes = [f"eval_sets.further={file}", "data.too_long=drop", "data.max_tokens=60"]
    place.run(command, place.file("compared"), tmp_path / "run", *changes)
    (found,) = json.loads((tmp_path / "run" / "data.json").read_text())["eval_sets"].items()
    name, account = found
    assert (name, account["path"], account["rows"], account["used"], account["truncated"]) == (
        "further",
        file,
        5,
        2,
        [],
    )
    assert sorted((row["file"], row["row"]) for row in account["dropped"]) == [(file, 3), (file, 4), (file, 5)]
    reasons = {row["row"]: row["reason"] for row in account["dropped"]}
    assert reasons[3].endswith("are the same, but ranked apart")
    assert reasons[4].endswith("are all tied: there is no pair to learn from")
    assert reasons[5].endswith("tokens, more than max_tokens=60")


def test_measured_rows_that_are_cut_are_listed(place: Place, tmp_path: Path) -> None:
    file = write(tmp_path / "further.jsonl", [*HAND_MADE[:2], pair(completions=["yes " * 90, "no"])])
    changes = [f"eval_sets.further={file}", "data.too_long=truncate", "data.max_tokens=60"]
    place.run("reward", place.file("compared"), tmp_path / "run", *changes)
    account = json.loads((tmp_path / "run" / "data.json").read_text())["eval_sets"]["further"]
    (cut,) = account["truncated"]
    assert (account["rows"], account["used"], account["dropped"], cut["row"]) == (3, 3, [], 3)
    assert cut["reason"].endswith("tokens cut off at the end")


def test_contradictory_judgements_are_votes_that_stay_together(place: Place, tmp_path: Path) -> None:
    """Half of the people prefer each answer: both votes are kept, none is measured on while the other is learnt, and on
    what is learnt in pairs the loss cannot fall below ln 2."""
    rows = [pair(prompt=f"Is it {i}?", ranks=ranks) for i in range(8) for ranks in ([0, 1], [1, 0])]
    file = write(tmp_path / "rows.jsonl", rows)
    place.run("reward", file, tmp_path / "run", "steps=20", "batch.examples=12", "optim.lr=1e-2", "data.held_out=0.25")
    account = json.loads((tmp_path / "run" / "data.json").read_text())["sources"]["rows"]
    held_out = sorted(int(name.split()[-1]) for name in account["held_out"]["rows"])
    assert (len(held_out), account["training"]["examples"]) == (4, 12)
    assert all(number % 2 == 0 or number + 1 in held_out for number in held_out)
    losses = [line["loss"] for line in read_lines(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert min(losses) >= 0.693147 - 1e-6


# Files and settings

# A command, its data, what is changed, and parts of the message. {name} is a file or folder of the place.
RUNS: dict[str, tuple[str, str, list[str], list[str]]] = {
    "demonstrations for a reward model": ("reward", "demonstrations", [], ["holds demonstrations; expected comparisons"]),
    "demonstrations for DPO": ("dpo", "demonstrations", [], ["holds demonstrations; expected comparisons"]),
    "documents for DPO": ("dpo", "documents", [], ["holds documents; expected comparisons"]),
    "prompts for a reward model": ("reward", "prompts", [], ["holds prompts; expected comparisons"]),
    "comparisons for fine-tuning": ("sft", "compared", [], ["holds comparisons", "for a reward model or DPO"]),
    "comparisons for pretraining": ("pretrain", "compared", [], ["holds comparisons", "for a reward model or DPO"]),
    "an empty file": ("dpo", "empty", [], ["empty.jsonl", "holds no record"]),
    "one row": ("reward", "long", [], ["1 rows have too few prompts", "'rows'"]),
    "identical answers alone": ("reward", "same", [], ["0 rows have too few prompts", "row 1: completions 1 and 2 are the same"]),
    "a prompt that is longer than asked": ("reward", "compared", ["data.max_tokens=4"], ["row 1", "max_tokens=4", "too_long"]),
    "prompts that fill all, when cut": (
        "dpo",
        "compared",
        ["data.max_tokens=4", "data.too_long=truncate"],
        ["no row left to train on", "the prompt alone fills max_tokens=4"],
    ),
    "a measured set called held_out": ("reward", "compared", ["eval_sets.held_out={compared}"], ["choose another"]),
    "a measured set of ties": ("reward", "compared", ["eval_sets.ties={ties}"], ["eval_sets.ties", "holds no comparison"]),
    "an empty measured set": ("dpo", "compared", ["eval_sets.more={empty}"], ["empty.jsonl", "holds no record"]),
    "a measured set that is not there": ("dpo", "compared", ["eval_sets.more=none.jsonl"], ["none.jsonl", "no such file"]),
    "a measured set of demonstrations": ("dpo", "compared", ["eval_sets.more={demonstrations}"], ["expected comparisons"]),
    "a measured row that is too long": ("reward", "compared", ["eval_sets.more={long}"], ["long.jsonl row 1", "max_tokens=256"]),
    "a margin without scores": ("reward", "compared", ["margin=1"], ["margin=1", "`scores`", "no pair would have a margin"]),
    "scores that contradict the ranks": (
        "reward",
        "contradicted",
        ["margin=0.5"],
        ["contradicted.jsonl row 7, field scores", "completion 1 is ranked before completion 2", "score, 2 to 5", "`margin`"],
    ),
    "the best alone for a reward model": (
        "reward",
        "compared",
        ["data.sources.rows.take=best"],
        ["data.sources.rows.take is best", "leave `take` out", "planish sft"],
    ),
    "the best alone for DPO": ("dpo", "compared", ["data.sources.rows.take=best"], ["data.sources.rows.take is best"]),
    "a margin below 0": ("reward", "compared", ["margin=-1"], ["'margin' is -1", "greater than or equal to 0"]),
    "comparisons as demonstrations": ("reward", "compared", ["demonstrations={compared}"], ["expected demonstrations"]),
    "demonstrations that do not fit": (
        "reward",
        "compared",
        ["demonstrations={long demonstrations}"],
        ["holds no demonstration that fits"],
    ),
    "an unknown loss": ("dpo", "compared", ["loss.name=ppo"], ["'loss.name'", "'ppo'", "length_normalized_dpo"]),
    "a setting of another loss": ("dpo", "compared", ["loss={name: ipo, beta: 1}"], ["unknown setting 'loss.beta'"]),
    "a misspelt setting of a loss": ("dpo", "compared", ["loss.betta=1"], ["unknown setting", "betta", "'loss.beta'"]),
    "a beta below 0": ("dpo", "compared", ["loss.beta=-1"], ["beta' is -1", "greater than 0"]),
    "half of the labels wrong": (
        "dpo",
        "compared",
        ["loss={name: robust_dpo, label_smoothing: 0.5}"],
        ["label_smoothing' is 0.5", "less than 0.5"],
    ),
    "a loss for a reward model": ("reward", "compared", ["loss.name=dpo"], ["unknown setting 'loss'"]),
    "a reward model as policy": ("dpo", "compared", ["model.path={folder}/reward"], ["reward: is a reward model"]),
    "a reward model to fine-tune": ("sft", "demonstrations", ["model.path={folder}/reward"], ["reward", "reward model"]),
    "a reward model as reference": ("dpo", "compared", ["reference={folder}/reward"], ["reward: is a reward model"]),
    "a reference that is not there": ("dpo", "compared", ["reference=/none/such"], ["/none/such", "no such folder"]),
    "the folder of a fine-tuning run": ("reward", "compared", ["out={folder}/sft"], ["holds another run", "margin"]),
    "the folder of a reward run": ("dpo", "compared", ["out={folder}/reward"], ["holds another run", "loss.name"]),
    "a checkpoint of another model": (
        "reward",
        "compared",
        ["init_from={folder}/sft/checkpoints/step-00000001"],
        ["does not fit this model", "score.weight"],
    ),
    "a loss that is not finite": (
        "dpo",
        "compared",
        ["optim.lr=1e30", "optim.clip_grad_norm=1e30", "steps=9"],
        ["compared.jsonl row", "not updated"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_a_bad_file_or_setting_is_named(case: str, place: Place, tmp_path: Path) -> None:
    command, data, changes, expected = RUNS[case]
    named = {name.stem: str(name) for name in place.folder.glob("*.jsonl")} | {"folder": str(place.folder)}
    for name, path in named.items():
        changes = [change.replace("{" + name + "}", path) for change in changes]
    message = refused(lambda: place.run(command, place.file(data), tmp_path / "run", *changes))
    for part in expected:
        assert part in message


@pytest.mark.parametrize("seed", range(3))
def test_scores_may_contradict_the_ranks_where_no_margin_is_asked(seed: int, place: Place, tmp_path: Path) -> None:
    """With one, they may not, whichever rows the seed holds out."""
    file, out = place.file("contradicted"), tmp_path / "run"
    assert "row 7, field scores" in refused(lambda: place.run("reward", file, out, "margin=1", f"seed={seed}"))
    place.run("reward", file, out, f"seed={seed}")
    assert (out / "model" / "config.json").exists()


def test_the_settings_of_dpo_need_no_name(place: Place, tmp_path: Path) -> None:
    place.run("dpo", place.file("compared"), tmp_path / "run", "loss.beta=0.3", "num_samples=0")
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["loss"] == {"name": "dpo", "beta": 0.3}


def test_a_reference_with_another_tokenizer_is_refused(place: Place, tmp_path: Path) -> None:
    """Of fewer tokens than the policy's, and of as many that are others."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    for size in (300, len(load_tokenizer(place.model))):
        tokenizer = train_tokenizer([f"other words {i}" for i in range(99)], size)
        model = build_model({"model_type": "llama", **sizes}, len(tokenizer), "float32", 0, torch.device("cpu"))
        other = tmp_path / str(size)
        save_model(model, tokenizer, other)
        run = partial(place.run, "dpo", place.file("compared"), tmp_path / "run", f"reference={other}")
        message = refused(run)
        assert f"reference={other}" in message
        assert "same tokenizer" in message


# Scoring


def unmarked(place: Place, folder: Path) -> str:
    """A reward model of somebody else's, that does not say what a score of 0 means."""
    shutil.copytree(place.folder / "reward" / "model", folder)
    settings = json.loads((folder / "config.json").read_text())
    del settings["score_check"]
    (folder / "config.json").write_text(json.dumps(settings))
    return str(folder)


SCORED: dict[str, tuple[Callable[[Place, Path], str], str, list[str]]] = {
    "a causal model": (
        lambda place, _: str(place.model),
        "compared",
        ["says nothing of the mean score", "planish reward"],
    ),
    "a reward model without its check": (unmarked, "compared", ["says nothing of the mean score", "planish reward"]),
    "a folder that is not there": (lambda *_: "/none/such", "compared", ["/none/such"]),
    "prompts": (lambda place, _: str(place.folder / "reward"), "prompts", ["expected demonstrations or comparisons"]),
    "documents": (
        lambda place, _: str(place.folder / "reward"),
        "documents",
        ["expected demonstrations or comparisons"],
    ),
    "an empty file": (lambda place, _: str(place.folder / "reward"), "empty", ["holds no record"]),
    "a conversation that is too long": (
        lambda place, _: str(place.folder / "reward"),
        "long",
        ["long.jsonl row 1", "256"],
    ),
    "a row that is left out": (
        lambda place, _: str(place.folder / "reward"),
        "same",
        ["same.jsonl row 1", "take it out first"],
    ),
}


@pytest.mark.parametrize("case", SCORED)
def test_what_cannot_be_scored_is_named_and_leaves_no_file(case: str, place: Place, tmp_path: Path) -> None:
    model, rows, expected = SCORED[case]
    path = model(place, tmp_path / "model")
    message = refused(lambda: main(["score", path, place.file(rows), "--out", str(tmp_path / "scores.jsonl")]))
    for part in expected:
        assert part in message
    assert not list(tmp_path.glob("*scores*"))


# The reference that is kept


def test_a_damaged_reference_is_computed_anew(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, told = tmp_path / "run", "log-probabilities are taken from"
    place.run("dpo", place.file("compared"), run, "num_samples=0")
    file = run / "reference.safetensors"
    values = load_file(file)
    for damage in (file.read_bytes()[:-100], b"", None):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        capsys.readouterr()
        place.run("dpo", place.file("compared"), run, "num_samples=0")
        assert told not in capsys.readouterr().err
        again = load_file(file)
        assert again.keys() == values.keys()
        assert all((again[name] == values[name]).all() for name in values)
    place.run("dpo", place.file("compared"), run, "num_samples=0")
    assert told in capsys.readouterr().err
