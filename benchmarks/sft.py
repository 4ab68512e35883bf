"""Supervised fine-tuning: planish beside TRL's SFTTrainer, in speed, memory and gradients.

    python benchmarks/sft.py --shape small --rounds 5 --steps 4
    python benchmarks/sft.py --shape 135M --rounds 3 --steps 1

    planish     the library as it is: Likelihood, MixtureFeed, Trainer, train()
    trl best    no bf16, no gradient checkpointing, and the fastest of `--splits` (rows per forward pass)
    trl tuned   the same with rows grouped by length; also with its own fastest split

How they are measured is said in compare.py. Needs the extra `bench` (trl).
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from compare import Bench, main
from turns import MOST_TOKENS, SEED, Task, causal_lm, learnt_template, run_planish, run_trl, trl_order

from planish.data.chat.templates import Encoded
from planish.data.examples import Examples
from planish.data.rows import Origin

DATA = Path(__file__).parents[2] / "shared/data/alpaca/alpaca_en_demo.json.gz"


def planish_process(port: Connection, task: Task) -> None:
    import torch

    from planish.methods.supervised import NextTokenLoss
    from planish.models.packed import CausalLM

    policy = CausalLM(causal_lm(task))
    run_planish(port, task, policy, NextTokenLoss(policy, "token_mean", torch.device("cpu")))


def trl_process(port: Connection, task: Task) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"input_ids": e.tokens.tolist(), "labels": np.where(e.loss_mask, e.tokens, -100).tolist()}
        for e in trl_order(task)
    ]
    tokenised = {"skip_prepare_dataset": True}
    run_trl(port, task, causal_lm(task), rows, SFTTrainer, SFTConfig, dataset_kwargs=tokenised)


def alpaca(path: Path, vocab_size: int) -> Examples:
    """Rows of an Alpaca file through planish's own data path."""
    from planish.data.examples import encode_rows
    from planish.data.formats import import_rows
    from planish.data.rows import Demonstration

    rows = import_rows(path, (Demonstration,)).rows
    template = learnt_template([message.content for row in rows for message in row.messages], vocab_size)
    return encode_rows(rows, template.tokenizer, template, MOST_TOKENS, "cut").examples


def invented(vocab_size: int, count: int = 1000) -> Examples:
    """Random tokens of ragged, log-normal lengths like Alpaca's: a prompt of about 30 and an answer of about 130."""
    chance, examples = np.random.default_rng(SEED), Examples()
    for i in range(count):
        prompt, answer = (int(np.clip(chance.lognormal(mean, 0.9), 4, 500)) for mean in (3.3, 4.6))
        tokens = chance.integers(1, vocab_size, prompt + answer).astype(np.int32)
        examples.append(Encoded(tokens, np.arange(prompt + answer) >= prompt), Origin("invented", i))
    return examples


def read(path: Path, vocab_size: int, count: int) -> Examples:
    return alpaca(path, vocab_size) if path.exists() else invented(vocab_size)


if __name__ == "__main__":
    sys.exit(
        main(
            Bench(
                about=__doc__ or "",
                planish=planish_process,
                trl=trl_process,
                against=("best", "tuned"),
                targets={"small": {"best": 3.0, "tuned": 1.8}, "135M": {"best": 2.3, "tuned": 1.5}},
                memory_target=0.6,
                unit="tokens",
                data=DATA,
                read=read,
            )
        )
    )
