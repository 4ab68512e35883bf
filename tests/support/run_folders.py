"""Small run folders, written out by hand: supervised, on comparisons, and PPO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

SETTINGS: dict[str, Any] = {
    "out": "runs/small",
    "data": {"sources": {"alpaca": {"path": "a.json"}, "code": {"path": "c.json"}}},
    "optim": {"lr": 2e-4, "clip_grad_norm": 1.0, "schedule": "cosine"},
    "steps": 2,
    "num_samples": 1,
    "sampling": {"max_completion_tokens": 8, "temperature": 0.0},
    "save_best": False,
    "model": {"path": "models/smollm2", "lora": {"rank": 16}},
    "reduction": "token_mean",
}


def account(rows: int) -> dict[str, Any]:
    return {
        "training": {"examples": 1000, "tokens": 20000, "learnt_tokens": 12345},
        "held_out": {"examples": rows, "tokens": 900, "learnt_tokens": 600, "rows": [f"row {i}" for i in range(rows)]},
        "dropped": [{"file": "a.json", "row": 7, "reason": "no answer"}],
        "truncated": [],
    }


def step(number: int, loss: float) -> dict[str, Any]:
    values = {"loss": loss, "nll": loss, "grad_norm": 0.5, "learning_rate": 1e-4, "tokens": 1000, "seconds": 2.0}
    return {"step": number, **values}


def evaluation(number: int, **losses: float) -> dict[str, Any]:
    return {"step": number, **{f"held_out/{name}": loss for name, loss in losses.items()}}


def answer(number: int, completion: str, ended: bool = True) -> dict[str, Any]:
    prompt = [{"role": "user", "content": "Is 2 < 3?"}]
    asked = {"source": "alpaca", "prompt": prompt, "reference": "Yes, it is."}
    return {"step": number, **asked, "completion": completion, "ended": ended}


METRICS = [
    evaluation(0, all=2.0, alpaca=2.2, code=1.8),
    step(1, 2.1),
    step(2, 1.9),
    evaluation(2, all=1.6, alpaca=1.4, code=1.9),
]
SAMPLES = [answer(0, "Is 2 < 3? Is 2 < 3?", ended=False), answer(2, "Yes.")]


def lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def a_run(folder: Path, files: Mapping[str, str] | None = None, **settings: Any) -> Path:
    """A finished run with two sources; `files` replace those it would have."""
    written = {
        "config.yaml": yaml.safe_dump({**SETTINGS, **settings}, sort_keys=False),
        "data.json": json.dumps({"sources": {"alpaca": account(40), "code": account(5)}, "stages": []}),
        "metrics.jsonl": lines(METRICS),
        "samples.jsonl": lines(SAMPLES),
        "model/config.json": "{}",
        **(files or {}),
    }
    for name, text in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def an_early_run(folder: Path, **files: str) -> Path:
    """What a run leaves that was killed early: settings, and the files named, without their ending."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


# On comparisons

COMMON = {key: SETTINGS[key] for key in ("out", "data", "optim", "steps", "save_best", "model")}
REWARD = {**COMMON, "eval_sets": {"far": "far.jsonl"}, "margin": 0.0, "centering": 0.0}
DPO = {
    **COMMON,
    "num_samples": 1,
    "sampling": {"max_completion_tokens": 8, "temperature": 0.0},
    "loss": {"beta": 0.1, "name": "dpo"},
    "reference": None,
    "kl_prompts": 9,
}


def pair_evaluation(step: int, loss: float, alpaca: float, code: float, **rest: float) -> dict[str, Any]:
    by = {"all": (alpaca + code) / 2, "alpaca": alpaca, "code": code}
    found = {f"held_out_accuracy/{name}": share for name, share in by.items()}
    losses = {f"held_out/{name}": loss for name in by}
    return {"step": step, **losses, **found, **{f"eval_accuracy/{k}": v for k, v in rest.items()}}


