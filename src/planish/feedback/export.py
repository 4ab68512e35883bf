"""Judgements as planish's comparisons, one row each: what `planish reward` and `planish dpo` read as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.base.errors import ConfigError
from planish.base.files import write_lines
from planish.data.files.feedback import annotator_name, comparison_record
from planish.feedback.config import FeedbackExportConfig, StudyConfig
from planish.feedback.judgements import OVERALL, JudgedItem, judgements
from planish.feedback.store import open_store, study_of

GOLD = ("gold", "training", "test")


@dataclass(frozen=True, slots=True)
class FeedbackExport:
    """Rows written: comparisons, and demonstrations from better answers. `unable` are judgements without ranks."""

    comparisons: int
    annotators: int
    unable: int
    demonstrations: int
    demonstrations_file: Path | None


def export_comparisons(config: FeedbackExportConfig) -> FeedbackExport:
    """Writes the comparisons, and beside them, where somebody wrote a better answer, FILE.demonstrations.jsonl."""
    if "://" not in config.database and not Path(config.database).is_file():
        raise ConfigError(f"{config.database}: no such file; expected a database of planish annotate")
    store = open_store(config.database)
    try:
        with store.reading() as session:
            settings = StudyConfig(**study_of(session).settings)
            if config.aspect not in ("all", OVERALL, *settings.aspects):
                raise ConfigError(
                    f"aspect={config.aspect}: the study asks for {', '.join((OVERALL, *settings.aspects))}; all writes all"
                )
            chosen = select_rows(list(judgements(session)), config)
            rows = [record for row in chosen for record in records_of(row, config)]
            better = [_demonstration(row, config) for row in chosen if row.judgement.rewrite]
    finally:
        store.close()
    out = Path(config.out)
    write_lines(out, rows)
    beside = out.with_name(f"{out.stem}.demonstrations.jsonl") if better else None
    if beside is not None:
        write_lines(beside, better)
    unable = sum(row.judgement.ranks is None for row in chosen)
    return FeedbackExport(len(rows), len({row["annotator"] for row in rows}), unable, len(better), beside)


def select_rows(rows: Sequence[JudgedItem], config: FeedbackExportConfig) -> list[JudgedItem]:
    settled = {row.item.id for row in rows if row.assignment.chosen_by == "adjudication"}

    def is_wanted(row: JudgedItem) -> bool:
        decides = row.assignment.chosen_by == "adjudication"
        if row.assignment.chosen_by == "juror":
            return False
        if row.annotator.kind not in config.kinds or (decides and config.adjudicated == "without"):
            return False
        if not decides and config.adjudicated == "instead" and row.item.id in settled:
            return False
        if row.item.kind in GOLD:
            return config.gold and row.assignment.chosen_by == "gold"
        return config.repeats or decides or row.assignment.repeat == 0

    return [row for row in rows if is_wanted(row)]


def records_of(row: JudgedItem, config: FeedbackExportConfig) -> Iterator[dict[str, Any]]:
    """The comparisons of a judgement: one for each aspect that is wanted and that it has ranks for."""
    said = row.judgement
    opinions: dict[str, Mapping[str, Any]] = {OVERALL: {"ranks": said.ranks, "strength": said.strength}, **said.aspects}
    for aspect, opinion in opinions.items():
        if config.aspect in ("all", aspect) and opinion["ranks"] is not None:
            yield comparison_record(
                row.item.prompt,
                row.item.tools,
                row.item.completions,
                row.item.systems,
                ranks=opinion["ranks"],
                annotator=name_of(row, config),
                group=row.annotator.group,
                about=_about(row, aspect, opinion),
            )


def name_of(row: JudgedItem, config: FeedbackExportConfig) -> str:
    return annotator_name(row.annotator.kind, row.annotator.id, row.annotator.name, named=config.names)


def _about(row: JudgedItem, aspect: str, opinion: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row.item.about,
        "aspect": aspect,
        "verdict": row.judgement.verdict,
        "strength": opinion["strength"],
        "order": " ".join(map(str, row.assignment.shown)),
        "chosen_by": row.assignment.chosen_by,
        "repeat": row.assignment.repeat,
        "guideline": row.judgement.guideline,
        "seconds": round(row.judgement.seconds, 1),
        "item": row.item.id,
        "comment": row.judgement.comment,
    }


def _demonstration(row: JudgedItem, config: FeedbackExportConfig) -> dict[str, Any]:
    answer = {"role": "assistant", "content": row.judgement.rewrite}
    return {
        "messages": [*row.item.prompt, answer],
        **({"tools": row.item.tools} if row.item.tools else {}),
        "about": {"annotator": name_of(row, config), "item": row.item.id},
    }
