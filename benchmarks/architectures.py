"""All causal language models of the installed transformers, tiny: packed rows give what each sequence gives alone.

    python benchmarks/architectures.py run build/architectures.jsonl
    python benchmarks/architectures.py run build/bf16.jsonl --types mbart marian --dtype bfloat16
    python benchmarks/architectures.py table build/architectures.jsonl docs/architectures.md

`run` builds a model of every model_type with random weights and compares log-probabilities and gradients with transformers'
eager attention, one sequence at a time; a line of JSON each, and those that are in the file are passed over. `table` writes
the page. `--window` is the size of every window, chunk and top-k: 16 is shorter than the rows here, 256 longer than all, so
that the trial at loading has to make it smaller itself. architectures.json holds the sizes, and what a config needs beside.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, __version__
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from planish.base.errors import ModelError
from planish.base.types import Choices, Example, Packed, pack, unshared
from planish.inference.decode import why_not_decodable
from planish.models.load import quiet
from planish.models.packed import CausalLM

TABLES = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
MEMORY, SECONDS = 9 << 30, 600  # of one model
LOGPROB, GRADIENT = 2e-5, 2e-4  # rounding of float32: of a log-probability; of a gradient, as a share of the largest

# Models, tiny


def sizes_of(cls: Any, extra: dict[str, Any], window: int) -> dict[str, Any]:
    """Those of our sizes that a config class knows. One of two names of the same thing is enough."""
    known = set[str]()
    for base in cls.__mro__:
        known |= set(getattr(base, "__annotations__", {}))
        known |= set(inspect.signature(base.__init__).parameters) if base is not object else set()
    aliases: dict[str, str] = getattr(cls, "attribute_map", {})
    known |= set(aliases)
    sizes = {k: window if v == "WINDOW" else v for k, v in TABLES["sizes"].items() if k in known}
    sizes = {k: v for k, v in sizes.items() if aliases.get(k) not in sizes}
    return {k: v for k, v in {**sizes, **extra}.items() if v != "DROP"}


def tiny_model(kind: str, window: int) -> PreTrainedModel:
    """A model of this type with random weights, biases and norms included, the same at every call."""
    cls, extra = CONFIG_MAPPING[kind], dict(TABLES["special"].get(kind, {}))
    parts = {
        name: sizes_of(part, extra.pop(name, {}), window)
        for name, part in (getattr(cls, "sub_configs", None) or {}).items()
        if part is not None and part.__name__ != "AutoConfig"
    }
    config = cls(**{**sizes_of(cls, extra, window), **parts})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data += 0.02 * torch.randn_like(parameter)
    return model.float().eval()


# Rows


def rows() -> dict[str, list[Example]]:
    """Rows whose first third is a prompt, one of them of a single token; and completions that share their prompts."""
    chance = np.random.default_rng(0)

    def example(length: int, prompt: int, ends: tuple[int, ...] = ()) -> Example:
        tokens = chance.integers(10, TABLES["sizes"]["vocab_size"], length).astype(np.int32)
        choices = Choices(prompt, ends, tuple(range(len(ends)))) if ends else None
        return Example(tokens, np.arange(length) >= max(1, prompt), "", choices=choices)

    shared = ((20, (38, 50)), (5, (9, 30, 33)), (30, (31, 60)))
    return {
        "rows": [example(length, length // 3) for length in (13, 40, 1, 23, 7, 31)],
        "shared prompts": [example(ends[-1], prompt, ends) for prompt, ends in shared],
    }


def one_by_one(model: PreTrainedModel, packed: Packed) -> Tensor:
    """Log-probabilities of the targets, from a forward pass of transformers' own for each sequence."""
    found: list[Tensor] = []
    for example in unshared(packed).examples:
        tokens = torch.from_numpy(example.tokens.astype(np.int64))
        logprobs = torch.log_softmax(model(input_ids=tokens[None], use_cache=False).logits[0].float(), -1)
        found += [logprobs[t - 1, tokens[t]] for t in np.flatnonzero(example.loss_mask)]
    return torch.stack(found)


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def differences(policy: CausalLM, plain: PreTrainedModel, packed: Packed) -> tuple[float, float]:
    """The largest difference of a log-probability, and of a gradient as a share of the largest gradient; of both ways in
    which a loss can ask for them."""
    weights_L = torch.linspace(0.5, 1.5, packed.num_targets) / packed.num_targets
    expected_L = one_by_one(plain, packed)
    (-(weights_L * expected_L).sum()).backward()
    expected = gradients(plain)
    unfused_L = policy(packed)
    (-(weights_L * unfused_L).sum()).backward()
    unfused = gradients(policy.model)
    nll, fused_L = policy(packed, weights_L)
    nll.backward()
    fused = gradients(policy.model)
    off = max((found_L.detach() - expected_L.detach()).abs().max().item() for found_L in (unfused_L, fused_L))
    most = max(gradient.abs().max().item() for gradient in expected.values())
    zero = torch.zeros(1)
    wrong = max(
        (found.get(name, zero) - expected.get(name, zero)).abs().max().item()
        for found in (unfused, fused)
        for name in expected.keys() | found.keys()
    )
    return off, wrong / max(most, 1e-3)


# A line for each model


