"""PPO: what a round of sampling records, the step it takes, and what a policy becomes."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Barrier, get_ident
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from planish.base.config import load_config
from planish.base.errors import ConfigError, DataError
from planish.base.types import Experience, pack
from planish.data.chat.tokenizer import load_tokenizer
from planish.inference.decode import Sampled
from planish.methods.ppo.advantages import Gae, Rloo, ScoredCompletions
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.models import all_gather_completions
from planish.methods.ppo.objective import PpoObjective
from planish.methods.ppo.run import ppo
from planish.methods.reward_model import RewardConfig, reward_model
from planish.methods.sft import SftConfig, sft
from planish.methods.supervised import NextTokenLoss
from planish.models.actor_critic import ActorCritic, ValuedLM
from planish.models.load import ModelConfig, build_model, save_model
from planish.models.reward_head import Scorer, Values, load_scorer
from planish.train.optimizer import OptimConfig, Trainer
from planish.train.record import read_lines
from support.examples import compared, random_examples
from support.models import largest_difference, random_model
from support.rewards import ARMS
from support.rows import WORDS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    rows = [{"prompt": f"say {WORDS[i % len(WORDS)]} {i}"} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settings(path: Path, prompts: str, out: Path, **changes: Any) -> PpoConfig:
    values = {
        "model": {"path": str(path), "dtype": "float64"},
        "rewards": {"letters": {"name": "function", "function": "support.rewards:letters"}},
        "prompts": {"some": prompts},
        "held_out": 2,
        "iterations": 2,
        "batch": {"prompts": 4, "completions": 2, "minibatches": 2, "micro_tokens": 64},
        "sampling": {"max_completion_tokens": 6},
        "optim": {"lr": 1e-3, "schedule": "constant", "warmup_ratio": 0.0},
        "value": {"path": str(path), "lr": 1e-3},
        "num_samples": 1,
        "out": str(out),
        **changes,
    }
    return load_config(PpoConfig, values=values)


def iterations(run: Path) -> list[dict[str, float]]:
    return [line for line in read_lines(run / "metrics.jsonl") if "iteration" in line]


def steps(run: Path) -> list[dict[str, float]]:
    return [line for line in read_lines(run / "metrics.jsonl") if "loss" in line]


def bandit(folder: Path) -> Path:
    """A language model whose answers are one of ten tokens: eight words, and two that say nothing."""
    words = ["<end>", "<ask>", "a", "b", "c", "d", "e", "f", "g", "h"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="a"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.add_special_tokens(["<end>", "<ask>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}{{ ' <end> ' if m.role == 'assistant' else ' <ask> ' }}{% endfor %}"
    )
    shape = {
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 16, "initializer_range": 0.3,
    }  # fmt: skip
    save_model(build_model(shape, len(words), "float64", 0, CPU), tokenizer, folder)
    return folder


def settings_of_bandit(model: Path, folder: Path, **changes: Any) -> PpoConfig:
    """One prompt, answered by one token, whose reward is that of its arm."""
    (folder / "prompt.jsonl").write_text(json.dumps({"prompt": "g"}) + "\n")
    rewards = {"arms": {"name": "function", "function": "support.rewards:arms"}}
    alike: dict[str, Any] = {"held_out": 0, "sampling": {"max_completion_tokens": 1}, "missing_eos": None}
    return settings(model, str(folder / "prompt.jsonl"), folder / "run", rewards=rewards, **alike, **changes)


def first_token(folder: Path, ids: list[int]) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    with torch.no_grad():
        return torch.softmax(model(torch.tensor([ids])).logits[0, -1], 0)


@pytest.mark.slow
def test_p3_sampled_ppo_ends_near_the_tilted_reference(tmp_path: Path) -> None:
    """One prompt, one token, ten arms: p_ref exp(r / beta) / Z is known."""
    model, beta = bandit(tmp_path / "bandit"), 0.5
    run = ppo(
        settings_of_bandit(
            model,
            tmp_path,
            iterations=150,
            batch={"prompts": 1, "completions": 256, "micro_tokens": 4096},
            kl={"beta": beta},
            optim={"lr": 2e-2, "schedule": "linear", "warmup_ratio": 0.0},
            value={"path": str(model), "lr": 2e-2},
            evaluate_every=0,
            checkpoint={"every": 0},
        )
    )
    tokenizer = load_tokenizer(model)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "g"}], add_generation_prompt=True)
    ids = ids["input_ids"] if not isinstance(ids, list) else ids
    reward = torch.tensor([ARMS.get(tokenizer.decode([i], skip_special_tokens=True).strip(), 0.0) for i in range(10)])
    best = first_token(model, ids) * (reward / beta).exp()
    best = best / best.sum()
    start = 0.5 * (first_token(model, ids) - best).abs().sum().item()
    reached = 0.5 * (first_token(run / "model", ids) - best).abs().sum().item()
    assert start > 0.2
    assert reached < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("advantage", ["rloo", "grpo"])
def test_the_other_estimators_go_the_same_way(advantage: str, tmp_path: Path) -> None:
    model = bandit(tmp_path / "bandit")
    run = ppo(
        settings_of_bandit(
            model,
            tmp_path,
            iterations=60,
            batch={"prompts": 1, "completions": 64, "micro_tokens": 4096},
            kl={"beta": 0.1},
            advantage={"name": advantage},
            optim={"lr": 2e-2, "schedule": "linear", "warmup_ratio": 0.0},
            evaluate_every=0,
        )
    )
    scores = [line["score"] for line in iterations(run)]
    assert np.mean(scores[-10:]) > np.mean(scores[:5]) + 0.2
    assert "explained_variance" not in iterations(run)[0]  # there is no value model


@pytest.mark.parametrize("advantage", ["gae", "rloo", "grpo"])
def test_a_policy_that_is_paid_for_the_truth_stops_being_wrong(advantage: str, tmp_path: Path) -> None:
    """Of ten answers one is correct, three abstain (one by a file of words, two have no words), and six cost 3."""
    model = bandit(tmp_path / "bandit")
    (tmp_path / "prompt.jsonl").write_text(json.dumps({"prompt": "g", "answers": ["h"]}) + "\n")
    (tmp_path / "words.txt").write_text("b\n")
    config = settings(
        model,
        str(tmp_path / "prompt.jsonl"),
        tmp_path / "run",
        rewards={"truth": {"name": "truth", "wrong": -3, "abstentions": str(tmp_path / "words.txt")}},
        held_out=0,
        missing_eos=None,
        iterations=12,
        batch={"prompts": 1, "completions": 64, "micro_tokens": 4096},
        sampling={"max_completion_tokens": 1},
        kl={"beta": 0.0},
        advantage={"name": advantage},
        optim={"lr": 5e-2, "schedule": "constant", "warmup_ratio": 0.0},
        value={"path": str(model), "lr": 5e-2} if advantage == "gae" else {},
        checkpoint={"every": 0},
    )
    scores = [line["score"] for line in iterations(ppo(config))]
    assert scores[0] < -0.5
    assert scores[-1] > 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampling": {"max_completion_tokens": 6, "temperature": 0.6}},
        {"sampling": {"max_completion_tokens": 6, "temperature": 1.4, "top_p": 0.7}},
        {"value": {"shared": True}},
        {"advantage": {"name": "grpo"}},
    ],
    ids=["plain", "cold", "warm, top-p", "shared backbone", "grpo"],
)
def test_p6_and_pain_22_the_first_updates_ratio_is_1_and_the_sampler_agrees(
    changes: dict[str, Any], tiny_model: Path, prompts: str, tmp_path: Path
) -> None:
    run = ppo(settings(tiny_model, prompts, tmp_path / "run", **changes))
    lines = steps(run)
    assert [line["ratio_change"] < 1e-10 for line in lines] == [True, False, True, False]
    for line in iterations(run):
        assert line["sampler_mismatch"] < 1e-9
    assert iterations(run)[0]["kl"] == 0 or abs(iterations(run)[0]["kl"]) < 1e-10
    assert iterations(run)[1]["kl"] != 0


def test_p7_the_value_at_the_end_of_a_turn_is_the_reward_models_score(tmp_path: Path) -> None:
    random_model("llama", torch.float64).save_pretrained(tmp_path / "model")
    model = load_scorer(ModelConfig(path=str(tmp_path / "model"), dtype="float64"), CPU, seed=3)
    scorer, values = Scorer(model), Values(model)
    scorer.offset = 0.7
    rows = random_examples([14, 9], seed=1)
    longer = [replace(row, tokens=np.append(row.tokens, 5).astype(np.int32)) for row in rows]
    # One token more: its predictor is the old last token, where the reward model reads.
    longer = [replace(row, loss_mask=np.arange(len(row)) == len(row) - 1) for row in longer]
    with torch.no_grad():
        torch.testing.assert_close(values(pack(longer)), scorer(pack(rows)), atol=1e-12, rtol=0)


def experienced(seed: int = 0) -> list[Any]:
    """Two prompts with three and two completions, and made-up numbers for each token."""
    rows = [
        compared(random_examples([30], seed=5)[0], prompt_length=8, ends=(14, 21, 30)),
        compared(random_examples([12], seed=7)[0], prompt_length=4, ends=(7, 12)),
    ]
    chance = np.random.default_rng(seed)
    return [
        replace(row, experience=Experience(*(chance.normal(size=int(row.loss_mask.sum())) for _ in range(5))))
        for row in rows
    ]


def actor_of(kind: str = "llama") -> ActorCritic:
    policy = ValuedLM(random_model(kind, torch.float64))
    torch.nn.init.normal_(policy.value_head.weight, generator=torch.Generator().manual_seed(1))
    return ActorCritic(policy, None)


def objective(actor: ActorCritic, tmp_path: Path, **changes: Any) -> PpoObjective:
    return PpoObjective(actor, settings(tmp_path, "prompts.jsonl", tmp_path, **changes), CPU)


@pytest.mark.parametrize("name", ["gae", "grpo"])
@pytest.mark.usefixtures("nothing_below_float64")
def test_the_loss_is_that_of_each_completion_by_itself(name: str, tmp_path: Path) -> None:
    """Packed behind one prompt, or one by one with a prompt each: the same sum and gradient."""
    actor, rows = actor_of(), experienced()
    function = objective(actor, tmp_path, advantage={"name": name}, kl={"beta": 0.3})
    loss, _ = function.loss(pack(rows))
    loss.backward()
    together = {n: p.grad for n, p in actor.named_parameters() if p.grad is not None}
    actor.zero_grad(set_to_none=True)
    total, parts = 0.0, 0.0
    for row in rows:
        first = 0
        starts = (row.choices.prompt_length, *row.choices.ends)
        for start, stop in pairwise(starts):
            tokens = np.r_[row.tokens[: row.choices.prompt_length], row.tokens[start:stop]]
            known = {
                n: values[first : first + stop - start]
                for n in Experience.__dataclass_fields__
                if (values := getattr(row.experience, n)) is not None
            }
            alone = replace(
                row,
                tokens=tokens,
                loss_mask=np.arange(len(tokens)) >= row.choices.prompt_length,
                choices=None,
                experience=Experience(**known),
            )
            each, _ = function.loss(pack([alone]))
            each.backward()
            total, parts, first = total + each.item(), parts + function.weight(pack([alone])), first + stop - start
    assert loss.item() == pytest.approx(total, rel=1e-12)
    assert function.weight(pack(rows)) == parts
    apart = {n: p.grad for n, p in actor.named_parameters() if p.grad is not None}
    assert largest_difference(together, apart) < 1e-12


def test_p8_the_gradient_is_that_of_ppo_plus_gamma_times_that_of_pretraining(tmp_path: Path) -> None:
    actor, gamma = actor_of(), 27.8
    function, documents = objective(actor, tmp_path), pack(random_examples([20, 11], seed=2))
    likelihood, rollouts = NextTokenLoss(actor.policy, "token_mean", CPU), pack(experienced())
    trainer = Trainer(actor, OptimConfig(clip_grad_norm=0.5), 1)

    def gradient(*losses: torch.Tensor) -> dict[str, torch.Tensor]:
        actor.zero_grad(set_to_none=True)
        sum(losses).backward()  # pyright: ignore
        return {n: p.grad.clone() for n, p in actor.named_parameters() if p.grad is not None}

    def losses() -> tuple[torch.Tensor, torch.Tensor]:
        mine, theirs = function.loss(rollouts)[0] / function.weight(rollouts), likelihood.loss(documents)[0]
        return mine, gamma * theirs / likelihood.weight(documents)

    own, other = gradient(losses()[0]), gradient(losses()[1])
    actor.zero_grad(set_to_none=True)
    for name, loss in zip(("", "ptx"), losses(), strict=True):
        loss.backward()
        trainer.set_aside(name)
    norms = trainer.clip()
    norm = {n: math.sqrt(sum(float((g**2).sum()) for g in part.values())) for n, part in (("own", own), ("ptx", other))}
    assert norms["own_grad_norm"] == pytest.approx(norm["own"], rel=1e-12)
    assert norms["ptx/grad_norm"] == pytest.approx(norm["ptx"], rel=1e-12)
    assert norms["ptx/grad_ratio"] == pytest.approx(norm["ptx"] / norm["own"], rel=1e-12)
    assert norms["grad_norm"] > 0.5
    scale = 0.5 / norms["grad_norm"]
    for name, p in actor.named_parameters():
        expected = (own.get(name, 0) + other.get(name, torch.zeros_like(p))) * scale
        assert p.grad is not None
        torch.testing.assert_close(p.grad, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.usefixtures("nothing_below_float64")
def test_a_ratio_of_gradients_takes_the_place_of_gamma(tmp_path: Path) -> None:
    """Whatever the coefficient, the pretraining gradient has three times the norm of the scores', and keeps its direction."""
    actor = actor_of()
    function, documents, rollouts = (
        objective(actor, tmp_path),
        pack(random_examples([20, 11], seed=2)),
        pack(experienced()),
    )
    likelihood = NextTokenLoss(actor.policy, "token_mean", CPU)

    def gradients(coefficient: float) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        trainer = Trainer(actor, OptimConfig(clip_grad_norm=1e9), 1)
        actor.zero_grad(set_to_none=True)
        function.loss(rollouts)[0].backward()
        trainer.set_aside("")
        (coefficient * likelihood.loss(documents)[0]).backward()
        trainer.set_aside("ptx", 3.0)
        return trainer.clip(), {n: p.grad.clone() for n, p in actor.named_parameters() if p.grad is not None}

    (norms, small), (others, large) = gradients(0.01), gradients(100.0)
    assert norms["ptx/grad_ratio"] == pytest.approx(3, rel=1e-12)
    assert norms["ptx/grad_norm"] == pytest.approx(3 * norms["own_grad_norm"], rel=1e-12)
    assert norms["ptx/scale"] == pytest.approx(1e4 * others["ptx/scale"], rel=1e-9)
    scale = max(float(grad.abs().max()) for grad in large.values())
    assert largest_difference(small, large) < 1e-12 * scale


