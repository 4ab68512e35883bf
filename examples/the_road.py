"""Does each step of the road help, and does the pretraining mix keep what was learnt? (experiments E1 and E3)

    python examples/the_road.py run --seeds 5      # recipes/wind_tunnel.yaml once a seed, into runs/road: 40 minutes on two cores
    python examples/the_road.py run --seeds 5 --only 3
    python examples/the_road.py grid               # seed 0 again: PPO and PPO-ptx at other betas and gammas
    python examples/the_road.py tell               # the numbers of docs/wind-tunnel.md, into docs/figures/the_road.json

What is there already is not done again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from planish.base.config import load_config
from planish.base.files import write_json
from planish.cli.main import main as planish
from planish.evaluate.compare.config import CompareConfig
from planish.evaluate.compare.run import compare
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.run import ppo
from planish.pipeline.run import run_pipeline

ROOT = Path(__file__).parents[1]
RECIPE, OUT, MODEL = ROOT / "recipes" / "wind_tunnel.yaml", Path("runs/road"), Path("models/wind-tunnel")
RESULTS = ROOT / "docs" / "figures" / "the_road.json"
SEEDED = (
    "sft.seed",
    "answers.seed",
    "more_answers.seed",
    "reward.seed",
    "dpo.seed",
    "ppo.seed",
    "ppo_ptx.seed",
    "comparison.seed",
)
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5% quantiles for 1 to 9 degrees of freedom
BETAS, GAMMAS = (0.01, 0.2, 1.0), (0.01, 0.03, 0.1, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "grid", "tell"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", type=int, help="this seed alone")
    options = parser.parse_args()
    if options.what == "tell":
        tell()
        return
    planish(["model", "get", "wind-tunnel", "--out", str(MODEL)])
    if options.what == "grid":
        grid()
        return
    for seed in range(options.seeds) if options.only is None else [options.only]:
        changes = [f"stages.{name}={seed}" for name in (*SEEDED, "comparison.sampling.seed")]
        run_pipeline(RECIPE, [f"out={OUT / f'seed-{seed}'}", *changes])


def grid() -> None:
    """PPO with and without the mix at other betas and gammas, from seed 0's fine-tuned model and reward model."""
    start = OUT / "seed-0"
    models: dict[str, Any] = {"sft": {"path": str(start / "sft")}}
    cells = [(name, {"kl.beta": beta}) for name in ("ppo", "ppo_ptx") for beta in BETAS]
    cells += [("ppo_ptx", {"ptx.gamma": gamma}) for gamma in GAMMAS]
    cells += [("ppo_ptx", {"kl.beta": beta, "ptx.gamma": gamma}) for beta in BETAS for gamma in (0.03, 1.0)]
    for name, changes in cells:
        out = OUT / "-".join([name, *(f"{key.split('.')[1]}-{value:g}" for key, value in changes.items())])
        changed = [f"{key}={value}" for key, value in changes.items()]
        ppo(load_config(PpoConfig, start / name / "config.yaml", [f"out={out}", *changed]))
        models[out.name] = {"path": str(out)}
    settings = json.loads((start / "pipeline.json").read_text(encoding="utf-8"))["stages"][-1]["settings"]
    filled = json.loads(
        json.dumps(settings).replace('"{world}', f'"{start / "world"}').replace('"{sft}', f'"{start / "sft"}')
    )
    compare(load_config(CompareConfig, values={**filled, "models": models, "best_of": None, "out": str(OUT / "grid")}))


def tell() -> None:
    """By system: win rate over SFT, gold utility, KL and held-out pretraining loss, mean over seeds with a 95% t interval."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(OUT.glob("seed-*/comparison/comparison.json"))
    ]
    systems = {
        each["name"]: [next(s for s in one["systems"] if s["name"] == each["name"]) for one in found]
        for each in found[0]["systems"]
    }
    table = {
        name: {
            "win_rate": [one["against"]["rate"] for one in runs] if runs[0]["against"] else None,
            "mean_win_rate": mean([one["against"]["rate"]["value"] for one in runs]) if runs[0]["against"] else None,
            "gold": mean([one["score"]["value"] for one in runs]),
            "kl": mean([one["kl"]["value"] for one in runs]) if runs[0]["kl"] else None,
            "loss": mean([one["loss"]["value"] for one in runs]),
            "tokens": mean([one["length"]["value"] for one in runs]),
        }
        for name, runs in systems.items()
    }  # fmt: skip
    pairs = [({s["name"]: s for s in one["systems"]}) for one in found]
    forgetting = mean([one["ppo"]["loss"]["value"] - one["ppo-ptx"]["loss"]["value"] for one in pairs])
    gold = mean([one["ppo-ptx"]["score"]["value"] - one["ppo"]["score"]["value"] for one in pairs])
    for name, row in table.items():
        shown = "  ".join(
            f"{key} {value[0]:.3f} ± {value[1]:.3f}" for key, value in row.items() if isinstance(value, tuple)
        )
        print(f"{name:10} {shown}")
    print(
        f"with the mix: gold {gold[0]:+.3f} ± {gold[1]:.3f}, pretraining loss lower by {forgetting[0]:.3f} ± {forgetting[1]:.3f}"
    )
    grid_file = OUT / "grid" / "comparison.json"
    rows = json.loads(grid_file.read_text(encoding="utf-8"))["systems"] if grid_file.exists() else []
    betas = {
        row["name"]: {"win_rate": row["against"] and row["against"]["rate"]}
        | {key: row[key] for key in ("score", "kl", "loss", "length")}
        for row in rows
    }
    write_json(
        RESULTS, {"seeds": len(found), "systems": table, "ptx_gold": gold, "ptx_loss": forgetting, "grid": betas}
    )


def mean(values: list[float]) -> tuple[float, float]:
    """With half the width of its 95% t interval over seeds."""
    if len(values) == 1:
        return values[0], float("nan")
    return float(np.mean(values)), float(T[len(values) - 2] * np.std(values, ddof=1) / len(values) ** 0.5)


if __name__ == "__main__":
    main()
