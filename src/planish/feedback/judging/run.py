"""`planish judge`: models compare the answers of a study and are kept as annotators beside people.

What is asked is told before anything is paid for: questions, tokens, cost, and after the first reply the time. Replies are kept
as they come, verdicts in the order of the items, so that a judge that was killed ends in the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from planish.base.command import load
from planish.base.config import validate
from planish.base.errors import ConfigError, RunError
from planish.base.notices import say
from planish.base.progress import Progress
from planish.base.text import count_text, duration_text
from planish.feedback.assignment import order_of
from planish.feedback.command import prepare
from planish.feedback.config import AnnotateConfig, StudyConfig, without_password
from planish.feedback.guidelines import digest_of
from planish.feedback.judgements import StudyVerdict, add_judgement, judgements
from planish.feedback.judging.combine import jury_verdict, verdict_of
from planish.feedback.judging.config import JudgeAnswersConfig
from planish.feedback.judging.rubric import ItemQuestion, Rubric, build_rubric, questions_of
from planish.feedback.judging.summary import JudgeSummary, summarize
from planish.feedback.people import add_annotator
from planish.feedback.schema import Assignment, Guideline, Study, StudyAnnotator, StudyItem, StudyJudgement
from planish.feedback.store import Store, keep_guideline, note, study_of
from planish.judges.asking import Asker, JudgeReply, ServedAsker
from planish.judges.base import FEWEST
from planish.judges.client import LlmReply
from planish.judges.config import AnnotatorModel

CHARACTERS = 4  # of a token, about, to tell the cost beforehand
CHUNK = 32  # items that are asked and then kept together, at least


@dataclass(slots=True)
class JudgeMember:
    """A judge at work: its annotator, its settings, and how it is asked. `replies` and `unread` count those of this run."""

    annotator: StudyAnnotator
    model: AnnotatorModel
    asker: Asker
    replies: int = 0
    unread: int = 0

    @property
    def concurrency(self) -> int:
        return self.model.concurrency if self.model.name == "llm" else 1

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        return self.model.cost(tokens_in, tokens_out) if self.model.name == "llm" else 0.0


@dataclass(frozen=True, slots=True)
class JudgeRun:
    """What a run of judges needs. `annotator` is the one whose verdict counts: the only member, or the jury. Keys of judgements
    end in `fingerprint`, which says by which model they were made, and how it was asked."""

    members: list[JudgeMember]
    annotator: StudyAnnotator
    rubric: Rubric
    fingerprint: str
    items: list[StudyItem]
    gold: list[StudyItem]
    seed: int

    @property
    def is_jury(self) -> bool:
        return len(self.members) > 1

    def key(self, annotator: StudyAnnotator, item: StudyItem) -> str:
        return f"model {annotator.id} {item.id} {self.fingerprint}"

    def questions(self, items: Sequence[StudyItem]) -> list[ItemQuestion]:
        return [question for item in items for question in questions_of(item, self.rubric, self.gold, self.seed)]


@dataclass(slots=True)
class Meter:
    """Tokens and cost as they come, and the bar that shows them."""

    bar: Progress
    total: int
    budget: float | None
    replies: int = 0
    tokens: int = 0
    spent: float = 0.0

    def hears(self, member: JudgeMember) -> Callable[[LlmReply], None]:
        def hear(reply: LlmReply) -> None:
            self.replies += 1
            self.tokens += reply.tokens_in + reply.tokens_out
            self.spent += member.cost(reply.tokens_in, reply.tokens_out)
            cost = f", cost {self.spent:,.4f}" if self.spent else ""
            self.bar.advance(
                self.replies if self.replies <= self.total else self.total - 1, f"{self.tokens:,} tokens{cost}"
            )
            if self.budget is not None and self.spent > self.budget:
                raise RunError(
                    f"budget={self.budget:g}: {self.spent:,.4f} is spent, after {self.replies} of {self.total} replies, which "
                    "are kept. The same command with a larger budget continues"
                )

        return hear


def judge_study(store: Store, config: JudgeAnswersConfig) -> list[JudgeSummary]:
    """Judges what this judge or jury has not judged yet. Returns the summaries of all, the jury's last."""
    prepare(store, _as_study(store, config))
    run = _begin(store, config)
    if run.items:
        _ask_all(store, run, _tell_before(run, config), config)
    with store.reading() as session:
        rows = list(judgements(session))
    everyone = [member.annotator for member in run.members] + ([run.annotator] if run.is_jury else [])
    return [summarize(own.name, [row for row in rows if row.annotator.id == own.id]) for own in everyone]


