"""Ratings from a database of `planish annotate`, or from files of comparisons in any format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from planish.base.errors import ConfigError, DataError
from planish.data.chat.tool_calls import as_dicts
from planish.data.files.feedback import annotator_name
from planish.data.formats.registry import stream_rows
from planish.data.rows import Comparison, Dropped
from planish.feedback.config import StudyConfig, without_password
from planish.feedback.report.config import FeedbackReportConfig
from planish.feedback.report.ratings import OVERALL, PairRating, RatedPair, Rater, Ratings, Use, digest_of

SQLITE = b"SQLite format 3\x00"
NAMED = (
    ("generator_1", "generator_2"),
    ("model_1", "model_2"),
    ("model_a", "model_b"),
)  # notes with the systems' names


@dataclass(frozen=True, slots=True)
class SaidOfAnswers:
    """One judgement on K answers, from wherever it is. `order` are the answers as they were shown, if that is known."""

    prompt: Any
    texts: Sequence[str]
    ranks: Sequence[int]
    systems: Sequence[str]
    notes: Mapping[str, Any]
    rater: Rater
    order: Sequence[int] | None = None
    aspect: str = OVERALL
    strength: str = ""
    use: Use = "task"
    chosen_by: str = ""
    expected: Sequence[int] | None = None


def read_ratings(config: FeedbackReportConfig) -> Ratings:
    ratings = Ratings(sources=[without_password(place) for place in config.files])
    for place in config.files:
        if is_database(place):
            _read_database(place, config, ratings)
        else:
            for said in _of_file(place, config, ratings):
                add(ratings, said)
    if not ratings.rows:
        raise DataError(
            f"{', '.join(config.files)}: holds no judgement of two answers, so there is nothing to report"
            + (f"; left out: {ratings.dropped[0]}" if ratings.dropped else "")
        )
    if config.gold is not None:
        _expect(ratings, config.gold, config)
    if unknown := sorted({*config.judges} - {*ratings.raters}):
        raise ConfigError(
            f"judges={unknown[0]}: nobody of this name judged here; there are {', '.join(sorted(ratings.raters)[:12])}"
        )
    return ratings


def add(ratings: Ratings, said: SaidOfAnswers) -> None:
    """Adds the rating of each pair of the answers; a second one by the same rater is a repeat."""
    ratings.raters.setdefault(said.rater.name, said.rater)
    ratings.said += 1
    place = None if said.order is None else {number: at for at, number in enumerate(said.order)}
    asked, digests = digest_of(said.prompt), [digest_of(text) for text in said.texts]
    for i, j in combinations(range(len(said.texts)), 2):
        if digests[i] == digests[j]:
            ratings.identical += 1
            continue
        if digest_of([asked, digests[i]]) > digest_of([asked, digests[j]]):
            i, j = j, i
        pair = RatedPair(
            digest_of([asked, digests[i], digests[j]]),
            asked,
            (said.texts[i], said.texts[j]),
            (said.systems[i], said.systems[j]) if said.systems else ("", ""),
            said.notes,
            None if said.expected is None else _sign(said.expected[j] - said.expected[i]),
        )
        known = ratings.pairs.setdefault(pair.key, pair)
        if known.expected is None and pair.expected is not None:
            ratings.pairs[pair.key] = replace(known, expected=pair.expected)
        mark = (said.rater.name, pair.key, said.aspect)
        is_again = said.use == "task" and mark in ratings.seen
        if said.use == "task":
            ratings.seen.add(mark)
        value = _sign(said.ranks[j] - said.ranks[i])
        ratings.rows.append(
            PairRating(
                pair.key,
                said.rater.name,
                said.aspect,
                value,
                ratings.said,
                0 if place is None else _sign(place[j] - place[i]),
                said.strength == "clearly" if said.strength and value else None,
                "repeat" if is_again else said.use,
                said.chosen_by,
            )
        )


def is_database(place: str) -> bool:
    if "://" in place and place.partition("://")[0] in ("postgresql", "postgres"):
        return True
    path = Path(place)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


# A database

USES: Mapping[str, Use] = {
    "repeat": "repeat", "adjudication": "adjudication", "gold": "gold", "training": "practice", "test": "practice",
}  # fmt: skip


def _read_database(place: str, config: FeedbackReportConfig, ratings: Ratings) -> None:
    from planish.feedback.command import check_extra

    check_extra()
    from planish.feedback.judgements import judgements
    from planish.feedback.judging.combine import choices_by_order
    from planish.feedback.store import open_store, study_of

    store = open_store(place)
    try:
        with store.reading() as session:
            ratings.pass_share = StudyConfig(**study_of(session).settings).pass_share
            for row in judgements(session):
                annotator, said = row.annotator, row.judgement
                name = annotator_name(annotator.kind, annotator.id, annotator.name, named=config.names)
                is_model = annotator.kind == "model" or name in config.judges
                rater = Rater(name, "model" if is_model else "person", annotator.group)
                if said.ranks is None:
                    ratings.raters.setdefault(name, rater)
                    ratings.unable[name] += 1
                    continue
                use: Use = "repeat" if row.assignment.repeat else USES.get(row.assignment.chosen_by, "task")
                use = USES.get(row.item.kind, use) if use != "repeat" else use
                if said.seconds > 0:
                    ratings.seconds[name].append(said.seconds)
                ratings.both_orders[name] += _places(choices_by_order(row, OVERALL))
                opinions: dict[str, Any] = {OVERALL: {"ranks": said.ranks, "strength": said.strength}, **said.aspects}
                for aspect, opinion in opinions.items():
                    one = SaidOfAnswers(
                        row.item.prompt,
                        [text_of(message) for message in row.item.completions],
                        opinion["ranks"],
                        [", ".join(names) for names in row.item.systems],
                        row.item.about,
                        rater,
                        None if row.judgement.details.get("asked") else row.assignment.shown,
                        aspect,
                        opinion.get("strength") or "",
                        use,
                        row.assignment.chosen_by,
                        row.item.expected if aspect == OVERALL else None,
                    )
                    add(ratings, one)
    finally:
        store.close()


def _places(choices: Iterable[tuple[tuple[int, int], int | None]]) -> list[list[bool | None]]:
    """For each pair that was asked in both orders, if the first place was chosen in one and in the other."""
    by_pair: dict[tuple[int, ...], list[bool | None]] = {}
    for shown, chosen in choices:
        by_pair.setdefault(tuple(sorted(shown)), []).append(None if chosen is None else chosen == shown[0])
    return [places for places in by_pair.values() if len(places) == 2]


def text_of(message: Mapping[str, Any]) -> str:
    """The text of an answer; of one that calls tools, its calls as well."""
    calls = message.get("tool_calls")
    return str(message.get("content") or "") + (f"\n{calls}" if calls else "")


# Files


def _of_file(place: str, config: FeedbackReportConfig, ratings: Ratings) -> Iterator[SaidOfAnswers]:
    for row in stream_rows(place, (Comparison,), config.format, config.columns):
        if isinstance(row, Dropped):
            ratings.dropped.append(f"{row.origin}: {row.reason}")
            continue
        name = row.annotator or Path(place).name.partition(".")[0]
        is_model = name in config.judges or row.about.get("chosen_by") == "model"
        seconds = row.about.get("seconds")
        if isinstance(seconds, int | float) and seconds > 0 and row.about.get("aspect", OVERALL) == OVERALL:
            ratings.seconds[name].append(float(seconds))
        chosen_by = str(row.about.get("chosen_by", ""))
        yield SaidOfAnswers(
            as_dicts(row.prompt),
            [text_of(message) for message in as_dicts(row.completions)],
            row.ranks,
            systems_of(row),
            row.about,
            Rater(name, "model" if is_model else "person", row.group),
            _order_of(row),
            str(row.about.get("aspect", OVERALL)),
            str(row.about.get("strength", "")),
            "repeat" if row.about.get("repeat", 0) and chosen_by != "adjudication" else USES.get(chosen_by, "task"),
            chosen_by,
        )


def systems_of(row: Comparison) -> list[str]:
    """Who wrote each answer, from the notes; empty where they do not say."""
    names = str(row.about.get("systems", "")).split(" | ")
    if len(names) == len(row.completions):
        return names
    for first, second in NAMED:
        if first in row.about and second in row.about and len(row.completions) == 2:
            return [str(row.about[first]), str(row.about[second])]
    return []


def _order_of(row: Comparison) -> list[int] | None:
    noted = str(row.about.get("order", ""))
    if not noted:
        return None
    numbers = [int(word) for word in noted.split() if word.isdecimal()]
    if sorted(numbers) != [*range(len(row.completions))]:
        raise DataError(
            f"{row.origin}: note order: found {noted!r}, expected the numbers 0 to {len(row.completions) - 1} as the answers "
            "were shown"
        )
    return numbers


def _expect(ratings: Ratings, place: str, config: FeedbackReportConfig) -> None:
    """Sets the right values of the pairs that this file ranks."""
    known = Ratings()
    for said in _of_file(place, FeedbackReportConfig(files=(place,), out=config.out, format=config.format), known):
        add(known, said)
    right: dict[str, int] = {}
    for row in known.rows:
        if right.setdefault(row.pair, row.value) != row.value:
            raise DataError(
                f"gold={place}: ranks the same two answers in two ways; expected one right answer for each pair"
            )
    both = right.keys() & ratings.pairs.keys()
    if not both:
        raise ConfigError(
            f"gold={place}: none of its {len(right)} pairs of answers was judged; expected the same prompts and "
            "answers, to the "
            "letter"
        )
    for key in both:
        ratings.pairs[key] = replace(ratings.pairs[key], expected=right[key])