class WrongSampler:
    """Draws each of ten arms as often as its number says, whatever the policy would, and is honest about how likely that was."""

    counts = (19, 9, 8, 7, 6, 5, 4, 3, 2, 1)

    def __init__(self, policy: Any) -> None:
        pass

    def update(self, policy: Any) -> None:
        pass

    def sample(self, prompts: Any, requests: Any, *others: Any) -> list[Sampled]:
        drawn = [arm for arm, count in enumerate(self.counts) for _ in range(count)]
        assert len(drawn) == len(requests) == 64
        return [Sampled((arm,), (math.log(self.counts[arm] / 64),)) for arm in drawn]


@pytest.mark.usefixtures("nothing_below_float64")
def test_importance_weights_give_a_wrong_sampler_the_right_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tabular: all that the sampler could draw, as often as it would, so means are expectations: E_q[(p / q) A grad log p] is the
    gradient of sum_y p(y) r(y)."""
    monkeypatch.setattr("planish.methods.ppo.models.LocalSampler", WrongSampler)
    path = bandit(tmp_path / "bandit")
    tokenizer = load_tokenizer(path)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "g"}], add_generation_prompt=True)
    ids = ids["input_ids"] if not isinstance(ids, list) else ids
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    rewards = [ARMS.get(tokenizer.decode([i], skip_special_tokens=True).strip(), 0.0) for i in range(10)]
    reward = torch.tensor(rewards, dtype=torch.float64)
    (torch.softmax(model(torch.tensor([ids])).logits[0, -1], 0) * reward).sum().backward()
    right = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None))
    found: dict[str, dict[str, float]] = {}
    for name, importance in (
        ("none", None),
        ("token", {"cap": 1e6}),
        ("sequence", {"cap": 1e6, "level": "sequence"}),
        ("cut", {"cap": 1}),
    ):
        (tmp_path / name).mkdir()
        run = ppo(
            settings_of_bandit(
                path,
                tmp_path / name,
                iterations=1,
                batch={"prompts": 1, "completions": 64, "micro_tokens": 4096},
                kl={"beta": 0.0},
                advantage={"name": "support.rewards:PlainScore"},
                importance=importance,
                optim={"lr": 1e-3, "clip_grad_norm": 1e9},
                evaluate_every=0,
            )
        )
        found[name] = steps(run)[0] | iterations(run)[0]
    for name in ("token", "sequence"):
        assert found[name]["grad_norm"] == pytest.approx(right, rel=1e-10)
        assert found[name]["importance"] == pytest.approx(1, rel=1e-10)  # E_q[p / q]
        assert found[name]["importance_capped"] == 0
    for name in ("none", "cut"):
        assert abs(found[name]["grad_norm"] / right - 1) > 0.01
    assert found["cut"]["importance_capped"] > 0
    assert "importance" not in found["none"]


def test_p10_a_completion_that_does_not_end_scores_minus_one_whatever_its_score(
    tiny_model: Path, prompts: str, tmp_path: Path
) -> None:
    hundred = {"hundred": {"name": "function", "function": "support.rewards:hundred"}}
    run = ppo(settings(tiny_model, prompts, tmp_path / "run", rewards=hundred, sampling={"max_completion_tokens": 2}))
    for line in iterations(run):
        assert line["score"] == pytest.approx(100 * (1 - line["unended"]) - line["unended"])
        assert line["unended"] > 0.5
        assert line["score/hundred"] == 100


def test_pain_15_the_score_is_paid_at_the_last_token_of_each_completion() -> None:
    """Two completions of 3 and 1 tokens. P4's numbers: penalties (-.01, .02, -.03) and a score of 1 make (-.01, .02, .97)."""
    kl = np.array([0.1, -0.2, 0.3, 0.5])
    values = np.array([0.5, 0.6, 0.8, 0.25])
    batch = ScoredCompletions(np.array([1.0, 2.0]), kl, values, np.array([3, 1]), beta=0.1)
    found, returns = Gae(whiten=False).estimate(batch)
    np.testing.assert_allclose(found, [0.452425, 0.3815, 0.17, 2 - 0.05 - 0.25], atol=1e-12)
    np.testing.assert_allclose(returns, [0.952425, 0.9815, 0.97, 1.95], atol=1e-12)


