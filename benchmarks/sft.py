"""Supervised fine-tuning: planish beside TRL's SFTTrainer, in speed, memory and gradients.

    python benchmarks/sft.py --shape small --rounds 5 --steps 4
    python benchmarks/sft.py --shape 135M --rounds 3 --steps 1

Every system trains the same fresh model in float32 on the same tokenised rows with the same AdamW, in a process of its
own, through its own public loop. Three of them take turns (A B C A B C ...), so that whatever else the machine does
falls on all alike; round 0 warms up and is not counted. Beside the ratio of times stands that of processor seconds,
which other work on the machine disturbs less.

    planish     the library as it is: Likelihood, MixtureFeed, Trainer, train()
    trl best    no bf16, no gradient checkpointing, and the fastest of `--splits` (rows per forward pass)
    trl tuned   the same, with rows of a round sorted by length before they are cut into steps, which is what
                train_sampling_strategy="group_by_length" does to a stretch of rows; also with its own fastest split

Step 0 has the same rows everywhere: its loss and gradients must agree, or the exit status is 1. Times are only printed.
Needs the extra `bench` (trl).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from planish.base.types import Example
from planish.data.examples import Examples
from planish.data.mixture import Mixture, Stage
from planish.data.templates import Encoded
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
TARGETS = {"small": (3.0, 1.8), "135M": (2.3, 1.5)}  # tokens a second, against trl best and trl tuned
MEMORY_TARGET = 0.6
TOLERANCE = 1e-5  # of loss and gradients, relative to the largest entry of the same weight matrix
MOST_TOKENS, SEED, GB = 1024, 0, 1e9
DATA = Path(__file__).parents[2] / "shared/data/alpaca/alpaca_en_demo.json.gz"


@dataclass(frozen=True)
class Task:
    """What one process needs to know."""

    system: str
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


def planish_process(port: Connection, task: Task) -> None:
    import torch

    from planish.methods.supervised import Likelihood
    from planish.models.forward import CausalLM
    from planish.train.loop import train
    from planish.train.record import Record
    from planish.train.run_folder import RunFolder
    from planish.train.trainer import OptimConfig, Trainer

    policy = CausalLM(_model(task))
    feed = task.feed()
    trainer = Trainer(policy, OptimConfig(schedule="constant", warmup=0.0), feed.steps)
    _save_first_gradients(trainer.optimizer, policy.model, task.folder)
    gate = Gate(port, task.steps)
    record = Record(RunFolder(task.folder), feed.steps)
    train(Likelihood(policy, "token_mean", torch.device("cpu")), feed, trainer, record, [gate])
    first = json.loads((task.folder / "metrics.jsonl").read_text().split("\n")[0])
    port.send({"loss": first["loss"], "grad_norm": first["grad_norm"]})


def trl_process(port: Connection, task: Task) -> None:
    import datasets
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from planish.train.trainer import OptimConfig

    warnings.simplefilter("ignore", FutureWarning)
    model, feed, optim = _model(task), task.feed(), OptimConfig()
    dataset = datasets.Dataset.from_list(
        [
            {"input_ids": e.tokens.tolist(), "labels": np.where(e.loss_mask, e.tokens, -100).tolist()}
            for e in _trl_order(task, feed)
        ]
    )
    first: dict[str, float] = {}

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            _save_first_gradients(kwargs["optimizer"].optimizer, model, task.folder)
            self.gate = Gate(port, task.steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                first.setdefault("loss", logs["loss"])
                first.setdefault("grad_norm", logs["grad_norm"])
                self.gate(state.global_step)

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0})), pad_token="<pad>")
    settings = SFTConfig(
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
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = SFTTrainer(model, settings, train_dataset=dataset, processing_class=tokenizer, callbacks=[Watch()])
    trainer.pop_callback(PrinterCallback)
    trainer.train()
    port.send(first)


def rows_of(feed: MixtureFeed, start: int, steps: int) -> list[Example]:
    """All rows of `steps` steps from `start`."""
    return [row for step in range(start, start + steps) for row in feed.examples(step)]


def _trl_order(task: Task, feed: MixtureFeed) -> list[Example]:
    """The feed's rows in its order; for trl tuned longest first, round 0 within each step, later rounds as a whole."""
    groups = [feed.examples(step) for step in range(feed.steps)]
    if task.system == "trl tuned":
        later = [rows_of(feed, start, task.steps) for start in range(task.steps, feed.steps, task.steps)]
        groups = [sorted(group, key=len, reverse=True) for group in groups[: task.steps] + later]
    return [example for group in groups for example in group]


def _model(task: Task) -> Any:
    import torch

    from planish.models.load import build_model

    if task.threads:
        torch.set_num_threads(task.threads)
    return build_model(_settings(task.shape), SHAPES[task.shape]["vocab_size"], "float32", SEED, torch.device("cpu"))


