"""PPO: planish beside the last PPO that TRL shipped (trl.experimental.ppo, up to 1.12), in time, parts and first losses.

    python3 -m venv /tmp/trlppo && /tmp/trlppo/bin/pip install torch==2.13.0 trl==1.12.0
    python benchmarks/ppo.py --shape small --trl-python /tmp/trlppo/bin/python
    python benchmarks/ppo.py --shape 135M --trl-python /tmp/trlppo/bin/python --rounds 3 --rows 16 --epochs 2

    planish   the library as it is: RolloutFeed, Clipped, Trainer, train()
    trl       PPOTrainer (ppo_trl.py), no bf16, no gradient checkpointing, with the fastest of `--splits` (rows of a pass of
              learning) and of `--rollout-splits` (rows that are sampled and looked at together)

The same for both: policy, reference, reward model and value model (float32, a copy of the reward model), the prompts of every
iteration, one or four completions of each at temperature 1, AdamW, the learning rate of both models, beta, clip ranges, no
clipping of gradients, no penalty for completions that do not end. A pass over the completions is one optimiser step: TRL
has more only where each is a single forward pass, and else steps once a pass whatever num_mini_batches says. What each
samples is its own, so lengths are the same in distribution. An iteration is everything: sampling, log-probabilities,
values, scores, learning.

Before that, planish is given the completions of TRL's first iteration, and its losses, gradients and advantages are compared.

    no completion ends   The formulas agree but for one thing: TRL whitens with the unbiased variance, so its advantages, policy
                         loss and policy gradient are sqrt((n - 1) / n) times ours, n tokens; the factor is put in.
                         The losses of the first step must agree to 1e-5 (the policy loss is 0 there, so it is compared with
                         the advantages, whose size is 1), its gradients to 1e-4; losses of further steps are printed.
    completions end      TRL adds the score one place behind the end of turn, at a state that is worth V(end), and counts that
                         place in the value loss; ours is added at the end of turn, behind which nothing is worth
                         anything. So losses differ, and by how much is printed. With the score in TRL's place, planish's gae()
                         must give TRL's advantages to 1e-5.

Further differences, which the settings leave out: what is lacking to a completion without an end is taken off its score in TRL,
and is its score here; of a micro-batch TRL takes the mean, and then the mean of those, where planish divides once by the
tokens of the step.

Both take turns (compare.py). The exit status is 1 where what must agree does not, or where an iteration is not as many
times faster as is aimed at.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from asked import ending_model, read
from compare import GB, TOLERANCE, Matmul, spread
from gate import Gate
from turns import SEED, SHAPES, Measured, Process, save_first_gradients, take_turns, use_threads

from planish.data.prompt_dataset import EncodedPrompt, PromptDataset
from planish.data.rows import Message, Origin, Prompt

AIMS = {1: 2.5, 4: 5.0}  # by completions of a prompt
LR, BETA = 1e-7, 0.05  # so small a rate that completions keep their lengths
GRADIENT_TOLERANCE = 1e-4  # what is left of the losses after most of it cancels, in float32


@dataclass(frozen=True)
class Task:
    """What one process needs to know."""

    system: str
    process: Process
    policy: str  # folders
    reward: str
    prompts: list[list[int]]
    count: int  # prompts of an iteration
    completions: int  # of a prompt
    most_tokens: int
    epochs: int
    rounds: int
    iterations: int  # of a round
    threads: int
    python: str  # with trl
    folder: Path
    ends: bool = True  # whether the end-of-turn token ends a completion
    split: int = 0  # TRL: rows of a pass of learning
    rollout_split: int = 0
    replayed: Path | None = None  # TRL's first iteration, to be taken up instead of sampling

    @property
    def rows(self) -> int:
        return self.count * self.completions

    @property
    def book(self) -> PromptDataset:
        asked = [
            EncodedPrompt(Prompt((Message("user", "a prompt"),), Origin("benchmark", i)), tuple(tokens), "benchmark", i)
            for i, tokens in enumerate(self.prompts)
        ]
        return PromptDataset(tuple(asked), (), (), (), SEED)

    def order(self) -> list[list[int]]:
        """The prompts of all iterations, as planish asks them, one for each completion."""
        book, total = self.book, self.rounds * self.iterations
        asked = [each for iteration in range(total) for each in book.of(iteration, self.count)]
        return [list(each.tokens) for each in asked for _ in range(self.completions)]


def save_models(shape: str, template: Any, length: float, folder: Path) -> tuple[str, str]:
    """Writes a policy that ends and a reward model with a fresh head; returns their folders."""
    import torch

    from planish.base.types import Example
    from planish.inference.score_offset import centre
    from planish.models.load import ModelConfig, save_model
    from planish.models.reward_head import Scorer, load_scorer, set_padding

    policy, reward = folder / "policy", folder / "reward"
    save_model(ending_model(shape, template.stop_token_id, length), template.tokenizer, policy)
    cpu = torch.device("cpu")
    model = load_scorer(ModelConfig(path=str(policy)), cpu, SEED)
    set_padding(model, template.tokenizer, template.stop_token_ids)
    scorer, tokens = Scorer(model), np.array([template.stop_token_id], np.int32)
    centre(scorer, [Example(tokens, np.zeros(1, np.bool_), "")], 1, cpu)
    model.config.score_check["scores"] = [scorer.offset]  # TRL knows no offset
    scorer.offset = 0.0
    save_model(model, template.tokenizer, reward)
    return str(policy), str(reward)


# One process


def trl_process(port: Connection, task: Task) -> None:
    """Becomes a process of TRL's own Python."""
    names = ("policy", "reward", "rows", "rounds", "iterations", "epochs", "split", "rollout_split", "most_tokens")
    known = {name: getattr(task, name) for name in (*names, "ends", "threads")}
    path = task.folder / "task.json"
    path.write_text(json.dumps({**known, "folder": str(task.folder), "prompts": task.order(), "lr": LR, "beta": BETA}))
    os.set_inheritable(port.fileno(), True)
    script = Path(__file__).with_name("ppo_trl.py")
    os.execv(task.python, [task.python, str(script), str(port.fileno()), str(path)])


