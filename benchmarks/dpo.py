"""Direct preference optimisation: planish beside TRL's DPOTrainer, in speed, memory and gradients.

    python benchmarks/dpo.py --shape small --rounds 5 --steps 4
    python benchmarks/dpo.py --shape 135M --rounds 3 --steps 1

    planish      the library as it is: CausalLM, Preference, MixtureFeed, Trainer, train(), and the reference's
                 log-probabilities computed once, before the first step (attach_reference), as every run of it does
    trl best     the reference computed in every step, as TRL does by default; no bf16, no gradient checkpointing, and the
                 fastest of `--splits` (pairs per forward pass)
    trl cached   the same with precompute_ref_log_probs, before the first step
    trl tuned    that, with pairs grouped by the longer of their conversations; each with its own fastest split

planish's reference is cached in all three comparisons. What computing it took is printed and is in no ratio: in a run of
one epoch every pair costs that once. Both losses are -log sigmoid(beta h) with beta 0.1, the mean over the pairs of a step,
log-probabilities summed over the completion, its end included; TRL's defaults are just that. Its own tokenisation is
skipped: it is given the numbers of prompt, chosen and rejected. The reference is the policy as it starts, so the
loss of step 0 is ln 2 for whatever log-probabilities, and step 0 is checked by its gradients.

How they are measured is said in compare.py. Needs the extra `bench` (trl).
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from compare import Bench, main
from pairs import DATA, longer, parts, read
from turns import Task, causal_lm, run_planish, run_trl, trl_order


def planish_process(port: Connection, task: Task) -> None:
    import torch

    from planish.inference.reference_log_probs import attach_reference, digest_weights
    from planish.methods.dpo import DpoObjective
    from planish.methods.preference_losses import Dpo
    from planish.methods.run import resolve_micro_tokens
    from planish.models.packed import CausalLM

    cpu, policy, path = torch.device("cpu"), CausalLM(causal_lm(task)), task.folder / "reference.safetensors"
    began, cpu_began = time.perf_counter(), time.process_time()
    digest = digest_weights(policy.model)
    micro_tokens = resolve_micro_tokens(policy, task.batch.micro_tokens, cpu)
    attach_reference(policy, digest, {"pairs": task.examples}, path, micro_tokens, cpu)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    num = len(task.examples)
    print(
        f"planish's reference: {num} pairs in {seconds:.1f} s, {num / seconds:.2f} a second, {cpu_seconds:.1f} "
        "processor seconds, beside the start of the other processes",
        flush=True,
    )
    run_planish(port, task, policy, DpoObjective(policy, Dpo(beta=0.1), cpu))


def trl_process(port: Connection, task: Task) -> None:
    os.environ["TQDM_DISABLE"] = "1"
    from trl import DPOConfig, DPOTrainer

    class Tokenised(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    rows = [
        dict(zip(("prompt_ids", "chosen_ids", "rejected_ids"), parts(row), strict=True))
        for row in trl_order(task, longer)
    ]
    cached = task.system != "trl best"
    trainer = partial(Tokenised, ref_model=None if cached else causal_lm(task))
    run_trl(port, task, causal_lm(task), rows, trainer, DPOConfig, beta=0.1, precompute_ref_log_probs=cached)


if __name__ == "__main__":
    sys.exit(
        main(
            Bench(
                about=__doc__ or "",
                planish=planish_process,
                trl=trl_process,
                against=("best", "cached", "tuned"),
                targets={"small": {"best": 4.5, "tuned": 2.3}, "135M": {"best": 3.0, "tuned": 2.3}},
                memory_target=0.5,
                unit="pairs",
                data=DATA,
                read=read,
            )
        )
    )
