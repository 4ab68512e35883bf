"""What methods that learn from comparisons look at: how well their scores rank held-out rows, and further sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from planish.base.config import Field
from planish.base.distributed import is_main
from planish.base.errors import ConfigError
from planish.base.types import Packed
from planish.data.cleaning.contents import normalised, said
from planish.data.examples import Encoding, Examples, encode_into
from planish.data.formats import stream_rows
from planish.data.rows import Comparison, Dropped
from planish.evaluate.ranking import ranking, write_ranking
from planish.evaluate.ranking_shapes import Scored
from planish.evaluate.sequences import sequence_values
from planish.methods.running import RunConfig, Running, longest
from planish.models.load import context_length
from planish.train.record import Record

HELD_OUT = "held_out"


class RankedConfig(RunConfig):
    measured: dict[str, str] = Field(
        default={}, description="further comparisons to measure on before and after: a path for each name"
    )


def read_measured(run: Running[Any], paths: Mapping[str, str]) -> dict[str, Encoding]:
    """Comparisons that are measured on and not learnt. Of rows that are too long, the run's settings say what becomes."""
    found: dict[str, Encoding] = {}
    limit = longest(run.config.data, context_length(run.learner.model.config))
    for name, path in paths.items():
        if name == HELD_OUT:
            raise ConfigError(f"measured.{name}: that is the name of the rows held out of the sources; choose another")
        encoding = Encoding(Examples(), comparisons=[])
        rows = ((row, encoding) for row in stream_rows(path, (Comparison,)) if not isinstance(row, Dropped))
        encode_into(rows, run.learner.tokenizer, run.learner.template, limit, run.config.data.too_long)
        if not len(encoding.examples):
            raise ConfigError(f"measured.{name}={path}: holds no comparison that can be measured on")
        found[name] = encoding
    return found


class Ranked:
    """A visit of the loop: `score` gives a number for each sequence of a packed row, and the numbers are held against the
    ranks of rows that are not learnt. Further sets are looked at before the first step and after the last."""

    def __init__(
        self,
        run: Running[Any],
        record: Record,
        score: Callable[[Packed], Tensor],
        measured: Mapping[str, Encoding],
        last: int,
    ) -> None:
        self.run, self.record, self.score, self.measured, self.last = run, record, score, measured, last

    def __call__(self, step: int) -> None:
        held_out = [
            scored
            for source in self.run.sources
            for scored in self._scored(source.name, source.held_out, source.held_out_comparisons)
        ]
        found = self._write(step, HELD_OUT, held_out)
        values = {"held_out/all": found["log_loss"]["value"], "held_out_accuracy/all": found["accuracy"]["value"]}
        for part in found["by"]["source"]:
            values[f"held_out_accuracy/{part['name']}"] = part["accuracy"]["value"]
        if step in (0, self.last):
            for name, encoding in self.measured.items():
                rows = list(self._scored(name, encoding.examples, encoding.comparisons or ()))
                values[f"measured_accuracy/{name}"] = self._write(step, name, rows)["accuracy"]["value"]
        self.record.note(step, values)
        self.record.pause()

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
            starts = (choices.trunk, *choices.ends)
            yield Scored(
                source=name,
                name=str(row.origin),
                prompt="\n".join(f"{turn.role} {normalised(said(turn))}" for turn in row.prompt),
                group=row.group,
                annotator=row.annotator,
                ranks=row.ranks,
                scores=tuple(values[first : first + count]),
                num_tokens=tuple(starts[k + 1] - starts[k] for k in range(count)),
                given=row.scores,
                completions=tuple(normalised(said(each)) for each in row.completions),
            )
            first += count