def _settings(shape: str) -> dict[str, Any]:
    return {"model_type": "llama", "tie_word_embeddings": True, "max_position_embeddings": 2048, **SHAPES[shape]}


def _save_first_gradients(optimizer: Any, model: Any, folder: Path) -> None:
    """Writes the gradients of step 0 as the optimiser meets them, in the order of the model's parameters."""

    def save(*_: Any) -> None:
        handle.remove()
        with (folder / "gradients").open("wb") as file:
            for parameter in model.parameters():
                parameter.grad.numpy().tofile(file)

    handle = optimizer.register_step_pre_hook(save)


def _memory(field: str) -> float:
    """This process's VmRSS (now) or VmHWM (peak), in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


@dataclass
class Measured:
    seconds: list[float]  # of each counted round
    cpu_seconds: list[float]
    baseline: float  # bytes after imports and building
    peak: float
    first: dict[str, float]  # loss and gradient norm of step 0
    gradients: Path


def take_turns(tasks: Sequence[Task], between: Callable[[], None] = lambda: None) -> list[Measured]:
    """Runs all tasks, one at a time, a round each in turn. `between` is called before every round of turns."""
    context = multiprocessing.get_context("spawn")
    ports, processes = [], []
    for task in tasks:
        task.folder.mkdir(parents=True)
        port, theirs = context.Pipe()
        process = context.Process(
            target=planish_process if task.system == "planish" else trl_process, args=(theirs, task)
        )
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
        first = port.recv()
        process.join()
        seconds, cpu_seconds = ([turn[i][key] for turn in turns[1:]] for key in ("seconds", "cpu_seconds"))
        gradients = task.folder / "gradients"
        measured.append(Measured(seconds, cpu_seconds, baselines[i], turns[-1][i]["peak"], first, gradients))
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


def alpaca(path: Path, vocab_size: int) -> Examples:
    """Rows of an Alpaca file through planish's own data path, with a byte-level BPE trained on them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from planish.data.examples import encode_rows
    from planish.data.formats import import_rows
    from planish.data.templates import ChatTemplate, ensure_template

    rows = import_rows(str(path)).rows
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((message.content for row in rows for message in row.messages), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")
    ensure_template(tokenizer)
    return encode_rows(rows, tokenizer, ChatTemplate(tokenizer), MOST_TOKENS, "cut").examples


def invented(vocab_size: int, count: int = 1000) -> Examples:
    """Random tokens of ragged, log-normal lengths like Alpaca's: a prompt of about 30 and an answer of about 130."""
    chance, examples = np.random.default_rng(SEED), Examples()
    for i in range(count):
        prompt, answer = (int(np.clip(chance.lognormal(mean, 0.9), 4, 500)) for mean in (3.3, 4.6))
        tokens = chance.integers(1, vocab_size, prompt + answer).astype(np.int32)
        examples.append(Encoded(tokens, np.arange(prompt + answer) >= prompt), f"row {i}")
    return examples


def flops(shape: str, rows: Sequence[Example]) -> float:
    """Multiplications and additions of one forward and backward pass over `rows`: 6 for each weight of a linear layer
    and token; 12 x width for each pair of tokens that causal attention joins in each layer (QK' and AV, three passes);
    6 for each weight of the head and learnt token. Not counted: embeddings, norms, rotary, softmax, optimiser, and
    whatever is computed twice."""
    s = SHAPES[shape]
    width, layers, kv_share = (
        s["hidden_size"],
        s["num_hidden_layers"],
        s["num_key_value_heads"] / s["num_attention_heads"],
    )
    linear = layers * width * (2 * width * (1 + kv_share) + 3 * s["intermediate_size"])
    tokens = sum(len(row) for row in rows)
    pairs = sum(len(row) * (len(row) + 1) / 2 for row in rows)
    targets = sum(int(row.loss_mask.sum()) for row in rows)
    return 6.0 * linear * tokens + 12.0 * layers * width * pairs + 6.0 * s["vocab_size"] * width * targets


class Matmul:
    """Called now and then: flops of float32 matrix products in a processor second on this machine, by size."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.rates: dict[int, list[float]] = {1024: [], 2048: []}

    def __call__(self) -> None:
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
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


def difference(model: Any, mine: Measured, other: Measured) -> tuple[float, float, float]:
    """Of step 0, relative: loss, gradient norm before clipping, and the largest entry of any gradient."""
    loss, norm = (abs(mine.first[key] / other.first[key] - 1) for key in ("loss", "grad_norm"))
    ours, theirs = (np.memmap(each.gradients, np.float32, "r") for each in (mine, other))
    ends = np.cumsum([parameter.numel() for parameter in model.parameters()])
    parts = zip(np.split(ours, ends[:-1]), np.split(theirs, ends[:-1]), strict=True)
    return loss, norm, max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in parts)


def spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}-{max(values):{form}}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
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
    parser.add_argument("--against", choices=("best", "tuned"), nargs="+", default=["best", "tuned"], help="which TRL")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 is its own choice")
    parser.add_argument("--data", type=Path, default=DATA, help="an Alpaca file; invented rows where there is none")
    args = parser.parse_args()
    if bad := [split for split in args.splits if args.examples % split]:
        parser.error(f"--splits {bad[0]} does not divide --examples {args.examples}")

    vocab_size = SHAPES[args.shape]["vocab_size"]
    examples = alpaca(args.data, vocab_size) if args.data.exists() else invented(vocab_size)
    batch = BatchConfig(examples=args.examples, micro_tokens=args.micro_tokens)
    with tempfile.TemporaryDirectory() as folder:
        tasks = [
            Task(system, args.shape, examples, batch, args.rounds + 1, args.steps, args.threads, Path(folder) / system)
            for system in ("planish", *(f"trl {name}" for name in args.against))
        ]
        tasks[1:] = [
            replace(task, split=fastest_split(task, args.splits), folder=task.folder / "run") for task in tasks[1:]
        ]
        matmul = Matmul(args.threads)
        measured = take_turns(tasks, matmul)
        model = _model(tasks[0])
        differences = [difference(model, measured[0], other) for other in measured[1:]]
    return report(args, tasks, measured, differences, matmul, sum(p.numel() for p in model.parameters()))


def report(
    args: argparse.Namespace,
    tasks: Sequence[Task],
    measured: Sequence[Measured],
    differences: Sequence[tuple[float, float, float]],
    matmul: Matmul,
    num_weights: int,
) -> int:
    feed, mine = tasks[0].feed(), measured[0]
    rounds = [rows_of(feed, start, args.steps) for start in range(args.steps, feed.steps, args.steps)]
    tokens = [sum(len(row) for row in rows) for rows in rounds]
    learnt = sum(int(row.loss_mask.sum()) for rows in rounds for row in rows)
    each_row = sum(tokens) / sum(len(rows) for rows in rounds)
    print(f"\npython benchmarks/sft.py {' '.join(sys.argv[1:])}")
    print(
        f"{args.shape}: {num_weights / 1e6:.1f}M weights; {args.rounds} rounds of {args.steps} steps "
        f"of {args.examples} rows; {each_row:.0f} tokens a row, {learnt / sum(tokens):.0%} of them learnt\n"
    )
    print(f"{'':26}{'':24}{'planish is faster by':^38}{'peak memory, GB':^22}{'planish / it':^18}")
    columns = ("tokens/s", "time", "processor seconds", "peak", "at start", "peak", "above start")
    print(f"{'':26}" + "".join(f"{c:>{w}}" for c, w in zip(columns, (24, 19, 19, 11, 11, 8, 13), strict=True)))
    for task, each in zip(tasks, measured, strict=True):
        name = task.system + (f" ({task.split} rows a pass)" if task.split else "")
        rate = spread([n / s for n, s in zip(tokens, each.seconds, strict=True)], ",.0f")
        line = f"{name:26}{rate:>24}"
        for theirs, ours in ((each.seconds, mine.seconds), (each.cpu_seconds, mine.cpu_seconds)):
            line += f"{spread([t / o for t, o in zip(theirs, ours, strict=True)], '.2f') if task.split else '':>19}"
        grown = (mine.peak - mine.baseline) / (each.peak - each.baseline)
        line += f"{each.peak / GB:11.2f}{each.baseline / GB:11.2f}{mine.peak / each.peak:8.2f}{grown:13.2f}"
        print(line)
    best, tuned = TARGETS[args.shape]
    print(f"targets: {best}x of trl best, {tuned}x of trl tuned, {MEMORY_TARGET} of its peak memory\n")

    rates = ", ".join(f"{size}^3: {median(each) / 1e9:.0f}" for size, each in matmul.rates.items())
    shares = [flops(args.shape, rows) / s / matmul.best for rows, s in zip(rounds, mine.cpu_seconds, strict=True)]
    print(
        f"GFLOP in a processor second: float32 matrix products {rates}; planish's whole step reaches "
        f"{spread(shares, '.0%')} of the faster"
    )
    wrong = False
    for task, each in zip(tasks[1:], differences, strict=True):
        loss, norm, gradient = each
        wrong |= not max(each) < TOLERANCE
        print(
            f"step 0 beside {task.system}: relative difference of the loss {loss:.1e}, gradient norm {norm:.1e}, "
            f"worst gradient {gradient:.1e}"
        )
    print(f"MISMATCH: more than {TOLERANCE:.0e}" if wrong else f"all below {TOLERANCE:.0e}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
