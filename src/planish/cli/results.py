"""The closing lines of each command: where its result is, and the main number."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.base.errors import DataError
from planish.base.text import count_text
from planish.commands import METHODS

if TYPE_CHECKING:
    from rich.table import Table

    from planish.data.inspect.convert import Converted
    from planish.data.inspect.result import Inspection
    from planish.experiments.advise import AdviseConfig, Advised
    from planish.experiments.command import Again, ClaimsConfig, ClaimState
    from planish.feedback.command import Prepared
    from planish.feedback.export import FeedbackExport
    from planish.feedback.judging.critique import CritiqueResult
    from planish.feedback.judging.summary import JudgeSummary
    from planish.inference.best_of_n import BestOfNResult
    from planish.pipeline.run import Pipeline
    from planish.pipeline.stages import Stage
    from planish.preview.dry_run import DryRun
    from planish.preview.inspect import InspectConfig
    from planish.world.annotators.rank import RankResult
    from planish.world.make import MadeWorld


def _trained(config: Any, run: Any) -> None:
    print(f"model: {run / 'model'}\npage:  planish report {run}\n{_next(config, run)}")


def _next(config: Any, run: Any) -> str:
    """The command that shows what the run is good for."""
    if type(config).__name__ == "RewardConfig":
        return f"next:  planish score {run} ROWS --out scores.jsonl"
    return f"next:  planish chat {run}"


def _best(config: Any, found: BestOfNResult) -> None:
    if found.empty:
        done = "left out, and listed beside it" if config.empty == "drop" else "kept; empty=drop leaves them out"
        print(f"{found.empty} best completions have no words: {done}", file=sys.stderr)
    written = found.prompts - (found.empty if config.empty == "drop" else 0)
    print(
        f"{written} demonstrations in {config.out}: mean score {found.mean_best:.3f}, of all completions "
        f"{found.mean_score:.3f}; KL to the policy at most {found.kl:.3f} nats"
    )


def _inspected(config: InspectConfig, found: Inspection) -> None:
    """A row that does not fit is the closing error, behind all that was read."""
    from planish.data.inspect.terminal import show

    first = next((source.unfit.rows[0].reason for source in found.sources if source.unfit.count), None)
    if first is not None and not any(source.records for source in found.sources):
        raise DataError(first)  # there is nothing to show
    show(found, most_listed=sys.maxsize if config.list_all else 5)
    if config.page:
        print(f"\npage: {config.page}")
    if first is not None:
        more = " Reading stopped there; --keep-going reads on where it can, and lists all."
        raise DataError(first if config.keep_going else first + more)


def _converted(config: Any, done: Converted) -> None:
    print(f"{done.rows} {done.kind} in {done.out}")
    for row in done.leaks[:5]:
        print(f"also in an evaluation set: {row.origin}: {row.reason}", file=sys.stderr)
    if done.leaks:
        remedy = "cleaning.remove_leaks=true leaves them out"
        print(f"{len(done.leaks)} rows are in an evaluation set; {remedy}", file=sys.stderr)
    for row in done.first_dropped:
        print(f"left out: {row.origin}: {row.reason}", file=sys.stderr)
    if done.dropped:
        print(f"{done.dropped} left out, all of them listed in {done.dropped_file}", file=sys.stderr)


def _made(config: Any, made: MadeWorld) -> None:
    for file, rows in made.rows.items():
        print(f"{rows:>8,}  {made.path / file}")
    print(f"hash {made.digest}")


def _asked(config: Any, answer: Any) -> None:
    if isinstance(answer, str):
        print(answer)
        return
    print(f"{answer.verdict.label}, utility {answer.verdict.utility:+.2f}")
    for reason in answer.verdict.reasons:
        print(f"  {reason}")


def _judged(config: Any, judged: Sequence[Any]) -> None:
    from planish.world.gold.terminal import show_judgements

    of_run = Path(config.answers).is_dir()
    for step in sorted({record.get("step", 0) for record, _ in judged}):
        title = f"after step {step}" if of_run else config.answers
        show_judgements(title, [judgement for record, judgement in judged if record.get("step", 0) == step])


def _ranked(config: Any, ranked: RankResult) -> None:
    print(
        f"{ranked.comparisons} comparisons in {config.out}; {ranked.alone} of {ranked.prompts} prompts had one answer alone"
    )


def _exported(config: Any, done: FeedbackExport) -> None:
    print(f"{done.comparisons} comparisons by {count_text(done.annotators, 'annotator')} in {config.out}")
    if done.unable:
        print(f"{count_text(done.unable, 'judgement')} without ranks: the annotator could not tell", file=sys.stderr)
    if done.demonstrations_file is not None:
        print(f"{count_text(done.demonstrations, 'better answer')} in {done.demonstrations_file}")
    print(f"next:  planish reward --model MODEL --data {config.out} --out runs/reward")


def _annotated(config: Any, prepared: Prepared) -> None:
    print(f"{count_text(prepared.items, 'item')} in {config.out}\nnext:  {prepared.next}")


def _judged_answers(config: Any, found: Sequence[JudgeSummary]) -> None:
    """A line a judge, what is odd about it, and the command that takes the comparisons out."""
    from planish.base.terminal import print_table
    from planish.base.text import duration_text
    from planish.feedback.command import export_command
    from planish.statistics.estimate import estimate_text

    names = ["judge", "items", "ties", "by order", "cannot tell", "right on gold", "longer chosen", "tokens", "time"]
    cells = [
        [
            *(own.name, f"{own.items:,}", f"{own.ties:,}", f"{own.split:,} of {own.pairs:,}", f"{own.unable:,}"),
            *(estimate_text(own.gold), estimate_text(own.longer)),
            *(f"{own.tokens_in + own.tokens_out:,}", duration_text(own.seconds)),
        ]
        for own in found
    ]
    print_table(names, cells)
    for own in found:
        for finding in own.findings:
            print(f"{own.name}: {finding}", file=sys.stderr)
    print(f"next:  {export_command(config.out)}")


def _criticised(config: Any, done: CritiqueResult) -> None:
    print(f"{count_text(done.demonstrations, 'demonstration')} in {config.out}, {done.revised} of them revised")
    print(f"{count_text(done.pairs, 'pair')}, revised ≻ original, in {done.pairs_file}")
    if done.left_out:
        print(f"{count_text(done.left_out, 'answer')} left out", file=sys.stderr)


def _ran(config: Any, done: Pipeline) -> None:
    from rich.console import Console

    from planish.base.text import duration_text

    table = _table("stage", "command", "state", "time", "output")
    for stage in done.stages:
        state = "done before" if stage.before else "done"
        table.add_row(stage.stage, stage.command, state, duration_text(stage.seconds), str(stage.path))
    Console(highlight=False).print(table)
    if any((stage.path / "config.yaml").exists() for stage in done.stages):
        print(f"page:  planish report {done.path}")


def _claims(config: ClaimsConfig, found: Sequence[ClaimState | Again]) -> None:
    """The claims with their verdicts; of one that was run or is shown, its criteria; of a seed run again, its numbers."""
    from planish.base.terminal import print_table
    from planish.base.text import number_text
    from planish.experiments import page
    from planish.experiments.command import Again, check_again, page_of

    if config.action == "list":
        states = [state for state in found if not isinstance(state, Again)]
        print_table(page.LISTED, [page.list_cells(state) for state in states])
        print(
            "planish claims run E1 runs one, show E1 makes its page; one of yours is a file: planish claims run my_claim.yaml"
        )
        return
    again = [one for one in found if isinstance(one, Again)]
    for state in found:
        if isinstance(state, Again):
            continue
        print(f"{state.name}: {state.claim.sentence}\n{page.verdict_text(state)} {page.meaning(state)}".rstrip())
        if state.ledger.decisions:
            print_table(list(page.COLUMNS), [page.decision_cells(decision) for decision in state.ledger.decisions])
        print(f"page:  {page_of(state, Path(config.out))}")
    if again:
        numbers = [(one, number_text(one.before.value, ".6g"), number_text(one.now, ".6g")) for one in again]
        cells = [[one.arm, one.measure, before, now, one.answer] for one, before, now in numbers]
        print_table(["arm", "measure", "ledger", "again", ""], cells)
        check_again(again, config.claim or "", config.seed)


def _advised(config: AdviseConfig, found: Advised) -> None:
    """Prints the outcome, the weights, the gains, and the proposal as settings."""
    from planish.base.terminal import print_table
    from planish.experiments import advice_page
    from planish.experiments.advise import settings_of

    print(advice_page.advice_text(found, config.seeds))
    print_table(advice_page.WEIGHT_COLUMNS, advice_page.weight_rows(found))
    if found.advice.checked:
        print_table(advice_page.GAIN_COLUMNS, advice_page.gain_rows(found))
    if found.advice.outcome == "better":
        print(f"as settings: {' '.join(settings_of(found))}")
    print(f"page:  {found.page}")


def _would_train(plan: DryRun) -> None:
    """The model, the rows and the steps of a run, where it would start and what it would save."""
    from planish.reports.read.mixture import show_mixture, show_sources

    prompts: Mapping[str, Any] = plan.account.get("prompts", {}).get("sources", {})
    if sources := plan.account.get("sources"):
        show_sources(sources)
        show_mixture(plan.account["stages"])
    for name, found in prompts.items():
        print(f"prompts {name}: {found['training']:,} to learn from, {len(found['held_out']):,} held out")
    for name in plan.account.get("eval_sets", {}):
        print(f"also measured on: {name}")
    lora = " (LoRA)" if plan.lora else ""
    print(f"model: {plan.weights:,} weights; {plan.trained:,} trained{lora}, on {plan.device}")
    begin = "from the start" if plan.checkpoint is None else f"from the checkpoint of step {plan.checkpoint:,}"
    print(
        f"steps: {plan.steps:,}; " + ("all done, nothing is left to do" if plan.finished else f"it would begin {begin}")
    )
    print(f"saved in: {plan.out / 'model'}" + (f" and {plan.out / 'adapter'}" if plan.lora else ""))
    print("dry run: nothing was trained or written")


def _would_run(plan: Sequence[tuple[Stage, str]]) -> None:
    """The stages of a pipeline that would run, and why."""
    from rich.console import Console

    table = _table("stage", "command", "would be done because")
    for stage, reason in plan:
        table.add_row(stage.name, stage.command, reason)
    Console(highlight=False).print(table)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


PLANS: dict[str, Callable[[Any], None]] = {**dict.fromkeys(METHODS, _would_train), "run": _would_run}
RESULTS: dict[str, Callable[[Any, Any], None]] = {
    **dict.fromkeys(METHODS, _trained),
    "chat": lambda config, result: None,
    "sample": lambda config, count: print(f"{count} completions in {config.out}"),
    "score": lambda config, count: print(f"{count} rows scored in {config.out}"),
    "best": _best,
    "know": lambda config, found: print(f"{len(found)} questions in {config.out}"),
    "compare": lambda config, result: print(f"page:  planish report {config.out}"),
    "evaluate citations": lambda config, found: print(
        f"{sum(len(answer.references) for answer in found)} references of {len(found)} answers in {config.out}, rates in "
        f"{config.out}.json"
    ),
    "data refuse": lambda config, rows: print(f"{len(rows)} demonstrations in {config.out}"),
    "evaluate refusals": lambda config, result: print(f"page:  planish report {config.out}"),
    "evaluate knowledge": lambda config, found: print(
        f"{len(found)} answers in {config.out}, scores in {config.out}.json"
    ),
    "annotate": _annotated,
    "judge": _judged_answers,
    "critique": _criticised,
    "feedback export": _exported,
    "feedback report": lambda config, done: print(f"{done.says}\npage:  {done.page}\ndata:  {done.numbers}"),
    "report": lambda config, path: print(path),
    "data advise": _advised,
    "data teach": lambda config, found: print(f"{config.out}, and what was changed in {config.out}.json"),
    "data inspect": _inspected,
    "data convert": _converted,
    "world make": _made,
    "world ask": _asked,
    "world judge": _judged,
    "world rank": _ranked,
    "run": _ran,
    "claims": _claims,
    "model get": lambda config, path: print(path),
}