def _as_study(store: Store, config: JudgeAnswersConfig) -> AnnotateConfig:
    """The settings under which the study is begun or taken up: those that were given."""
    with store.reading() as session:
        study = session.get(Study, 1)
        known = None if study is None else StudyConfig(**study.settings).aspects
    if known is not None and (strange := [aspect for aspect in config.aspects if aspect not in known]):
        raise ConfigError(
            f"aspects: the study does not ask for {strange[0]}; it asks for {', '.join(known) or 'none'}. `planish annotate "
            f"--out {without_password(config.out)} aspects=…` changes what it asks people and judges for"
        )
    given = {name: getattr(config, name) for name in ("guidelines", "gold", "columns", "seed")}
    if known is None:
        given["aspects"] = config.aspects or None
    given = {name: value for name, value in given.items() if value is not None}
    values = {"answers": config.answers, "out": config.out, "format": config.format, **given}
    return validate(AnnotateConfig, values, "the settings")


def _begin(store: Store, config: JudgeAnswersConfig) -> JudgeRun:
    models = config.jury
    if config.judge is not None:
        models = {config.annotator or name_of_model(config.judge): config.judge}
    with store.writing() as session:
        study = study_of(session)
        settings = StudyConfig(**study.settings)
        guidelines = session.get_one(Guideline, study.guideline).text
        rubric = build_rubric(config, config.aspects or settings.aspects, guidelines)
        fingerprint = digest_of(json.dumps([*map(_deciding, models.values()), rubric.digest, config.repair]))
        keep_guideline(session, rubric.digest, rubric.text)
        own = [add_annotator(session, name, kind="model") for name in models]
        last = add_annotator(session, config.annotator or "jury", kind="model") if config.jury else own[0]
        order = select(StudyItem).order_by(StudyItem.kind != "gold", StudyItem.position)
        items = list(session.scalars(order.where(StudyItem.kind.in_(("task", "gold")))))
        gold = [item for item in items if item.kind == "gold"]
        tasks = [item for item in items if item.kind == "task"][: config.limit]
        known = _known_keys(session, last, fingerprint)
        note(session, "judge", last.id, config.model_dump(mode="json", exclude={"plugins", "columns"}))
    askers = [_open_asker(model, config, rubric) for model in models.values()]
    for asker in askers:
        asker.check()
    members = [JudgeMember(*each) for each in zip(own, models.values(), askers, strict=True)]
    run = JudgeRun(members, last, rubric, fingerprint, [*gold, *tasks], gold, settings.seed)
    run.items[:] = [item for item in run.items if run.key(last, item) not in known]
    return run


def name_of_model(model: AnnotatorModel) -> str:
    return model.model if model.name == "llm" else Path(model.path).name


def _deciding(model: AnnotatorModel) -> str:
    """The settings of a model that its replies depend on."""
    return json.dumps(model.model_dump(mode="json", exclude=set(model.changeable)), sort_keys=True)


def _open_asker(model: AnnotatorModel, config: JudgeAnswersConfig, rubric: Rubric) -> Asker:
    if model.name == "llm":
        return ServedAsker(model, config.memory, rubric.kind, config.repair)
    return load("planish.judges.local:LocalAsker")(model, rubric.kind)  # by name: it needs torch


def _known_keys(session: Session, annotator: StudyAnnotator, fingerprint: str) -> set[str]:
    """The keys of what the annotator has judged; all of it by the same model, asked in the same way."""
    query = select(StudyJudgement.key).join(Assignment, Assignment.id == StudyJudgement.assignment_id)
    keys = set(session.scalars(query.where(Assignment.annotator_id == annotator.id)))
    if any(not key.endswith(f" {fingerprint}") for key in keys):
        raise ConfigError(
            f"{annotator.name}: has judged {count_text(len(keys), 'item')} of this study with another model, prompt or rubric. "
            "Give the judge another name (annotator=…), or the settings that it had"
        )
    return keys


