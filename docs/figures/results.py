"""What docs/figures/wind_tunnel.json holds, checked: what the base model knows and can do, and what SFT makes of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from planish.base.errors import DataError
from planish.evaluate.probe.slick import CATEGORIES
from planish.world.gold.verdict import TERMS

ROUNDING = 0.01  # by which sums of rounded numbers may be off


class Point(BaseModel):
    """`tokens` read before `step` is through; `held_out` is nats per token."""

    step: int
    tokens: int
    held_out: float


class Curves(BaseModel):
    """`tokens` of the decay may count from the beginning or from where it branches off. `n` is how many documents."""

    stable: list[Point] = Field(min_length=2)
    decayed: list[Point] = Field(min_length=1)
    n: int | None = None

    def branch(self) -> Point:
        """The last point of the stable stage before the decay."""
        return max((p for p in self.stable if p.step <= self.decayed[0].step), key=lambda p: p.step)

    def tail(self) -> list[Point]:
        """The branch point and the decay from it, tokens counted from the beginning."""
        start = self.branch()
        skipped = start.tokens if self.decayed[0].tokens < start.tokens else 0
        later = [p.model_copy(update={"tokens": p.tokens + skipped}) for p in self.decayed if p.step > start.step]
        return [start, *later]


class Classed(BaseModel):
    """Shares of the SliCK classes in a group of `n` facts."""

    n: int = Field(gt=0)
    frequency: int | None = None
    HighlyKnown: float
    MaybeKnown: float
    WeaklyKnown: float
    Unknown: float

    def shares(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in CATEGORIES}


class Share(BaseModel):
    share: float
    low: float
    high: float
    n: int


class Gate(BaseModel):
    """`never_seen_known`: the facts that no text states, and yet are classed Highly, Maybe or Weakly Known."""

    by_frequency: list[Classed] = Field(min_length=1)
    all: Classed
    never_seen_known: Share


class Skill(BaseModel):
    """Few-shot accuracy over `n` questions with its 95% interval; `chance` is that of the most frequent answer."""

    task: str
    cluster: str
    accuracy: float
    low: float
    high: float
    chance: float
    n: int


class Worth(BaseModel):
    """Mean gold utility over `n` prompts of one kind, and the terms that it is the sum of."""

    n: int
    utility: float
    terms: dict[str, float]


Block = dict[str, Worth]  # by kind of prompt, "all" among them


class Tuned(BaseModel):
    base: Block
    seeds: list[Block] = Field(min_length=2, max_length=10)


class Results(BaseModel):
    command: str
    date: str
    curves: Curves
    gate: Gate
    skills: list[Skill] = Field(min_length=1)
    sft: Tuned


def read(path: Path) -> Results:
    """Raises DataError for a file that is not there, lacks a field, or contradicts itself."""
    if not path.exists():
        raise DataError(f"{path}: is not there. examples/wind_tunnel.py writes it.")
    try:
        results = Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: {place}: {first['msg']}. examples/wind_tunnel.py writes it anew.") from None
    for problem in _contradictions(results):
        raise DataError(f"{path}: {problem}. examples/wind_tunnel.py writes it anew.")
    return results


def _contradictions(results: Results) -> Iterator[str]:
    if results.curves.decayed[0].step < results.curves.stable[0].step:
        yield "curves: the decay begins before the stable stage"
    if len(results.curves.tail()) < 2:
        yield "curves: the decay has no point after the one it branches off from"
    for row in [*results.gate.by_frequency, results.gate.all]:
        if abs(sum(row.shares().values()) - 1) > ROUNDING:
            name = "all" if row.frequency is None else f"frequency {row.frequency}"
            yield f"gate: the classes of {name} add up to {sum(row.shares().values()):.3f}, not 1"
    base = results.sft.base
    if "all" not in base:
        yield 'sft.base: has no "all"'
    for name, block in [("base", base), *((f"seeds.{i}", seed) for i, seed in enumerate(results.sft.seeds))]:
        if {kind: worth.n for kind, worth in block.items()} != {kind: worth.n for kind, worth in base.items()}:
            yield f"sft.{name}: has other kinds of prompts than sft.base, or other counts"
        for kind, worth in block.items():
            yield from (f"sft.{name}.{kind}: {problem}" for problem in _wrong_terms(worth))


def _wrong_terms(worth: Worth) -> Iterator[str]:
    if set(worth.terms) != set(TERMS):
        yield f"has the terms {', '.join(worth.terms)}; needs {', '.join(TERMS)}"
    if abs(sum(worth.terms.values()) - worth.utility) > ROUNDING:
        yield f"the terms add up to {sum(worth.terms.values()):.3f}, the utility is {worth.utility:.3f}"
