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
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from planish.base.types import Example, pack
from planish.data.examples import Examples
from planish.data.mixture import Mixture, Stage
from planish.train.feed import BatchConfig, MixtureFeed

SHAPES: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 192,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "intermediate_size": 512,
        "vocab_size": 6144,
    },
    "135M": {  # SmolLM2-135M
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "vocab_size": 49152,
    },
}
TOLERANCE = 1e-5  # of loss and gradients, relative to the largest entry of the same weight matrix
MOST_TOKENS, SEED, GB = 1024, 0, 1e9
PAD = 0  # a token that no row holds


@dataclass(frozen=True)
class Task:
    """What one process needs to know."""

    system: str
    process: Process
    shape: str
    examples: Examples
    batch: BatchConfig
    rounds: int  # with round 0
    steps: int  # of one round
    threads: int  # 0 leaves it to torch
    folder: Path
    split: int = 0  # TRL: rows of one forward pass

    def feed(self) -> MixtureFeed:
        """The order of all rows, cut into steps."""
        num_steps = self.rounds * self.steps
        mixture = Mixture([len(self.examples)], [Stage((num_steps * self.batch.examples,))], SEED)
        bounds = np.arange(num_steps + 1) * self.batch.examples
        return MixtureFeed([self.examples], mixture, bounds, self.batch.micro_tokens)


Process = Callable[[Connection, Task], None]


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


# One process


