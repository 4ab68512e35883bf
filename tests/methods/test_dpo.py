"""DPO: the real objective against its closed formula, the reference that is kept, and whole runs."""

from __future__ import annotations

import copy
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_weights
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from planish.base.config import load_config
from planish.base.types import Example, pack, unshared
from planish.data.chat.templates import ChatTemplate, MaskName
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.examples import encode_rows
from planish.data.rows import Comparison, Message, Origin
from planish.inference.reference_log_probs import completion_logprobs
from planish.methods.dpo import DpoConfig, DpoObjective, dpo
from planish.methods.preference_losses import Dpo, PreferenceLoss
from planish.methods.sft import SftConfig, sft
from planish.models.packed import CausalLM
from planish.train.record import read_lines
from support.comparison_files import ruled, settings_of, write
from support.examples import compared, random_examples
from support.models import eager, gradients, largest_difference, logprobs_one_by_one, random_model, write_model

CPU = torch.device("cpu")
# Prompts of 10 and 4 tokens with 4 and 2 completions, and what some reference gives each completion.
ROWS = [
    compared(random_examples([40], seed=5)[0], prompt_length=10, ends=(17, 25, 30, 40)),
    compared(random_examples([12], seed=7)[0], prompt_length=4, ends=(7, 12)),
]
SUMS = [(-40.0, -44.0, -30.0, -56.0), (-17.0, -30.0)]
COMPARED = [replace(row, choices=replace(row.choices, reference=sums)) for row, sums in zip(ROWS, SUMS, strict=True)]


def settings(*of: Any, **changes: Any) -> DpoConfig:
    return load_config(DpoConfig, values=settings_of(*of, **{"num_samples": 0, **changes}))


def loss_of(**values: Any) -> PreferenceLoss:
    return settings("model", "out", "rows.jsonl", loss=values).loss


def objective(loss: PreferenceLoss, kind: str = "llama") -> tuple[DpoObjective, PreTrainedModel]:
    """Of a tiny model, and the same model as transformers runs it."""
    model = random_model(kind, torch.float64)
    return DpoObjective(CausalLM(model), loss, CPU), eager(copy.deepcopy(model))


def sums_one_by_one(model: PreTrainedModel, row: Example) -> list[Tensor]:
    """log pi(completion | prompt) of each completion, by a forward pass of its own."""
    return [logprobs_one_by_one(model, [each]).sum() for each in unshared(pack([row])).examples]


# The objective


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize(("kind", "beta"), [("llama", 0.1), ("llama", 2.0), ("bloom", 0.1)])
def test_d4_the_gradient_is_that_of_the_closed_formula(kind: str, beta: float) -> None:
    """-beta sum_n 1/C_n sum_(w, l) sigmoid(r_l - r_w) (grad log pi(w) - grad log pi(l)), r = beta (log pi - log ref)."""
    method, plain = objective(Dpo(beta=beta), kind)
    loss, _ = method.loss(pack(COMPARED))
    loss.backward()
    expected = torch.zeros((), dtype=torch.float64)
    for row, reference in zip(COMPARED, SUMS, strict=True):
        logprobs = sums_one_by_one(plain, row)
        implied = [beta * (one.item() - given) for one, given in zip(logprobs, reference, strict=True)]
        pairs = [(w, l) for w in range(len(logprobs)) for l in range(w + 1, len(logprobs))]  # noqa: E741
        for w, l in pairs:  # noqa: E741
            weight = 1 / (1 + math.exp(implied[w] - implied[l]))  # sigmoid(r_l - r_w)
            expected = expected - beta * weight / len(pairs) * (logprobs[w] - logprobs[l])
    expected.backward()
    assert largest_difference(gradients(method.policy.model), gradients(plain)) < 1e-9


def moved(model: PreTrainedModel) -> PreTrainedModel:
    chance = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=chance, dtype=torch.float64)
    return model


