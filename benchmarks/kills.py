"""Kills runs at random moments, again and again, and compares what comes out with runs that were not killed, bit by bit.

    python benchmarks/kills.py                          # 20 kills of each of seven variants, half of them by SIGTERM
    python benchmarks/kills.py dpo grpo-lora kills=5

The runs are forks of this process, so that a start takes a second. A killed run starts again until it ends, and is then
compared: weights, adapter, metrics (but for seconds), samples, ranking and data.json must be equal. One that ends before its
kill is compared too and begins anew. The exit status is 1 where anything differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")

from planish.base.config import load_config
from planish.base.files import read_lines
from planish.base.interrupt import Stopped
from planish.commands import COMMANDS, load
from planish.models.fetch import GetConfig, get_model

ROWS = Path(__file__).parents[1] / "recipes" / "data"
LORA = {"lora": {"rank": 4}}
SUPERVISED: dict[str, Any] = {
    "steps": 12,
    "batch": {"examples": 8},
    "evaluate_every": 4,
    "num_samples": 2,
    "sampling": {"max_completion_tokens": 8},
    "checkpoint": {"every": 3},
    "optim": {"lr": 1e-3},
}
POLICY: dict[str, Any] = {
    "rewards": {"short": "kills:short"},
    "prompts": {"some": str(ROWS / "prompts.jsonl")},
    "held_out": 4,
    "iterations": 6,
    "batch": {"prompts": 4, "completions": 2, "epochs": 2, "minibatches": 2},
    "sampling": {"max_completion_tokens": 16},
    "evaluate_every": 2,
    "checkpoint": {"every": 1},
    "optim": {"lr": 1e-4},
    "too_long": "drop",
}


def rows(name: str) -> dict[str, Any]:
    source = {"path": str(ROWS / name), "limit": 60}
    return {"data": {"sources": {"rows": source}, "held_out": 0.2, "max_tokens": 256, "too_long": "drop"}}


def without_samples(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("num_samples", "sampling")}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("sft", {**rows("alpaca.json"), **SUPERVISED}),
    "sft-best": ("sft", {**rows("alpaca.json"), **SUPERVISED, "save_best": True}),
    "reward": ("reward", {**rows("comparisons.jsonl"), **without_samples(SUPERVISED)}),
    "dpo": ("dpo", {**rows("comparisons.jsonl"), **SUPERVISED}),
    "dpo-lora": ("dpo", {**rows("comparisons.jsonl"), **SUPERVISED, "model": LORA}),
    "ppo-ptx": (
        "ppo",
        {
            **POLICY,
            "kl": {"beta": 0.1, "target": 2.0, "horizon": 100},
            "ema": 0.9,
            "pretraining": rows("alpaca.json")["data"],
            "ptx": {"gamma": 1.0, "examples": 4},
        },
    ),
    "grpo-lora": ("ppo", {**POLICY, "advantage": {"name": "grpo"}, "model": LORA}),
}


def short(prompts: Any, completions: list[str]) -> list[float]:
    return [-float(len(completion)) for completion in completions]


def start(name: str, model: Path, out: Path) -> int:
    """The run in a process of its own, whose number is returned."""
    if child := os.fork():
        return child
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line has it, until training begins
    log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    word, settings = VARIANTS[name]
    values = {**settings, "model": {"path": str(model), **settings.get("model", {})}, "out": str(out), "device": "cpu"}
    status = 1
    try:
        COMMANDS[word].run(load_config(COMMANDS[word].load_config_class(), values=values))
        status = 0
    except (KeyboardInterrupt, Stopped):
        status = 130
    finally:
        os._exit(status)


def result(run: Path) -> dict[str, str]:
    """Digests of all that the run has put out."""
    metrics = [
        {key: value for key, value in line.items() if not key.startswith("seconds")}
        for line in read_lines(run / "metrics.jsonl")
    ]
    found = {"metrics.jsonl": hashlib.sha256(json.dumps(metrics).encode()).hexdigest()}
    for name in (
        "samples.jsonl",
        "ranking.json",
        "data.json",
        "model/model.safetensors",
        "adapter/adapter_model.safetensors",
    ):
        if (run / name).exists():
            found[name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    return found


def finish(name: str, model: Path, out: Path) -> float:
    """Runs to the end; returns the seconds that it took."""
    begun = time.monotonic()
    _, status = os.waitpid(start(name, model, out), 0)
    if status:
        sys.exit(f"{name}: the run failed:\n{Path(f'{out}.log').read_text()[-2000:]}")
    return time.monotonic() - begun


def kill(name: str, model: Path, out: Path, after: float, number: int) -> bool:
    """Starts the run and kills it after so many seconds; False if it ended before."""
    child, until = start(name, model, out), time.monotonic() + after
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended and status:
            sys.exit(f"{name}: the run failed:\n{Path(f'{out}.log').read_text()[-2000:]}")
        if ended:
            return False
        time.sleep(0.001)
    os.kill(child, number)
    os.waitpid(child, 0)
    return True


def compare(name: str, run: Path, expected: dict[str, str]) -> bool:
    found = result(run)
    different = [file for file in {**expected, **found} if found.get(file) != expected.get(file)]
    if different:
        print(f"{name}: differs in {', '.join(different)}: {run}", flush=True)
    return not different


def try_variant(name: str, model: Path, folder: Path, kills: int, chance: random.Random) -> bool:
    folder.mkdir()
    seconds = finish(name, model, folder / "straight")
    expected, same, done, runs = result(folder / "straight"), True, 0, 0
    run = folder / "killed-0"
    while done < kills:
        if kill(name, model, run, chance.uniform(0, seconds), chance.choice((signal.SIGKILL, signal.SIGTERM))):
            done += 1
        else:
            same, runs = compare(name, run, expected) and same, runs + 1
            run = folder / f"killed-{runs}"
    finish(name, model, run)
    same = compare(name, run, expected) and same
    print(f"{name}: {done} kills in {runs + 1} runs of {seconds:.1f} s: {'equal' if same else 'DIFFERENT'}", flush=True)
    return same


def main(words: list[str]) -> None:
    given = dict(word.split("=") for word in words if "=" in word)
    names = [word for word in words if "=" not in word] or list(VARIANTS)
    chance, folder = random.Random(int(given.get("seed", 0))), Path(tempfile.mkdtemp(prefix="planish-kills-"))
    model = get_model(load_config(GetConfig, values={"name": "wind-tunnel", "out": str(folder / "model")}))
    sys.path.insert(0, str(Path(__file__).parent))
    for word, _ in VARIANTS.values():  # once for all forks
        load(COMMANDS[word].function)
    equal = [try_variant(name, Path(model), folder / name, int(given.get("kills", 20)), chance) for name in names]
    if all(equal):
        shutil.rmtree(folder)
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
