"""Preparing data: speed beside TRL's own preparation, and memory over a file of many rows.

    python benchmarks/data.py speed --tokens 1000000 --rounds 5 --workers 1 2
    python benchmarks/data.py memory --rows 300000
    python benchmarks/data.py hygiene --rows 300000

`speed` writes chat rows to a jsonl file and has two systems make packed training rows of it, from the file on, in
processes of their own that take turns. TRL reads it with `datasets`, renders, tokenises, masks all but the assistant's
words and packs (SFTTrainer with assistant_only_loss and packing). planish reads it twice, splits off held-out rows,
renders, tokenises, masks, plans the order of one epoch and packs every step. Workers are TRL's dataset_num_proc and
planish's tokeniser threads; each system gets as many cores. Both must learn the same tokens of the same rows, or the exit
status is 1.

`memory` prepares a file of many rows and prints, row by row, what the process holds: memory of its own, and pages of
files that the system may take back at any time. Then a second process asks for the order from the middle on.

`hygiene` cleans made-up rows of 100 words, a tenth of which are an earlier row with one word changed, by one rule at a time.
It prints processor seconds for each 1,000 rows, without those that making the rows takes, and the memory that was added.

Needs the extra `bench` (trl) and the model of `planish model get smollm2`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

SHARED = Path(__file__).parents[2] / "shared/data"
MODEL = Path(__file__).parents[1] / "models/smollm2"
MOST_TOKENS, BATCH_TOKENS, SEED = 1024, 1024, 0
CHATML = (  # TRL finds the assistant's words by the `generation` marks
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# Speed


def chat_rows() -> Iterator[dict[str, Any]]:
    """Real rows of one and of several turns, in turn, again and again; each is told apart by a number at its start."""
    from planish.data.formats import import_rows
    from planish.data.rows import Demonstration

    names = ("alpaca/alpaca_en_demo.json.gz", "oasst/en_100_tree.jsonl.gz", "sharegpt/dummy_conversation.json")
    rows = [row for name in names for row in import_rows(SHARED / name, (Demonstration,)).rows]
    number = 0
    while True:
        for row in rows:
            number += 1
            turns = [{"role": message.role, "content": message.content} for message in row.messages]
            turns[0]["content"] = f"({number}) {turns[0]['content']}"
            yield {"messages": turns}


def write_rows(path: Path, tokens: int) -> int:
    """A jsonl file of about so many tokens, every row short enough for both systems."""
    from planish.data.chat.tokenizer import load_tokenizer

    tokenizer: Any = load_tokenizer(MODEL)
    tokenizer.chat_template = CHATML
    held = count = 0
    with path.open("w") as file:
        for row in chat_rows():
            length = len(tokenizer.apply_chat_template(row["messages"])["input_ids"])
            if length <= MOST_TOKENS:
                file.write(json.dumps(row) + "\n")
                held, count = held + length, count + 1
            if held >= tokens:
                return count
    raise AssertionError


def prepare_planish(path: Path) -> dict[str, Any]:
    from planish.data.chat.templates import ChatTemplate
    from planish.data.chat.tokenizer import load_tokenizer
    from planish.data.settings import DataConfig
    from planish.data.sources import prepare_sources
    from planish.train.feed import BatchConfig, plan_feed

    tokenizer = load_tokenizer(MODEL)
    tokenizer.chat_template = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    start = time.perf_counter()
    config = DataConfig.model_validate(
        {"sources": {"rows": {"path": str(path)}}, "max_tokens": MOST_TOKENS, "held_out": 1e-9}
    )
    sources = prepare_sources(config, tokenizer, ChatTemplate(tokenizer), MOST_TOKENS, SEED)
    batch = BatchConfig(tokens=8 * BATCH_TOKENS, micro_tokens=BATCH_TOKENS)
    feed, _ = plan_feed(config, batch, sources, None, 1.0, SEED)
    packed = sum(len(feed.micro_batches(step)) for step in range(feed.steps))
    seconds = time.perf_counter() - start
    parts = [sources[0].training, sources[0].held_out]
    learnt = [example.tokens[example.loss_mask] for part in parts for example in (part[i] for i in range(len(part)))]
    return {
        "seconds": seconds,
        "packed": packed,
        "tokens": sum(int(p.num_tokens.sum()) for p in parts),
        **digest(learnt),
    }


def prepare_trl(path: Path, workers: int) -> dict[str, Any]:
    import numpy as np
    from datasets import load_dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from planish.data.chat.tokenizer import load_tokenizer

    tokenizer: Any = load_tokenizer(MODEL)
    tokenizer.chat_template = CHATML
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    spent: list[float] = []

    class Timed(SFTTrainer):
        def _prepare_dataset(self, *args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            prepared = super()._prepare_dataset(*args, **kwargs)
            spent.append(time.perf_counter() - start)
            return prepared

    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder,
            max_length=MOST_TOKENS,
            packing=True,
            padding_free=True,
            assistant_only_loss=True,
            dataset_num_proc=workers if workers > 1 else None,
            use_cpu=True,
            report_to="none",
        )
        start = time.perf_counter()
        rows = load_dataset("json", data_files=str(path), split="train", cache_dir=folder)
        read = time.perf_counter() - start
        trainer = Timed(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
        packed: Any = trainer.train_dataset
        learnt: list[Any] = []
        for row in packed:
            ends = np.cumsum(row["seq_lengths"])[:-1]
            for tokens, labels in zip(
                *(np.split(np.array(row[k]), ends) for k in ("input_ids", "labels")), strict=True
            ):
                learnt.append(tokens[labels != -100])
        tokens = sum(len(row["input_ids"]) for row in packed)
        return {"seconds": read + spent[0], "packed": len(packed), "tokens": tokens, **digest(learnt)}


def digest(learnt: list[Any]) -> dict[str, Any]:
    """The learnt tokens of all rows, in an order that does not depend on the system."""
    rows = sorted(hashlib.sha256(tokens.astype("<i4").tobytes()).hexdigest() for tokens in learnt)
    return {"rows": len(rows), "learnt": hashlib.sha256("".join(rows).encode()).hexdigest()[:16]}


def speed(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        print(f"{write_rows(path, options.tokens)} rows")
        agree = True
        for workers in options.workers:
            found: dict[str, list[dict[str, Any]]] = {"planish": [], "trl": []}
            for _ in range(options.rounds):
                for system in found:
                    found[system].append(child(f"prepare-{system}", str(path), str(workers), workers=workers))
            for system, results in found.items():
                rates = [result["tokens"] / result["seconds"] for result in results]
                first = results[0]
                print(
                    f"workers {workers}  {system:8} {median(rates):10,.0f} tokens/s [{min(rates):,.0f}-{max(rates):,.0f}]  "
                    f"{first['rows']} rows, {first['tokens']} tokens, {first['packed']} packed rows, learnt {first['learnt']}"
                )
            ratios = [b["seconds"] / a["seconds"] for a, b in zip(found["planish"], found["trl"], strict=True)]
            print(f"workers {workers}  ratio    {median(ratios):.2f}x [{min(ratios):.2f}-{max(ratios):.2f}]")
            agree &= len({result["learnt"] for results in found.values() for result in results}) == 1
    print("both learn the same tokens" if agree else "THE SYSTEMS LEARN DIFFERENT TOKENS")
    return 0 if agree else 1


# Memory


def memory(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("rows.jsonl.gz" if options.gz else "rows.jsonl")
        with gzip.open(path, "wt", 1) if options.gz else path.open("w") as file:
            for row, _ in zip(chat_rows(), range(options.rows), strict=False):
                file.write(json.dumps(row) + "\n")
        print(f"{options.rows} rows, {path.stat().st_size / 1e6:.0f} MB")
        first = child("prepare-many", str(path), "0", shown=True)
        again = child("prepare-many", str(path), str(first["places"] // 2), shown=False)
        same = first["second_half"] == again["second_half"]
        print(f"the order from the middle on, in a second process: {'the same' if same else 'ANOTHER'}")
        return 0 if same else 1


def prepare_many(path: Path, start: int) -> dict[str, Any]:
    from planish.data import sources as module
    from planish.data.chat.templates import ChatTemplate
    from planish.data.chat.tokenizer import load_tokenizer
    from planish.data.mixture.order import Mixture, MixtureStage
    from planish.data.settings import DataConfig

    tokenizer = load_tokenizer(MODEL)
    template = ChatTemplate(tokenizer)
    began = time.perf_counter()
    report(0, "start", began)

    def watched(items: Any, what: str, total: int | None = None) -> Iterator[Any]:
        for number, item in enumerate(items, start=1):
            yield item
            if number % 30_000 == 0:
                report(number, what, began)

    module.track = watched
    config = DataConfig.model_validate(
        {"sources": {"rows": {"path": str(path)}}, "max_tokens": 2048, "too_long": "drop"}
    )
    training = module.prepare_sources(config, tokenizer, template, 2048, SEED)[0].training
    mixture = Mixture([len(training)], [MixtureStage((2 * len(training),))], SEED)
    half, running = len(mixture) // 2, hashlib.sha256()
    for part in mixture.walk(start, half) if start < half else ():
        del part
    for places in mixture.walk(half, len(mixture)):
        running.update(places.rows.tobytes())
        for row in places.rows[:: len(places.rows) // 100 or 1].tolist():
            running.update(training[row].tokens.tobytes())
    report(len(mixture), "order walked", began)
    return {"places": len(mixture), "second_half": running.hexdigest()}


def report(rows: int, what: str, began: float) -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    held = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    print(
        f"{time.perf_counter() - began:7.1f} s  {what:22} {rows:>9,} rows  own {held['RssAnon']:7.0f} MB  "
        f"pages of files {held['RssFile'] + held['RssShmem']:7.0f} MB",
        file=sys.stderr,
        flush=True,
    )


# Hygiene

RULES: dict[str, dict[str, object]] = {
    "exact_copies": {"exact_copies": True},
    "near_copies": {"near_copies": 0.8},
    "languages": {"languages": ["en"]},
}


@dataclass
class MadeUpRows:
    """Words drawn as in real text: the k-th of 30,000 as often as 1/k. A row is a function of its number."""

    count: int
    name: str = "made up"

    def __iter__(self) -> Iterator[Any]:
        from planish.data.rows import Demonstration, Message, Origin

        words = [f"word{k}" for k in range(30_000)]
        often = list(accumulate(1 / k for k in range(1, 30_001)))
        for number in range(self.count):
            draw = random.Random(number)
            changed = number > 0 and draw.random() < 0.1
            like = draw.randrange(number) if changed else number
            said = random.Random(f"row {like}").choices(words, cum_weights=often, k=100)
            said[50] = "changed" if changed else said[50]
            turns = Message("user", " ".join(said[:15])), Message("assistant", " ".join(said[15:]))
            yield Demonstration(turns, Origin("made up", number + 1))


def clean_rows(rule: str, rows: int) -> dict[str, Any]:
    from planish.data.cleaning.run import CleaningConfig, clean

    source = MadeUpRows(rows)
    start = time.process_time()
    passes = sum(1 for _ in source) and (2 if "copies" in rule else 1)
    making = time.process_time() - start
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    removed = clean([source], CleaningConfig.model_validate(RULES[rule])).removed[0]
    seconds = time.process_time() - start - passes * making
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": seconds, "added": added, "removed": len(removed)}


def hygiene(options: argparse.Namespace) -> int:
    for rule in RULES:
        found = child("clean", rule, str(options.rows))
        print(
            f"{rule:14} {found['seconds'] / options.rows * 1000:7.3f} s for 1,000 rows  {found['added']:6.0f} MB more at "
            f"{options.rows:,} rows  {found['removed']:,} removed",
            flush=True,
        )
    return 0


def child(task: str, *arguments: str, workers: int = 2, shown: bool = False) -> dict[str, Any]:
    """Runs a task of this file in a fresh process; its last line of output is the result."""
    several = str(workers > 1).lower()
    settings = {**os.environ, "RAYON_NUM_THREADS": str(workers), "TOKENIZERS_PARALLELISM": several}
    command = ["taskset", "--cpu-list", f"0-{workers - 1}", sys.executable, __file__, "child", task, *arguments]
    done = subprocess.run(
        command, env=settings, stdout=subprocess.PIPE, stderr=None if shown else subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{task} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    if sys.argv[1:2] == ["child"]:
        task, path, number = sys.argv[2:]
        tasks = {
            "prepare-planish": lambda: prepare_planish(Path(path)),
            "prepare-trl": lambda: prepare_trl(Path(path), int(number)),
            "prepare-many": lambda: prepare_many(Path(path), int(number)),
            "clean": lambda: clean_rows(path, int(number)),
        }
        print(json.dumps(tasks[task]()))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("speed")
    one.add_argument("--tokens", type=int, default=1_000_000)
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    one.set_defaults(run=speed)
    other = commands.add_parser("memory")
    other.add_argument("--rows", type=int, default=300_000)
    other.add_argument("--gz", action="store_true", help="compress the file")
    other.set_defaults(run=memory)
    third = commands.add_parser("cleaning")
    third.add_argument("--rows", type=int, default=300_000)
    third.set_defaults(run=hygiene)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
