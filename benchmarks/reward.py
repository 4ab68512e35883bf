"""Reward models: planish beside TRL's RewardTrainer, in speed, memory and gradients.

    python benchmarks/reward.py --shape small --rounds 5 --steps 4
    python benchmarks/reward.py --shape 135M --rounds 3 --steps 1

    planish     the library as it is: Scorer, BradleyTerryObjective, MixtureFeed, Trainer, train()
    trl best    no bf16, no gradient checkpointing, and the fastest of `--splits` (pairs per forward pass)
    trl tuned   the same with pairs grouped by the longer of their conversations; also with its own fastest split

Both train transformers' AutoModelForSequenceClassification, head included, on -log sigmoid(r_chosen - r_rejected), the
mean over the pairs of a step; TRL's default is just that. It is given token numbers (`chosen_ids`, `rejected_ids`), which
it takes as they are. A score is read at the last token that is not padding, so no row holds the padding token.

How they are measured is said in compare.py. Needs the extra `bench` (trl).
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from typing import Any

from compare import Bench, main
from pairs import DATA, longer, parts, read
from turns import PAD, SEED, Task, run_planish, run_trl, settings_of, trl_order, use_threads


def planish_process(port: Connection, task: Task) -> None:
    import torch

    from planish.methods.reward_model import BradleyTerryObjective, RewardConfig
    from planish.models.reward_head import Scorer

    scorer = Scorer(classifier(task))
    nowhere = {"path": "none"}  # rows and model are at hand
    config = RewardConfig.model_validate({"out": "none", "model": nowhere, "data": {"sources": {"pairs": nowhere}}})
    run_planish(port, task, scorer, BradleyTerryObjective(scorer, config, torch.device("cpu")))


def trl_process(port: Connection, task: Task) -> None:
    from trl import RewardConfig, RewardTrainer

    rows = []
    for row in trl_order(task, longer):
        prompt, chosen, rejected = parts(row)
        rows.append({"chosen_ids": prompt + chosen, "rejected_ids": prompt + rejected})
    run_trl(port, task, classifier(task), rows, RewardTrainer, RewardConfig)


def classifier(task: Task) -> Any:
    """A model with one number for a text, with fresh weights, the same in every process."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    use_threads(task.threads)
    settings = settings_of(task.shape)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings, num_labels=1, pad_token_id=PAD)
    torch.manual_seed(SEED)
    return AutoModelForSequenceClassification.from_config(config).eval()


if __name__ == "__main__":
    sys.exit(
        main(
            Bench(
                about=__doc__ or "",
                planish=planish_process,
                trl=trl_process,
                against=("best", "tuned"),
                targets={"small": {"best": 3.0, "tuned": 2.0}, "135M": {"best": 2.5, "tuned": 2.0}},
                memory_target=0.5,
                unit="pairs",
                data=DATA,
                read=read,
                head=False,
            )
        )
    )
