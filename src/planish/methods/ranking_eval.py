"""Evaluation of methods that learn from comparisons: how well their scores rank held-out rows, and further sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import model_validator
from torch import Tensor

from planish.base.config import Field
from planish.base.distributed import is_main
from planish.base.errors import ConfigError
from planish.base.transfer import numbers
from planish.base.types import Packed
from planish.data.cleaning.fingerprints import normalized, turn_text
from planish.data.examples import Encodable, Encoding, Examples, encode_into
from planish.data.formats import stream_rows
from planish.data.rows import Comparison, Dropped, as_records
from planish.data.settings import DataConfig, longest
from planish.data.sources import measured_digest
from planish.inference.sequences import sequence_values
from planish.methods.base import Method, RunConfig, RunContext
from planish.methods.callbacks import note_unmoved
from planish.models.load import context_length
from planish.statistics.ranking import log_loss_by_source, ranking, write_ranking
from planish.statistics.ranking_result import Scored
from planish.train.record import RunRecord

HELD_OUT = "held_out"


class ComparisonConfig(RunConfig):
    """A run that learns from comparisons.

    `take: best` is refused here: it leaves one completion of each comparison, and to learn which of two is better takes
    both.
    """

    eval_sets: dict[str, str] = Field(
        default={}, description="further comparisons to measure on before and after: a path for each name"
    )

    @model_validator(mode="after")
    def _check_take(self) -> ComparisonConfig:
        refuse_what_sft_takes(self.data)
        return self


def refuse_what_sft_takes(data: DataConfig) -> None:
    if data.row_weight is not None:
        raise ValueError(
            f"data.row_weight={data.row_weight} weighs demonstrations and documents, and here the comparisons count alike: leave "
            "it out"
        )
    for name, source in data.sources.items():
        if source.take == "best":
            raise ValueError(
                f"data.sources.{name}.take is best, which leaves one completion of each comparison, and here two are "
                "compared: leave `take` out. It is for `planish sft`"
            )


C = TypeVar("C", bound=ComparisonConfig)


class ComparisonMethod(Method[C]):
    """The part that a reward model and DPO share: comparisons to learn from, and further ones to measure on."""

    kinds: tuple[type[Encodable], ...] = (Comparison,)

    def __init__(self) -> None:
        self.eval_sets: dict[str, Encoding] = {}

    def describe(self, run: RunContext[C]) -> dict[str, Any]:
        self.eval_sets = read_eval_sets(run, run.config.eval_sets)
        return {"eval_sets": {name: _account(run.config.eval_sets[name], own) for name, own in self.eval_sets.items()}}

    def inputs(self, run: RunContext[C]) -> dict[str, str]:
        sets = {
            f"eval_sets.{name}": measured_digest([(own.examples, own.comparisons or ())])
            for name, own in self.eval_sets.items()
        }
        return super().inputs(run) | sets


def comparison_sets(run: RunContext[Any], eval_sets: Mapping[str, Encoding]) -> dict[str, Examples]:
    """All comparisons of a run by name: SOURCE/training, SOURCE/held_out, eval_sets/NAME."""
    sets = {f"{source.name}/training": source.training for source in run.sources}
    sets |= {f"{source.name}/held_out": source.held_out for source in run.sources if len(source.held_out)}
    return sets | {f"eval_sets/{name}": encoding.examples for name, encoding in eval_sets.items()}


def reference_of(packed: Packed) -> Tensor:
    """The frozen model's number for each completion, [S]: DPO's reference, or a confidence term."""
    values = [value for example in packed.examples if example.choices for value in example.choices.reference]
    values = values or [0.0] * packed.num_sequences  # the empty row of a rank without work
    return numbers(values, packed.tokens_T.device)


def read_eval_sets(run: RunContext[Any], paths: Mapping[str, str]) -> dict[str, Encoding]:
    """Comparisons that are measured on and not learnt. Of rows that are too long, the run's settings say what becomes."""
    found: dict[str, Encoding] = {}
    limit = longest(run.config.data, context_length(run.loaded.model.config))
    for name, path in paths.items():
        if name == HELD_OUT:
            raise ConfigError(f"eval_sets.{name}: that is the name of the rows held out of the sources; choose another")
        encoding = Encoding(Examples(), comparisons=[])
        encode_into(
            _comparisons(path, encoding), run.loaded.tokenizer, run.loaded.template, limit, run.config.data.too_long
        )
        if not len(encoding.examples):
            raise ConfigError(f"eval_sets.{name}={path}: holds no comparison that can be measured on")
        found[name] = encoding
    return found