def planish_process(port: Connection, task: Task) -> None:
    import torch

    from planish.methods.base import RunContext
    from planish.methods.ppo.collect import RolloutFeed
    from planish.methods.ppo.models import build_models
    from planish.methods.ppo.objective import PpoObjective
    from planish.methods.ppo.run import PpoMethod
    from planish.methods.run import resolve_micro_tokens
    from planish.models.load import quiet
    from planish.train.loop import LossTerm, train
    from planish.train.optimizer import Trainer
    from planish.train.record import RunRecord, read_lines
    from planish.train.run_folder import RunFolder

    use_threads(task.threads)
    quiet()
    config, cpu, folder = settings(task), torch.device("cpu"), RunFolder(task.folder)
    method = PpoMethod()
    loaded = method.load_model(config, folder, cpu)
    policy = method.as_packed(config, loaded)
    micro_tokens = resolve_micro_tokens(policy, config.batch.micro_tokens, cpu)
    run = RunContext(config, folder, cpu, loaded, policy, micro_tokens)
    tools = build_models(run, task.book)
    value = config.optim.model_copy(update={"lr": config.value.lr})
    trainer = Trainer(tools.actor, config.optim, config.num_steps, {"value": value})
    trainer.kept |= {"beta": tools.beta}
    record = RunRecord(folder, trainer.steps)
    feed = RolloutFeed(run, tools, trainer, record)
    said: dict[str, Any] = {}
    if task.replayed is not None:
        tools.sampler = replaying(task.replayed, task.ends, loaded.template.stop_token_id)
        said["advantages"] = in_trls_places(feed)
        save_first_gradients(trainer.optimizer, tools.actor, task.folder)
    gate = Gate(port, task.iterations * config.steps_of_iteration)
    train([LossTerm(PpoObjective(tools.actor, config, cpu), feed)], trainer, record, [gate])

    lines = read_lines(folder.metrics)
    iterations = [line for line in lines if "iteration" in line]
    said |= {name: [line[name] for line in lines if name in line] for name in ("policy_loss", "value_loss")}
    parts = ("sampling", "log-probabilities", "scoring")
    said |= {f"seconds/{part}": [line[f"seconds/{part}"] for line in iterations] for part in parts}
    port.send({**said, "tokens": [line["completion_tokens"] * task.rows for line in iterations]})


