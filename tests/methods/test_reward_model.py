"""The reward model: its loss against a loop over pairs, its zero, and whole runs from files to scores."""

from __future__ import annotations

import copy
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from planish.base.config import load_config
from planish.base.errors import ModelError
from planish.base.types import Example, pack, unshared
from planish.data.chat.tokenizer import load_tokenizer
from planish.inference.score_offset import check_scores
from planish.methods.reward_model import BradleyTerryObjective, RewardConfig, reward_model, whole
from planish.models.load import ModelConfig, save_model
from planish.models.reward_head import Scorer, load_scorer
from planish.train.record import read_lines
from support.comparison_files import Rows, chats, ruled, scores_of, settings_of, write
from support.examples import compared, example, random_examples
from support.models import eager, gradients, largest_difference, random_model
from support.tokenizers import tiny_tokenizer

CPU = torch.device("cpu")
# Prompts of 10, 4 and 2 tokens with 4, 2 and 3 completions; of the last, two are tied.
COMPARED = [
    compared(random_examples([40], seed=5)[0], prompt_length=10, ends=(17, 25, 30, 40)),
    compared(random_examples([12], seed=7)[0], prompt_length=4, ends=(7, 12)),
    compared(random_examples([9], seed=8)[0], prompt_length=2, ends=(3, 5, 9)),
]
assert COMPARED[2].choices
COMPARED[2] = replace(COMPARED[2], choices=replace(COMPARED[2].choices, ranks=(1, 0, 1), scores=(2.0, 5.0, 1.0)))


def settings(*of: Any, **changes: Any) -> RewardConfig:
    return load_config(RewardConfig, values=settings_of(*of, **changes))


def objective(folder: Path, **changes: Any) -> tuple[BradleyTerryObjective, PreTrainedModel]:
    """Of a tiny model in float64, and the same model as transformers runs it."""
    random_model("llama").save_pretrained(folder)
    model = load_scorer(ModelConfig(path=str(folder), dtype="float64"), CPU)
    plain = eager(copy.deepcopy(model))
    return BradleyTerryObjective(Scorer(model), settings(folder, folder, "rows.jsonl", **changes), CPU), plain


def plain_scores(model: PreTrainedModel, one: Example) -> list[Tensor]:
    """Of each completion of an example, by a forward pass of its own."""
    texts = [torch.from_numpy(each.tokens.astype(np.int64)) for each in unshared(pack([one])).examples]
    return [model(input_ids=text[None]).logits[0, 0] for text in texts]


# The objective


@pytest.mark.usefixtures("nothing_below_float64")
def test_r2_loss_and_gradients_equal_a_loop_over_pairs(tmp_path: Path) -> None:
    method, plain = objective(tmp_path)
    packed = pack(COMPARED)
    loss, metrics = method.loss(packed)
    (loss / method.weight(packed)).backward()

    prompts: list[Tensor] = []
    right: list[float] = []
    for each in COMPARED:
        assert each.choices is not None
        scores, ranks = plain_scores(plain, each), each.choices.ranks
        losses, wins = [], []
        for i in range(len(ranks)):
            for j in range(len(ranks)):
                if ranks[i] < ranks[j]:
                    losses.append(-torch.log(torch.sigmoid(scores[i] - scores[j])))
                    wins.append(float(scores[i] > scores[j]))
        prompts.append(torch.stack(losses).mean())  # 1 / (pairs of the prompt)
        right.append(sum(wins) / len(wins))
    expected = torch.stack(prompts).mean()  # 1 / N
    expected.backward()
    assert loss.item() / 3 == pytest.approx(expected.item(), abs=1e-10)
    assert largest_difference(gradients(method.scorer.model), gradients(plain)) < 1e-10
    assert metrics["accuracy"].total / metrics["accuracy"].weight == pytest.approx(sum(right) / 3)