def preference_step(number: int, **values: float) -> dict[str, Any]:
    return {"step": number, **values, "grad_norm": 0.5, "learning_rate": 1e-4, "tokens": 1000, "seconds": 2.0}


def reward_step(number: int, loss: float, margin: float = 0.0) -> dict[str, Any]:
    return preference_step(number, loss=loss, accuracy=0.75, margin=margin, score=-0.2)


def dpo_step(number: int, chosen: float, rejected: float, loss: float = 0.6) -> dict[str, Any]:
    """With the change of both log-probabilities, from -20 and -30 under the reference."""
    accuracies = {"accuracy": 1.0 * (chosen > rejected), "accuracy_logprobs": 0.75}
    levels = {"chosen": chosen - 20, "rejected": rejected - 30, "chosen_change": chosen, "rejected_change": rejected}
    return preference_step(
        number,
        loss=loss,
        margin=0.1 * (chosen - rejected),
        chosen_tokens=4.0,
        rejected_tokens=6.0,
        **accuracies,
        **levels,
    )


def kl(step: int, value: float, error: float) -> dict[str, Any]:
    return {"step": step, "kl": value, "kl_standard_error": error}


PAIRS_BEFORE, PAIRS_AFTER = pair_evaluation(0, 0.69, 0.5, 0.6, far=0.5), pair_evaluation(2, 0.6, 0.7, 0.55, far=0.625)
REWARD_METRICS = [PAIRS_BEFORE, reward_step(1, 0.7), reward_step(2, 0.5, 0.4), PAIRS_AFTER]
DPO_METRICS = [PAIRS_BEFORE, dpo_step(1, 0.0, 0.0), dpo_step(2, -1.0, -3.0), PAIRS_AFTER, kl(2, 0.2, 0.05)]


def a_preference_run(
    folder: Path, settings: dict[str, Any], metrics: list[dict[str, Any]], files: dict[str, str] | None = None
) -> Path:
    written = {"config.yaml": yaml.safe_dump(settings, sort_keys=False), "metrics.jsonl": lines(metrics)}
    return a_run(folder, {"samples.jsonl": "", **written, **(files or {})})


def a_reward_run(folder: Path, files: dict[str, str] | None = None, **settings: Any) -> Path:
    return a_preference_run(folder, {**REWARD, **settings}, REWARD_METRICS, files)


def a_dpo_run(folder: Path, metrics: list[dict[str, Any]] = DPO_METRICS, **settings: Any) -> Path:
    from planish.methods.preference_losses import Loss, PreferenceLoss

    settings = {**DPO, **settings}
    loss: Loss = TypeAdapter(PreferenceLoss).validate_python(settings["loss"])
    data = {"sources": {"alpaca": account(40), "code": account(5)}, "loss": asdict(loss.facts)}
    samples = lines([answer(0, "Is 2 < 3?"), answer(2, "Yes.")])
    return a_preference_run(folder, settings, metrics, {"samples.jsonl": samples, "data.json": json.dumps(data)})


# PPO

PPO: dict[str, Any] = {
    "out": "runs/ppo",
    "optim": {"lr": 1e-5, "clip_grad_norm": 1.0, "schedule": "linear"},
    "seed": 3,
    "model": {"path": "runs/sft", "lora": None},
    "rewards": {
        "preference": {"name": "model", "path": "runs/rm", "weight": 1.0},
        "gold": {"name": "gold", "world": "runs/world", "weight": 0.0},
    },
    "prompts": {"train": "prompts.jsonl"},
    "iterations": 2,
    "batch": {"prompts": 8, "completions": 1, "epochs": 1, "minibatches": 2},
    "sampling": {"max_completion_tokens": 16, "temperature": 1.0},
    "missing_eos": -1.0,
    "kl": {"beta": 0.02, "target": None},
    "advantage": {"name": "gae"},
    "clip_range": 0.2,
    "reduction": None,
    "pretraining": None,
    "ptx": {"gamma": 27.8, "examples": 4},
    "num_samples": 1,
    "alarms": {"kl": 5.0},
}
PROMPTS = {
    "sources": {"train": {"training": 90, "held_out": ["prompts.jsonl row 3", "prompts.jsonl row 7"]}},
    "dropped": [{"row": "prompts.jsonl row 5", "reason": "no room for a completion"}],
    "leaks": [],
}