def settings(task: Task) -> Any:
    from planish.base.config import load_config
    from planish.methods.ppo.config import PpoConfig

    return load_config(
        PpoConfig,
        values={
            "model": {"path": task.policy},
            "rewards": {"model": {"name": "model", "path": task.reward}},
            "prompts": {"benchmark": "unread"},
            "iterations": task.rounds * task.iterations,
            "batch": {"prompts": task.count, "completions": task.completions, "epochs": task.epochs},
            "sampling": {"max_completion_tokens": task.most_tokens},
            "missing_eos": None,
            "kl": {"beta": BETA},
            "optim": {"lr": LR, "schedule": "constant", "warmup_ratio": 0.0, "clip_grad_norm": 1e9},
            "value": {"lr": LR},
            "seed": SEED,
            "device": "cpu",
            "out": str(task.folder),
        },
    )


def replaying(path: Path, ends: bool, stop: int) -> Any:
    """A sampler that gives the completions of TRL's first iteration."""
    from planish.inference.decode import Sampled

    with np.load(path) as first:
        responses, lengths = first["responses"].tolist(), first["learnt"].sum(1).tolist()
    drawn = [Sampled(tuple(row[:n]), (0.0,) * n) for row, n in zip(responses, lengths, strict=True)]
    assert all(stop not in each.tokens[:-1] for each in drawn) or not ends

    class Replaying:
        def sample(self, *_: Any) -> list[Sampled]:
            return drawn

        def update(self, *_: Any) -> None: ...

    return Replaying()


def in_trls_places(feed: Any) -> list[list[float]]:
    """The advantages of iteration 0, before whitening, as TRL has them: of each completion that is not the longest, the score
    stands in one place more, which is worth what the value model says of the end of turn."""
    from planish.inference.sequences import sequence_values
    from planish.maths.policy_gradient import gae
    from planish.methods.ppo.rewards import to_example
    from planish.models.reward_head import Scorer

    config, tools = feed.config, feed.tools
    rollouts = tools.sample(tools.prompts.of(0, config.batch.prompts), config.batch.completions, config, ())
    laid = [to_example(each) for each in rollouts]
    score_N = tools.rewards["model"](rollouts)
    after_N = sequence_values(Scorer(tools.actor.value.model), laid, feed.run.micro_tokens, feed.run.device)
    old_M, reference_M, values_M = tools.score_tokens(laid, config, feed.run)
    lengths = [completion.num_tokens for each in rollouts for completion in each.completions]
    rewards_M, ends = -config.kl.beta * (old_M - reference_M), np.cumsum(lengths)
    found: list[list[float]] = []
    for end, length, score, after in zip(ends, lengths, score_N, after_N, strict=True):
        rewards_t, values_t = rewards_M[end - length : end], values_M[end - length : end]
        if length < max(lengths):
            rewards_t, values_t = np.append(rewards_t, 0.0), np.append(values_t, after)
        rewards_t[-1] += score
        found.append(gae(rewards_t, values_t, config.advantage.gamma, config.advantage.gae_lambda)[0].tolist())
    return found


# Whether they compute the same