def test_r1_equal_scores_cost_ln_2_for_each_prompt(tmp_path: Path) -> None:
    method, _ = objective(tmp_path)
    method.scorer.model.get_parameter("score.weight").data.zero_()
    loss, metrics = method.loss(pack(COMPARED))
    assert loss.item() == pytest.approx(3 * 0.693147, abs=3e-6)
    assert metrics["accuracy"].total / 3 == pytest.approx(0.5)


def test_r3_four_and_nine_answers_weigh_one_to_one(tmp_path: Path) -> None:
    method, plain = objective(tmp_path)
    four = compared(random_examples([14], seed=1)[0], prompt_length=2, ends=(5, 8, 11, 14))
    nine = compared(random_examples([29], seed=2)[0], prompt_length=2, ends=(5, 8, 11, 14, 17, 20, 23, 26, 29))
    losses = []
    for each in (four, nine):
        scores = torch.stack(plain_scores(plain, each)).detach()
        pairs = torch.tensor([(i, j) for i in range(len(scores)) for j in range(i + 1, len(scores))])
        losses.append(-logsigmoid(scores[pairs[:, 0]] - scores[pairs[:, 1]]))
    assert [len(each) for each in losses] == [6, 36]
    packed = pack([four, nine])
    found = method.loss(packed)[0].item() / method.weight(packed)
    assert found == pytest.approx((losses[0].mean().item() + losses[1].mean().item()) / 2, abs=1e-6)
    assert abs(found - torch.cat(losses).mean().item()) > 1e-3  # shuffled pairs would weigh 6 to 36


def test_r4_a_constant_changes_neither_loss_nor_gradient(tmp_path: Path) -> None:
    method, _ = objective(tmp_path)
    found = []
    for offset in (0.0, -3.0):
        method.scorer.offset = offset
        loss, _ = method.loss(pack(COMPARED))
        loss.backward()
        found.append((loss.item(), gradients(method.scorer.model)))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-12)
    assert largest_difference(found[0][1], found[1][1]) < 1e-12


def test_a_margin_asks_for_a_gap_and_centering_pulls_scores_to_zero(tmp_path: Path) -> None:
    """The third example's ranks are 1, 0, 1 and its annotator's scores 2, 5, 1: pairs (1, 0) and (1, 2), of 3 and of 4."""
    method, plain = objective(tmp_path, margin=0.5, centering=0.01)
    worse, better, worst = (each.item() for each in plain_scores(plain, COMPARED[2]))
    first = -math.log(1 / (1 + math.exp(-(better - worse - 0.5 * 3)))) + 0.01 * (better + worse) ** 2
    second = -math.log(1 / (1 + math.exp(-(better - worst - 0.5 * 4)))) + 0.01 * (better + worst) ** 2
    assert method.loss(pack(COMPARED[2:]))[0].item() == pytest.approx((first + second) / 2, abs=1e-6)
    # Without scores of the annotator's there is no margin: the first two examples have centering alone.
    alone, _ = objective(tmp_path, centering=0.01)
    assert method.loss(pack(COMPARED[:2]))[0].item() == pytest.approx(alone.loss(pack(COMPARED[:2]))[0].item())


def test_a_rank_without_work_costs_nothing_and_has_gradients_of_zero(tmp_path: Path) -> None:
    method, _ = objective(tmp_path)
    loss, metrics = method.loss(pack([]))
    loss.backward()
    found = gradients(method.scorer.model)
    assert (loss.item(), method.weight(pack([])), metrics["score"].weight) == (0, 0, 0)
    assert found
    assert not any(gradient.any() for gradient in found.values())


# What has mean score 0


def test_the_best_completion_of_a_comparison_is_its_demonstration() -> None:
    # The prompt 3 4, completions 5 and 6 7 and 8; the last two share the first rank.
    row = compared(example([3, 4, 5, 6, 7, 8]), prompt_length=2, ends=(3, 5, 6))
    assert row.choices is not None
    best = whole(replace(row, choices=replace(row.choices, ranks=(1, 0, 0))))
    assert (best.tokens.tolist(), best.choices) == ([3, 4, 6, 7], None)