def _tell_before(run: JudgeRun, config: JudgeAnswersConfig) -> Meter:
    """Says what will be asked, refuses what is surely beyond the budget, and says how long it will take after one reply."""
    questions = run.questions(run.items)
    texts = [question.text for question in questions]
    say(f"{count_text(len(run.items), 'item')}, {count_text(len(questions), 'question')} to each judge")
    asked, least = 0, 0.0
    for member in run.members:
        kept = member.asker.num_kept(texts)
        share = 1 - kept / len(texts)
        tokens, most = share * sum(map(len, texts)) / CHARACTERS, 0
        cost = ""
        if member.model.name == "llm":
            most = round(share * len(texts)) * member.model.max_tokens
            low, high = member.cost(tokens, share * len(texts)), member.cost(tokens, most)
            cost = f", cost {low:,.4f} to {high:,.4f}" if high else ""
            least += low
        replies = f"; {kept:,} replies are kept already" if kept else ""
        written = f" and up to {most:,} to write" if most else ""
        say(f"{member.annotator.name}: some {tokens:,.0f} tokens to read{written}{cost}{replies}")
        asked += len(texts) - kept
    if config.budget is not None and least > config.budget:
        raise ConfigError(f"budget={config.budget:g}: it will cost {least:,.4f} at least. Raise it, or set a limit")
    meter = Meter(Progress("judging", asked), asked, config.budget)
    for member in run.members:
        if member.asker.num_kept(texts) < len(texts):
            first = member.asker.ask(texts[:1], [questions[0].name], meter.hears(member))[0]
            left = first.seconds * (len(texts) - member.asker.num_kept(texts)) / member.concurrency
            say(
                f"{member.annotator.name}: a reply takes {first.seconds:.1f} s, all of them about {duration_text(left)}"
            )
    return meter


def _ask_all(store: Store, run: JudgeRun, meter: Meter, config: JudgeAnswersConfig) -> None:
    size = max(CHUNK, *(4 * member.concurrency for member in run.members))
    try:
        for start in range(0, len(run.items), size):
            some = run.items[start : start + size]
            verdicts = [_verdicts(run, member, some, meter, config) for member in run.members]
            with store.writing() as session:
                for number, item in enumerate(some):
                    _keep(session, run, item, [own[number] for own in verdicts])
    finally:
        meter.bar.close()


def _verdicts(
    run: JudgeRun, member: JudgeMember, items: Sequence[StudyItem], meter: Meter, config: JudgeAnswersConfig
) -> list[StudyVerdict]:
    questions = run.questions(items)
    replies = member.asker.ask(
        [question.text for question in questions], [question.name for question in questions], meter.hears(member)
    )
    _check_read(member, replies, config)
    details = {"model": name_of_model(member.model), "rubric": config.rubric}
    average = member.model.name == "local" and member.model.average
    by_item: dict[int, list[tuple[ItemQuestion, JudgeReply]]] = {item.id: [] for item in items}
    for question, reply in zip(questions, replies, strict=True):
        by_item[question.item.id].append((question, reply))
    return [verdict_of(asked, average, details) for asked in by_item.values()]


def _check_read(member: JudgeMember, replies: Sequence[JudgeReply], config: JudgeAnswersConfig) -> None:
    """Stops a judge none of whose replies can be read."""
    unread = [reply.reply for reply in replies if reply.value == "unread"]
    member.replies += len(replies)
    member.unread += len(unread)
    if member.unread == member.replies >= FEWEST:
        raise RunError(
            f"{member.annotator.name}: none of its {member.replies} replies can be read, such as {unread[0][:120]!r}. Name a "
            "judge that follows its question, raise max_tokens if it thinks aloud, or ask in other words (prompt=FILE); "
            f"its replies are in {config.memory}"
        )


def _keep(session: Session, run: JudgeRun, item: StudyItem, verdicts: Sequence[StudyVerdict]) -> None:
    """Adds the members' verdicts on an item, and the jury's. Those of jurors are kept, and not learnt from."""
    names = [member.annotator.name for member in run.members]
    said = list(zip([member.annotator for member in run.members], verdicts, strict=True))
    if run.is_jury:
        said.append((run.annotator, jury_verdict(dict(zip(names, verdicts, strict=True)))))
    for annotator, verdict in said:
        add_judgement(
            session,
            annotator.id,
            item.id,
            verdict,
            order=order_of(item, annotator.id, run.seed),
            key=run.key(annotator, item),
            chosen_by="gold" if item.kind == "gold" else "model" if annotator is run.annotator else "juror",
            guideline=run.rubric.digest,
        )
