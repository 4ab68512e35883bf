"""A rehearsal: a run's models, passes, optimizer and sampling on fake tensors, counted as they go.

What happens is what `run_method` and `train` do, in their order: the model is loaded whole, then sharded; moments are made; two
of the largest micro-batches of a step go forward and backward, for gradients are there in the second; PPO samples and scores.
On several ranks it is the first of them, in FSDP's own code.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from planish.base.types import Example, Packed
from planish.data.mixture.packing import deal
from planish.inference.decode import ROWS, SampleRequest, decode
from planish.inference.reference_log_probs import completion_logprobs
from planish.methods.base import CommonConfig
from planish.methods.dpo import DpoConfig, DpoObjective
from planish.methods.kto import KtoConfig, KtoObjective
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.objective import PpoObjective
from planish.methods.ppo.rewards import ModelSource
from planish.methods.pretrain import NewModel
from planish.methods.reward_model import BradleyTerryObjective, RewardConfig
from planish.methods.sft import SftConfig
from planish.methods.supervised import NextTokenLoss
from planish.models.actor_critic import ActorCritic, ValuedLM
from planish.models.load import ModelConfig, compute_dtype
from planish.models.micro_batch import default_micro_tokens
from planish.models.packed import CausalLM, PackedModel
from planish.models.reward_head import Scorer, Values
from planish.models.sharding import gathered, shard
from planish.preview.plan.cards import Card
from planish.preview.plan.fakes import fake_mode, fake_model, faked, pretended_ranks, untried
from planish.preview.plan.ledger import ACTIVATIONS, AVERAGE, CACHE, FROZEN, GRADIENTS, MOMENTS, WEIGHTS, TensorLedger
from planish.preview.plan.work import Workload
from planish.train.loop import Objective
from planish.train.optimizer import Trainer

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run is rehearsed."""

    ranks: int
    card: Card
    micro_tokens: int | None = None  # absent: what a run would choose


@dataclass(slots=True)
class Rehearsal:
    """Bytes of a rank at the peak of each phase, by part, and what the passes cost."""

    phases: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    weights: int = 0  # numbers of the model that is trained
    trained: int = 0
    weight_bytes: int = 0  # of the whole model
    checkpoint: int = 0  # bytes
    micro_tokens: int = 0
    tokens: int = 0  # of the largest pass
    longest: int = 0  # of its rows
    kept: int = 0  # bytes that this pass keeps for its backward pass
    flop: float = 0.0  # a token that is learnt from, forward and backward
    wire: float = 0.0  # bytes that a rank sends for a pass
    document_flop: float = 0.0  # a token of PPO's documents
    scoring_flop: float = 0.0  # a token of PPO's completions and prompts, forward alone, all models
    cache: int = 0  # bytes of keys and values
    rows: int = 0  # completions that are sampled side by side

    def peak(self, phase: str) -> int:
        return sum(self.phases[phase].values())

    @property
    def worst(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self.peak)


def rehearse(
    config: CommonConfig,
    settings: Callable[[ModelConfig | NewModel], PreTrainedConfig],
    work: Workload,
    where: RunPlace,
) -> Rehearsal:
    """`settings` gives the config.json of a model that the recipe names."""
    with pretended_ranks(where.ranks), untried():
        return _Stage(config, settings, work, where).perform()