def test_a_conversation_counts_up_to_its_last_learnt_token() -> None:
    assert whole(example([3, 4, 5, 6, 7], [2, 3])).tokens.tolist() == [3, 4, 5, 6]


# Whole runs


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in `run`, of `rows`, measured on `further`, with `shown` as demonstrations."""
    folder = tmp_path_factory.mktemp("reward")
    further = write(folder / "further.jsonl", ruled(40, seed=1))
    shown = write(folder / "shown.jsonl", chats(ruled(12, seed=2)))
    rows = write(folder / "rows.jsonl", ruled(160, seed=0))
    changes: dict[str, Any] = {"steps": 30, "eval_sets": {"further": further}, "demonstrations": shown}
    reward_model(settings(tiny_model, folder / "run", rows, evaluate_every=10, **changes))
    return folder


def test_a_rule_is_learnt_and_measured_on_the_way(trained: Path) -> None:
    lines = read_lines(trained / "run" / "metrics.jsonl")
    held_out = [line for line in lines if "held_out_accuracy/all" in line]
    assert [line["step"] for line in held_out] == [0, 10, 20, 30]
    assert held_out[0]["held_out_accuracy/rows"] < 0.9 < held_out[-1]["held_out_accuracy/rows"]
    assert held_out[-1]["held_out/all"] < 0.3 < held_out[0]["held_out/all"]
    assert all(line["held_out/rows"] == pytest.approx(line["held_out/all"]) for line in held_out)  # the one source
    assert [line["step"] for line in lines if "eval_accuracy/further" in line] == [0, 30]
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == 30
    assert all({"accuracy", "margin", "score", "grad_norm"} < line.keys() for line in steps)


def test_the_ranking_of_held_out_rows_and_of_further_ones_is_written(trained: Path) -> None:
    found = json.loads((trained / "run" / "ranking.json").read_text())
    assert [(each["step"], each["name"]) for each in found] == [
        (0, "held_out"),
        (0, "further"),
        (10, "held_out"),
        (20, "held_out"),
        (30, "held_out"),
        (30, "further"),
    ]
    account = json.loads((trained / "run" / "data.json").read_text())["sources"]["rows"]
    assert {each["comparisons"] for each in found if each["name"] == "held_out"} == {account["held_out"]["examples"]}
    assert {each["comparisons"] for each in found if each["name"] == "further"} == {40}
    assert account["training"]["examples"] + account["held_out"]["examples"] == 160  # nothing of the further ones


# The zero


def test_r6_demonstrations_have_mean_score_0_and_the_constant_changes_no_margin(trained: Path, tmp_path: Path) -> None:
    lines = scores_of(trained / "run", trained / "shown.jsonl", tmp_path / "shown.jsonl")
    assert abs(np.mean([line["score"] for line in lines])) < 1e-4
    scorer = Scorer(load_scorer(ModelConfig(path=str(trained / "run"), dtype="float64"), CPU))
    assert abs(scorer.offset) > 1e-2
    packed = pack(COMPARED[:1])
    moved_S = scorer(packed).detach()
    scorer.offset = 0.0
    plain_S = scorer(packed).detach()
    assert (moved_S.diff() - plain_S.diff()).abs().max() < 1e-12
    # The best policy, proportional to reference * exp(score / beta), is the same for every beta.
    reference_S = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    for beta in (0.1, 1.0):
        best_S = torch.softmax(reference_S.log() + plain_S / beta, 0)
        torch.testing.assert_close(torch.softmax(reference_S.log() + moved_S / beta, 0), best_S, rtol=0, atol=1e-12)


def test_r6_without_a_file_the_best_completions_that_were_learnt_have_mean_0(tiny_model: Path, tmp_path: Path) -> None:
    rows = ruled(40, seed=3)
    run = reward_model(settings(tiny_model, tmp_path / "run", write(tmp_path / "rows.jsonl", rows)))
    held_out = json.loads((run / "data.json").read_text())["sources"]["rows"]["held_out"]["rows"]
    learnt = [row for i, row in enumerate(rows, 1) if i not in {int(name.split()[-1]) for name in held_out}]
    best = [{**row, "completions": [row["completions"][row["ranks"].index(0)]]} for row in learnt]
    lines = scores_of(run, write(tmp_path / "best.jsonl", chats(best)), tmp_path / "scores.jsonl")
    assert len(lines) == 32
    assert abs(np.mean([line["score"] for line in lines])) < 1e-4


def edited(folder: Path, trained: Path, **changes: Any) -> Scorer:
    """The trained model with other settings, or with other weights."""
    source = load_scorer(ModelConfig(path=str(trained / "run")), CPU)
    for name, value in changes.items():
        if name == "weight":
            source.get_parameter("model.layers.1.mlp.down_proj.weight").data += value
        else:
            setattr(source.config, name, value)
    source.save_pretrained(folder)
    return Scorer(load_scorer(ModelConfig(path=str(folder)), CPU))


def test_r6_a_model_whose_zero_moved_is_refused(trained: Path, tmp_path: Path) -> None:
    untouched = edited(tmp_path / "same", trained)
    check_scores(untouched, "same")
    for name, value in (("score_offset", untouched.offset + 0.01), ("weight", 0.01), ("score_offset", None)):
        changed = edited(tmp_path / f"{name} {value}", trained, **{name: value or 0.0})
        with pytest.raises(ModelError, match="its weights or its score_offset were changed"):
            check_scores(changed, "changed")


@pytest.mark.parametrize(
    "model",
    [{"save_dtype": "bfloat16"}, {"save_dtype": "float16"}, {"dtype": "bfloat16"}, {"compute": "bfloat16"}],
    ids=lambda model: " ".join(map(str, *model.items())),
)
def test_a_model_of_few_bits_is_recognised_when_it_is_loaded(
    model: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    rows = write(tmp_path / "rows.jsonl", ruled(60, seed=4))
    run = reward_model(settings({"path": str(tiny_model), **model}, tmp_path / "run", rows, steps=8))
    found = scores_of(run, rows, tmp_path / "scores.jsonl")
    assert len(found) == 60
    kept = json.loads((run / "model" / "config.json").read_text())
    kept["score_offset"] += 0.5
    (run / "model" / "config.json").write_text(json.dumps(kept))
    with pytest.raises(SystemExit, match="score_offset were changed"):
        scores_of(run, rows, tmp_path / "again.jsonl")


# The model folder


@pytest.mark.parametrize("changes", [{}, {"mask": "all"}, {"lora": {"rank": 4}}], ids=["plain", "mask all", "LoRA"])
def test_the_saved_model_gives_planish_scores_in_plain_transformers(
    changes: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    """Padded on either side by the saved tokenizer. In the one that was given, the end of a turn pads."""
    shutil.copytree(tiny_model, tmp_path / "given")
    given = load_tokenizer(tiny_model)
    given.pad_token = "<|im_end|>"
    given.save_pretrained(str(tmp_path / "given"))
    model: dict[str, Any] = {"path": str(tmp_path / "given"), "lora": changes.get("lora")}
    file = write(tmp_path / "rows.jsonl", ruled(40, seed=5))
    data = {"sources": {"rows": {"path": file}}, "held_out": 0.2, "mask": changes.get("mask", "assistant")}
    run = reward_model(settings(model, tmp_path / "run", data))
    assert (run / "adapter").exists() == ("lora" in changes)
    rows = chats(ruled(6, seed=6))
    ours = [line["score"] for line in scores_of(run, write(tmp_path / "chats.jsonl", rows), tmp_path / "scores")]
    saved = AutoTokenizer.from_pretrained(run / "model")
    assert saved.pad_token_id != given.pad_token_id
    for side in ("left", "right"):
        assert scores_of_transformers(run, rows, side) == pytest.approx(ours, abs=1e-4)


def scores_of_transformers(run: Path, rows: Rows, side: str) -> list[float]:
    """All conversations in one batch, padded on this side."""
    plain = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model", padding_side=side)
    assert plain.config.num_labels == 1
    assert tokenizer.pad_token_id == plain.config.pad_token_id
    texts = [tokenizer.apply_chat_template(row["messages"], tokenize=False).rstrip("\n") for row in rows]
    batch = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        logits = plain(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    return (logits - plain.config.score_offset).tolist()


def test_a_prompt_that_ends_within_a_token_is_tokenized_apart(tmp_path: Path) -> None:
    """As docs/reward.md says: " the" is one token, and the template's prompt ends in a space."""
    template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% if m['role'] == 'assistant' %}<|end|>{% endif %}|"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    given = tiny_tokenizer(eos="<|end|>", pad="<|pad|>", template=template)
    save_model(random_model("llama", max_position_embeddings=256), given, tmp_path / "given")
    pairs = [{"prompt": f"Say {i}", "completions": [f"the {i}", f"the {i} and"], "ranks": [0, 1]} for i in range(20)]
    rows = write(tmp_path / "rows.jsonl", pairs)
    run = reward_model(settings({"path": str(tmp_path / "given")}, tmp_path / "run", rows, steps=1))
    shown = chats(pairs[:4])
    ours = [line["score"] for line in scores_of(run, write(tmp_path / "chats.jsonl", shown), tmp_path / "scores")]
    plain = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")

    def score(*parts: str) -> float:
        ids = [token for part in parts for token in tokenizer(part, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            return plain(torch.tensor([ids])).logits.item() - plain.config.score_offset

    for row, expected in zip(shown, ours, strict=True):
        prompt = tokenizer.apply_chat_template(row["messages"][:-1], add_generation_prompt=True, tokenize=False)
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False).rstrip("|")
        assert score(prompt, text[len(prompt) :]) == pytest.approx(expected, abs=1e-4)
        assert abs(score(text) - expected) > 1e-3


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")  # peft's, of the adapter beside the model
@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["plain", "LoRA"])
def test_pain_18_a_tokenizer_of_one_special_token_makes_a_reward_model(lora: Any, tmp_path: Path) -> None:
    given = tiny_tokenizer(bos="<|endoftext|>", eos="<|endoftext|>")
    model = random_model("llama", vocab_size=len(given), max_position_embeddings=256)
    save_model(model, given, tmp_path / "given")
    rows = write(tmp_path / "rows.jsonl", ruled(40, seed=5))
    run = reward_model(settings({"path": str(tmp_path / "given"), "lora": lora}, tmp_path / "run", rows))
    shown = chats(ruled(6, seed=6))
    ours = [line["score"] for line in scores_of(run, write(tmp_path / "chats.jsonl", shown), tmp_path / "scores")]
    for side in ("left", "right"):
        assert scores_of_transformers(run, shown, side) == pytest.approx(ours, abs=1e-4)
    again = reward_model(settings(run, tmp_path / "again", rows))  # which has a token to pad with
    assert len(load_tokenizer(again)) == len(load_tokenizer(run)) == len(given) + 1


def test_a_reward_model_may_learn_on_and_finds_its_zero_anew(trained: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"demonstrations": str(trained / "shown.jsonl"), "optim": {"lr": 1e-9}, "steps": 1}
    run = reward_model(settings(trained / "run", tmp_path / "run", str(trained / "rows.jsonl"), **changes))
    before, after = (
        scores_of(path, trained / "further.jsonl", tmp_path / f"{i}.jsonl")
        for i, path in enumerate((trained / "run", run))
    )
    for one, other in zip(before, after, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-4)


def test_a_finished_run_does_nothing_when_started_again(trained: Path) -> None:
    files = [trained / "run" / name for name in ("metrics.jsonl", "ranking.json", "model/model.safetensors")]
    before = [path.stat().st_mtime_ns for path in files[1:]], files[0].read_text()
    reward_model(load_config(RewardConfig, trained / "run" / "config.yaml"))
    assert ([path.stat().st_mtime_ns for path in files[1:]], files[0].read_text()) == before