def check(theirs: Task, ours: Task) -> bool:
    """Gives planish TRL's first iteration, and prints how far what it makes of it agrees; whether that is enough."""
    fits = True
    for ends in (False, True):
        name = "ends" if ends else "whole"
        one = {"ends": ends, "rounds": 1, "iterations": 1}
        trl = replace(theirs, **one, folder=theirs.folder / name)
        [found] = take_turns([trl])
        mine = replace(ours, **one, folder=ours.folder / name, replayed=trl.folder / "first.npz")
        [own] = take_turns([mine])
        with np.load(trl.folder / "first.npz") as first:
            learnt, advantages = first["learnt"], first["advantages"]
        worst = max(
            np.abs(row[: len(each)] - each).max() for row, each in zip(advantages, own.said["advantages"], strict=True)
        )
        each_step = {
            key: np.reshape(found.said[key], (trl.epochs, -1)).mean(1) for key in ("policy_loss", "value_loss")
        }
        factor = float(np.sqrt(1 - 1 / learnt.sum()))
        policy_E = np.abs(each_step["policy_loss"] - factor * np.array(own.said["policy_loss"]))
        value_E = np.abs(np.array(own.said["value_loss"]) / each_step["value_loss"] - 1)
        shifted = float(worst / np.abs(advantages).max())
        if ends:
            print(
                f"completions of {learnt.sum(1).mean():.1f} tokens, each with its own formulas: value loss "
                f"{each_step['value_loss'][0]:.4f} (trl) and {own.said['value_loss'][0]:.4f} (planish); with the score in "
                f"TRL's place, advantages differ by {shifted:.1e} of the largest",
                flush=True,
            )
            fits &= shifted < TOLERANCE
            continue
        gradient, where = worst_gradient(own, found, factor)
        print(
            f"completions of {learnt.shape[1]} tokens, the first step: policy loss differs by {policy_E[0]:.1e}, value loss "
            f"by {value_E[0]:.1e} of it, advantages by {shifted:.1e} of the largest, worst gradient by {gradient:.1e} of its "
            f"largest entry ({where}); further steps: policy loss {policy_E[1:].max(initial=0):.1e}, value loss "
            f"{value_E[1:].max(initial=0):.1e}",
            flush=True,
        )
        fits &= max(policy_E[0], value_E[0], shifted) < TOLERANCE and gradient < GRADIENT_TOLERANCE
    print("the first iteration agrees" if fits else f"MISMATCH: more than {TOLERANCE:.0e}", flush=True)
    return fits


def worst_gradient(ours: Measured, theirs: Measured, factor: float) -> tuple[float, str]:
    """The largest difference of a weight matrix's gradients, relative to their largest entry. TRL's policy learns from
    advantages that are `factor` times ours."""
    found: list[tuple[float, str]] = []
    with np.load(ours.gradients) as own, np.load(theirs.gradients) as other:
        for name in other:
            part, rest = name.split(".", 1)
            mine = own[f"{part}.model.{rest}"] * (factor if part == "policy" else 1.0)
            found.append((float(np.abs(mine - other[name]).max() / np.abs(other[name]).max()), name))
    return max(found)


# How fast they are


def fastest(task: Task, splits: Sequence[int], rollout_splits: Sequence[int]) -> Task:
    """With the rows of a pass with which an iteration is shortest: those of learning first, then those of sampling."""
    best = replace(task, split=splits[0], rollout_split=rollout_splits[0])
    tried: dict[tuple[int, int], float] = {}
    for name, choices in (("split", splits), ("rollout_split", rollout_splits)):
        for choice in choices:
            each = replace(best, **{name: choice})
            key = (each.split, each.rollout_split)
            if key not in tried and len(splits) * len(rollout_splits) > 1:
                trial = replace(each, rounds=2, folder=task.folder / "x".join(map(str, key)))
                [found] = take_turns([trial])
                tried[key] = found.seconds[0]
                print(f"trl, {key[0]} rows a pass, {key[1]} sampled together: {found.seconds[0]:.1f} s", flush=True)
        if tried:
            split, rollout_split = min(tried, key=lambda key: tried[key])
            best = replace(best, split=split, rollout_split=rollout_split)
    return best


