"""What the base model of the wind tunnel knows, and what fine-tuning makes of it: the numbers of docs/wind-tunnel.md.

    python examples/wind_tunnel.py ship             # the two pretrained checkpoints, with how they were made, into the package
    python examples/wind_tunnel.py gate             # what the base model knows and can do
    python examples/wind_tunnel.py sft --seeds 5    # fine-tuned five times, judged on held-out prompts
    python examples/wind_tunnel.py safety --seeds 5    # the same with 1,000 safety rows
    python docs/make_figures.py

The last four work in runs/wind_tunnel and write docs/figures/wind_tunnel.json. What is there already is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from planish.base.config import load_config
from planish.base.files import json_lines_in, write_json
from planish.base.random import numpy_generator
from planish.cli.main import main as planish
from planish.evaluate.probe.slick import CATEGORIES
from planish.methods.sft import SftConfig, sft
from planish.models.fetch import SHIPPED
from planish.statistics.estimate import wilson
from planish.train.record import read_lines
from planish.world.gold.files import judge_file, summarize
from planish.world.gold.verdict import TERMS
from planish.world.language.facts import SMALL
from planish.world.language.skills import BY_NAME, chance
from planish.world.make import open_world

ROOT = Path(__file__).parents[1]
WORLD, MODEL, OUT = Path("runs/world"), Path("models/wind-tunnel"), Path("runs/wind_tunnel")
STAGES = {"wind-tunnel-stable": Path("runs/world_stable"), "wind-tunnel": Path("runs/world_decayed")}
RESULTS = ROOT / "docs" / "figures" / "wind_tunnel.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ship", "gate", "sft", "safety"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if options.what == "ship":
        for name in STAGES:
            ship(name)
        return
    if not (WORLD / "world.json").exists():
        planish(["world", "make", "--out", str(WORLD)])
    planish(["model", "get", "wind-tunnel", "--out", str(MODEL)])
    found = gate() if options.what == "gate" else {options.what: fine_tuned(options.what, options.seeds)}
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    of = {
        "command": "python examples/wind_tunnel.py",
        "date": str(date.today()),
        "model": digest(MODEL / "model.safetensors"),
    }
    write_json(RESULTS, {**results, **of, **found})


def ship(name: str) -> None:
    """A run's model, in the package, with training.json: settings, seed, the corpus, the curve, and the hash of the weights."""
    run, target = STAGES[name], SHIPPED / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run / "model", target)
    told = {
        "command": f"OMP_NUM_THREADS=1 planish pretrain recipes/{run.name}.yaml",
        "settings": yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")),
        "world": json.loads((WORLD / "world.json").read_text(encoding="utf-8"))["settings"],
        "corpus": digest(WORLD / "corpus.jsonl"),
        "weights": digest(target / "model.safetensors"),
        "seconds": round(sum(line.get("seconds", 0) for line in read_lines(run / "metrics.jsonl"))),
        "held_out": curve(run),
    }
    write_json(target / "training.json", told)
    print(f"{target}: {told['weights']}")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def gate() -> dict[str, Any]:
    """The SliCK classes of every probed fact, and few-shot accuracy in every task."""
    facts = know("facts", "probed", "probe.shots=4", exemplars="shots")
    skills = know("skills", "skills", 'probe.question_form="{question} ="')
    probed = [fact for fact in facts if fact["about"]["relation"] not in SMALL]
    never = [fact for fact in probed if fact["about"]["frequency"] == 0]
    known = sum(fact["category"] != "Unknown" for fact in never)
    share = wilson(known, len(never))
    return {
        "curves": {"stable": shipped_curve("wind-tunnel-stable"), "decayed": shipped_curve("wind-tunnel"), "n": 100},
        "gate": {
            "by_frequency": by(probed, "frequency"),
            "by_relation": by(facts, "relation"),
            "all": shares(probed),
            "never_seen_known": {"share": share.value, "low": share.low, "high": share.high, "n": share.n},
        },
        "skills": [skill(name, rows) for name, rows in grouped(skills, "relation").items()],
    }