def _comparisons(path: str, encoding: Encoding) -> Iterator[tuple[Comparison, Encoding]]:
    for row in stream_rows(path, (Comparison,)):
        if isinstance(row, Dropped):
            encoding.dropped.append(row)
        else:
            yield row, encoding


def _account(path: str, encoding: Encoding) -> dict[str, Any]:
    """A set's entry in data.json: `rows` were read, `used` of them are measured on."""
    used, dropped = len(encoding.examples), as_records(encoding.dropped)
    return {
        "path": path,
        "rows": used + len(dropped),
        "used": used,
        "dropped": dropped,
        "truncated": as_records(encoding.truncated),
    }


class RankingCallback:
    """A callback of the loop: `score` gives a number for each sequence of a packed row, and the numbers are compared with the
    ranks of rows that are not learnt. Further sets are measured before the first step and after the last."""

    def __init__(
        self,
        run: RunContext[Any],
        record: RunRecord,
        score: Callable[[Packed], Tensor],
        eval_sets: Mapping[str, Encoding],
        last: int,
    ) -> None:
        self.run, self.record, self.score, self.eval_sets, self.last = run, record, score, eval_sets, last

    def __call__(self, step: int) -> None:
        held_out = [
            scored
            for source in self.run.sources
            for scored in self._scored(source.name, source.held_out, source.held_out_comparisons)
        ]
        values = self._measures(step, held_out) if held_out else {}
        if step in (0, self.last):
            for name, encoding in self.eval_sets.items():
                rows = list(self._scored(name, encoding.examples, encoding.comparisons or ()))
                values[f"eval_accuracy/{name}"] = self._write(step, name, rows)["accuracy"]["value"]
        if values:
            self.record.note(step, values)
        note_unmoved(self.run, step, self.last, self.record)
        self.record.pause()

    def _measures(self, step: int, held_out: Sequence[Scored]) -> dict[str, float]:
        found = self._write(step, HELD_OUT, held_out)
        values = {"held_out/all": found["log_loss"]["value"], "held_out_accuracy/all": found["accuracy"]["value"]}
        values |= {f"held_out/{name}": loss for name, loss in log_loss_by_source(held_out).items()}
        accuracies = {f"held_out_accuracy/{part['name']}": part["accuracy"]["value"] for part in found["by"]["source"]}
        return values | accuracies

    def _write(self, step: int, name: str, scored: Sequence[Scored]) -> dict[str, Any]:
        found = ranking(scored, seed=self.run.config.seed)
        if is_main():
            write_ranking(self.run.folder.path / "ranking.json", step, name, found)
        return found

    def _scored(self, name: str, examples: Examples, rows: Sequence[Comparison]) -> Iterator[Scored]:
        values = sequence_values(self.score, examples, self.run.micro_tokens, self.run.device).tolist()
        first = 0
        for i, row in enumerate(rows):
            choices = examples[i].choices
            assert choices is not None
            count = len(choices.ends)
            starts = (choices.prompt_length, *choices.ends)
            yield Scored(
                source=name,
                name=str(row.origin),
                prompt="\n".join(f"{turn.role} {normalized(turn_text(turn))}" for turn in row.prompt),
                group=row.group,
                annotator=row.annotator,
                ranks=row.ranks,
                scores=tuple(values[first : first + count]),
                num_tokens=tuple(starts[k + 1] - starts[k] for k in range(count)),
                given=row.scores,
                completions=tuple(normalized(turn_text(each)) for each in row.completions),
            )
            first += count
