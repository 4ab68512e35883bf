"""Writes docs/hardware.md from docs/hardware.json: `python docs/make_hardware.py`; a test compares. With `count` it first counts
what is in the JSON file anew, by rehearsals of every method (some minutes of one core).

Layers are alike, so memory is a line in their number: a model is counted with 3 and with 5 layers, and drawn out to all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, PreTrainedConfig

from planish.base.types import Choices, Example
from planish.methods.dpo import DpoConfig
from planish.methods.ppo.config import PpoConfig
from planish.methods.reward_model import RewardConfig
from planish.methods.sft import SftConfig
from planish.preview.plan.cards import CARDS, CONTEXT, Card
from planish.preview.plan.rehearse import Rehearsal, Setting, rehearse
from planish.preview.plan.work import Work, ppo_work

ROOT = Path(__file__).parents[1]
PAGE, DATA = ROOT / "docs" / "hardware.md", ROOT / "docs" / "hardware.json"

QWEN: dict[str, Any] = {"model_type": "qwen3", "vocab_size": 151_936, "head_dim": 128, "num_key_value_heads": 8}
LLAMA: dict[str, Any] = {"model_type": "llama", "vocab_size": 128_256, "num_key_value_heads": 8, "tie_word_embeddings": False}


def _shape(hidden: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "max_position_embeddings": 40_960,
    }  # fmt: skip


MODELS = {  # shapes of Qwen3 and Llama 3
    "0.6B": {**QWEN, **_shape(1024, 3072, 28, 16), "tie_word_embeddings": True},
    "1.7B": {**QWEN, **_shape(2048, 6144, 28, 16), "tie_word_embeddings": True},
    "4B": {**QWEN, **_shape(2560, 9728, 36, 32), "tie_word_embeddings": True},
    "8B": {**LLAMA, **_shape(4096, 14_336, 32, 32)},
    "32B": {**QWEN, **_shape(5120, 25_600, 64, 64), "tie_word_embeddings": False},
    "70B": {**LLAMA, **_shape(8192, 28_672, 80, 64)},
}
METHODS = ("sft", "reward", "dpo", "ppo")
WAYS = {"full": {"gradient_checkpointing": True}, "LoRA": {"gradient_checkpointing": True, "dtype": "bfloat16", "lora": {"rank": 16}}}
RANKS = (1, 8)
TOKENS, FEW = 2048, (3, 5)
SIZES = (24, 48, 80, 141)
ANY = Card("any", 1e15)


def config_of(method: str, way: str) -> Any:
    model = {"path": "trained", **WAYS[way]}
    if method == "ppo":
        reward = {"path": "trained", **({"dtype": "bfloat16"} if way == "LoRA" else {})}
        value = {"value": {"lora": {"rank": 16}}} if way == "LoRA" else {}
        given = {"rewards": {"reward": reward}, "prompts": {"all": "prompts.jsonl"}, "batch": {"prompts": 64}, **value}
        given["sampling"] = {"max_completion_tokens": 352}
        return PpoConfig.model_validate({"out": "none", "model": model, **given})
    kind = {"sft": SftConfig, "reward": RewardConfig, "dpo": DpoConfig}[method]
    return kind.model_validate({"out": "none", "model": model, "data": {"sources": {"rows": {"path": "rows.jsonl"}}}})


def work_of(method: str, ranks: int, config: Any) -> Work:
    """Rows of 512 tokens, 160 of them the prompt; of two answers, each has half of the rest."""
    if method == "ppo":
        return ppo_work(config, [[1] * 160] * (8 * ranks))
    choices = None if method == "sft" else Choices(160, (336, 512), (0, 1))
    row = Example(np.zeros(512, np.int32), np.arange(512) >= 160, "", choices=choices)
    return Work([[row] * (8 * ranks)])


def counted(name: str, method: str, way: str, ranks: int, layers: int) -> Rehearsal:
    config, shape = config_of(method, way), {**MODELS[name], "num_hidden_layers": layers}

    def settings(_: Any) -> PreTrainedConfig:
        rest = {key: value for key, value in shape.items() if key != "model_type"}
        return AutoConfig.for_model(shape["model_type"], **rest)

    return rehearse(config, settings, work_of(method, ranks, config), Setting(ranks, ANY, TOKENS))


def cell(name: str, method: str, way: str, ranks: int) -> dict[str, float]:
    """GB of a card at the peak of each phase; GFLOP a token."""
    few, more = (counted(name, method, way, ranks, layers) for layers in FEW)
    layers = MODELS[name]["num_hidden_layers"]

    def drawn_out(low: float, high: float) -> float:
        return low + (high - low) * (layers - FEW[0]) / (FEW[1] - FEW[0])

    phases = {phase: round(drawn_out(few.peak(phase), more.peak(phase)) / 1e9, 1) for phase in few.phases}
    return {**phases, "gflop": round(drawn_out(few.flop, more.flop) / 1e9, 2)}


def cells() -> Iterator[tuple[str, str, str, int]]:
    for name in MODELS:
        for method in METHODS:
            for way in WAYS:
                for ranks in RANKS:
                    yield name, method, way, ranks


def key_of(name: str, method: str, way: str, ranks: int) -> str:
    return f"{name} {method} {way} {ranks}"


HEAD = """# Hardware

What fits where, and the commands. **All numbers on this page are computed, none is measured**: a rehearsal runs the code of a run
on tensors that have a shape and no numbers, in FSDP's own code where there are several cards, and counts what is alive at once.
For your recipe, data and cards, in seconds and without a GPU:

```bash
planish plan recipes/smollm2_sft.yaml --gpus 1 --gpu 24
```

