"""What the benchmarks of training share: systems that take turns on the same rows, and the table of what came of it.

Every system trains the same fresh model in float32 on the same tokenised rows with the same AdamW, in a process of its
own, through its own public loop. The processes take turns (A B C A B C ...), so that whatever else the machine does
falls on all alike; round 0 warms up and is not counted. Beside the ratio of times stands that of processor seconds,
which other work on the machine disturbs less. TRL has no bf16 and no gradient checkpointing, and of `--splits` (rows of
a forward pass) the one with which it is fastest.

    trl tuned   TRL with the rows of a round sorted by length before they are cut into steps, which is what
                train_sampling_strategy="group_by_length" does to a stretch of rows

Step 0 has the same rows everywhere, and so has each further step of round 0. The loss and the gradients of step 0 must
agree, or the exit status is 1; the losses of the further steps are compared and printed, and so are the times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from turns import SHAPES, Measured, Process, Task, rows_of, take_turns, use_threads

from planish.base.types import Example, pack
from planish.data.examples import Examples
from planish.train.feed import BatchConfig

TOLERANCE = 1e-5  # of loss and gradients, relative to the largest entry of the same weight matrix
GB = 1e9


@dataclass(frozen=True)
class Bench:
    """What one script compares."""

    about: str
    planish: Process
    trl: Process
    against: tuple[str, ...]  # TRL's ways
    targets: Mapping[str, Mapping[str, float]]  # for each shape, how many times faster than each way
    memory_target: float  # of the first way's peak
    unit: str  # "tokens" or "pairs": what speed counts
    data: Path
    read: Callable[[Path, int, int], Examples]  # from the file if it exists: vocabulary, rows that are needed at most
    head: bool = True  # whether learnt tokens go through an output head


def main(bench: Bench) -> int:
    parser = argparse.ArgumentParser(description=bench.about.split("\n", 1)[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; one more warms up")
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    parser.add_argument("--examples", type=int, default=16, help="rows of a step")
    parser.add_argument("--micro-tokens", type=int, help="planish's batch.micro_tokens; absent is its own choice")
    parser.add_argument(
        "--splits", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="TRL's rows of a forward pass to try"
    )
    parser.add_argument("--against", choices=bench.against, nargs="+", default=list(bench.against), help="which TRL")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 is its own choice")
    parser.add_argument("--data", type=Path, default=bench.data, help="invented rows where there is no such file")
    args = parser.parse_args()
    if bad := [split for split in args.splits if args.examples % split]:
        parser.error(f"--splits {bad[0]} does not divide --examples {args.examples}")

    rounds = args.rounds + 1
    examples = bench.read(args.data, SHAPES[args.shape]["vocab_size"], rounds * args.steps * args.examples)
    batch = BatchConfig(examples=args.examples, micro_tokens=args.micro_tokens)
    with tempfile.TemporaryDirectory() as folder:

        def task(system: str, process: Process) -> Task:
            place = Path(folder) / system
            return Task(system, process, args.shape, examples, batch, rounds, args.steps, args.threads, place)

        tasks = [task("planish", bench.planish)]
        for each in (task(f"trl {name}", bench.trl) for name in args.against):
            tasks.append(replace(each, split=fastest_split(each, args.splits), folder=each.folder / "run"))
        matmul = Matmul(args.threads)
        measured = take_turns(tasks, matmul)
        differences = [difference(measured[0], other) for other in measured[1:]]
        with np.load(measured[0].gradients) as gradients:
            num_weights = sum(gradients[name].size for name in gradients)
    report(bench, args, tasks, measured, matmul, num_weights)
    return verdict(tasks[1:], differences)


def fastest_split(task: Task, splits: Sequence[int]) -> int:
    """The number of rows of one forward pass with which TRL is fastest, each tried for a round."""
    if len(splits) == 1:
        return splits[0]
    seconds = []
    for split in splits:
        [tried] = take_turns([replace(task, split=split, rounds=2, folder=task.folder / f"split{split}")])
        seconds += tried.seconds
        print(
            f"{task.system}, {split} rows a pass: a round takes {tried.seconds[0]:.1f} s, {tried.cpu_seconds[0]:.1f} "
            f"processor seconds and {tried.peak / GB:.1f} GB",
            flush=True,
        )
    return splits[seconds.index(min(seconds))]


def report(
    bench: Bench,
    args: argparse.Namespace,
    tasks: Sequence[Task],
    measured: Sequence[Measured],
    matmul: Matmul,
    num_weights: int,
) -> None:
    feed, mine = tasks[0].feed(), measured[0]
    rounds = [rows_of(feed, start, args.steps) for start in range(args.steps, feed.steps, args.steps)]
    tokens, num_rows = [sum(len(row) for row in rows) for rows in rounds], args.steps * args.examples
    amounts = tokens if bench.unit == "tokens" else [num_rows] * len(rounds)
    learnt = sum(int(row.loss_mask.sum()) for rows in rounds for row in rows)
    print(f"\npython {sys.argv[0]} {' '.join(sys.argv[1:])}")
    print(
        f"{args.shape}: {num_weights / 1e6:.1f}M weights; {args.rounds} rounds of {args.steps} steps of "
        f"{args.examples} rows; {sum(tokens) / num_rows / len(rounds):.0f} tokens a row, {learnt / sum(tokens):.0%} of "
        "them learnt\n"
    )
    print(f"{'':26}{'':24}{'planish is faster by':^38}{'peak memory, GB':^22}{'planish / it':^18}")
    columns = (f"{bench.unit}/s", "time", "processor seconds", "peak", "at start", "peak", "above start")
    print(f"{'':26}" + "".join(f"{c:>{w}}" for c, w in zip(columns, (24, 19, 19, 11, 11, 8, 13), strict=True)))
    for task, each in zip(tasks, measured, strict=True):
        name = task.system + (f" ({task.split} rows a pass)" if task.split else "")
        form = ",.0f" if bench.unit == "tokens" else ",.2f"
        rate = spread([n / s for n, s in zip(amounts, each.seconds, strict=True)], form)
        line = f"{name:26}{rate:>24}"
        for theirs, ours in ((each.seconds, mine.seconds), (each.cpu_seconds, mine.cpu_seconds)):
            line += f"{spread([t / o for t, o in zip(theirs, ours, strict=True)], '.2f') if task.split else '':>19}"
        grown = (mine.peak - mine.baseline) / (each.peak - each.baseline)
        line += f"{each.peak / GB:11.2f}{each.baseline / GB:11.2f}{mine.peak / each.peak:8.2f}{grown:13.2f}"
        print(line)
    targets = ", ".join(f"{target}x of trl {name}" for name, target in bench.targets[args.shape].items())
    print(f"targets: {targets}; {bench.memory_target} of trl {bench.against[0]}'s peak memory\n")

    rates = ", ".join(f"{size}^3: {median(each) / 1e9:.0f}" for size, each in matmul.rates.items())
    work = [flops(args.shape, rows, bench.head) for rows in rounds]
    shares = [each / s / matmul.best for each, s in zip(work, mine.cpu_seconds, strict=True)]
    print(
        f"GFLOP in a processor second: float32 matrix products {rates}; planish's whole step reaches "
        f"{spread(shares, '.0%')} of the faster"
    )


def verdict(tasks: Sequence[Task], differences: Sequence[Difference]) -> int:
    """Prints how far step 0 agrees; 1 where it does not."""
    for task, each in zip(tasks, differences, strict=True):
        print(
            f"step 0 beside {task.system}: relative difference of the loss {each.loss:.1e}, gradient norm "
            f"{each.grad_norm:.1e}, worst gradient {each.gradient:.1e} ({each.worst}); losses of the further steps of "
            f"round 0: {each.later:.1e}"
        )
    wrong = any(not max(each.loss, each.grad_norm, each.gradient) < TOLERANCE for each in differences)
    print(f"MISMATCH: more than {TOLERANCE:.0e}" if wrong else f"step 0: all below {TOLERANCE:.0e}")
    return int(wrong)


class Matmul:
    """Called now and then: flops of float32 matrix products in a processor second on this machine, by size."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.rates: dict[int, list[float]] = {1024: [], 2048: []}

    def __call__(self) -> None:
        import torch

        use_threads(self.threads)
        for size, rates in self.rates.items():
            a, b, seconds = torch.rand(size, size), torch.rand(size, size), []
            for _ in range(6):
                began = time.process_time()
                a @ b
                seconds.append(time.process_time() - began)
            rates.append(2 * size**3 / median(seconds[1:]))

    @property
    def best(self) -> float:
        return max(median(rates) for rates in self.rates.values())


