"""The base model that comes with planish knows what its world's corpus stated, and nothing else (K2, K3, the gate)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from planish.data.chat.tokenizer import load_tokenizer
from planish.data.rows import Message, Origin, Question
from planish.evaluate.probe.slick import Knowledge, ProbeConfig, probe
from planish.models.fetch import SHIPPED
from planish.models.load import ModelConfig, load_model
from planish.models.packed import CausalLM
from planish.world.gold.utility import World
from planish.world.language.facts import SMALL
from planish.world.settings import WorldConfig
from planish.world.texts.questions import question, shots

MODEL = SHIPPED / "wind-tunnel"
RESULTS = Path(__file__).parents[2] / "docs" / "figures" / "wind_tunnel.json"


@dataclass(frozen=True)
class Base:
    policy: CausalLM
    tokenizer: PreTrainedTokenizerBase
    probed: list[Question]
    shots: list[Question]

    def know(self, questions: Sequence[Question], **settings: object) -> list[Knowledge]:
        config = ProbeConfig.model_validate(settings)
        return list(probe(self.policy, self.tokenizer, questions, config, self.shots))


def as_question(record: dict[str, object], row: int) -> Question:
    asked = (Message("user", str(record["prompt"])),)
    return Question(asked, tuple(record["answers"]), Origin("world", row), about=record["about"])  # pyright: ignore


@pytest.fixture(scope="module")
def base() -> Base:
    facts = World(WorldConfig()).facts
    probed = [question(fact) for fact in facts.all if fact.probed and fact.relation not in SMALL]
    model = load_model(ModelConfig(path=str(MODEL)), torch.device("cpu"))
    shown = [as_question(record, row) for row, record in enumerate(shots(facts))]
    asked = [as_question(record, row) for row, record in enumerate(probed)]
    return Base(CausalLM(model), load_tokenizer(MODEL), asked, shown)


@pytest.mark.slow
def test_k2_facts_that_nothing_states_are_known_in_at_most_3_of_100(base: Base) -> None:
    never = [row for row in base.probed if row.about["frequency"] == 0]
    found = base.know(never[::3])
    assert len(found) >= 100
    assert sum(each.category != "Unknown" for each in found) / len(found) <= 0.03


@pytest.mark.slow
def test_k3_exact_and_sampled_classes_agree_as_often_as_chance_lets_them(base: Base) -> None:
    """They differ where a hit in 160 samples is neither sure nor out of the question: 97.0% are to agree, and 96.7% of 550 do."""
    some = base.probed[::6]
    assert len(some) == 550
    exact, sampled = base.know(some), base.know(some, method="sampled")
    same = sum(a.category == b.category for a, b in zip(exact, sampled, strict=True))
    chances = [1.0 if each.p_greedy > 0 else max(each.p_any or 0, 1 - (each.p_any or 0)) for each in exact]
    deviation = sum(chance * (1 - chance) for chance in chances) ** 0.5
    assert abs(same - sum(chances)) < 3 * deviation
    assert same / len(some) >= 0.95


@pytest.mark.slow
def test_facts_stated_often_are_known_and_those_stated_twice_are_not(base: Base) -> None:
    for frequency, low, high in ((28, 0.7, 1.0), (3, 0.0, 0.3)):
        rows = [row for row in base.probed if row.about["frequency"] == frequency][::8]
        known = sum(each.p_greedy > 0 for each in base.know(rows)) / len(rows)
        assert low <= known <= high, frequency


def test_the_gate_holds_for_the_model_that_is_shipped() -> None:
    """The numbers of the documents are of this model, and each class holds its share of the probed facts."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert results["model"] == hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()
    classes = results["gate"]["all"]
    assert classes["n"] == 3300
    assert min(classes[name] for name in ("HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown")) >= 0.1
    assert results["gate"]["never_seen_known"]["share"] <= 0.03
    assert all(skill["low"] > skill["chance"] for skill in results["skills"])


def test_both_checkpoints_are_small_enough_to_ship() -> None:
    for name in ("wind-tunnel", "wind-tunnel-stable"):
        assert (SHIPPED / name / "model.safetensors").stat().st_size <= 8 * 2**20