def encoded(folder: Path, mask: MaskName) -> list[Example]:
    """Two comparisons of 2 and 3 answers, whose prompts are learnt with the mask `all`."""
    tokenizer = load_tokenizer(folder)
    rows = [
        Comparison(
            tuple(Message(role, text) for role, text in (("user", "one"), ("assistant", "two"), ("user", asked))),
            tuple(Message("assistant", text) for text in answers),
            tuple(range(len(answers))),
            Origin("rows", 1),
        )
        for asked, answers in (("cat", ["dog sun", "moon"]), ("red green", ["sea", "house tree house", "three four"]))
    ]
    examples = encode_rows(rows, tokenizer, ChatTemplate(tokenizer, mask), 256).examples
    return [examples[i] for i in range(len(examples))]


def gradient_of(name: str, folder: Path, mask: MaskName) -> dict[str, Tensor]:
    """At a policy that has moved from its reference."""
    size = len(load_tokenizer(folder))
    reference = CausalLM(random_model("llama", torch.float64, vocab_size=size))
    packed = pack(encoded(folder, mask))
    with torch.no_grad():
        sums = iter(completion_logprobs(reference, packed).tolist())
    known = [
        replace(each, choices=replace(each.choices, reference=tuple(next(sums) for _ in each.choices.ends)))
        for each in packed.examples
    ]
    policy = CausalLM(moved(random_model("llama", torch.float64, vocab_size=size)))
    DpoObjective(policy, loss_of(name=name), CPU).loss(pack(known))[0].backward()
    return gradients(policy.model)


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("name", ["dpo", "ipo", "robust_dpo", "length_normalized_dpo", "simpo"])
def test_d5_the_prompt_cancels_in_sums_and_not_in_means(name: str, tiny_model: Path) -> None:
    difference = largest_difference(gradient_of(name, tiny_model, "assistant"), gradient_of(name, tiny_model, "all"))
    if name in ("length_normalized_dpo", "simpo"):
        assert difference > 1e-3
    else:
        assert difference < 1e-6


def swapped(row: Example) -> Example:
    assert row.choices is not None
    return replace(row, choices=replace(row.choices, ranks=row.choices.ranks[::-1]))


@pytest.mark.parametrize("name", ["dpo", "length_normalized_dpo", "simpo"])
def test_d6_swapping_winner_and_loser_turns_the_margin_around(name: str) -> None:
    method, _ = objective(loss_of(name=name))
    (_, one), (_, other) = (method.loss(pack(rows)) for rows in (COMPARED, [swapped(row) for row in COMPARED]))
    assert one["margin"].total != 0
    assert float(one["margin"].total) == pytest.approx(-float(other["margin"].total), abs=1e-12)
    for better, worse in (
        ("chosen", "rejected"),
        ("chosen_change", "rejected_change"),
        ("chosen_tokens", "rejected_tokens"),
    ):
        assert float(one[better].total) == pytest.approx(float(other[worse].total), abs=1e-9)


def test_the_likelihood_term_is_that_of_the_chosen_per_token() -> None:
    """The second row has one pair; its better completion is 3 tokens long, the worse 5."""
    method, plain = objective(loss_of(name="dpo"))
    with_term = DpoObjective(method.policy, method.function, CPU, nll=0.5)
    (without, _), (with_it, seen) = (each.loss(pack(COMPARED[1:])) for each in (method, with_term))
    chosen, _ = sums_one_by_one(plain, COMPARED[1])
    assert (with_it - without).item() == pytest.approx(0.5 * -chosen.item() / 3, rel=1e-6)
    assert float(seen["nll"].total) == pytest.approx(-chosen.item() / 3, rel=1e-6)


# Whole runs


def steps_of(run: Path) -> list[dict[str, Any]]:
    return [line for line in read_lines(run / "metrics.jsonl") if "loss" in line]


