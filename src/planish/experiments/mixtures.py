"""Arms in words: mixtures of a recipe's sources, and fewer of their rows.

arms: [none, all, each source alone, leave one out, pairs, sizes, sizes alone]

All of them learn from as many examples as the recipe asks for, and all are measured on the held-out rows of every source: what an
arm does not learn from stays in `data.sources`, and `data.stages` says which are learnt.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from planish.base.config import Tree
from planish.base.errors import ConfigError

NONE, ALL, ALONE, LEAVE_ONE_OUT, PAIRS = "none", "all", "each source alone", "leave one out", "pairs"
SIZES, SIZES_ALONE = "sizes", "sizes alone"
WORDS = (NONE, ALL, ALONE, LEAVE_ONE_OUT, PAIRS, SIZES, SIZES_ALONE)
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of a source's training rows
UNMOVED = 1e-30  # a learning rate that changes no weight


@dataclass(slots=True)
class Mixtures:
    """Arms with their changes; `members` has the sources of each, `sizes` source and share of those with fewer rows."""

    arms: dict[str, Tree] = field(default_factory=dict[str, Tree])
    members: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    sizes: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])


def words_of(arms: Any) -> list[str] | None:
    """The words, if arms are written so; None if they are written as settings."""
    if not isinstance(arms, str | list):
        return None
    words = [arms] if isinstance(arms, str) else cast(list[Any], arms)
    strange = next((word for word in words if word not in WORDS), None)
    if strange is not None or not words:
        found = f"{strange!r} is no set of mixtures" if words else "none are written"
        raise ConfigError(f"arms: {found}: there are {', '.join(WORDS)}; or write names with the settings they change")
    return words


def mixed_stage(stages: Mapping[str, Tree], asked: str | None) -> str:
    """The stage whose sources are mixed: the one that is named, else the first with more than one."""
    several = [name for name, settings in stages.items() if len(sources_in(settings)) > 1]
    if asked is not None and asked not in stages:
        raise ConfigError(f"mixed: there is no stage '{asked}'; there are {', '.join(stages)}")
    stage = asked or next(iter(several), None)
    if stage is None or stage not in several:
        where = f"the stage {stage}" if stage else "the recipe"
        raise ConfigError(f"{where} has no data.sources with two or more sources, so there is nothing to mix")
    settings = stages[stage]
    if settings["data"].get("stages"):
        raise ConfigError(f"{stage}.data.stages says what is learnt when; mixtures are for recipes of one stage")
    if any(source.get("tokens") for source in sources_in(settings).values()):
        raise ConfigError(
            f"{stage}.data.sources has tokens, which say how long the run is: mixtures need weights or none"
        )
    return stage


def sources_in(settings: Mapping[str, Any]) -> dict[str, Tree]:
    data = settings.get("data")
    sources: Any = cast(Tree, data).get("sources") if isinstance(data, dict) else None
    return cast(dict[str, Tree], sources) if isinstance(sources, dict) else {}


def make_mixtures(words: Sequence[str], sources: Sequence[str], stage: str) -> Mixtures:
    """Settings begin with the stage's name."""
    made, count = Mixtures(), len(sources)
    for word in words:
        match word:
            case "none":
                made.members[NONE] = ()
                made.arms[NONE] = {f"{stage}.steps": 1, f"{stage}.optim.lr": UNMOVED}
            case "all":
                made.members[ALL] = tuple(sources)
                made.arms[ALL] = {}
            case "each source alone":
                _add(made, stage, {f"only {name}": (name,) for name in sources})
            case "leave one out":
                without = {f"without {name}": tuple(each for each in sources if each != name) for name in sources}
                _add(made, stage, without if count > 2 else {})  # of two, that is each alone
            case "pairs":
                pairs = itertools.combinations(sources, 2) if count > 2 else ()
                _add(made, stage, {" + ".join(pair): pair for pair in pairs})
            case _:
                _add_sizes(made, stage, sources, alone=word == SIZES_ALONE)
    return made


def _add(made: Mixtures, stage: str, members: Mapping[str, tuple[str, ...]]) -> None:
    for arm, sources in members.items():
        made.members[arm] = sources
        made.arms[arm] = learning_only(stage, sources)


def learning_only(stage: str, sources: Sequence[str]) -> Tree:
    return {f"{stage}.data.stages": [{"share": 1.0, "only": list(sources)}]}


def _add_sizes(made: Mixtures, stage: str, sources: Sequence[str], alone: bool) -> None:
    for name in sources:
        for share in SHARES:
            arm = f"{'only ' if alone else ''}{name} at {share:g}"
            made.sizes[arm] = (name, share)
            rows = {f"{stage}.data.sources.{name}.training_share": share}
            made.arms[arm] = {**rows, **(learning_only(stage, [name]) if alone else {})}
