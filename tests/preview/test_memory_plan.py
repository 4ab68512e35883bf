"""`planish plan`: what is counted on fake tensors, held against real ones, and what it says of recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from planish.base.types import Choices, Example, Packed, pack
from planish.cli.main import main
from planish.methods.dpo import DpoConfig
from planish.methods.ppo.config import PpoConfig
from planish.methods.sft import SftConfig
from planish.methods.supervised import NextTokenLoss
from planish.models.load import LoraConfig, ModelConfig, load_settings
from planish.models.lora import add_lora
from planish.models.packed import CausalLM
from planish.models.sharding import shard
from planish.preview.plan.cards import CARDS, Card
from planish.preview.plan.fakes import fake_mode, fake_model, faked, pretended_ranks, untried
from planish.preview.plan.ledger import GRADIENTS, MOMENTS, WEIGHTS, TensorLedger
from planish.preview.plan.plan import Hardware, Plan, Planner, alternatives
from planish.preview.plan.rehearse import Rehearsal, RunPlace, rehearse
from planish.preview.plan.work import Volume, Workload, ppo_work
from support.models import random_model
from support.refusals import refused

CPU = torch.device("cpu")


def document(length: int, prompt: int) -> Example:
    return Example(np.arange(length, dtype=np.int32) % 300, np.arange(length) >= prompt, "")


ROW = pack([document(40, 10), document(23, 5), document(31, 12)])


def kept(policy: CausalLM, row: Packed) -> int:
    """Bytes of what autograd keeps of a pass, but for weights."""
    found: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        NextTokenLoss(policy, "token_mean", CPU).loss(row)
    weights = {p.untyped_storage()._cdata for p in policy.parameters()}
    return sum(tensor.untyped_storage().nbytes() for key, tensor in found.items() if key not in weights)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "mistral", "gpt2", "olmo2", "phi", "opt"])
def test_fake_tensors_keep_what_real_ones_keep(kind: str, dtype: torch.dtype | None) -> None:
    real = CausalLM(random_model(kind), dtype)
    fake = fake_mode()
    with untried():
        model = fake_model(real.model.config, ModelConfig(path="none"), fake)
        with fake:
            policy = CausalLM(model, dtype)
    assert kept(policy, faked([ROW], fake)[0]) == kept(real, ROW)


def test_lora_and_recomputed_layers_keep_as_much_as_real_ones() -> None:
    lora = LoraConfig(rank=4)
    model = random_model("llama")
    add_lora(model, lora, 0)
    real, fake = CausalLM(model), fake_mode()
    config = ModelConfig(path="none", gradient_checkpointing=True)
    with untried(), fake:
        policy = CausalLM(fake_model(model.config, ModelConfig(path="none"), fake, lora))
        thrifty = CausalLM(fake_model(model.config, config, fake, lora))
    assert kept(policy, faked([ROW], fake)[0]) == kept(real, ROW)
    assert kept(thrifty, faked([ROW], fake)[0]) < kept(real, ROW) / 3


class RealPeak(TorchDispatchMode):
    """Most bytes of real tensors at once, counted the obvious way: after each operation, of all that is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = TensorLedger(fake_mode())
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.ledger._add(tensor, func, args)  # pyright: ignore[reportPrivateUsage]
        self.peak = max(self.peak, self.ledger.total)
        return made


def test_the_peak_of_fake_tensors_is_that_of_real_ones() -> None:
    def peak(policy: CausalLM, row: Packed, counted: Any) -> int:
        with counted:
            loss, _ = NextTokenLoss(policy, "token_mean", CPU).loss(row)
            loss.backward()
        return sum(counted.peak.values()) if isinstance(counted, TensorLedger) else counted.peak

    real, fake = CausalLM(random_model("llama")), fake_mode()
    with untried(), fake:
        policy = CausalLM(fake_model(real.model.config, ModelConfig(path="none"), fake))
    assert peak(policy, faked([ROW], fake)[0], TensorLedger(fake)) == pytest.approx(
        peak(real, ROW, RealPeak()), rel=1e-3
    )