@pytest.mark.parametrize("rows", ["compared", "ruled"])
@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_d1_the_first_loss_is_ln_2(
    rows: str, lora: Any, tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    """For two to four answers with ties too: each prompt's pairs weigh 1 in all."""
    file = tiny_data[rows] if rows in tiny_data else write(tmp_path / "rows.jsonl", ruled(30, 0))
    model: dict[str, Any] = {"path": str(tiny_model), "lora": lora}
    run = dpo(settings(model, tmp_path / "run", file, batch={"examples": 7, "micro_tokens": 100}))
    first, *rest = steps_of(run)
    assert first["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert first["margin"] == pytest.approx(0, abs=1e-5)
    assert all(abs(line["loss"] - first["loss"]) > 1e-4 for line in rest)
    before = next(line for line in read_lines(run / "metrics.jsonl") if "held_out/all" in line)
    assert before["held_out/all"] == pytest.approx(0.693147, abs=1e-6)


def test_pain_12_the_reference_of_lora_is_the_fine_tuned_policy(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    """Fine-tuned with LoRA, then DPO with LoRA, at a rate that leaves the policy where it was: KL 0. The kept
    log-probabilities are those of the fine-tuned model, not of the base."""
    model: dict[str, Any] = {"path": str(tiny_model), "lora": {"rank": 4}}
    of = settings_of(model, tmp_path / "sft", tiny_data["first"], num_samples=0, optim={"lr": 3e-2})
    tuned = sft(load_config(SftConfig, values=of))
    file = write(tmp_path / "rows.jsonl", ruled(30, 0))
    changes: dict[str, Any] = {"kl_prompts": 4, "optim": {"lr": 1e-30}, "sampling": {"max_completion_tokens": 5}}
    run = dpo(settings({**model, "path": str(tuned)}, tmp_path / "run", file, **changes))
    last = read_lines(run / "metrics.jsonl")
    assert steps_of(run)[0]["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert [line["kl"] for line in last if "kl" in line] == [0.0]
    known = load_file(run / "reference.safetensors")["rows/training"]
    ours, base = (logprobs_of(path, learnt(run, ruled(30, 0))) for path in (tuned / "model", tiny_model))
    assert known.tolist() == pytest.approx([value for row in ours for value in row], abs=1e-3)
    assert max(abs(a - b) for one, other in zip(ours, base, strict=True) for a, b in zip(one, other, strict=True)) > 1


def learnt(run: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    held_out = json.loads((run / "data.json").read_text())["sources"]["rows"]["held_out"]["rows"]
    numbers = {int(name.split()[-1]) for name in held_out}
    return [row for number, row in enumerate(rows, 1) if number not in numbers]


def logprobs_of(folder: Path, rows: list[dict[str, Any]]) -> list[list[float]]:
    """log pi of each completion with its end-of-turn token, in plain transformers from text."""
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found: list[list[float]] = []
    for row in rows:
        asked = [{"role": "user", "content": row["prompt"]}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        chats = [[*asked, {"role": "assistant", "content": each}] for each in row["completions"]]
        ids = [tokenizer.apply_chat_template(chat, return_dict=False)[:-1] for chat in chats]  # not the line break
        with torch.no_grad():
            every = [plain(torch.tensor([each])).logits[0].double().log_softmax(-1) for each in ids]
        found.append(
            [
                sum(p[t - 1, each[t]].item() for t in range(len(prompt), len(each)))
                for p, each in zip(every, ids, strict=True)
            ]
        )
    return found


def test_another_model_may_be_the_reference(tiny_model: Path, tmp_path: Path) -> None:
    """One step over all rows: its loss is that of the two models' log-probabilities, worked out from text."""
    other = write_model(tmp_path / "other", 16)
    rows = ruled(20, 3)
    changes: dict[str, Any] = {"reference": str(other), "steps": 1, "batch": {"examples": 16, "micro_tokens": 2048}}
    run = dpo(settings(tiny_model, tmp_path / "run", write(tmp_path / "rows.jsonl", rows), **changes))
    seen, losses = learnt(run, rows), []
    assert len(seen) == 16
    for row, ours, theirs in zip(seen, logprobs_of(tiny_model, seen), logprobs_of(other, seen), strict=True):
        implied = [0.1 * (one - given) for one, given in zip(ours, theirs, strict=True)]
        best = row["ranks"].index(0)
        pairs = [math.log1p(math.exp(worse - implied[best])) for k, worse in enumerate(implied) if k != best]
        losses.append(sum(pairs) / len(pairs))
    assert steps_of(run)[0]["loss"] == pytest.approx(sum(losses) / 16, abs=1e-5)
    assert abs(sum(losses) / 16 - math.log(2)) > 1e-3


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dpo")
    changes: dict[str, Any] = {
        "steps": 30,
        "evaluate_every": 10,
        "eval_sets": {"further": write(folder / "further.jsonl", ruled(40, 1))},
        "kl_prompts": 8,
        "sampling": {"max_completion_tokens": 6},
        "checkpoint": {"every": 10, "keep": 9},
    }
    return dpo(settings(tiny_model, folder / "run", write(folder / "rows.jsonl", ruled(160, 0)), **changes))


def test_a_preference_is_learnt_and_measured_on_the_way(trained: Path) -> None:
    lines = read_lines(trained / "metrics.jsonl")
    held_out = [line for line in lines if "held_out_accuracy/all" in line]
    assert [line["step"] for line in held_out] == [0, 10, 20, 30]
    assert held_out[0]["held_out_accuracy/all"] == pytest.approx(0.5, abs=0.2)
    assert held_out[-1]["held_out_accuracy/all"] > 0.9
    assert held_out[-1]["held_out/all"] < held_out[0]["held_out/all"] - 0.1
    further = [line["eval_accuracy/further"] for line in lines if "eval_accuracy/further" in line]
    assert further[-1] > 0.9 > further[0]
    found = json.loads((trained / "ranking.json").read_text())
    assert [each["step"] for each in found if each["name"] == "further"] == [0, 30]


def test_both_sides_both_accuracies_and_the_lengths_are_recorded(trained: Path) -> None:
    first, *_, last = steps_of(trained)
    for line in (first, last):
        for side in ("chosen", "rejected"):
            assert line[side] < 0
            assert line[f"{side}_tokens"] > 1
        gap = line["chosen_change"] - line["rejected_change"]
        assert line["margin"] == pytest.approx(0.1 * gap, abs=1e-6)
        assert 0 <= line["accuracy_logprobs"] <= 1
    assert (first["accuracy"], first["chosen_change"]) == (pytest.approx(0, abs=0.5), pytest.approx(0, abs=1e-4))
    assert last["accuracy"] > 0.7 > first["accuracy"]
    # "sun" makes the chosen answer longer, by one word.
    assert first["chosen_tokens"] > first["rejected_tokens"]
    length = json.loads((trained / "ranking.json").read_text())[-1]["length"]
    assert length["longer"]["value"] > 0.5


def test_the_kl_is_recorded_and_grows_from_0(trained: Path, tiny_model: Path, tmp_path: Path) -> None:
    (moved,) = [line for line in read_lines(trained / "metrics.jsonl") if "kl" in line]
    assert moved["kl"] > 3 * moved["kl_standard_error"] > 0
    changes: dict[str, Any] = {"kl_prompts": 8, "optim": {"lr": 1e-9}, "sampling": {"max_completion_tokens": 6}}
    file = write(tmp_path / "rows.jsonl", ruled(40, 0))
    run = dpo(settings(tiny_model, tmp_path / "run", file, **changes))
    (still,) = [line for line in read_lines(run / "metrics.jsonl") if "kl" in line]
    assert still["kl"] == pytest.approx(0, abs=1e-5)


def test_a_resumed_run_reads_its_reference_and_ends_the_same(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "run"
    shutil.copytree(trained, again)
    shutil.rmtree(again / "model")
    for step in (20, 30):
        shutil.rmtree(again / "checkpoints" / f"step-{step:08d}")
    kept = (again / "reference.safetensors").stat().st_mtime_ns
    dpo(load_config(DpoConfig, again / "config.yaml", [f"out={again}"]))
    assert "log-probabilities are taken from" in capsys.readouterr().err
    assert (again / "reference.safetensors").stat().st_mtime_ns == kept
    losses = [[(line["step"], line["loss"]) for line in steps_of(run)] for run in (trained, again)]
    assert losses[0] == losses[1]
    one, other = (load_weights(run / "model" / "model.safetensors") for run in (trained, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
