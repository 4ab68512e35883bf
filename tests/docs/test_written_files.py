"""Every field of every file that planish writes is on the page of that file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from planish.base.config import load_config
from planish.evaluate.citations.run import CitationsConfig, citations
from planish.evaluate.compare.config import CompareConfig
from planish.evaluate.compare.run import compare
from planish.evaluate.probe.run import KnowConfig, know
from planish.evaluate.refusals.run import RefusalsConfig, evaluate_refusals
from planish.methods.dpo import DpoConfig, dpo
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.run import ppo
from planish.methods.reward_model import RewardConfig, reward_model
from planish.methods.sft import SftConfig, sft

DOCS = Path(__file__).parents[2] / "docs"
LATER = ("SOURCE", "NAME", "PART")  # what stands for a name of the user's after a slash

pytestmark = pytest.mark.slow


def documented(*pages: str) -> set[str]:
    """What the pages write as code, and the names in it."""
    text = "\n".join((DOCS / f"{page}.md").read_text(encoding="utf-8") for page in pages)
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in (code, *re.findall(r"[\w/]+", code))}


def missing(names: set[str], *pages: str) -> list[str]:
    known = documented(*pages)
    return sorted(
        name
        for name in names
        if not {name, *(f"{name.rsplit('/', 1)[0]}/{later}" for later in LATER if "/" in name)} & known
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fields_of_run(run: Path) -> set[str]:
    """Fields of metrics.jsonl, samples.jsonl and data.json, and of what is in there by a fixed name."""
    found = {
        name
        for file in ("metrics.jsonl", "samples.jsonl")
        if (run / file).exists()
        for line in lines(run / file)
        for name in line
    }
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    for source in data.get("sources", {}).values():
        found |= {*source, *source["training"], *source["held_out"]}
    for stage in data.get("stages", []):
        found |= {*stage, *(name for source in stage["sources"].values() for name in source)}
    return found | {*data}


@pytest.fixture(scope="module")
def common(tiny_model: Path) -> dict[str, Any]:
    return {
        "model": {"path": str(tiny_model)},
        "batch": {"examples": 8},
        "steps": 2,
        "checkpoint": {"every": 0},
    }


@pytest.fixture(scope="module")
def scorer(common: dict[str, Any], tiny_data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {
        **common,
        "data": {"sources": {"compared": {"path": tiny_data["compared"]}}},
        "eval_sets": {"ranked": tiny_data["ranked"]},
        "out": str(tmp_path_factory.mktemp("scorer") / "run"),
    }
    return reward_model(load_config(RewardConfig, values=values))


def test_fields_of_a_fine_tuning_run(common: dict[str, Any], tiny_data: dict[str, str], tmp_path: Path) -> None:
    values = {**common, "data": {"sources": {"first": {"path": tiny_data["first"]}}}, "out": str(tmp_path / "run")}
    run = sft(load_config(SftConfig, values=values))
    assert missing(fields_of_run(run), "runs") == []
    written = {f"{path.name}/" if path.is_dir() else path.name for path in run.iterdir()} - {".lock"}
    assert len(written) > 4
    assert [name for name in written if f"| `{name}` |" not in (DOCS / "runs.md").read_text(encoding="utf-8")] == []


def test_fields_of_a_reward_model(scorer: Path) -> None:
    assert missing(fields_of_run(scorer), "runs", "reward") == []
    ranking = json.loads((scorer / "ranking.json").read_text(encoding="utf-8"))[0]
    assert missing({"accuracy", "log_loss", "by", "repeated"} & ranking.keys(), "reward") == []


def test_fields_of_dpo(common: dict[str, Any], tiny_data: dict[str, str], tmp_path: Path) -> None:
    values = {
        **common,
        "data": {"sources": {"compared": {"path": tiny_data["compared"]}}},
        "eval_sets": {"ranked": tiny_data["ranked"]},
        "kl_prompts": 2,
        "num_samples": 1,
        "sampling": {"max_completion_tokens": 2},
        "out": str(tmp_path / "run"),
    }
    assert missing(fields_of_run(dpo(load_config(DpoConfig, values=values))), "runs", "dpo") == []


def test_fields_of_ppo(scorer: Path, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    values = {
        "model": {"path": str(tiny_model)},
        "rewards": {"model": {"name": "model", "path": str(scorer)}},
        "prompts": {"first": tiny_data["first"]},
        "held_out": 2,
        "iterations": 2,
        "batch": {"prompts": 2, "minibatches": 2},
        "sampling": {"max_completion_tokens": 2},
        "pretraining": {"sources": {"documents": {"path": tiny_data["documents"]}}},
        "ptx": {"gamma": 0.5, "examples": 2},
        "num_samples": 1,
        "out": str(tmp_path / "run"),
    }
    run = ppo(load_config(PpoConfig, values=values))
    assert missing(fields_of_run(run), "runs", "ppo") == []


def test_fields_of_a_comparison(tiny_model: Path, scorer: Path, tiny_data: dict[str, str], tmp_path: Path) -> None:
    values = {
        "models": {"one": {"path": str(tiny_model)}},
        "prompts": tiny_data["first"],
        "limit": 3,
        "judge": {"name": "reward", "path": str(scorer)},
        "best_of": {"reward": str(scorer), "n": 2},
        "sampling": {"temperature": 1.0, "max_completion_tokens": 2},
        "reference": str(tiny_model),
        "documents": {"sources": {"documents": {"path": tiny_data["documents"]}}},
        "out": str(tmp_path / "compared"),
    }
    compare(load_config(CompareConfig, values=values))
    written = json.loads((tmp_path / "compared" / "comparison.json").read_text(encoding="utf-8"))
    (_, best) = written["systems"]
    answer = lines(tmp_path / "compared" / "answers.jsonl")[0]
    names = {*written, *best, *answer, *answer["answers"]["best-of-2"][0]}
    assert missing(names, "compare") == []


def test_fields_of_known_questions(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"say {i}", "answers": [str(i)], "about": {"relation": "word"}} for i in range(6)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "known.jsonl"
    values = {"model": {"path": str(tiny_model)}, "questions": str(tmp_path / "questions.jsonl"), "out": str(out)}
    know(load_config(KnowConfig, values={**values, "probe": {"prompts": 2, "shots": 2}}))
    assert missing(set(lines(out)[0]), "knowledge") == []


def test_fields_of_citations(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"prompt": "Who?", "completion": "Lovelace (1843)", "kind": "x"}\n')
    (tmp_path / "works.csv").write_text("author,year\nLovelace,1843\n")
    out = tmp_path / "cited.jsonl"
    values = {"answers": str(tmp_path / "answers.jsonl"), "bibliography": str(tmp_path / "works.csv"), "out": str(out)}
    citations(CitationsConfig(**values))
    account = json.loads((tmp_path / "cited.jsonl.json").read_text(encoding="utf-8"))
    group, (line,) = account["groups"]["all"], lines(out)
    rates = group["rates"]
    names = {*line, *line["references"][0], *account, *group, *rates, *rates["citing"], *group["references"]}
    assert missing(names, "citations") == []


def test_fields_of_refusals(scorer: Path, tmp_path: Path) -> None:
    """And how helpful a reward model finds the answers to safe prompts."""
    rows = [
        {"prompt": "red", "completion": "blue", "ended": True, "about": {"label": label}}
        for label in ("safe", "unsafe")
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, systems = tmp_path / "out", (str(tmp_path / "answers.jsonl"),)
    result = evaluate_refusals(RefusalsConfig(systems=systems, reward=str(scorer), out=str(out)))
    (system,) = result.systems
    assert system.helpfulness is not None
    assert (system.helpfulness.n, result.helpfulness) == (1, f"score by {scorer}")
    written = json.loads((out / "refusals.json").read_text(encoding="utf-8"))
    (own,) = written["systems"]
    names = {*written, *own, *own["groups"][0], *own["pairs"], *own["helpfulness"], *lines(out / "answers.jsonl")[0]}
    assert missing(names, "refusals") == []