def an_iteration(number: int, score: float, gold: float, kl: float, **more: float) -> dict[str, Any]:
    """What iteration `number` records when it has sampled; two steps to an iteration."""
    values = {
        "score": score,
        "score/preference": score,
        "score/gold": gold,
        "kl": kl,
        "kl_token": kl / 10,
        "beta": 0.02,
    }
    seen = {
        "entropy": 0.5,
        "completion_tokens": 10.0,
        "unended": 0.0,
        "sampler_mismatch": 1e-7,
        "explained_variance": 0.5,
    }
    took = {"seconds/sampling": 1.0, "seconds/log-probabilities": 0.5, "seconds/scoring": 0.5}
    return {"step": 2 * number + 1, "iteration": number, **values, **seen, **took, **more}


def ppo_step(number: int, **more: float) -> dict[str, Any]:
    """Its first step waits for the sampling: 3 seconds, of which 2 are told of above; the second takes 1."""
    return {**step(number, 0.1), "seconds": 3.0 if number % 2 else 1.0, "clip_fraction": 0.1, **more}


def held_out_scores(number: int, preference: float, gold: float, **losses: float) -> dict[str, Any]:
    scores = {"held_out_score/preference": preference, "held_out_score/gold": gold}
    return {**evaluation(number, **losses), **scores, "held_out_tokens": 10.0, "held_out_unended": 0.25}


def a_completion(number: int, text: str, score: float) -> dict[str, Any]:
    prompt = [{"role": "user", "content": "What is it?"}]
    asked = {"source": "train", "prompt": prompt, "completion": text, "ended": True}
    return {"step": number, **asked, "scores": {"preference": score}}


PPO_METRICS = [
    held_out_scores(0, 0.5, 0.4),
    an_iteration(0, 0.5, 0.4, 0.0),
    ppo_step(1),
    ppo_step(2),
    an_iteration(1, 1.5, 0.2, 4.0),
    ppo_step(3),
    ppo_step(4),
    held_out_scores(4, 1.25, 0.3),
]


def a_ppo_run(folder: Path, metrics: Sequence[dict[str, Any]] = PPO_METRICS, **settings: Any) -> Path:
    files = {
        "config.yaml": yaml.safe_dump({**PPO, **settings}, sort_keys=False),
        "data.json": json.dumps({"prompts": PROMPTS}),
        "metrics.jsonl": lines(list(metrics)),
        "samples.jsonl": lines([a_completion(0, "A cat.", 0.5), a_completion(4, "A very fine cat.", 1.25)]),
    }
    return a_run(folder, files)


def with_documents(folder: Path, *losses: float, **settings: Any) -> Path:
    """PPO-ptx: two looks at pretraining documents, and two gradients in every step."""
    measured = {0: losses[0], 4: losses[1]}
    metrics: list[dict[str, Any]] = []
    for line in PPO_METRICS:
        more = {"own_grad_norm": 0.5, "ptx/grad_norm": 1.0, "ptx/loss": 2.0} if "clip_fraction" in line else {}
        if "held_out_tokens" in line:
            more = {"held_out/all": measured[line["step"]], "held_out/web": measured[line["step"]]}
        metrics.append({**line, **more})
    run = a_ppo_run(folder, metrics, **{"pretraining": {"sources": {"web": {"path": "web.jsonl"}}}, **settings})
    (run / "data.json").write_text(json.dumps({"prompts": PROMPTS, "sources": {"web": account(40)}}))
    return run


def many_iterations(count: int, gold: Sequence[float], **more: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for i in range(count):
        found += [an_iteration(i, 0.1 * i, gold[i], 0.25 * i, **more), ppo_step(2 * i + 1), ppo_step(2 * i + 2)]
    return found