SMALL = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": False,
}  # fmt: skip
WEIGHTS_OF_SMALL = 2 * 512 * 64 + 4 * (64 * 64 * 3 + 3 * 64 * 128 + 2 * 64) + 64
CARD = Card("24 GB", 24e9, 1e12, 1e12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of which there is a config.json alone."""
    path = tmp_path_factory.mktemp("small")
    (path / "config.json").write_text(json.dumps({**SMALL, "architectures": ["LlamaForCausalLM"]}))
    return str(path)


def config_of(kind: type[Any], folder: str, **changes: Any) -> Any:
    data = {} if kind is PpoConfig else {"data": {"sources": {"rows": {"path": "rows.jsonl"}}}}
    model = {"path": folder, **changes.pop("model", {})}
    return kind.model_validate({"out": "none", "model": model, **data, **changes})


STEP = Workload([[document(100, 40) for _ in range(32)]])


def perform(config: Any, work: Workload = STEP, ranks: int = 1, tokens: int = 400) -> Rehearsal:
    return rehearse(config, lambda model: load_settings(model.path), work, RunPlace(ranks, CARD, tokens))


def test_states_are_the_bytes_that_they_are(folder: str) -> None:
    found = perform(config_of(SftConfig, folder))
    learning = found.phases["learning"]
    assert found.weights == found.trained == WEIGHTS_OF_SMALL
    assert learning[WEIGHTS] == pytest.approx(4 * WEIGHTS_OF_SMALL, rel=0.001)  # and a buffer of rotary angles
    assert learning[MOMENTS] == pytest.approx(8 * WEIGHTS_OF_SMALL, rel=0.001)
    assert learning[GRADIENTS] >= 4 * WEIGHTS_OF_SMALL
    assert found.checkpoint == pytest.approx(12 * WEIGHTS_OF_SMALL, rel=0.001)
    assert found.tokens == 400
    linear, head = 4 * (64 * 64 * 3 + 3 * 64 * 128), 512 * 64
    pairs = (
        4 * 4 * 64 * 100 * 100 / 2 * 3.5 / 2
    )  # 4 rows, 4 layers: two products of QK' and AV forward, five backward, half of them
    learnt = 4 * 60
    last = 3 * 64 * 128 * (400 - learnt) * 6  # of the last layer's MLP, where nobody reads
    expected = 6 * (linear * 400 + head * learnt) - last + 4 * pairs * 2
    assert found.flop * 400 == pytest.approx(expected, rel=0.02)


def test_ranks_share_the_states_and_send_them(folder: str) -> None:
    one, two = perform(config_of(SftConfig, folder)), perform(config_of(SftConfig, folder), ranks=2)
    for part in (WEIGHTS, MOMENTS):
        assert two.phases["learning"][part] == pytest.approx(one.phases["learning"][part] / 2, rel=0.01)
    assert one.wire == 0
    # Half of all weights received twice and half of all gradients sent, but layers that stay are gathered once.
    assert 2.4 * WEIGHTS_OF_SMALL < two.wire < 6.1 * WEIGHTS_OF_SMALL
    assert two.checkpoint == one.checkpoint
    assert not torch.distributed.is_initialized()


def test_fewer_tokens_lora_and_recomputing_need_less(folder: str) -> None:
    def need(**model: Any) -> int:
        found = perform(config_of(SftConfig, folder, model=model))
        return found.peak(found.worst)

    plain = need()
    assert perform(config_of(SftConfig, folder), tokens=100).kept < perform(config_of(SftConfig, folder)).kept / 3
    assert need(gradient_checkpointing=True) < plain
    assert need(lora={"rank": 4}) < plain
    assert need(dtype="bfloat16") < 0.75 * plain


def test_dpo_with_another_reference_holds_it_before_it_begins(folder: str) -> None:
    pair = Example(
        np.zeros(60, np.int32), np.arange(60) >= 20, "", choices=Choices(20, (40, 60), (0, 1), (), (0.0, 0.0))
    )
    found = perform(config_of(DpoConfig, folder, reference=folder), Workload([[pair] * 8]))
    assert list(found.phases) == ["loading", "reference", "learning"]
    assert found.phases["reference"]["frozen models"] == pytest.approx(4 * WEIGHTS_OF_SMALL, rel=0.01)
    assert "frozen models" not in found.phases["learning"]


def test_ppo_holds_four_models_and_a_cache(folder: str) -> None:
    config = config_of(
        PpoConfig, folder, rewards={"reward": {"path": folder}}, prompts={"all": "prompts.jsonl"},
        batch={"prompts": 8, "completions": 2}, sampling={"max_completion_tokens": 20}, ema=0.9,
    )  # fmt: skip
    found = perform(config, ppo_work(config, [[1] * 30] * 8, [1] * 60))
    assert list(found.phases) == ["loading", "sampling", "scoring", "learning"]
    head = 512 * 64
    assert found.phases["learning"]["frozen models"] == pytest.approx(4 * (2 * WEIGHTS_OF_SMALL - head), rel=0.01)
    assert found.phases["learning"]["average of the weights"] == pytest.approx(4 * WEIGHTS_OF_SMALL, rel=0.01)
    assert found.rows == 16
    assert found.cache == 16 * 2 * 4 * 2 * 16 * 50 * 2  # rows, keys and values, layers, heads, width, places, bytes


def plan_of(config: Callable[[tuple[str, ...]], Any], card: Card, work: Workload = STEP, ranks: int = 1) -> Plan:
    volume = Volume(10, 32_000, 320, 32_000, 100)
    planner = Planner(lambda changes: ("sft", config(tuple(changes))), Hardware(card, ranks))
    return planner.plan(work, volume)


def changed(folder: str, settings: tuple[str, ...]) -> Any:
    tree: dict[str, Any] = {"model": {}, "batch": {}}
    for setting in settings:
        key, _, value = setting.partition("=")
        *above, last = key.split(".")
        place = tree
        for name in above:
            place = place.setdefault(name, {})
        place[last] = yaml.safe_load(value)
    return config_of(SftConfig, folder, **tree)


@pytest.mark.slow
def test_what_does_not_fit_is_told_the_smallest_change(folder: str) -> None:
    def config(settings: tuple[str, ...]) -> Any:
        return changed(folder, settings)

    enough = plan_of(config, CARD)
    assert enough.fits
    assert not enough.changes
    peak = enough.found.peak("learning")
    tight = plan_of(config, Card("small", 1e9 + 0.9 * peak))  # room for 0.9 of it, beside what CUDA takes
    assert not tight.fits
    (setting,) = tight.changes[0].settings  # fewer tokens a pass change no number, and so come first
    assert setting.startswith("batch.micro_tokens=")
    assert tight.changes[0].found.peak("learning") <= 0.9 * peak
    tighter = plan_of(config, Card("smaller", 1e9 + 14 * WEIGHTS_OF_SMALL))  # less than weights, gradients, moments
    assert "model.lora.rank=16" in tighter.changes[0].settings
    assert tighter.changes[1].ranks > 1
    hopeless = plan_of(config, Card("none", 1e9 + 1000))
    assert not hopeless.changes


def test_alternatives_leave_out_what_is_set(folder: str) -> None:
    config = config_of(SftConfig, folder, model={"lora": {}, "dtype": "bfloat16"})
    assert alternatives(config) == [(), ("model.gradient_checkpointing=true",)]


@pytest.mark.slow
def test_a_recipe_is_planned_without_reading_weights(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in tiny_model.iterdir():
        if file.suffix != ".safetensors":
            (bare / file.name).write_bytes(file.read_bytes())
    for command, source in (("sft", "first"), ("pretrain", "documents"), ("dpo", "compared"), ("reward", "ranked")):
        main(
            [
                "plan",
                "--for",
                command,
                "--model",
                str(bare),
                "--data",
                tiny_data[source],
                "--gpu",
                "h100",
                "--gpus",
                "2",
            ]
        )
        shown = capsys.readouterr().out
        assert f"planish {command} on 2 × h100 (80 GB): computed, not measured" in shown
        assert "It fits: learning needs most" in shown
        assert "tokens a second" in shown
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"say {word}"}) + "\n" for word in "abcdefgh"))
    words = [f"model.path={bare}", f"prompts.all={prompts}", "rewards.right={name: length, max: 9}", "held_out=2"]
    main(["plan", *words, "batch.prompts=4", "sampling.max_completion_tokens=8", "--gpu", "24"])
    shown = capsys.readouterr().out
    assert "planish ppo on 1 × 24 GB" in shown
    assert "time         not known: name a card" in shown


@pytest.mark.slow
def test_what_does_not_fit_is_an_exit_status(
    tiny_model: Path, tiny_data: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["plan", "--for", "sft", "--model", str(tiny_model), "--data", tiny_data["first"], "--gpu", "1.0001"])
    assert end.value.code == 1
    assert "It does not fit: " in capsys.readouterr().out


GOOD = ["plan", "--for", "sft", "--gpu", "24"]
BAD = [
    (["plan"], "planish plan reads a recipe: planish plan "),
    (["plan", "seed=1"], "planish plan needs --gpu, a card's name or its memory in GB"),
    (["plan", "seed=1", "--gpu", "h1000"], "--gpu h1000: is no card that planish knows; did you mean h100?"),
    (["plan", "seed=1", "--gpu", "abacus"], "known are rtx3090"),
    (["plan", "seed=1", "--gpu", "0"], "--gpu 0: a card's memory is given in GB"),
    (["plan", "seed=1", "--gpu", "-24"], "--gpu"),
    (["plan", "seed=1", "--gpu", "24", "--gpus", "0"], "--gpus 0: expected a whole number from 1"),
    (["plan", "seed=1", "--gpu", "24", "--gpus", "1.5"], "--gpus 1.5: expected a whole number"),
    (["plan", "seed=1", "--gpu", "24", "--gpus", "eight"], "--gpus eight: expected a whole number"),
    (["plan", "seed=1", "--gpu", "24", "--mfu", "40"], "--mfu 40: expected a number from 0.001 to 1"),
    (["plan", "seed=1", "--gpu", "24", "--disk", "0"], "--disk 0: expected a number"),
    ([*GOOD, "--model", "models/nothing", "--data", "ROWS"], "models/nothing: there is no such folder"),
    ([*GOOD, "--model", "TINY", "--data", "missing.jsonl"], "missing.jsonl"),
    ([*GOOD, "--model", "FOLDER", "--data", "ROWS"], "tokenizer"),
    ([*GOOD, "--model", "STRANGE", "--data", "ROWS"], "config.json"),
    ([*GOOD, "--model", "FOLDER", "--data", "ROWS", "optim.speed=1"], "unknown setting"),
    (["plan", "recipes/instructgpt.yaml", "--gpu", "24"], "recipes/instructgpt.yaml: is a pipeline, and a plan is of one stage"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), BAD)
def test_bad_input_is_one_clear_error(
    words: list[str], said: str, folder: str, tiny_model: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "config.json").write_text('{"model_type": "abacus"}')
    places = {"ROWS": str(rows), "FOLDER": folder, "TINY": str(tiny_model), "STRANGE": str(strange)}
    assert said in refused(lambda: main([places.get(word, word) for word in words]))


def test_a_plan_is_made_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "planish plan runs in one process" in refused(lambda: main(["plan", "seed=1", "--gpu", "24"]))


def test_cards_state_what_their_makers_do() -> None:
    for card in CARDS.values():
        assert 20e9 < card.room < card.memory
        assert card.products is not None
        assert card.traffic is not None


def test_pretended_ranks_run_the_code_of_sharding(folder: str) -> None:
    fake = fake_mode()
    with pretended_ranks(4), untried(), TensorLedger(fake) as ledger:
        with fake:
            policy: nn.Module = CausalLM(fake_model(load_settings(folder), ModelConfig(path=folder), fake))
        whole = ledger.total
        shard(policy, CPU)  # pyright: ignore[reportArgumentType]
        assert ledger.total == pytest.approx(whole / 4, rel=0.05)