def test_advantages_of_groups_are_the_same_for_all_tokens_of_a_completion() -> None:
    # Rewards 1 - .5 * .2 = .9 and 2 - .5 * .4 = 1.8; 0 and 4 - .5 * 2 = 3.
    kl, lengths = np.array([0.1, 0.1, 0.4, 0.0, 1.0, 1.0]), np.array([2, 1, 1, 2])
    batch = ScoredCompletions(np.array([1.0, 2.0, 0.0, 4.0]), kl, np.zeros(6), lengths, beta=0.5, num_samples=2)
    found, _ = Rloo().estimate(batch)
    np.testing.assert_allclose(found, [-0.9, -0.9, 0.9, -3, 3, 3], atol=1e-12)


@pytest.mark.parametrize("source", ["arms", "letters"])
def test_grpo_groups_without_spread_move_nothing_and_are_counted(
    source: str, tiny_model: Path, prompts: str, tmp_path: Path
) -> None:
    """A KL penalty alone would pull from the second step on. No word of `arms` is written, so all score 0."""
    changes = {
        "advantage": {"name": "grpo"},
        "rewards": {"mine": {"name": "function", "function": f"support.rewards:{source}"}},
        "missing_eos": None,
        "kl": {"beta": 0.5},
        "value": {},
    }
    run = ppo(settings(tiny_model, prompts, tmp_path / "run", **changes))
    flat = [line["flat_groups"] for line in iterations(run)]
    now, before = (load_file(str(folder / "model.safetensors")) for folder in (run / "model", tiny_model))
    moved = max((now[name] - before[name]).abs().max().item() for name in now)
    assert (flat == [1.0, 1.0], moved == 0) == ((True, True) if source == "arms" else (False, False))