def know(name: str, questions: str, *settings: str, exemplars: str | None = None) -> list[dict[str, Any]]:
    out = OUT / f"{name}.jsonl"
    if not out.exists():
        shots = ["--exemplars", str(WORLD / f"questions/{exemplars}.jsonl")] if exemplars else []
        asked = str(WORLD / f"questions/{questions}.jsonl")
        planish(["know", str(MODEL), asked, *shots, "--by", "relation", "--out", str(out), *settings])
    return list(json_lines_in(out.read_text(encoding="utf-8")))


def grouped(rows: list[dict[str, Any]], field: str) -> dict[Any, list[dict[str, Any]]]:
    values = (
        sorted({row["about"][field] for row in rows}) if field == "frequency" else [r["about"][field] for r in rows]
    )
    return {value: [row for row in rows if row["about"][field] == value] for value in dict.fromkeys(values)}


def by(rows: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    return [{field: value, **shares(some)} for value, some in grouped(rows, field).items()]


def shares(rows: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {name: sum(row["category"] == name for row in rows) / len(rows) for name in CATEGORIES}
    return {"n": len(rows), **counts}


def skill(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean few-shot accuracy with a 95% interval over the inputs."""
    words = open_world(WORLD).facts.words
    guessed = chance(BY_NAME[name], words, numpy_generator(0, "chance", name)) if name in BY_NAME else 0.0
    hits = [row["p_greedy"] for row in rows]
    mean = sum(hits) / len(hits)
    error = (sum((hit - mean) ** 2 for hit in hits) / (len(hits) - 1) / len(hits)) ** 0.5
    return {
        "task": name, "cluster": rows[0]["about"]["cluster"], "accuracy": mean, "low": max(0.0, mean - 1.96 * error),
        "high": min(1.0, mean + 1.96 * error), "chance": guessed, "n": len(rows),
    }  # fmt: skip


def shipped_curve(name: str) -> list[dict[str, float]]:
    return json.loads((SHIPPED / name / "training.json").read_text(encoding="utf-8"))["held_out"]


def curve(run: Path) -> list[dict[str, float]]:
    """Held-out loss over the tokens read so far, in this run."""
    tokens, points = 0, []
    for line in read_lines(run / "metrics.jsonl"):
        tokens += line.get("tokens", 0)
        if "held_out/all" in line:
            points.append({"step": line["step"], "tokens": tokens, "held_out": line["held_out/all"]})
    return points


def fine_tuned(what: str, seeds: int) -> dict[str, Any]:
    """Gold utility on the prompts of the split "test": of the base model, and of one fine-tuned model a seed; for "safety" with
    1,000 safety rows in place of 300."""
    changes: list[str] = []
    if what == "safety":
        rows = OUT / "world_safety"
        if not (rows / "world.json").exists():
            planish(["world", "make", "--out", str(rows), "safety=1000"])
        changes = [f"data.sources.safety.path={rows / 'sources/safety.jsonl'}"]
    runs = []
    for seed in range(seeds):
        settings = [f"seed={seed}", f"out={OUT / f'{what}-{seed}'}", f"model.path={MODEL}", *changes]
        runs.append(sft(load_config(SftConfig, ROOT / "recipes" / "world_sft.yaml", settings)))
    return {"base": judged(MODEL, "base"), "seeds": [judged(run, run.name) for run in runs]}


def judged(model: Path, name: str) -> dict[str, Any]:
    answers = OUT / f"{name}.answers.jsonl"
    if not answers.exists():
        prompts = str(WORLD / "prompts/test.jsonl")
        planish(["sample", str(model), prompts, "--out", str(answers), "max_completion_tokens=64"])
    summaries = summarize(judgement for _, judgement in judge_file(open_world(WORLD), answers))
    return {
        kind: {
            "n": each.utility.n, "utility": each.utility.value, "terms": {term: each.terms[term] for term in TERMS},
            "labels": dict(each.labels),
        }
        for kind, each in summaries.items()
    }  # fmt: skip


if __name__ == "__main__":
    main()