It shows memory by part and phase, tokens of a pass, products, time at a stated share of the card's rate (`--mfu`, 0.4), bytes on
the wire, checkpoints (`--disk`, GB a second), what is saved, and, where the run does not fit, the smallest change that makes it
fit. The exit status is 1 where it does not. Only the model's `config.json` and tokenizer are read, no weights. [GPUs and
memory](howto/gpus-and-memory.md) explains the parts.

How well it counts: what a pass keeps for its backward pass is equal, to the byte, to what autograd keeps of real models (eight
architectures, float32 and bfloat16). What it cannot know: gaps between tensors, for which a card has about 7% more memory than its
name says; 1 GB is set aside for CUDA. Attention is counted as a kernel that keeps no scores. PPO's completions are taken to
be as long as they may be. A model that cannot be packed ([architectures](architectures.md)) needs less than is said and takes
longer.

On a CPU (`--gpu cpu`) two gloo processes were held against it ([log](https://github.com/planish/planish/blob/main/log/2026-12-01.md)):
RSS_SENTENCE

"""

COMMANDS_TEXT = """## Commands

One card:

<!-- not run: a GPU -->
```bash
planish plan my_sft.yaml --gpu rtx4090
planish sft my_sft.yaml
```

Eight cards of one machine. Settings stay as they are, and so does the result, up to rounding:

<!-- not run: several GPUs -->
```bash
planish plan my_sft.yaml --gpus 8 --gpu h100
torchrun --nproc-per-node 8 -m planish sft my_sft.yaml
```

Two machines of eight cards. Start it on both, with `--node-rank 0` on the first, which is `node0` here, and 1 on the other; both
see the run's folder under the same path. It has not been tried:

<!-- not run: two machines -->
```bash
planish plan my_sft.yaml --gpus 16 --gpu h100
torchrun --nnodes 2 --node-rank 0 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint node0:29500 \\
    -m planish sft my_sft.yaml
```

The same under Slurm. A job that is requeued carries on from its last checkpoint:

<!-- not run: Slurm -->
```bash
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 --cpus-per-task=32 --requeue
export HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes 2 --nproc-per-node 8 --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d \\
    --rdzv-endpoint "$HEAD:29500" -m planish sft my_sft.yaml
```

"""


def page(known: dict[str, dict[str, float]]) -> str:
    lines = [HEAD + COMMANDS_TEXT + _what_fits_head()]
    for ranks in RANKS:
        lines.append(f"### {'One card' if ranks == 1 else f'{ranks} cards'}\n")
        lines.append("| model | weights | " + " | ".join(METHODS) + " |\n|---|---|" + "---|" * len(METHODS))
        for name in MODELS:
            for way in WAYS:
                cells = [_cell_text(known[key_of(name, method, way, ranks)]) for method in METHODS]
                lines.append(f"| {name} | {way} | " + " | ".join(cells) + " |")
        lines.append("")
    lines.append(_rates(known))
    return "\n".join(lines).rstrip() + "\n"


def _what_fits_head() -> str:
    return f"""## What fits where

GB of each card at the worst moment of a run, and the smallest card of {", ".join(map(str, SIZES))} GB that has them; *load* where that moment is
loading: every process first holds the whole model, so more cards do not help there. Passes of {TOKENS:,} tokens in rows of 512,
`model.gradient_checkpointing=true`. **full**: all weights, float32, products in bfloat16. **LoRA**: rank 16 on weights in
bfloat16; in PPO the value model has LoRA too and the reward model is in bfloat16. KTO needs what DPO needs; pretraining what SFT
does. There is no QLoRA yet. Shapes: Qwen3 for 0.6B, 1.7B, 4B and 32B, Llama 3 for 8B and 70B. PPO holds a value and a reward
model of the policy's size, and samples up to 352 tokens by itself.
"""


def _cell_text(cell: dict[str, float]) -> str:
    phases = {name: size for name, size in cell.items() if name != "gflop"}
    worst = max(phases, key=lambda name: phases[name])
    need = phases[worst]
    card = next((f"**{size}**" for size in SIZES if need <= size - CONTEXT / 1e9), "–")
    return f"{need:,.1f}{' *load*' if worst == 'loading' else ''} · {card}"


def _rates(known: dict[str, dict[str, float]]) -> str:
    rows = ["## How fast", ""]
    rows += [
        "Tokens a second that a card learns from at 40% of its bfloat16 products, layers computed twice, all weights trained. A share of 40% is",
        "an assumption, and no card reaches it with a small model.",
        "",
    ]
    cards = ("rtx4090", "l40s", "a100", "h100")
    rows += ["| model | GFLOP a token | " + " | ".join(cards) + " |", "|---|---|" + "---|" * len(cards)]
    for name in MODELS:
        gflop = known[key_of(name, "sft", "full", 1)]["gflop"]
        each = [f"{0.4 * (CARDS[card].products or 0) / gflop / 1e9:,.0f}" for card in cards]
        rows.append(f"| {name} | {gflop:,.1f} | " + " | ".join(each) + " |")
    return "\n".join(rows)


def main() -> None:
    known: dict[str, dict[str, float]] = json.loads(DATA.read_text()) if DATA.exists() else {}
    if sys.argv[1:] == ["count"]:
        known = {}
    for each in cells():
        if key_of(*each) not in known:
            known[key_of(*each)] = cell(*each)
            print(key_of(*each), known[key_of(*each)], flush=True)
            rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in known.items())
            DATA.write_text("{\n" + rows + "\n}\n", encoding="utf-8")
    PAGE.write_text(page(known), encoding="utf-8")


if __name__ == "__main__":
    main()