def flops(shape: str, rows: Sequence[Example], head: bool) -> float:
    """Multiplications and additions of one forward and backward pass over `rows`, a prompt once for all completions
    behind it: 6 for each weight of a linear layer and token; 12 x width for each pair of tokens that causal attention
    joins in each layer (QK' and AV, three passes); 6 for each weight of the head and learnt token. Not counted:
    embeddings, norms, rotary, softmax, optimiser, and whatever is computed twice."""
    s = SHAPES[shape]
    width, layers = s["hidden_size"], s["num_hidden_layers"]
    kv_share = s["num_key_value_heads"] / s["num_attention_heads"]
    linear = layers * width * (2 * width * (1 + kv_share) + 3 * s["intermediate_size"])
    laid = pack(rows)
    lengths = np.diff(laid.bounds)
    prefixes = np.array([stop - start for start, stop in laid.prefixes])
    pairs = float((lengths * (lengths + 1) / 2 + lengths * prefixes).sum())
    targets = laid.num_targets if head else 0
    return 6.0 * linear * laid.num_tokens + 12.0 * layers * width * pairs + 6.0 * s["vocab_size"] * width * targets


@dataclass(frozen=True)
class Difference:
    """Between two systems, relative; of a gradient, relative to its largest entry."""

    loss: float
    grad_norm: float
    gradient: float  # the worst of all
    worst: str  # its name
    later: float  # the worst loss of the further steps of round 0


def difference(mine: Measured, other: Measured) -> Difference:
    losses = [abs(a / b - 1) for a, b in zip(mine.losses, other.losses, strict=True)]
    with np.load(mine.gradients) as ours, np.load(other.gradients) as theirs:
        worst, gradient = max(
            ((name, float(np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max())) for name in theirs),
            key=lambda each: each[1],
        )
    return Difference(losses[0], abs(mine.grad_norm / other.grad_norm - 1), gradient, worst, max(losses[1:], default=0))


def spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}-{max(values):{form}}]"
