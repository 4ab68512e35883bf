"""One process each for two systems that train on the same rows, and how they take turns (compare.py says what for)."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gate import Gate

from planish.base.types import Example
from planish.data.examples import Examples
from planish.data.mixture.order import Mixture, MixtureStage
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
MOST_TOKENS, SEED = 1024, 0
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
        mixture = Mixture([len(self.examples)], [MixtureStage((num_steps * self.batch.examples,))], SEED)
        bounds = np.arange(num_steps + 1) * self.batch.examples
        return MixtureFeed([self.examples], mixture, bounds, self.batch.micro_tokens or 1)


Process = Callable[[Connection, Task], None]


# One process


def run_planish(port: Connection, task: Task, policy: Any, objective: Any) -> None:
    """All rounds of planish's loop; `policy` is a PackedModel."""
    from planish.methods.run import resolve_micro_tokens
    from planish.train.loop import LossTerm, train
    from planish.train.optimizer import OptimConfig, Trainer
    from planish.train.record import RunRecord, read_lines
    from planish.train.run_folder import RunFolder

    feed, folder = task.feed(), RunFolder(task.folder)
    feed.micro_tokens = resolve_micro_tokens(policy, task.batch.micro_tokens, policy.model.device)
    trainer = Trainer(policy, OptimConfig(schedule="constant", warmup_ratio=0.0), feed.steps)
    save_first_gradients(trainer.optimizer, policy.model, task.folder)
    gate = Gate(port, task.steps)
    train([LossTerm(objective, feed)], trainer, RunRecord(folder, feed.steps), [gate])
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

    from planish.train.optimizer import OptimConfig

    warnings.simplefilter("ignore", FutureWarning)
    datasets.disable_progress_bars()
    feed, optim = task.feed(), OptimConfig()
    seen: dict[str, list[float]] = {"loss": [], "grad_norm": []}

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            save_first_gradients(kwargs["optimizer"].optimizer, model, task.folder)
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
    use_threads(task.threads)
    return fresh_model(task.shape)


def fresh_model(shape: str) -> Any:
    import torch

    from planish.models.load import build_model

    return build_model(settings_of(shape), SHAPES[shape]["vocab_size"], "float32", SEED, torch.device("cpu"))


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

    from planish.data.chat.defaults import ensure_template
    from planish.data.chat.templates import ChatTemplate

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


def save_first_gradients(optimizer: Any, model: Any, folder: Path) -> None:
    """Writes the gradients of step 0 as the optimiser meets them."""

    def save(*_: Any) -> None:
        handle.remove()
        np.savez(folder / "gradients.npz", **{name: p.grad.numpy() for name, p in model.named_parameters()})

    handle = optimizer.register_step_pre_hook(save)


# All of them


class Turn(Protocol):
    """What is known of a process that takes turns: what it runs, how often it stops (round 0 included), and where it writes."""

    @property
    def process(self) -> Callable[[Connection, Any], None]: ...
    @property
    def rounds(self) -> int: ...
    @property
    def folder(self) -> Path: ...


@dataclass
class Measured:
    seconds: list[float]  # of each counted round
    cpu_seconds: list[float]
    baseline: float  # bytes after imports and building
    peak: float
    said: Mapping[str, list[float]]  # the process's last message
    gradients: Path

    @property
    def losses(self) -> list[float]:
        """Of each step of round 0."""
        return self.said["loss"]

    @property
    def grad_norm(self) -> float:
        """Of step 0."""
        return self.said["grad_norm"][0]


def take_turns(tasks: Sequence[Turn], between: Callable[[], None] = lambda: None) -> list[Measured]:
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
        said = port.recv()
        process.join()
        seconds, cpu_seconds = ([turn[i][key] for turn in turns[1:]] for key in ("seconds", "cpu_seconds"))
        peak, gradients = turns[-1][i]["peak"], task.folder / "gradients.npz"
        measured.append(Measured(seconds, cpu_seconds, baselines[i], peak, said, gradients))
    return measured