def test_pain_16_the_number_of_optimiser_steps_is_the_one_configured(
    tiny_model: Path, prompts: str, tmp_path: Path
) -> None:
    batch = {"prompts": 5, "completions": 1, "epochs": 2, "minibatches": 3}
    run = ppo(settings(tiny_model, prompts, tmp_path / "run", batch=batch))
    assert [line["step"] for line in steps(run)] == list(range(1, 2 * 2 * 3 + 1))
    assert [line["step"] for line in iterations(run)] == [
        1,
        7,
    ]  # each is written with the first step that learns from it


def test_pain_12_the_kl_is_zero_before_the_first_step_when_lora_trains_a_fine_tuned_model(
    tiny_model: Path, tiny_data: dict[str, str], prompts: str, tmp_path: Path
) -> None:
    tuned = sft(
        load_config(
            SftConfig,
            values={
                "model": {"path": str(tiny_model), "dtype": "float64"},
                "data": {"sources": {"first": {"path": tiny_data["first"]}}},
                "steps": 3,
                "optim": {"lr": 1e-2},
                "out": str(tmp_path / "sft"),
            },
        )
    )
    model = {"path": str(tuned), "dtype": "float64", "lora": {"rank": 2}}
    lora = {"path": str(tiny_model), "lora": {"rank": 2}}
    run = ppo(settings(tuned, prompts, tmp_path / "run", model=model, value=lora))
    first, second = iterations(run)
    assert first["kl"] == 0 == first["kl_token"]
    assert second["kl"] != 0
    assert (run / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.slow
def test_pain_13_the_kl_recorded_is_the_kl_and_the_one_paid(tmp_path: Path) -> None:
    """On ten arms: the mean over samples is within three standard errors of the sum over arms, and advantages pay it."""
    model = bandit(tmp_path / "bandit")
    run = ppo(
        settings_of_bandit(
            model,
            tmp_path,
            iterations=6,
            batch={"prompts": 1, "completions": 2000, "micro_tokens": 8192},
            optim={"lr": 3e-2, "schedule": "constant", "warmup_ratio": 0.0},
            checkpoint={"every": 1, "keep": 9},
        )
    )
    tokenizer = load_tokenizer(model)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "g"}], add_generation_prompt=True)["input_ids"]
    (shard,) = (run / "checkpoints" / "step-00000005").glob("shard-*.safetensors")
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    weights = {
        n.removeprefix("weights.policy.model."): t
        for n, t in load_file(shard).items()
        if n.startswith("weights.policy")
    }
    policy.load_state_dict(weights, strict=False)
    with torch.no_grad():
        now = torch.softmax(policy(torch.tensor([ids])).logits[0, -1], 0)
    change = now.log() - first_token(model, ids).log()
    kl = (now * change).sum().item()
    error = math.sqrt(((now * change**2).sum().item() - kl**2) / 2000)
    assert kl > 5 * error
    assert abs(iterations(run)[5]["kl"] - kl) < 3 * error
    assert iterations(run)[5]["kl"] == pytest.approx(iterations(run)[5]["kl_token"])  # one token each