class Gate:
    """Stops at the end of every round, says how long it took, and waits for its next turn."""

    def __init__(self, port: Connection, steps: int) -> None:
        self.port, self.steps = port, steps
        self.wait({"baseline": _memory("VmRSS")})
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading

    def wait(self, message: dict[str, float]) -> None:
        self.port.send(message)
        self.port.recv()
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def __call__(self, step: int) -> None:
        if step % self.steps == 0:
            seconds, cpu_seconds = time.perf_counter() - self.began, time.process_time() - self.cpu_began
            self.wait({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": _memory("VmHWM")})


def run_planish(port: Connection, task: Task, policy: Any, objective: Any) -> None:
    """All rounds of planish's loop; `policy` is a PackedModel."""
    from planish.train.loop import train
    from planish.train.record import Record, read_lines
    from planish.train.run_folder import RunFolder
    from planish.train.trainer import OptimConfig, Trainer

    feed, folder = task.feed(), RunFolder(task.folder)
    trainer = Trainer(policy, OptimConfig(schedule="constant", warmup=0.0), feed.steps)
    _save_first_gradients(trainer.optimizer, policy.model, task.folder)
    gate = Gate(port, task.steps)
    train(objective, feed, trainer, Record(folder, feed.steps), [gate])
    lines = read_lines(folder.metrics)[: task.steps]
    port.send({key: [line[key] for line in lines] for key in ("loss", "grad_norm")})


def run_trl(
    port: Connection,
    task: Task,
    model: Any,
    rows: list[dict[str, list[int]]],
    trainer_class: Callable[..., Any],
    config_class: Callable[..., Any],
    **settings: Any,
) -> None:
    """All rounds of TRL's loop over tokenised `rows`; `settings` are those of the method."""
    import datasets
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback

    from planish.train.trainer import OptimConfig

    warnings.simplefilter("ignore", FutureWarning)
    datasets.disable_progress_bars()
    feed, optim = task.feed(), OptimConfig()
    seen: dict[str, list[float]] = {"loss": [], "grad_norm": []}

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            _save_first_gradients(kwargs["optimizer"].optimizer, model, task.folder)
            self.gate = Gate(port, task.steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                for key, values in seen.items():
                    values.append(logs[key])
                self.gate(state.global_step)

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<pad>": PAD})), pad_token="<pad>")
    config = config_class(
        output_dir=str(task.folder),
        per_device_train_batch_size=task.split,
        gradient_accumulation_steps=task.batch.examples // task.split,
        max_steps=feed.steps,
        train_sampling_strategy="sequential",
        max_length=None,
        bf16=False,
        gradient_checkpointing=False,
        optim="adamw_torch_fused",
        learning_rate=optim.lr,
        adam_beta1=optim.betas[0],
        adam_beta2=optim.betas[1],
        adam_epsilon=optim.eps,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.clip_grad_norm,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **settings,
    )
    dataset = datasets.Dataset.from_list(rows)
    trainer = trainer_class(
        model=model, args=config, train_dataset=dataset, processing_class=tokenizer, callbacks=[Watch()]
    )
    trainer.pop_callback(PrinterCallback)
    trainer.train()
    port.send({key: values[: task.steps] for key, values in seen.items()})


def trl_order(task: Task, length: Callable[[Example], int] = len) -> list[Example]:
    """The rows in the feed's order; for trl tuned longest first, round 0 within each step, later rounds as a whole."""
    feed = task.feed()
    groups = [feed.examples(step) for step in range(feed.steps)]
    if task.system == "trl tuned":
        later = [rows_of(feed, start, task.steps) for start in range(task.steps, feed.steps, task.steps)]
        groups = [sorted(group, key=length, reverse=True) for group in groups[: task.steps] + later]
    return [example for group in groups for example in group]


def rows_of(feed: MixtureFeed, start: int, steps: int) -> list[Example]:
    """All rows of `steps` steps from `start`."""
    return [row for step in range(start, start + steps) for row in feed.examples(step)]


def causal_lm(task: Task) -> Any:
    """The model with fresh weights, the same in every process."""
    import torch

    from planish.models.load import build_model

    use_threads(task.threads)
    vocab_size = SHAPES[task.shape]["vocab_size"]
    return build_model(settings_of(task.shape), vocab_size, "float32", SEED, torch.device("cpu"))


def settings_of(shape: str) -> dict[str, Any]:
    return {"model_type": "llama", "tie_word_embeddings": True, "max_position_embeddings": 2048, **SHAPES[shape]}


def use_threads(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)


def learnt_template(texts: Sequence[str], vocab_size: int) -> Any:
    """planish's chat template with a byte-level BPE trained on the texts. Token PAD is in no text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from planish.data.templates import ChatTemplate, ensure_template

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|pad|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", pad_token="<|pad|>")
    ensure_template(tokenizer)
    return ChatTemplate(tokenizer)


def _save_first_gradients(optimizer: Any, model: Any, folder: Path) -> None:
    """Writes the gradients of step 0 as the optimiser meets them."""

    def save(*_: Any) -> None:
        handle.remove()
        np.savez(folder / "gradients.npz", **{name: p.grad.numpy() for name, p in model.named_parameters()})

    handle = optimizer.register_step_pre_hook(save)


def _memory(field: str) -> float:
    """This process's VmRSS (now) or VmHWM (peak), in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


# All of them


@dataclass
class Measured:
    seconds: list[float]  # of each counted round
    cpu_seconds: list[float]
    baseline: float  # bytes after imports and building
    peak: float
    losses: list[float]  # of each step of round 0
    grad_norm: float  # of step 0
    gradients: Path


def take_turns(tasks: Sequence[Task], between: Callable[[], None] = lambda: None) -> list[Measured]:
    """Runs all tasks, one at a time, a round each in turn. `between` is called before every round of turns."""
    context = multiprocessing.get_context("spawn")
    ports, processes = [], []
    for task in tasks:
        task.folder.mkdir(parents=True)
        port, theirs = context.Pipe()
        process = context.Process(target=task.process, args=(theirs, task), daemon=True)
        process.start()
        theirs.close()
        ports.append(port)
        processes.append(process)
    baselines = [port.recv()["baseline"] for port in ports]
    turns: list[list[dict[str, float]]] = []
    for _ in range(tasks[0].rounds):
        between()
        turn = []
        for port in ports:
            port.send("go")
            turn.append(port.recv())
        turns.append(turn)
    measured = []
    for i, (task, port, process) in enumerate(zip(tasks, ports, processes, strict=True)):
        port.send("go")
        seen = port.recv()
        process.join()
        seconds, cpu_seconds = ([turn[i][key] for turn in turns[1:]] for key in ("seconds", "cpu_seconds"))
        peak, gradients = turns[-1][i]["peak"], task.folder / "gradients.npz"
        measured.append(
            Measured(seconds, cpu_seconds, baselines[i], peak, seen["loss"], seen["grad_norm"][0], gradients)
        )
    return measured


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


def main(bench: Bench) -> int:
    parser = argparse.ArgumentParser(description=bench.about.split("\n", 1)[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; one more warms up")
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    parser.add_argument("--examples", type=int, default=16, help="rows of a step")
    parser.add_argument(
        "--micro-tokens", type=int, default=BatchConfig().micro_tokens, help="planish's batch.micro_tokens"
    )
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
