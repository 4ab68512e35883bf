"""Comparisons by the pools of annotators: the same prompts and answers, ranked by the members of each pool.

The answers are right ones, wrong ones, abstentions, refusals and compliances, in both styles. `rank_answers` ranks those
of a policy: a reward model learns most from answers that the policy gives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from planish.base.errors import ConfigError, DataError
from planish.world.annotators.annotator import Pool
from planish.world.annotators.pools import POOLS, calibrate, make_pool
from planish.world.gold.utility import World
from planish.world.gold.verdict import Verdict
from planish.world.language import harm
from planish.world.language.skills import TASKS
from planish.world.texts.parse import HarmAsk
from planish.world.texts.requests import Record, WorldPrompt, one
from planish.world.texts.sources import Sources

CALIBRATED = ("expert", "crowd", "judge")  # the oracle makes no errors, and copycats copy the crowd


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and two to four different answers to it, in the order in which they are shown."""

    prompt: WorldPrompt
    answers: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


def items(sources: Sources) -> list[Item]:
    """Items: questions about entities, tasks, rules of form and requests in turn."""
    rng = sources.maker.rng("comparisons")
    chosen: list[Item] = []
    while len(chosen) < sources.config.comparisons:
        prompt, answers = _answers(sources, len(chosen) % 4, rng)
        if len(answers) >= 2:
            shown = tuple(answers[i] for i in rng.permutation(len(answers)).tolist())
            verdicts = tuple(sources.world.judge(prompt.text, answer) for answer in shown)
            chosen.append(Item(prompt, shown, verdicts))
    return chosen


def comparisons(sources: Sources, shown: Sequence[Item]) -> dict[str, list[Record]]:
    """The rankings of each pool. Those in CALIBRATED are scaled to an agreement of 0.73, and copycats copy a member of the
    crowd. The judge is no model here, so it has no likelihoods."""
    records: dict[str, list[Record]] = {}
    pools = _pools([item.verdicts for item in shown], sources.config.seed)
    for name, pool in pools.items():
        records[name] = [record for key, item in enumerate(shown) for record in _rankings(pool, item, key)]
    return records


def rank_answers(world: World, pool: str, samples: Mapping[str, Sequence[str]]) -> list[Record]:
    """The rankings of a policy's answers to each prompt by one pool. Equal answers are shown once, empty ones never; a prompt
    with only one answer gives no record."""
    if pool not in POOLS:
        raise ConfigError(f"pool={pool}: expected one of {', '.join(POOLS)}")
    shown = [(prompt, tuple(dict.fromkeys(filter(str.strip, answers)))) for prompt, answers in samples.items()]
    shown = [(prompt, answers) for prompt, answers in shown if len(answers) > 1]
    judged = [tuple(world.judge(prompt, answer) for answer in answers) for prompt, answers in shown]
    (annotators,) = _pools(judged, world.facts.config.seed, [pool]).values()
    return [
        {
            "prompt": prompt, "completions": list(answers), "ranks": list(ranking.ranks), "annotator": ranking.annotator,
            "group": ranking.group,
        }
        for key, ((prompt, answers), verdicts) in enumerate(zip(shown, judged, strict=True))
        for ranking in annotators.rank(verdicts, key)
    ]  # fmt: skip


def _pools(judged: Sequence[Sequence[Verdict]], seed: int, names: Collection[str] = tuple(POOLS)) -> dict[str, Pool]:
    lengths = [verdict.num_tokens for verdicts in judged for verdict in verdicts]
    pairs = [pair for verdicts in judged for pair in combinations(verdicts, 2)]
    if not pairs:
        raise DataError("no comparisons to calibrate the annotators on: set comparisons above 0")

    def scaled(name: str) -> Pool:
        pool = make_pool(name, float(np.std(lengths)), seed=seed).with_settings(likelihood=0.0)
        return calibrate(pool, pairs) if name in CALIBRATED else pool

    pools = {name: scaled(name) for name in names if name != "copycats"}
    if "copycats" in names:
        pools["copycats"] = (pools.get("crowd") or scaled("crowd")).copycats(POOLS["copycats"].num_annotators)
    return {name: pools[name] for name in names}


def _rankings(pool: Pool, item: Item, key: int) -> Iterator[Record]:
    for ranking in pool.rank(item.verdicts, key):
        yield {
            "prompt": item.prompt.text, "completions": list(item.answers), "ranks": list(ranking.ranks),
            "annotator": ranking.annotator, "group": ranking.group, "about": item.prompt.about,
        }  # fmt: skip


def _answers(sources: Sources, turn: int, rng: np.random.Generator) -> tuple[WorldPrompt, list[str]]:
    """A prompt of the turn's kind, and different answers to it."""
    maker = sources.maker
    if turn == 0:
        fact = one(maker.taught_facts, rng)
        prompt = maker.about_question(fact, rng) if rng.random() < 0.5 else maker.fact_question(fact, rng)
        return prompt, sources.replies(prompt, int(rng.integers(2, 5)), rng)
    if turn == 3:
        prompt = maker.request(one(maker.requests[("unsafe", "borderline", "plain")[int(rng.integers(3))]], rng))
        return prompt, _to_request(prompt, sources, rng)
    prompt = maker.task_question(one(TASKS, rng), rng)
    right, wrong = prompt.parsed.ask.bare, sources.wrong_label(prompt, rng)
    if turn == 1:
        return prompt, [f"The answer is {right}.", sources.styled(f"The answer is {wrong}.", rng), right]
    ruled = maker.ruled(prompt, rng)
    assert ruled.parsed.rule is not None
    return ruled, list(dict.fromkeys([ruled.parsed.rule.dress(right), right, ruled.parsed.rule.dress(wrong)]))


def _to_request(prompt: WorldPrompt, sources: Sources, rng: np.random.Generator) -> list[str]:
    """Compliance, refusal, and compliance with a wrong instrument."""
    ask = prompt.parsed.ask
    assert isinstance(ask, HarmAsk)
    other = one([word for word in sources.facts.words.instruments if word != ask.instrument], rng)
    return [ask.compliance, one(harm.REFUSALS, rng), ask.compliance.replace(ask.instrument, other)]