def test_beta_adapts_and_the_run_stops_where_the_kl_passes_its_limit(
    tiny_model: Path, prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, Any] = {"iterations": 9, "optim": {"lr": 3e-2, "schedule": "constant", "warmup_ratio": 0.0}}
    kl = {"beta": 0.1, "target": 1e-6, "horizon": 80, "stop": 0.5}
    run = ppo(settings(tiny_model, prompts, tmp_path / "run", kl=kl, **changes))
    lines = iterations(run)
    # The first KL is 0: beta falls by a fifth of n / H = 8 / 80; later KLs are far above the target: it rises by as much.
    assert lines[1]["beta"] == pytest.approx(0.1 * 0.98)
    assert lines[2]["beta"] == pytest.approx(0.1 * 0.98 * 1.02)
    assert len(lines) < 9
    assert lines[-1]["kl"] > 0.5 >= max(line["kl"] for line in lines[:-1])
    assert (run / "model" / "config.json").exists()
    assert capsys.readouterr().err.count("more than kl.stop=0.5") == 1
    again = ppo(settings(tiny_model, prompts, tmp_path / "run", kl=kl, **changes))
    assert iterations(again) == lines


def test_a_prompt_that_comes_twice_in_an_iteration_is_answered_anew(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One prompt, asked four times for two completions: eight draws. With a vocabulary of hundreds no two are the same."""
    seen: list[list[str]] = []

    def watched(prompts: Any, completions: list[str]) -> list[float]:
        seen.append(completions)
        return [0.0] * len(completions)

    monkeypatch.setattr("support.rewards.letters", watched)
    path = tmp_path / "prompt.jsonl"
    path.write_text(json.dumps({"prompt": "say cat"}) + "\n")
    ppo(settings(tiny_model, str(path), tmp_path / "run", held_out=0, iterations=1))
    assert [len(set(completions)) for completions in seen] == [8]


def test_held_out_scores_have_their_standard_error(tiny_model: Path, prompts: str, tmp_path: Path) -> None:
    """Of two scores a and b it is |a - b| / 2."""
    run = ppo(settings(tiny_model, prompts, tmp_path / "run", num_samples=2, iterations=1))
    measured = next(line for line in read_lines(run / "metrics.jsonl") if "held_out_tokens" in line)
    first, second = (line["scores"]["letters"] for line in read_lines(run / "samples.jsonl") if line["step"] == 0)
    assert measured["held_out_score/letters"] == pytest.approx((first + second) / 2)
    assert measured["held_out_score_standard_error/letters"] == pytest.approx(abs(first - second) / 2)
    assert measured["held_out_tokens_standard_error"] >= 0


def test_what_each_rank_drew_is_told_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks, played by two threads that meet at every sum."""
    drawn = [Sampled((7, 5), (-0.5, -1.25)), Sampled((3,), (-2.0,)), Sampled((4, 4, 9), (-1.0, -0.5, -0.125))]
    meet, given = Barrier(2, timeout=60), dict[int, list[float]]()

    def summed(mine: list[float]) -> list[float]:
        given[get_ident()] = mine
        meet.wait()
        total = [sum(each) for each in zip(*given.values(), strict=True)]
        meet.wait()
        return total

    monkeypatch.setattr("planish.methods.ppo.models.all_sum_list", summed)
    with ThreadPoolExecutor(2) as ranks:
        told = list(ranks.map(all_gather_completions, [{0: drawn[0], 2: drawn[2]}, {1: drawn[1]}], [3, 3]))
    assert told == [drawn, drawn]


def test_the_value_model_begins_as_the_first_reward_model_that_is_learnt_from(
    tiny_model: Path, tiny_data: dict[str, str], prompts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is only watched must not reach what is trained."""
    values = {
        "model": {"path": str(tiny_model), "dtype": "float64"},
        "data": {"sources": {"compared": {"path": tiny_data["compared"]}}},
        "steps": 1,
    }
    for name in ("watched", "learnt"):
        reward_model(load_config(RewardConfig, values={**values, "out": str(tmp_path / name)}))
    loaded: list[str] = []

    def load(config: ModelConfig, *others: Any) -> Any:
        loaded.append(Path(config.path).name)
        return load_scorer(config, *others)

    monkeypatch.setattr("planish.methods.ppo.models.load_scorer", load)
    rewards = {
        "out": {"name": "model", "path": str(tmp_path / "watched"), "weight": 0.0},
        "in": {"name": "model", "path": str(tmp_path / "learnt")},
    }
    ppo(settings(tiny_model, prompts, tmp_path / "run", rewards=rewards, value={}, iterations=1))
    assert loaded == ["learnt"]


def test_the_saved_policy_is_the_moving_average(tiny_model: Path, prompts: str, tmp_path: Path) -> None:
    run = ppo(settings(tiny_model, prompts, tmp_path / "run", ema=0.9, iterations=1, checkpoint={"every": 1}))
    start = load_file(Path(tiny_model) / "model.safetensors")
    (shard,) = (run / "checkpoints" / "step-00000002").glob("shard-*.safetensors")
    kept, saved = load_file(shard), load_file(run / "model" / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(saved[name], kept[f"kept.average.policy.model.{name}"])
    assert not torch.equal(saved[name], kept[f"weights.policy.model.{name}"])
    moved = kept[f"weights.policy.model.{name}"] - start[name]
    assert 0 < (saved[name] - start[name]).abs().sum() < moved.abs().sum()


def test_ptx_lowers_the_pretraining_loss_and_says_how_strong_it_is(
    tiny_model: Path, tiny_data: dict[str, str], prompts: str, tmp_path: Path
) -> None:
    documents = {"sources": {"web": {"path": tiny_data["documents"]}}, "held_out": 0.2}
    found = {}
    for gamma in (0.0, 20.0):
        run = ppo(
            settings(
                tiny_model, prompts, tmp_path / f"run{gamma:g}", iterations=4, pretraining=documents,
                ptx={"gamma": gamma, "examples": 8},
            )
        )  # fmt: skip
        losses = [line["held_out/web"] for line in read_lines(run / "metrics.jsonl") if "held_out/web" in line]
        found[gamma] = losses[-1] - losses[0]
        assert all(("ptx/grad_norm" in line) == (gamma > 0) for line in steps(run))
    assert found[20.0] < -0.01 < found[0.0]


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"rewards": {"gone": {"name": "function", "function": "support.rewards:nothing"}}},
        ConfigError,
        "rewards.gone.function",
    ),
    (
        {"rewards": {"few": {"name": "function", "function": "support.rewards:one_too_few"}}},
        ConfigError,
        "for each of 2 completions; it returned 1",
    ),
    ({"held_out": 99}, ConfigError, "12 different prompts"),
    ({"sampling": {"max_completion_tokens": 250}}, DataError, r"row 1: .* room for 6"),
]


@pytest.mark.parametrize(("changes", "error", "says"), BAD, ids=[says for _, _, says in BAD])
def test_what_cannot_be_is_said_once_and_clearly(
    changes: dict[str, Any], error: type[Exception], says: str, tiny_model: Path, prompts: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        ppo(settings(tiny_model, prompts, tmp_path / "run", **changes))


def test_prompts_without_room_are_dropped_on_request_and_listed(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "say cat"}, {"prompt": "say dog " * 60}, {"prompt": "say tree"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    batch = {"prompts": 2, "completions": 1}
    run = ppo(settings(tiny_model, str(path), tmp_path / "run", too_long="drop", held_out=0, batch=batch))
    told = json.loads((run / "data.json").read_text())["prompts"]
    assert [each["row"] for each in told["dropped"]] == [f"{path} row 2"]
    assert told["sources"]["some"]["training"] == 2
