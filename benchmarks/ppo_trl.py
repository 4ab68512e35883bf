"""TRL's side of ppo.py, in a virtual environment of its own that has no planish. ppo.py starts it and says what it needs.

Nothing of TRL is changed. Three functions of its module are listened to, for the times of an iteration's parts and, in the
check, for what the first iteration consists of.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ |= {"TQDM_DISABLE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from gate import Gate
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)
from transformers.utils import logging
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer


class Ear:
    """What goes through some functions of TRL's module, and when."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {"sampling": [], "log-probabilities and scoring": [], "learning": []}
        self.tokens: list[float] = []
        self.first: dict[str, Any] = {}  # of the first iteration
        self.means: list[float] = []  # masked means since the advantages were whitened, in order
        self.last = 0.0
        for name in ("batch_generation", "masked_whiten", "masked_mean"):
            self.listen(name)

    def listen(self, name: str) -> None:
        function, heard = getattr(ppo_trainer, name), getattr(self, name)

        def listening(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            heard(result, *args)
            return result

        setattr(ppo_trainer, name, listening)

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part].append(now - self.last)
        self.last = now

    def batch_generation(self, result: Any, model: Any, queries: Any, rows: int, pad: int, *_: Any) -> None:
        self.lap("sampling")
        sequences = result[0]
        self.tokens.append(float((sequences[:, queries.shape[1] :] != pad).sum()))
        self.first.setdefault("queries", queries.numpy())
        self.first.setdefault("responses", sequences[:, queries.shape[1] :].numpy())

    def masked_whiten(self, result: Any, values: Any, mask: Any, **_: Any) -> None:
        self.lap("log-probabilities and scoring")
        self.first.setdefault("advantages", values.numpy())
        self.first.setdefault("learnt", mask.numpy())
        self.means.clear()

    def masked_mean(self, result: Any, *_: Any) -> None:
        self.means.append(result.item())

    def losses(self) -> dict[str, list[float]]:
        """Of each micro-batch of an iteration: its masked means are those of twice the value loss, of a share, of the policy
        loss, and of a share."""
        return {"policy_loss": self.means[2::4], "value_loss": [mean / 2 for mean in self.means[0::4]]}


def main(port: Connection, task: dict[str, Any]) -> None:
    warnings.simplefilter("ignore", FutureWarning)
    logging.set_verbosity_error()
    disable_progress_bars()
    if task["threads"]:
        torch.set_num_threads(task["threads"])
    folder, ear = Path(task["folder"]), Ear()

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **kwargs: Any) -> None:
            self.gate = Gate(port, task["iterations"])
            ear.last = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ear.lap("learning")
            if "losses" not in ear.first:
                ear.first["losses"] = ear.losses()
            self.gate(state.global_step)
            ear.last = time.perf_counter()

    tokenizer = AutoTokenizer.from_pretrained(task["policy"], padding_side="left")
    policy, reference = (AutoModelForCausalLM.from_pretrained(task["policy"], dtype=torch.float32) for _ in range(2))
    value, reward = (
        AutoModelForSequenceClassification.from_pretrained(task["reward"], dtype=torch.float32) for _ in range(2)
    )
    iterations, rows = task["rounds"] * task["iterations"], task["rows"]
    config = PPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=task["split"],
        gradient_accumulation_steps=rows // task["split"],
        local_rollout_forward_batch_size=task["rollout_split"],
        total_episodes=iterations * rows,
        num_mini_batches=1,
        num_ppo_epochs=task["epochs"],
        response_length=task["most_tokens"],
        stop_token="eos" if task["ends"] else None,
        temperature=1.0,
        kl_coef=task["beta"],
        num_sample_generations=0,
        bf16=False,
        gradient_checkpointing=False,
        optim="adamw_torch_fused",
        learning_rate=task["lr"],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    # One batch more than is used: in the last one of its loader, accelerate would step at every micro-batch.
    queries = Dataset.from_list([{"input_ids": ids} for ids in [*task["prompts"], *task["prompts"][:rows]]])
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=value,
        train_dataset=queries,
        callbacks=[Watch()],
    )
    trainer.remove_callback(PrinterCallback)
    ordered = DataLoader(queries, batch_size=rows, collate_fn=trainer.data_collator)  # its own would shuffle
    trainer.dataloader = trainer.accelerator.prepare(ordered)

    def save(*_: Any) -> None:
        handle.remove()
        models = {"policy": policy, "value": value}
        named = {f"{part}.{name}": p for part, model in models.items() for name, p in model.named_parameters()}
        np.savez(folder / "gradients.npz", **{name: p.grad.numpy() for name, p in named.items() if p.grad is not None})

    handle = trainer.optimizer.optimizer.register_step_pre_hook(save)
    trainer.train()
    losses = ear.first.pop("losses")
    np.savez(folder / "first.npz", **ear.first)
    port.send({**losses, "tokens": ear.tokens, **{f"seconds/{part}": each for part, each in ear.seconds.items()}})


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