def compare(args: argparse.Namespace, completions: int, folder: Path) -> bool:
    """Checks and measures one setting, and prints it; whether what must agree does and the aim is reached."""
    count = args.rows // completions
    iterations = (args.rounds + 1) * args.iterations
    template, prompts = read(SHAPES[args.shape]["vocab_size"], count * iterations)
    policy, reward = save_models(args.shape, template, args.length, folder)
    ours = Task(
        "planish", planish_process, policy, reward, prompts, count, completions, args.max_tokens, args.epochs,
        args.rounds + 1, args.iterations, args.threads, args.trl_python, folder / "planish",
    )  # fmt: skip
    splits = [split for split in args.splits if ours.rows % split == 0]
    rollout_splits = [min(split, ours.rows) for split in args.rollout_splits]
    theirs = replace(ours, system="trl", process=trl_process, folder=folder / "trl")
    print(f"\n{args.shape}, {completions} of each prompt", flush=True)
    checking = replace(theirs, split=splits[0], rollout_split=ours.rows, folder=folder / "check/trl")
    agrees = args.no_check or check(checking, replace(ours, folder=folder / "check/planish"))

    theirs = replace(fastest(theirs, splits, rollout_splits), folder=folder / "trl/run")
    matmul = Matmul(args.threads)
    mine, other = take_turns([ours, theirs], matmul)
    lengths = [len(prompt) for prompt in ours.prompts]
    print(
        f"{args.rounds} rounds of {args.iterations} iterations of {ours.rows} completions, {count} prompts of "
        f"{np.mean(lengths):.0f} tokens (at most {max(lengths)}), {args.epochs} steps"
    )
    columns = ("seconds an iteration", "processor seconds", "tokens of a completion", "peak, GB")
    print(f"{'':36}" + "".join(f"{c:>{w}}" for c, w in zip(columns, (26, 26, 24, 10), strict=True)))
    for task, each in ((ours, mine), (theirs, other)):
        name = f"{task.system}" + (f" ({task.split} rows, {task.rollout_split} sampled)" if task.split else "")
        times = (spread([s / args.iterations for s in some], ".2f") for some in (each.seconds, each.cpu_seconds))
        line = f"{name:36}" + "".join(f"{time:>26}" for time in times)
        tokens = each.said["tokens"][args.iterations :]
        print(f"{line}{np.mean(tokens) / ours.rows:24.1f}{each.peak / GB:10.2f}")
    for task, each in ((ours, mine), (theirs, other)):
        tell_parts(task, each)
    ratios, cpu_ratios = (
        [b / a for a, b in zip(some, more, strict=True)]
        for some, more in ((mine.seconds, other.seconds), (mine.cpu_seconds, other.cpu_seconds))
    )
    floor = ", ".join(f"{size}^3: {median(each) / 1e9:.0f}" for size, each in matmul.rates.items())
    print(f"GFLOP in a processor second of float32 matrix products: {floor}")
    print(f"planish is faster by {spread(ratios, '.2f')}, in processor seconds {spread(cpu_ratios, '.2f')}")
    aim = AIMS.get(completions, 0.0)
    reached = median(ratios) >= aim
    print(f"aim: {aim}; {'reached' if reached else 'MISSED'}", flush=True)
    return agrees and reached


def tell_parts(task: Task, measured: Measured) -> None:
    """Seconds of the parts of a counted iteration, in the mean; planish's learning is what the others leave."""
    parts = {
        key.removeprefix("seconds/"): float(np.mean(each[task.iterations :]))
        for key, each in measured.said.items()
        if key.startswith("seconds/")
    }
    whole = float(np.mean(measured.seconds)) / task.iterations
    parts.setdefault("learning", whole - sum(parts.values()))
    print(f"{task.system}: " + ", ".join(f"{name} {s:.2f} s ({s / whole:.0%})" for name, s in parts.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trl-python", required=True, help="the Python of a virtual environment with trl 1.10 to 1.12")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; one more warms up")
    parser.add_argument("--iterations", type=int, default=1, help="iterations of a round")
    parser.add_argument("--rows", type=int, default=64, help="completions of an iteration")
    parser.add_argument("--completions", type=int, nargs="+", default=[1, 4], help="of each prompt, one after another")
    parser.add_argument("--epochs", type=int, default=4, help="passes over an iteration's completions, a step each")
    parser.add_argument("--length", type=float, default=64, help="mean tokens of completions that are not cut")
    parser.add_argument("--max-tokens", type=int, default=128, help="where completions are cut")
    parser.add_argument("--splits", type=int, nargs="+", default=[4, 8, 16, 32], help="TRL's rows of learning to try")
    parser.add_argument("--rollout-splits", type=int, nargs="+", default=[64, 32, 16], help="TRL's rows of sampling")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 is its own choice")
    parser.add_argument("--no-check", action="store_true", help="only the times")
    args = parser.parse_args()
    if bad := [n for n in args.completions if args.rows % n]:
        parser.error(f"--completions {bad[0]} does not divide --rows {args.rows}")

    print(f"python {' '.join(sys.argv)}")
    with tempfile.TemporaryDirectory() as folder:
        good: list[bool] = []
        for completions in args.completions:
            (place := Path(folder) / str(completions)).mkdir()
            good.append(compare(args, completions, place))
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
