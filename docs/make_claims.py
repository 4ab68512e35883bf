"""Writes docs/claims.md and the README's table from the claims and their ledger; a test compares.

python docs/make_claims.py                          # an open ledger for a new claim, which fixes its criteria; then both
python docs/make_claims.py runs/claims/E1.json      # takes the ledger of a run first
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from planish.experiments import page
from planish.experiments.claim import CLAIMS, claim_names, load_claim
from planish.experiments.command import ClaimState, state_of
from planish.experiments.ledger import SHIPPED, check_ledger, opened, read_ledger, write_ledger
from planish.experiments.matrix import matrix_file
from planish.experiments.measures import KINDS

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "claims.md", ROOT / "README.md"
BEGIN, END = "<!-- claims: python docs/make_claims.py -->", "<!-- end of claims -->"

HEAD = """# Claims

What the literature says about post-training, put to the test: mostly in the [wind tunnel](wind-tunnel.md), where it is known what
an answer is worth. A claim is a small file (`src/planish/experiments/claims/`) with its arms, its measures and the criteria that
count; the criteria were fixed before the runs, and their hash is in the ledger (`src/planish/experiments/ledger/`). What fails to
reproduce is reported as that. [A question of your own](howto/ablate-and-sweep.md) is a file of the same form.

- `planish claims` lists them.
- `planish claims run E1` runs one: all arms and seeds; what is done is not done again.
- `planish claims show E1` makes its page.
- `planish claims verify E1 --seed 0` runs a seed from nothing, and says whether it falls where the ledger says.

Made by `python docs/make_claims.py`.
"""

VERDICTS = """
## How a verdict comes about

A criterion is about a mean over seeds and prompts, or about the difference of two arms on the same seeds and prompts; a tie
between two answers is half a win. Its 95% interval is clustered by seed and by prompt (`src/planish/statistics/paired.py`). The
criteria of a claim are one family, corrected after Holm (1979). A criterion *holds* if the corrected interval lies on the side
of the bound that it names, is *opposite* if it lies on the other, and else is *not shown*. A claim is *reproduced* if all its
criteria hold, *opposite* if none does and one is opposite, else *not reproduced*; *open* if it has not been run.

Intervals of 1,000 simulated worlds without an effect hold the truth in 93 to 96% of them, with one, three and five seeds
(`python benchmarks/intervals.py`); the percentiles of a bootstrap over seeds and prompts, with three and five, in 80 to 100%.

## Measures

| measure | of a stage | meaning |
|---|---|---|
"""


def text() -> str:
    states = [state_of(name, SHIPPED) for name in claim_names()]
    measures = [
        f"| `{name}` | {', '.join(f'`{stage}`' for stage in kind.stages)} | {kind.says} |"
        for name, kind in KINDS.items()
    ]
    parts = [HEAD, table(states, ""), *map(section, states), VERDICTS + "\n".join(measures)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def table(states: list[ClaimState], where: str) -> str:
    """`where` leads to this page."""
    rows = ["| | claim | verdict | effect | seeds | minutes |", "|---|---|---|---|---|---|"]
    for state in states:
        said, *cells = page.list_cells(state)
        name, said = said.split("  ", 1)
        rows.append(f"| [{name}]({where}#{name.lower()}) | {said} | {' | '.join(cells)} |")
    return "\n".join(rows)


def section(state: ClaimState) -> str:
    """The section of a claim: its sentence, what was tested, what came out, and what it means for you."""
    claim, decisions = state.claim, state.ledger.decisions
    lines = [
        f"## {state.name}",
        f"**The claim.** {claim.sentence} ({claim.source}.)",
        f"**What was tested.** {claim.tested}",
        f"**What came out.** {page.verdict_text(state)}",
    ]
    if decisions:
        head = f"| {' | '.join(page.COLUMNS)} |\n|{'---|' * len(page.COLUMNS)}"
        lines.append("\n".join([head, *(f"| {' | '.join(page.decision_cells(decision))} |" for decision in decisions)]))
    else:
        lines.append("\n".join(f"- {criterion.says}" for criterion in claim.criteria))
    if means := page.meaning(state):
        lines.append(f"**What it means for you.** {means}")
    made = (
        f" Version {state.ledger.version}, {state.cost.date}, {state.cost.minutes:g} minutes of one core."
        if state.cost
        else ""
    )
    commands = ", ".join(f"`{command}`" for command in page.commands(state))
    lines += [
        f"**What it does not show.** {claim.not_shown}",
        f"{commands}. Hash of the criteria: `{state.ledger.digest[:16]}`.{made}",
    ]
    return "\n\n".join(lines)


def readme() -> str:
    states = [state_of(name, SHIPPED) for name in claim_names()]
    between = f"{BEGIN}\n{table(states, 'docs/claims.md')}\n{END}"
    return re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: between, README.read_text(encoding="utf-8"), flags=re.S
    )


def take(path: Path) -> None:
    """Puts the ledger of a run, with its cost, into the package."""
    ledger = read_ledger(path.parent, path.stem)
    if ledger is None or not (CLAIMS / f"{ledger.claim}.yaml").exists():
        raise SystemExit(f"{path}: is not the ledger of a claim that comes with planish")
    check_ledger(ledger, load_claim(ledger.claim))
    for file in (path, path.with_name(f"{path.stem}.cost.json"), matrix_file(path.parent, path.stem)):
        if file.exists():
            shutil.copy(file, SHIPPED / file.name)


def fix() -> None:
    """Writes an open ledger for every claim that has not been run, which fixes its criteria."""
    for name in claim_names():
        ledger = read_ledger(SHIPPED, name)
        if ledger is None or not ledger.version:
            write_ledger(SHIPPED, opened(name, load_claim(name)))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        take(Path(argument))
    fix()
    PAGE.write_text(text(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
