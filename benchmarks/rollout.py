"""Sampling completions: planish beside transformers, in completions and tokens a second.

    python benchmarks/rollout.py --shape small
    python benchmarks/rollout.py --shape 135M --rounds 3 --prompts 32

    planish      the library as it is: LocalSampler, which is decode()
    generate     model.generate of transformers: prompts sorted by length, padded on the left, sdpa, the fastest of `--rows`
                 (completions side by side) with the dynamic and with the static cache
    continuous   model.generate_batch, its continuous batching: the fastest of `--rows`; its cache is given blocks for
                 just so many completions, since without a number it takes most of the machine's memory

The same for all: the model (float32, the same weights), the prompts of each round, one or four completions of each, sampling
from the whole softmax at temperature 1, an end-of-turn token with a probability of about 1 / `--length` after any other,
and at most `--max-tokens` tokens. What each draws is its own, as the noise is: so lengths are the same in distribution
only, and beside completions a second stand tokens a second, which chance moves less. generate and continuous return tokens
alone; planish's log-probabilities of them are in its time.

Every system has a process of its own, and they take turns (compare.py); round 0 warms up. The exit status is 1 where
planish's completions a second are less than the aim times another's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from asked import ending_model, read
from compare import GB, Matmul, flops, spread
from gate import Gate
from turns import PAD, SEED, SHAPES, Measured, Process, take_turns, use_threads

from planish.base.types import Choices, Example

AIMS = {"small": 3.0, "135M": 2.0}


@dataclass(frozen=True)
class Task:
    """What one process needs to know."""

    system: str
    process: Process
    shape: str
    prompts: list[list[list[int]]]  # of each round
    stop: int  # the end-of-turn token
    completions: int  # of a prompt
    most_tokens: int
    length: float  # of a completion that is not cut, in the mean
    threads: int
    folder: Path
    rows: int = 0  # completions side by side
    cache: str | None = None  # generate's cache_implementation

    @property
    def rounds(self) -> int:
        return len(self.prompts)

    @property
    def name(self) -> str:
        return self.system + (f" ({self.rows} rows{', ' + self.cache if self.cache else ''})" if self.rows else "")

    def model(self) -> Any:
        use_threads(self.threads)
        return ending_model(self.shape, self.stop, self.length)


def in_turns(
    port: Connection, task: Task, draw: Callable[[int], list[int]], afterwards: Callable[[], dict[str, Any]] = dict
) -> None:
    """All rounds; `draw` samples those of a round and returns their lengths. `afterwards` has more to say."""
    gate, lengths = Gate(port, 1), list[list[int]]()
    for number in range(task.rounds):
        lengths.append(draw(number))
        gate(number + 1)
    port.send({"lengths": lengths, **afterwards()})


def planish_process(port: Connection, task: Task) -> None:
    from planish.inference.decode import SampleRequest, TokenSampling, why_not_decodable
    from planish.inference.sampler import LocalSampler
    from planish.models.packed import CausalLM

    policy = CausalLM(task.model())
    assert why_not_decodable(policy) is None
    sampler = LocalSampler(policy)

    def draw(number: int) -> list[int]:
        prompts = task.prompts[number]
        places = [(i, k) for i in range(len(prompts)) for k in range(task.completions)]
        requests = [SampleRequest(i, (SEED, "benchmark", number, i, k)) for i, k in places]
        drawn = sampler.sample(prompts, requests, TokenSampling(1.0, 1.0, 0), task.most_tokens, (task.stop,))
        return [len(each.tokens) for each in drawn]

    in_turns(port, task, draw, lambda: {"parts": parts_of(lambda: draw(task.rounds - 1))})


def parts_of(draw: Callable[[], Any]) -> dict[str, float]:
    """Processor seconds of one round's parts, in a run of its own: a clock around each of them costs a little."""
    from planish.inference import decode
    from planish.inference.kv_cache import Cache, Reading
    from planish.maths.log_probs import Head

    seconds: dict[str, float] = {}
    inner: list[float] = []  # of the parts inside those that are being timed, innermost last

    def timed(owner: Any, attribute: str, part: str) -> Callable[[], None]:
        function = getattr(owner, attribute)

        def timing(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            began = time.process_time()
            result = function(*args, **kwargs)
            spent = time.process_time() - began
            seconds[part] = seconds.get(part, 0.0) + spent - inner.pop()
            if inner:
                inner[-1] += spent
            return result

        setattr(owner, attribute, timing)
        return lambda: setattr(owner, attribute, function)

    undo = [
        timed(decode._Prompts, "_read_some", "prompts: the rest"),
        timed(Reading, "attend", "prompts: attention"),
        timed(decode, "_step", "steps: layers without attention"),
        timed(Cache, "attend", "steps: attention"),
        timed(Head, "logits", "head"),
        timed(decode.TokenSampling, "__call__", "choosing tokens"),
        timed(Cache, "add", "filling rows"),
    ]
    began = time.process_time()
    draw()
    total = time.process_time() - began
    for each in undo:
        each()
    return {**seconds, "the rest": total - sum(seconds.values())}


def generate_process(port: Connection, task: Task) -> None:
    import torch

    model = task.model()

    @torch.no_grad()
    def draw(number: int) -> list[int]:
        prompts, count = sorted(task.prompts[number], key=len), max(1, task.rows // task.completions)
        lengths: list[int] = []
        for first in range(0, len(prompts), count):
            some = prompts[first : first + count]
            width = len(some[-1])
            ids = torch.tensor([[PAD] * (width - len(prompt)) + prompt for prompt in some])
            sequences = model.generate(
                input_ids=ids,
                attention_mask=(ids != PAD).long(),
                max_new_tokens=task.most_tokens,
                num_return_sequences=task.completions,
                cache_implementation=task.cache,
                **sampling(task),
            )
            lengths += (sequences[:, width:] != PAD).sum(1).tolist()
        return lengths

    in_turns(port, task, draw)


def continuous_process(port: Connection, task: Task) -> None:
    from transformers import ContinuousBatchingConfig, GenerationConfig

    model, page = task.model(), ContinuousBatchingConfig().page_size
    longest = max(len(prompt) for prompts in task.prompts for prompt in prompts) + task.most_tokens
    batching = ContinuousBatchingConfig(
        num_blocks=task.rows * -(-longest // page), max_batch_tokens=1024, max_requests_per_batch=task.rows, seed=SEED
    )
    how = GenerationConfig(max_new_tokens=task.most_tokens, num_return_sequences=task.completions, **sampling(task))

    def draw(number: int) -> list[int]:
        found = model.generate_batch(
            inputs=task.prompts[number], generation_config=how, continuous_batching_config=batching
        )
        assert len(found) == len(task.prompts[number]) * task.completions
        return [len(each.generated_tokens) for each in found.values()]

    in_turns(port, task, draw)


def sampling(task: Task) -> dict[str, Any]:
    whole = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return {**whole, "eos_token_id": task.stop, "pad_token_id": PAD}


SYSTEMS: Mapping[str, tuple[Process, tuple[str | None, ...]]] = {
    "generate": (generate_process, ("dynamic", "static")),
    "continuous": (continuous_process, (None,)),
}


def fastest(task: Task, rows: Sequence[int], caches: Sequence[str | None]) -> Task:
    """The task with the rows and the cache with which it is fastest, each tried for a round."""
    tried: list[tuple[float, Task]] = []
    for each in (replace(task, rows=number, cache=cache) for number in rows for cache in caches):
        trial = replace(each, prompts=task.prompts[:2], folder=task.folder / f"{each.rows}{each.cache}")
        [found] = take_turns([trial])
        rate = sum(map(len, found.said["lengths"][1:])) / found.seconds[0]
        print(f"{each.name}: {rate:.2f} completions/s", flush=True)
        tried.append((rate, each))
    return max(tried, key=lambda each: each[0])[1]


def compare(args: argparse.Namespace, completions: int, folder: Path) -> bool:
    """Measures one setting and prints it; whether the aims are reached."""
    template, prompts = read(SHAPES[args.shape]["vocab_size"], (args.rounds + 1) * args.prompts)
    rounds = [prompts[i : i + args.prompts] for i in range(0, len(prompts), args.prompts)]

    def task(system: str, process: Process) -> Task:
        return Task(
            system, process, args.shape, rounds, template.stop_token_id, completions, args.max_tokens, args.length,
            args.threads, folder / system,
        )  # fmt: skip

    tasks = [task("planish", planish_process)]
    for name in args.against:
        process, caches = SYSTEMS[name]
        tasks.append(fastest(task(name, process), args.rows, caches))
        tasks[-1] = replace(tasks[-1], folder=tasks[-1].folder / "run")
    matmul = Matmul(args.threads)
    measured = take_turns(tasks, matmul)
    print(
        f"\n{args.shape}, {completions} of each prompt: {args.rounds} rounds of {args.prompts} prompts of "
        f"{np.mean([len(each) for each in prompts]):.0f} tokens, at most {max(map(len, prompts))}"
    )
    print(f"{'':36}{'':26}{'':26}{'tokens of':^12}{'planish is faster by, in':^38}{'peak':>8}")
    columns = ("completions/s", "tokens/s", "a completion", "completions", "tokens", "GB")
    print(f"{'':36}" + "".join(f"{c:>{w}}" for c, w in zip(columns, (26, 26, 12, 19, 19, 8), strict=True)))
    mine, reached = measured[0], True
    for each, found in zip(tasks, measured, strict=True):
        line = f"{each.name:36}{spread(rates(found, len), '.2f'):>26}{spread(rates(found, sum), ',.0f'):>26}"
        line += f"{np.mean([n for some in found.said['lengths'][1:] for n in some]):12.1f}"
        for count in (len, sum):
            ratios = [a / b for a, b in zip(rates(mine, count), rates(found, count), strict=True)]
            line += f"{spread(ratios, '.2f') if each.rows else '':>19}"
            reached &= not each.rows or count is sum or median(ratios) >= AIMS[args.shape]
        print(f"{line}{found.peak / GB:8.2f}")
    tell_parts(tasks[0], mine, matmul)
    return reached


def rates(measured: Measured, count: Callable[[Any], float]) -> list[float]:
    """Of each counted round: completions a second, or tokens."""
    return [count(some) / s for some, s in zip(measured.said["lengths"][1:], measured.seconds, strict=True)]


def tell_parts(task: Task, mine: Measured, matmul: Matmul) -> None:
    parts: Any = mine.said["parts"]
    total = sum(parts.values())
    shares = sorted(parts.items(), key=lambda each: -each[1])
    print("planish's processor time: " + ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in shares))
    gflops = [
        flops(task.shape, laid_out(prompts, lengths, task.completions), head=True) / 3 / seconds / 1e9
        for prompts, lengths, seconds in zip(task.prompts[1:], mine.said["lengths"][1:], mine.cpu_seconds, strict=True)
    ]
    floor = ", ".join(f"{size}^3: {median(each) / 1e9:.0f}" for size, each in matmul.rates.items())
    print(
        f"GFLOP in a processor second: planish {spread(gflops, '.1f')} (compare.flops, forward alone); float32 matrix "
        f"products {floor}",
        flush=True,
    )


def laid_out(prompts: Sequence[Sequence[int]], lengths: Any, completions: int) -> list[Example]:
    """The completions of a round behind their prompts, for counting what must be computed."""
    rows: list[Example] = []
    for prompt, own in zip(prompts, np.reshape(lengths, (-1, completions)), strict=True):
        ends = len(prompt) + np.cumsum(own)
        choices = Choices(len(prompt), tuple(ends.tolist()), (0,) * completions)
        rows.append(Example(np.zeros(ends[-1], np.int32), np.arange(ends[-1]) >= len(prompt), "", choices=choices))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; one more warms up")
    parser.add_argument("--prompts", type=int, default=64, help="prompts of a round")
    parser.add_argument("--completions", type=int, nargs="+", default=[1, 4], help="of each prompt, one after another")
    parser.add_argument("--length", type=float, default=64, help="mean tokens of completions that are not cut")
    parser.add_argument("--max-tokens", type=int, default=128, help="where completions are cut")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 32, 64], help="transformers' rows to try")
    parser.add_argument("--against", choices=SYSTEMS, nargs="+", default=list(SYSTEMS), help="which of transformers")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 is its own choice")
    args = parser.parse_args()

    print(f"python {' '.join(sys.argv)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        reached = [compare(args, completions, Path(folder) / str(completions)) for completions in args.completions]
    aim = AIMS[args.shape]
    print(f"aim: {aim}x the completions a second of each; {'reached' if all(reached) else 'MISSED'}")
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