def measured(kind: str, window: int, dtype: torch.dtype) -> dict[str, Any]:
    """How a model runs, and how far it is from transformers. In bfloat16 what is compared is the decision that was made
    with weights of that type, with the numbers of float32."""
    line: dict[str, Any] = {"type": kind}
    try:
        model = tiny_model(kind, window)
        with torch.no_grad():
            model(input_ids=torch.arange(10, 20)[None], use_cache=False)
    except Exception as error:  # whatever a config lacks at these sizes
        return {**line, "runs": "not built", "why": first_line(error)}
    plain = copy.deepcopy(model)
    if "eager" in getattr(plain, "_compatible_attention", ("eager",)):
        plain.set_attn_implementation("eager")
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    started = time.perf_counter()
    try:
        policy = CausalLM(model)
    except ModelError as error:
        return {**line, "runs": "refused", "why": str(error)}
    line["trial seconds"] = round(time.perf_counter() - started, 3)
    policy.model.float().load_state_dict(plain.state_dict())
    for buffer, own in zip(policy.model.buffers(), plain.buffers(), strict=True):
        buffer.data = own.data.clone()
    line |= {"runs": "one by one" if policy.why_not_packed else "packed", "why": policy.why_not_packed}
    line["shares prompts"] = policy.shares_prompts
    for name, some in rows().items():
        line[name] = differences(policy, plain, pack(some))
    line["right"] = all(line[name][0] < LOGPROB and line[name][1] < GRADIENT for name in rows())
    line["why not decoded"] = why_not_decodable(policy)
    return line


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:200]


def in_a_process(work: Callable[[], dict[str, Any]], kind: str) -> dict[str, Any]:
    """What `work` returns, of a process with limits of its own: some models do not end, or take all memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.alarm(SECONDS)
        try:
            line = work()
        except Exception as error:
            line = {"type": kind, "runs": "failed", "why": first_line(error)}
        with os.fdopen(writing, "w") as port:
            port.write(json.dumps(line))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as port:
        text = port.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"type": kind, "runs": "failed", "why": f"ended with status {status}"}


def run(out: Path, kinds: Sequence[str], window: int, dtype: torch.dtype) -> None:
    quiet()
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    there = {line["type"] for line in read(out)} if out.exists() else set()
    for kind in kinds or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        if kind not in there:
            line = in_a_process(lambda kind=kind: measured(kind, window, dtype), kind)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(shown(line), flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def shown(line: dict[str, Any]) -> str:
    numbers = [f"{name} {off:.0e} {share:.0e}" for name in rows() if name in line for off, share in [line[name]]]
    wrong = [] if line.get("right", True) else ["WRONG"]
    return " · ".join([line["type"], line["runs"], *([line["why"]] if line["why"] else []), *numbers, *wrong])


# The page

HEAD = """# Architectures

How each causal language model of transformers {version} runs. `python benchmarks/architectures.py` builds all of them, tiny and
with random weights, and compares log-probabilities and gradients with transformers' eager attention, one sequence at a time: in
float32, with windows, chunks and top-k of 16 and rows of 1 to 60 tokens. This page is what it wrote
([Packing](models.md#packing) says how a model is tried when it is loaded):

<!-- not run: takes half an hour -->
```bash
python benchmarks/architectures.py run build/architectures.jsonl
python benchmarks/architectures.py table build/architectures.jsonl docs/architectures.md
```

| | types |
|---|---|
"""


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The page, in Markdown."""
    lines = sorted(lines, key=lambda line: line["type"])
    packed = [line for line in lines if line["runs"] == "packed"]
    apart = [line for line in lines if line["runs"] == "one by one"]
    refused = [line for line in lines if line["runs"] == "refused"]
    rest = [line for line in lines if line["runs"] in ("not built", "failed")]
    counts = [
        ("packed, and right", len(packed)),
        ("one sequence at a time, as the run says, and right", len(apart)),
        ("refused", len(refused)),
        ("not built: a part of another model, or no causal model by itself", len(rest)),
    ]
    wrong = [line["type"] for line in (*packed, *apart) if not line["right"]]
    text = HEAD.format(version=__version__) + "".join(f"| {name} | {count} |\n" for name, count in counts)
    if wrong:
        text += f"\nWrong: {', '.join(wrong)}.\n"
    largest = [max(line[name][i] for line in (*packed, *apart) for name in rows()) for i in range(2)]
    text += (
        f"\nThe largest difference of a log-probability is {largest[0]:.0e}, that of a gradient {largest[1]:.0e} of the model's "
        "largest.\n\n## Packed\n\n"
        "| type | prompts once | sampled with our cache | log-probability | gradient |\n|---|---|---|---|---|\n"
    )
    for line in packed:
        off, share = (max(line[name][i] for name in rows()) for i in range(2))
        yes = ["yes" if good else "no" for good in (line["shares prompts"], line["why not decoded"] is None)]
        text += f"| `{line['type']}` | {yes[0]} | {yes[1]} | {off:.0e} | {share:.0e} |\n"
    for title, some in (("One sequence at a time", apart), ("Refused", refused), ("Not built", rest)):
        text += f"\n## {title}\n\n| type | why |\n|---|---|\n"
        text += "".join(f"| `{line['type']}` | {told(line['why'])} |\n" for line in some)
    return text


def told(why: str) -> str:
    """A reason as a cell of a table: its first sentence."""
    if "allocate memory" in why:
        return f"it takes more than {MEMORY >> 30} GB even at these sizes"
    why = why.split(". ")[0].split(" (Cannot")[0]
    return " ".join(why.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running, writing = commands.add_parser("run"), commands.add_parser("table")
    running.add_argument("out", type=Path)
    running.add_argument("--types", nargs="*", default=[])
    running.add_argument("--window", type=int, default=16)
    running.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    writing.add_argument("lines", type=Path)
    writing.add_argument("page", type=Path)
    asked = parser.parse_args()
    if asked.command == "run":
        run(asked.out, asked.types, asked.window, getattr(torch, asked.dtype))
    else:
        asked.page.write_text(table(read(asked.lines)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
