"""The ledger: for each claim its criteria with their hash, fixed before the runs, and what came out.

Runs of the same settings write the same bytes, however often they were killed in between: what takes time lies beside, in
NAME.cost.json.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from planish.base.config import Tree
from planish.base.errors import RunError
from planish.base.files import write_json
from planish.experiments.claim import ClaimConfig
from planish.experiments.verdict import Decision, Outcome
from planish.statistics.estimate import Estimate

SHIPPED = Path(__file__).with_name("ledger")


@dataclass(frozen=True, slots=True)
class Ledger:
    claim: str
    digest: str  # of the protocol
    protocol: Tree
    verdict: Outcome = "open"
    version: str = ""
    seeds: list[int] = field(default_factory=list[int])
    inputs: dict[str, str] = field(default_factory=dict[str, str])  # digests of models and files that the recipe names
    worlds: list[str] = field(default_factory=list[str])  # keys of the worlds that were made
    keys: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # by arm and seed, that of the last stage
    measures: dict[str, dict[str, list[Estimate]]] = field(default_factory=dict[str, dict[str, list[Estimate]]])
    decisions: list[Decision] = field(default_factory=list[Decision])


@dataclass(frozen=True, slots=True)
class Cost:
    date: str
    minutes: float


_LEDGER, _COST = TypeAdapter(Ledger), TypeAdapter(Cost)


def opened(name: str, claim: ClaimConfig) -> Ledger:
    """The entry of a claim before it is run. As JSON reads it back."""
    return Ledger(name, claim.digest, json.loads(json.dumps(claim.protocol)))


def read_ledger(folder: Path, name: str) -> Ledger | None:
    return _read(folder / f"{name}.json", _LEDGER)


def read_cost(folder: Path, name: str) -> Cost | None:
    return _read(folder / f"{name}.cost.json", _COST)


def write_ledger(folder: Path, ledger: Ledger, cost: Cost | None = None) -> None:
    write_json(folder / f"{ledger.claim}.json", asdict(ledger))
    if cost is not None:
        write_json(folder / f"{ledger.claim}.cost.json", asdict(cost))


def check_ledger(ledger: Ledger, claim: ClaimConfig) -> None:
    """Refuses a ledger whose claim is another by now."""
    own = ClaimConfig.model_validate(ledger.protocol | {"sentence": claim.sentence}).digest
    if own != ledger.digest:
        raise RunError(f"the ledger of {ledger.claim} was changed by hand: its protocol has another hash than it says")
    if claim.digest != ledger.digest:
        raise RunError(
            f"{ledger.claim}: the claim was changed after its criteria were fixed: {_changes(ledger.protocol, claim.protocol)}. "
            f"A new question is a new claim: give it a name of its own, or take {ledger.claim}.json away"
        )


def _changes(before: Tree, after: Tree) -> str:
    return ", ".join(key for key in before if before[key] != after.get(key))


def _read(path: Path, shape: TypeAdapter[Any]) -> Any:
    if not path.exists():
        return None
    try:
        return shape.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(
            f"{path}: is no ledger of claims: {where}: {first['msg']}. Take it away, or restore it"
        ) from None
