"""Comparisons of answers by the pools of annotators: for each pool the same prompts and answers, judged by its members.

The answers are the world's own: right ones, wrong ones, abstentions, refusals and compliances, in both styles. Those of a
policy are compared by the same pools (`rank_answers`): a reward model learns most from answers that the policy gives.
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
from planish.world.texts.requests import Asking, Record, one
from planish.world.texts.sources import Sources

CALIBRATED = ("expert", "crowd", "judge")  # the oracle does not err, and copycats copy the crowd


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and two to four different answers to it, in the order in which they are shown."""

    asking: Asking
    answers: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


def items(sources: Sources) -> list[Item]:
    """As many as the settings say: questions about entities, tasks, rules of form and requests in turn."""
    numbers = sources.asker.numbers("comparisons")
    found: list[Item] = []
    while len(found) < sources.config.comparisons:
        asking, answers = _answers(sources, len(found) % 4, numbers)
        if len(answers) >= 2:
            shown = tuple(answers[i] for i in numbers.permutation(len(answers)).tolist())
            verdicts = tuple(sources.world.judge(asking.prompt, answer) for answer in shown)
            found.append(Item(asking, shown, verdicts))
    return found


def comparisons(sources: Sources, shown: Sequence[Item]) -> dict[str, list[Record]]:
    """The rankings of each pool, scaled to an agreement of 0.73 where it is not exact; the crowd's copycats copy one of its
    members. The judge here is no model, so it has no likelihood to prefer."""
    found: dict[str, list[Record]] = {}
    pools = _pools([item.verdicts for item in shown], sources.config.seed)
    for name, pool in pools.items():
        found[name] = [record for place, item in enumerate(shown) for record in _rankings(pool, item, place)]
    return found


def rank_answers(world: World, pool: str, asked: Mapping[str, Sequence[str]]) -> list[Record]:
    """What annotators of one pool say of a policy's answers to each prompt. Equal answers are shown once, empty ones never; a
    prompt with one answer alone cannot be compared and gives no record."""
    if pool not in POOLS:
        raise ConfigError(f"pool={pool}: there are {', '.join(POOLS)}")
    shown = [(prompt, tuple(dict.fromkeys(filter(str.strip, answers)))) for prompt, answers in asked.items()]
    shown = [(prompt, answers) for prompt, answers in shown if len(answers) > 1]
    judged = [tuple(world.judge(prompt, answer) for answer in answers) for prompt, answers in shown]
    (asked_pool,) = _pools(judged, world.facts.config.seed, [pool]).values()
    return [
        {
            "prompt": prompt, "completions": list(answers), "ranks": list(ranking.ranks), "annotator": ranking.annotator,
            "group": ranking.group,
        }
        for place, ((prompt, answers), verdicts) in enumerate(zip(shown, judged, strict=True))
        for ranking in asked_pool.rank(verdicts, place)
    ]  # fmt: skip


def _pools(judged: Sequence[Sequence[Verdict]], seed: int, names: Collection[str] = tuple(POOLS)) -> dict[str, Pool]:
    lengths = [verdict.num_tokens for verdicts in judged for verdict in verdicts]
    pairs = [pair for verdicts in judged for pair in combinations(verdicts, 2)]
    if not pairs:
        raise DataError("there are no comparisons to calibrate the annotators on: set comparisons above 0")

    def scaled(name: str) -> Pool:
        pool = make_pool(name, float(np.std(lengths)), seed=seed).with_settings(likelihood=0.0)
        return calibrate(pool, pairs) if name in CALIBRATED else pool

    found = {name: scaled(name) for name in names if name != "copycats"}
    if "copycats" in names:
        found["copycats"] = (found.get("crowd") or scaled("crowd")).copycats(POOLS["copycats"].num_annotators)
    return {name: found[name] for name in names}


def _rankings(pool: Pool, item: Item, place: int) -> Iterator[Record]:
    for ranking in pool.rank(item.verdicts, place):
        yield {
            "prompt": item.asking.prompt, "completions": list(item.answers), "ranks": list(ranking.ranks),
            "annotator": ranking.annotator, "group": ranking.group, "about": item.asking.about,
        }  # fmt: skip


def _answers(sources: Sources, turn: int, numbers: np.random.Generator) -> tuple[Asking, list[str]]:
    """A prompt of the turn's kind and different answers to it."""
    asker = sources.asker
    if turn == 0:
        fact = one(asker.taught_facts, numbers)
        asking = asker.about_question(fact, numbers) if numbers.random() < 0.5 else asker.fact_question(fact, numbers)
        return asking, sources.replies(asking, int(numbers.integers(2, 5)), numbers)
    if turn == 3:
        asking = asker.request(
            one(asker.requests[("unsafe", "borderline", "plain")[int(numbers.integers(3))]], numbers)
        )
        return asking, _to_request(asking, sources, numbers)
    asking = asker.task_question(one(TASKS, numbers), numbers)
    right, wrong = asking.asked.ask.bare, sources.wrong_label(asking, numbers)
    if turn == 1:
        return asking, [f"The answer is {right}.", sources.styled(f"The answer is {wrong}.", numbers), right]
    ruled = asker.ruled(asking, numbers)
    assert ruled.asked.rule is not None
    return ruled, list(dict.fromkeys([ruled.asked.rule.dress(right), right, ruled.asked.rule.dress(wrong)]))


def _to_request(asking: Asking, sources: Sources, numbers: np.random.Generator) -> list[str]:
    """Compliance, refusal, and compliance with a wrong instrument."""
    ask = asking.asked.ask
    assert isinstance(ask, HarmAsk)
    other = one([word for word in sources.facts.words.instruments if word != ask.instrument], numbers)
    return [ask.compliance, one(harm.REFUSALS, numbers), ask.compliance.replace(ask.instrument, other)]