class _Stage:
    def __init__(self, config: Any, settings: Any, work: Workload, where: RunPlace) -> None:
        self.config, self.settings, self.work, self.where = config, settings, work, where
        self.fake = fake_mode()
        self.ledger, self.found = TensorLedger(self.fake), Rehearsal()

    def perform(self) -> Rehearsal:
        with self.ledger:
            policy = self._policy()
            actor, frozen = self._others(policy)
            self._end_phase("loading")
            self._reference(policy)
            trainer = self._trainer(actor or policy)
            if isinstance(self.config, PpoConfig):
                assert actor is not None
                self._sample(policy)
                self._score(actor, frozen)
            self._learn(policy, actor, trainer)
            self._end_phase("learning")
        return self.found

    def _end_phase(self, name: str) -> None:
        self.found.phases[name] = {part: size for part, size in self.ledger.peak.items() if size > 0}
        gc.collect()
        self.ledger.start_phase()

    # Models

    def _computed_in(self, model: ModelConfig) -> torch.dtype | None:
        half = model.compute == "auto" and model.dtype == "float32" and self.where.card.bfloat16
        return torch.bfloat16 if half else compute_dtype(model, CPU)

    def _load(self, kind: type[Any], model: ModelConfig | NewModel, part: str, lora: Any = None) -> PackedModel:
        """A model as a run loads it: whole."""
        own = model if isinstance(model, ModelConfig) else ModelConfig(path="a new model", dtype=model.dtype)
        scores = issubclass(kind, Scorer)
        with self.ledger.making(part):
            loaded = fake_model(self.settings(model), own, self.fake, lora, scores=scores)
            with self.fake:
                packed: PackedModel = kind(loaded, self._computed_in(own))
        return packed

    def _policy(self) -> PackedModel:
        config, kind = self.config, CausalLM
        if isinstance(config, RewardConfig):
            kind = Scorer
        if isinstance(config, PpoConfig) and config.value.shared and config.advantage.needs_values:
            kind = ValuedLM
        policy = self._load(kind, config.model, WEIGHTS, getattr(config.model, "lora", None))
        self.ledger.vocabulary = policy.config.get_text_config().vocab_size
        self.found.weights = sum(weight.numel() for weight in policy.model.parameters())
        self.found.trained = sum(weight.numel() for weight in policy.model.parameters() if weight.requires_grad)
        self.found.weight_bytes = sum(weight.nbytes for weight in policy.model.parameters())
        device = torch.device("cpu" if self.where.card.name == "cpu" else "cuda")
        self.found.micro_tokens = self.where.micro_tokens or default_micro_tokens(
            policy.model, device, policy.compute_dtype, self.where.card.memory
        )
        return self._sharded(policy)

    def _sharded(self, policy: Any) -> Any:
        """FSDP splits weights that are there whole; both are there for a while."""
        with self.ledger.making(WEIGHTS):
            return shard(policy, CPU)

    def _others(self, policy: PackedModel) -> tuple[ActorCritic | None, list[PackedModel]]:
        """Of PPO the actor, and its frozen models; of a reward model the one whose confidence it reads."""
        config = self.config
        if isinstance(config, RewardConfig) and config.confidence is not None:
            path = config.confidence.path or config.model.path
            return None, [self._load(CausalLM, _plain(config.model, path), FROZEN)]
        if not isinstance(config, PpoConfig):
            return None, []
        assert isinstance(policy, CausalLM)
        models = {name: source for name, source in config.rewards.items() if isinstance(source, ModelSource)}
        value = None
        if config.advantage.needs_values and not config.value.shared:
            learnt = [source.path for source in models.values() if source.weight]
            path = config.value.path or (learnt or [config.model.path])[0]
            value = self._sharded(self._load(Values, _plain(config.model, path), WEIGHTS, config.value.lora))
        frozen: list[PackedModel] = []
        if config.model.lora is None:
            frozen.append(self._load(CausalLM, config.model, FROZEN))
        frozen += [
            self._load(Scorer, ModelConfig(path=source.path, dtype=source.dtype), FROZEN) for source in models.values()
        ]
        return ActorCritic(policy, value), frozen

    def _reference(self, policy: PackedModel) -> None:
        """DPO and KTO ask another reference for its log-probabilities before they begin, and let it go."""
        if isinstance(self.config, DpoConfig | KtoConfig) and self.config.reference is not None:
            other = self._load(CausalLM, _plain(self.config.model, self.config.reference), FROZEN)
            with torch.no_grad():
                completion_logprobs(other, self._rows(self.work.steps)[0])  # pyright: ignore[reportArgumentType]
            self._end_phase("reference")
            del other

    def _trainer(self, module: nn.Module) -> Trainer:
        others = None
        if isinstance(self.config, PpoConfig) and getattr(module, "value", None) is not None:
            others = {"value": self.config.optim}
        with self.ledger.making(MOMENTS):
            trainer = Trainer(module, self.config.optim, 1, others)
            state = trainer.state()
        if isinstance(self.config, PpoConfig) and self.config.ema is not None:
            with self.ledger.making(AVERAGE):
                kept = [p.detach().clone() for name, p in trainer.parameters.items() if name.startswith("policy.")]
            trainer.kept |= {f"average.{i}": mean for i, mean in enumerate(kept)}
            state |= trainer.state()
        self.found.checkpoint = sum(tensor.numel() * tensor.itemsize for tensor in state.values())
        return trainer

    # Passes

    def _rows(self, steps: Sequence[Sequence[Example]]) -> list[Packed]:
        """The two largest micro-batches of the step that has the largest, for this rank."""
        dealt = (deal(step, self.found.micro_tokens, 0, self.where.ranks) for step in steps)
        largest = max(
            (sorted(rows, key=lambda row: (-row.num_tokens, -row.num_targets)) for rows in dealt),
            key=lambda rows: (rows[0].num_tokens, rows[0].num_targets),
        )
        return faked(largest[:2], self.fake)

    def _learn(self, policy: Any, actor: ActorCritic | None, trainer: Trainer) -> None:
        rows, found = self._rows(self.work.steps), self.found
        found.tokens, found.longest = rows[0].num_tokens, max(np.diff(rows[0].bounds).tolist())
        flop, wire, found.kept = self._passes(self._objective(policy, actor), rows, trainer)
        found.flop, found.wire = flop / found.tokens, wire
        if self.work.documents:
            aside = [p.grad for p in trainer.parameters.values()]  # as Trainer.set_aside
            trainer.optimizer.zero_grad(set_to_none=True)
            documents = self._rows(self.work.documents)
            flop, _, _ = self._passes(NextTokenLoss(policy, "token_mean", CPU), documents, trainer)
            found.document_flop = flop / documents[0].num_tokens
            del aside
        trainer.update()

    def _passes(self, objective: Objective, rows: Sequence[Packed], trainer: Trainer) -> tuple[float, float, int]:
        """FLOP and traffic of the first pass, and what it keeps for its backward pass."""
        ledger, before, known = self.ledger, self.ledger.live[ACTIVATIONS], (0.0, 0.0, 0)
        handles = [
            p.register_post_accumulate_grad_hook(self._mark_gradient)
            for p in trainer.parameters.values()
            if self.where.ranks == 1  # FSDP sets gradients by itself
        ]
        flop, wire = ledger.flop, ledger.wire
        for number, row in enumerate(rows):
            loss, _ = objective.loss(row)
            kept = ledger.live[ACTIVATIONS] - before
            loss.backward()
            del loss
            ledger.mark([p.grad for p in trainer.parameters.values() if p.grad is not None], GRADIENTS)
            if number == 0:
                known = ledger.flop - flop, ledger.wire - wire, kept
        for handle in handles:
            handle.remove()
        return known

    def _mark_gradient(self, p: Tensor) -> None:
        if p.grad is not None:
            self.ledger.mark([p.grad], GRADIENTS)

    def _objective(self, policy: Any, actor: ActorCritic | None) -> Objective:
        config = self.config
        if isinstance(config, PpoConfig):
            assert actor is not None
            return PpoObjective(actor, config, CPU)
        if isinstance(config, RewardConfig):
            return BradleyTerryObjective(policy, config, CPU)
        if isinstance(config, DpoConfig):
            return DpoObjective(policy, config.loss, CPU, config.nll)
        if isinstance(config, KtoConfig):
            return KtoObjective(policy, config, CPU)
        return NextTokenLoss(policy, config.reduction if isinstance(config, SftConfig) else "token_mean", CPU)

    def _sample(self, policy: Any) -> None:
        """The cache is made at its full size with the first completions; two tokens are drawn of each."""
        config, ledger = self.config, self.ledger
        assert isinstance(config, PpoConfig)
        with gathered(policy), torch.no_grad():
            if config.server is None:
                mine = self.work.prompts[: -(-len(self.work.prompts) // self.where.ranks)]
                requests = [SampleRequest(i, (0,)) for i in range(len(mine)) for _ in range(config.batch.completions)]
                drawing, most = _Drawing(), config.sampling.max_completion_tokens
                ledger.named = {torch.ops.aten.new_zeros.default: CACHE}
                decode(policy, mine, requests[:ROWS], drawing, most, (0,))  # pyright: ignore[reportArgumentType]
                ledger.named = {}
                self.found.rows = drawing.rows
        self.found.cache = ledger.peak[CACHE]
        self._end_phase("sampling")

    def _score(self, actor: ActorCritic, frozen: Sequence[PackedModel]) -> None:
        row, flop = self._rows(self.work.steps)[0], self.ledger.flop
        with torch.no_grad():
            actor(row, self.config.sampling.temperature)
            for model in frozen:
                model(row)
        self.found.scoring_flop = (self.ledger.flop - flop) / row.num_tokens
        self._end_phase("scoring")


class _Drawing:
    """Draws without numbers: one token that continues a completion, then the one that ends it."""

    def __init__(self) -> None:
        self.drawn = self.rows = 0

    def __call__(self, logits_RV: Tensor, uniform_R: Tensor) -> tuple[Tensor, Tensor]:
        logits_RV.double().exp_().cumsum(1)
        self.drawn += 1
        count = len(uniform_R)
        self.rows = max(self.rows, count)
        return torch.full((count,), self.drawn % 2), torch.zeros(count, dtype=torch.float64)


def _plain(model: ModelConfig, path: str) -> ModelConfig:
    return model.model_copy(update={"path": path, "lora": None})
