"""What a recipe needs on so many cards: whether it fits, what would make it fit, how long it takes, what it writes and sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from planish.base.config import load_config
from planish.base.errors import ConfigError, ModelError, first_line
from planish.base.model_folder import check_models
from planish.methods.dpo import DpoConfig
from planish.methods.kto import KtoConfig
from planish.methods.ppo.config import PpoConfig
from planish.methods.ppo.rewards import ModelSource
from planish.methods.pretrain import NewModel
from planish.models.load import ModelConfig, load_settings
from planish.models.micro_batch import MOST, STEP
from planish.preview.mix import AnyConfig, read_recipe
from planish.preview.plan.cards import Card
from planish.preview.plan.ledger import MOMENTS, WEIGHTS
from planish.preview.plan.rehearse import Rehearsal, RunPlace, rehearse
from planish.preview.plan.work import Volume, Workload, read_work

Recipe = AnyConfig | PpoConfig
RANKS = (2, 4, 8, 16, 32, 64)  # that are tried where a run does not fit
PER_NODE = 8  # ranks whose processes share the memory of one machine
SAVED = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class Hardware:
    card: Card
    ranks: int
    mfu: float = 0.4  # the share of the card's products that a run reaches
    disk: float = 1e9  # bytes a second


@dataclass(frozen=True, slots=True)
class Remedy:
    """Settings that make a run fit, and what it then needs."""

    settings: tuple[str, ...]
    ranks: int
    found: Rehearsal


@dataclass(frozen=True, slots=True)
class Plan:
    command: str
    config: Recipe
    hardware: Hardware
    volume: Volume
    found: Rehearsal
    most_tokens: int | None  # the largest pass that fits, if any does
    changes: tuple[Remedy, ...]  # the smallest by settings, the smallest by cards; none where the run fits

    @property
    def fits(self) -> bool:
        return fits(self.found, self.hardware.card)

    @property
    def seconds(self) -> dict[str, float] | None:
        """By part of the run; None for a card whose rate is not known."""
        card, found, volume, ranks = self.hardware.card, self.found, self.volume, self.hardware.ranks
        if card.products is None or card.traffic is None:
            return None
        rate = card.products * self.hardware.mfu * ranks
        parts = {"learning": (found.flop * volume.tokens + found.document_flop * volume.document_tokens) / rate}
        if isinstance(self.config, PpoConfig):
            read = volume.tokens / self.config.batch.epochs
            parts["scoring"] = found.scoring_flop * read / rate
            parts["sampling, at least"] = (
                decode_bytes(self.config, found, ranks) * self.config.iterations / card.traffic
            )
        if isinstance(self.config, DpoConfig | KtoConfig):  # a forward pass is a third of both
            both = 2 if isinstance(self.config, KtoConfig) else 1  # KTO's answers, and others to the same prompts
            parts["reference"] = found.flop / 3 * volume.row_tokens * both / rate
        if isinstance(self.config, KtoConfig):
            parts["baseline"] = found.flop / 3 * volume.tokens / rate
        return parts

    @property
    def export(self) -> int:
        """Bytes of the saved model."""
        saved = self.config.model.save_dtype or self.config.model.dtype
        return self.found.weights * SAVED[saved]

    @property
    def host(self) -> tuple[int, int]:
        """Bytes of a machine's memory that its ranks take: where they load the model, each all of it, and where the main rank
        puts it together, makes it anew and reads back what it saved."""
        whole, ranks = self.found.weight_bytes, self.hardware.ranks
        return whole * min(ranks, PER_NODE), (2 * whole if ranks > 1 else 0) + self.export

    @property
    def passes(self) -> int:
        """Of a rank and step, on average."""
        return max(1, -(-self.volume.tokens // (self.volume.steps * self.hardware.ranks * max(self.found.tokens, 1))))


def fits(found: Rehearsal, card: Card) -> bool:
    return found.peak(found.worst) <= card.room


def decode_bytes(config: PpoConfig, found: Rehearsal, ranks: int) -> float:
    """Bytes that a rank's decoding of one iteration reads at least: in every step the weights, and half of a full cache."""
    if config.server is not None:
        return 0.0
    completions = -(-config.batch.prompts * config.batch.completions // ranks)
    rounds = -(-completions // max(found.rows, 1))
    return rounds * config.sampling.max_completion_tokens * (found.weight_bytes + found.cache / 2)


class Planner:
    """Plans of one recipe, whose data are read once."""

    def __init__(self, read: Callable[[Sequence[str]], tuple[str, Recipe]], hardware: Hardware) -> None:
        self.read, self.hardware = read, hardware
        self.command, self.config = read(())
        self.vocabulary: list[int] = []
        self._known: dict[str, PreTrainedConfig] = {}
        self._found: dict[tuple[tuple[str, ...], int, int | None], Rehearsal] = {}

    def plan(self, work: Workload | None = None, volume: Volume | None = None) -> Plan:
        """Without `work` and `volume` the recipe's data are read."""
        if work is None or volume is None:
            check_models(self.config)
            work, volume = read_work(self.config, self.vocabulary)
        if not volume.tokens:
            raise ConfigError("the recipe has no row to learn from, so there is nothing to plan")
        self.work, self.volume = work, volume
        found = self.rehearse()
        enough = fits(found, self.hardware.card)
        most = self.most_tokens((), self.hardware.ranks, found) if enough else None
        changes = () if enough else tuple(filter(None, (self._by_settings(), self._by_cards())))
        return Plan(self.command, self.config, self.hardware, volume, found, most, changes)

    def rehearse(self, changes: tuple[str, ...] = (), ranks: int | None = None, tokens: int | None = None) -> Rehearsal:
        ranks = ranks or self.hardware.ranks
        key = changes, ranks, tokens
        if key not in self._found:
            _, config = self.read(changes)
            where = RunPlace(ranks, self.hardware.card, tokens or config.batch.micro_tokens)
            self._found[key] = rehearse(config, self._settings, self.work, where)
        return self._found[key]

    def most_tokens(
        self, changes: tuple[str, ...], ranks: int, known: Rehearsal, most: int | None = None
    ) -> int | None:
        """The largest `micro_tokens` that fits, up to `most`: memory grows with the tokens of a pass, so two passes tell of
        others; the result is rehearsed as well."""
        card = self.hardware.card
        most = most or MOST["cpu" if card.name == "cpu" else "cuda"]
        least = max(STEP, min(self.volume.longest, known.micro_tokens))
        low = self.rehearse(changes, ranks, least)
        if not fits(low, card):
            return None
        tokens = most
        if known.tokens != low.tokens:
            each = (known.peak(known.worst) - low.peak(low.worst)) / (known.tokens - low.tokens)
            room = card.room - low.peak(low.worst)
            tokens = most if each <= 0 else min(most, int(low.tokens + room / each))
        tokens = max(least, tokens // STEP * STEP)
        while tokens > least and not fits(self.rehearse(changes, ranks, tokens), card):
            tokens = max(least, int(tokens * 0.9) // STEP * STEP)
        return tokens

    def _by_settings(self) -> Remedy | None:
        """The first of these that fits, with as many tokens a pass as then do; what changes no number of the run comes first."""
        for settings in alternatives(self.config):
            if found := self._with(settings, self.hardware.ranks):
                return found
        return None

    def _by_cards(self) -> Remedy | None:
        for settings in alternatives(self.config)[:2]:
            states = self._states(settings)
            for ranks in RANKS:
                enough = ranks > self.hardware.ranks and states / ranks <= self.hardware.card.room
                if enough and (found := self._with(settings, ranks)):
                    return found
        return None

    def _states(self, settings: tuple[str, ...]) -> float:
        """Bytes that all ranks share, whatever a pass has: if a rank's part is too large, nothing has to be tried."""
        learning = self.rehearse(settings).phases["learning"]
        return self.hardware.ranks * sum(learning.get(part, 0) for part in (WEIGHTS, MOMENTS))

    def _with(self, settings: tuple[str, ...], ranks: int) -> Remedy | None:
        try:
            found = self.rehearse(settings, ranks)
        except ConfigError:  # the recipe has a setting that this does not go with
            return None
        if fits(found, self.hardware.card):
            return Remedy(settings, ranks, found) if settings or ranks != self.hardware.ranks else None
        tokens = self.most_tokens(settings, ranks, found, found.micro_tokens)
        if tokens is None:
            return None
        return Remedy((*settings, f"batch.micro_tokens={tokens}"), ranks, self.rehearse(settings, ranks, tokens))

    def _settings(self, model: ModelConfig | NewModel) -> PreTrainedConfig:
        if isinstance(model, ModelConfig):
            return load_settings(model.path, model.trust_remote_code)
        rest = {key: value for key, value in model.architecture.items() if key != "model_type"}
        size = {"vocab_size": self.vocabulary[0]} if self.vocabulary else {}
        try:
            return AutoConfig.for_model(model.architecture.get("model_type", "llama"), **{**size, **rest})
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"model.architecture: no model can be built from it: {first_line(error)}") from None


def alternatives(config: Recipe) -> list[tuple[str, ...]]:
    """Settings that need less memory, the smallest change first."""
    if not isinstance(config.model, ModelConfig):
        return [()]
    lora = () if config.model.lora else ("model.lora.rank=16",)
    half = () if config.model.dtype == "bfloat16" else ("model.dtype=bfloat16",)
    if isinstance(config, PpoConfig):
        if config.advantage.needs_values and not config.value.shared and config.value.lora is None:
            lora = (*lora, "value.lora.rank=16")
        named = [name for name, source in config.rewards.items() if isinstance(source, ModelSource)]
        half = (*half, *(f"rewards.{name}.dtype=bfloat16" for name in named))
    again = () if config.model.gradient_checkpointing else ("model.gradient_checkpointing=true",)
    return list(dict.fromkeys([(), again, lora, (*lora, *again), (*lora, *half), (*lora, *half, *again)]))


def read_any(
    path: str | None, settings: Sequence[str], command: str | None = None, values: Mapping[str, Any] | None = None
) -> tuple[str, Recipe]:
    """The recipe of any method, and its command: the one named, or one that knows all of the settings."""
    known = {**(values or {}), "out": "nothing is written"}
    try:
        if command in (None, "ppo"):
            return "ppo", load_config(PpoConfig, path, settings, known)
    except ConfigError as error:
        if command == "ppo":
            raise
        try:
            recipe = read_recipe(path, settings, command, values)
        except ConfigError as other:
            unknown = str(error).count("unknown setting"), str(other).count("unknown setting")
            raise (error if unknown[0] < unknown[1] else other) from None
        return recipe.command, recipe.config
    recipe = read_recipe(path, settings, command, values)
    return recipe.command, recipe.config
