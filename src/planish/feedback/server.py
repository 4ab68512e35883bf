"""The page's server: pages rendered here, and the JSON that they send.

An address is /a/TOKEN/…, and everything below it acts for the person whose token it is. A judgement is answered when it is on
the disk. No folder is served: the style sheet and the script are two addresses of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from planish.base.errors import PlanishError, first_line
from planish.feedback import overview, privacy
from planish.feedback.assignment import IS_JUDGED, let_try_again, next_assignment, open_assignment
from planish.feedback.config import StudyConfig
from planish.feedback.guard import Guard, TooLargeError
from planish.feedback.judgements import AlreadyJudgedError, current, keep_draft, save_judgement, undo
from planish.feedback.markdown import differences, render
from planish.feedback.payloads import (
    Payload,
    SentDeletion,
    SentDraft,
    SentJudgement,
    SentNothing,
    SentPerson,
    SentProfile,
    SentUndo,
    by_place,
)
from planish.feedback.people import add_annotator, annotator_of, renew_token, token_of
from planish.feedback.schema import Assignment, Guideline, StudyAnnotator, StudyItem
from planish.feedback.store import Store, study_of
from planish.feedback.view import REASONS, draft_of, progress_of, ranking, task_of, text_of

PAGES = Path(__file__).parent / "pages"
ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}
P = TypeVar("P", bound=Payload)


class RequestRefusedError(Exception):
    """A request that ends with this status and these words."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def create_app(store: Store, hosts: Iterable[str] = (), command: str = "") -> Guard:
    """The application on a database. `command` is what the last page tells the owner to type."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    Routes(store, app, command)
    _answer_errors(app)
    return Guard(app, hosts)


@dataclass(frozen=True, slots=True)
class Visit:
    """A person within a transaction."""

    session: Session
    annotator: StudyAnnotator
    settings: StudyConfig
    token: str

    def assignment(self, number: int) -> Assignment:
        """One of the person's own."""
        assignment = self.session.get(Assignment, number)
        if assignment is None or assignment.annotator_id != self.annotator.id:
            raise RequestRefusedError(404, "there is no such assignment")
        return assignment

    def owner(self) -> None:
        if self.annotator.role != "owner":
            raise RequestRefusedError(403, "this is for the owner of the study")


def sent(kind: type[P]) -> Callable[[Request], Any]:
    """The body of a request as this model, or an error that names the field."""

    async def read(request: Request) -> P:
        try:
            return kind.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the request"
            raise RequestRefusedError(422, f"{where}: {first['msg']}") from None

    return read


class Routes:
    """The addresses. Each handler is one transaction, and those that write take turns."""

    def __init__(self, store: Store, app: FastAPI, command: str) -> None:
        self.store, self.command = store, command
        self.templates = Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name in ASSETS:
            app.get(f"/{name}")(self._asset(name))
        pages: dict[str, Callable[..., Response]] = {
            "": self.page,
            "/explained/{number}": self.explained,
            "/differences/{number}": self.differences,
            "/stored": self.stored,
            "/stored.json": self.stored_json,
            "/study": self.study,
        }
        deeds: dict[str, Callable[..., dict[str, Any]]] = {
            "/welcome": self.welcome,
            "/judgements": self.judge,
            "/drafts": self.draft,
            "/undo": self.undo,
            "/guidelines": self.read_guidelines,
            "/delete": self.delete,
            "/people": self.invite,
            "/people/{number}/{action}": self.person,
        }
        for path, page in pages.items():
            app.get(f"/a/{{token}}{path}")(page)
        for path, deed in deeds.items():
            app.post(f"/a/{{token}}{path}")(deed)

    def _visit(self, session: Session, token: str) -> Visit:
        annotator = annotator_of(session, token)
        if annotator is None:
            raise RequestRefusedError(
                403, "this address is not valid, or no longer. Ask the person who gave it to you for a new one"
            )
        return Visit(session, annotator, StudyConfig(**study_of(session).settings), token)

    def _render(self, visit: Visit, template: str, **values: Any) -> HTMLResponse:
        study = study_of(visit.session)
        guide = visit.session.get_one(Guideline, study.guideline)
        page = self.templates.get_template(template)
        return HTMLResponse(
            page.render(
                base=f"/a/{visit.token}",
                title=visit.settings.title,
                me=visit.annotator,
                settings=visit.settings,
                guideline=guide.digest,
                guide=render(guide.text, breaks=False),
                progress=progress_of(visit.session, visit.annotator, visit.settings),
                **values,
            )
        )

    def _asset(self, name: str) -> Callable[[], Response]:
        content = (PAGES / name).read_bytes()
        return lambda: Response(content, media_type=f"{ASSETS[name]}; charset=utf-8")

    def page(self, token: str) -> HTMLResponse:
        """What comes next: a welcome, an item, or the end. An item in hand is shown without writing anything."""
        with self.store.reading() as session:
            visit = self._visit(session, token)
            if visit.annotator.welcomed is None:
                return self._render(visit, "welcome.html")
            opened = open_assignment(session, visit.annotator)
            passed = True
        if opened is None:
            with self.store.writing() as session:
                visit = self._visit(session, token)
                following = next_assignment(session, visit.annotator, visit.settings)
                opened, passed = following.assignment, following.passed
        with self.store.reading() as session:
            visit = self._visit(session, token)
            before = session.scalars(
                select(Assignment)
                .where(Assignment.annotator_id == visit.annotator.id, IS_JUDGED, Assignment.chosen_by != "test")
                .order_by(Assignment.id.desc())
            ).first()
            last = None if before is None else {"assignment": before.id, "revision": before.revision}
            if opened is None:
                return self._render(visit, "done.html", passed=passed, command=self.command, undoable=last)
            task = task_of(session, session.get_one(Assignment, opened.id), visit.settings)
            return self._render(visit, "task.html", task=task, reasons=REASONS, undoable=last)

    def explained(self, token: str, number: int) -> HTMLResponse:
        """A training item that was judged, with the right answer and why."""
        with self.store.reading() as session:
            visit = self._visit(session, token)
            assignment = visit.assignment(number)
            judgement = current(session, assignment)
            if assignment.chosen_by != "training" or judgement is None:
                raise RequestRefusedError(404, "there is nothing to explain")
            item = session.get_one(StudyItem, assignment.item_id)
            said = {"yours": judgement.ranks or [], "theirs": item.expected or []}
            said = {whose: ranking(by_place(ranks, assignment.shown) if ranks else ()) for whose, ranks in said.items()}
            task = task_of(session, assignment, visit.settings)
            return self._render(visit, "explained.html", task=task, item=item, judgement=judgement, **said)

    def differences(self, token: str, number: int) -> JSONResponse:
        with self.store.reading() as session:
            assignment = self._visit(session, token).assignment(number)
            item = session.get_one(StudyItem, assignment.item_id)
        if len(assignment.shown) != 2:
            raise RequestRefusedError(422, "differences are shown between two answers")
        sides = differences(*(text_of(item.completions[place]) for place in assignment.shown))
        if sides is None:
            raise RequestRefusedError(422, "these answers are too long for that")
        return JSONResponse({"sides": sides})

    def welcome(self, token: str, body: Annotated[SentProfile, Depends(sent(SentProfile))]) -> dict[str, Any]:
        with self.store.writing() as session:
            visit = self._visit(session, token)
            privacy.keep_profile(visit.annotator, visit.settings, body.profile, study_of(session).guideline)
        return {"next": ""}

    def judge(self, token: str, body: Annotated[SentJudgement, Depends(sent(SentJudgement))]) -> dict[str, Any]:
        """Saves a judgement and takes the next item in hand. The reply leaves when both are on the disk."""
        with self.store.writing() as session:
            visit = self._visit(session, token)
            assignment = visit.assignment(body.assignment)
            if unknown := body.aspects.keys() - {*visit.settings.aspects}:
                raise RequestRefusedError(422, f"there is no aspect {min(unknown)!r}")
            item = session.get_one(StudyItem, assignment.item_id)
            verdict = body.as_verdict(assignment.shown, [text_of(message) for message in item.completions])
            save_judgement(session, assignment, verdict, key=body.key, revision=body.revision, guideline=body.guideline)
            training = assignment.chosen_by == "training"
            next_assignment(session, visit.annotator, visit.settings)  # in one transaction: one wait for the disk
        return {"next": f"/explained/{assignment.id}" if training else ""}

    def draft(self, token: str, body: Annotated[SentDraft, Depends(sent(SentDraft))]) -> dict[str, Any]:
        """Keeps what is on a page; the draft of a page that is past is left alone."""
        with self.store.writing() as session:
            assignment = self._visit(session, token).assignment(body.assignment)
            if assignment.revision == body.revision and current(session, assignment) is None:
                keep_draft(session, assignment, body.content)
        return {}

    def undo(self, token: str, body: Annotated[SentUndo, Depends(sent(SentUndo))]) -> dict[str, Any]:
        """Opens an item again with what was said of it. Sent twice, it is done once."""
        with self.store.writing() as session:
            assignment = self._visit(session, token).assignment(body.assignment)
            if assignment.revision == body.revision:
                if assignment.chosen_by == "test":
                    raise RequestRefusedError(422, "what a test has seen stays")
                keep_draft(session, assignment, draft_of(undo(session, assignment), assignment.shown))
        return {"next": ""}

    def read_guidelines(self, token: str, body: Annotated[SentNothing, Depends(sent(SentNothing))]) -> dict[str, Any]:
        with self.store.writing() as session:
            self._visit(session, token).annotator.guideline = study_of(session).guideline
        return {"next": ""}

    def stored(self, token: str) -> HTMLResponse:
        with self.store.reading() as session:
            visit = self._visit(session, token)
            return self._render(visit, "stored.html", stored=privacy.stored_of(session, visit.annotator))

    def stored_json(self, token: str) -> JSONResponse:
        with self.store.reading() as session:
            stored = privacy.stored_of(session, self._visit(session, token).annotator)
        return JSONResponse(stored, headers={"Content-Disposition": 'attachment; filename="stored-about-me.json"'})

    def delete(self, token: str, body: Annotated[SentDeletion, Depends(sent(SentDeletion))]) -> dict[str, Any]:
        with self.store.writing() as session:
            visit = self._visit(session, token)
            if visit.annotator.role == "owner":
                raise RequestRefusedError(422, "the owner's data is the study itself: delete the database")
            privacy.forget(session, visit.annotator, judgements=body.judgements)
        return {"next": None}

    def study(self, token: str) -> HTMLResponse:
        with self.store.reading() as session:
            visit = self._visit(session, token)
            visit.owner()
            seen = overview.overview(session, visit.settings)
            return self._render(visit, "study.html", seen=seen, command=self.command)

    def invite(self, token: str, body: Annotated[SentPerson, Depends(sent(SentPerson))]) -> dict[str, Any]:
        with self.store.writing() as session:
            self._visit(session, token).owner()
            person = add_annotator(session, body.name, role=body.role, group=body.group)
            return {"path": _address(session, person)}

    def person(
        self, token: str, number: int, action: str, body: Annotated[SentNothing, Depends(sent(SentNothing))]
    ) -> dict[str, Any]:
        with self.store.writing() as session:
            visit = self._visit(session, token)
            visit.owner()
            person = session.get(StudyAnnotator, number)
            if person is None or person.removed is not None or action not in ACTIONS:
                raise RequestRefusedError(404, "there is no such person or action")
            if action == "remove" and person.id == visit.annotator.id:
                raise RequestRefusedError(422, "the owner stays")
            return {"path": ACTIONS[action](session, person)}


def _address(session: Session, person: StudyAnnotator) -> str:
    return f"/a/{token_of(session, person)}"


def _renew(session: Session, person: StudyAnnotator) -> str:
    return f"/a/{renew_token(session, person)}"


def _again(session: Session, person: StudyAnnotator) -> str:
    let_try_again(session, person)
    return ""


def _remove(session: Session, person: StudyAnnotator) -> str:
    privacy.forget(session, person, judgements=False)
    return ""


ACTIONS = {"address": _address, "renew": _renew, "again": _again, "remove": _remove}  # of the owner, on a person


def _answer_errors(app: FastAPI) -> None:
    """Errors as JSON where the page's script asks, as a page where a person does."""

    def answer(request: Request, status: int, why: str) -> Response:
        if request.method == "POST":
            return JSONResponse({"error": why}, status)
        environment = Environment(loader=FileSystemLoader(PAGES), autoescape=True)
        return HTMLResponse(environment.get_template("refused.html").render(why=why), status)

    @app.exception_handler(RequestRefusedError)
    def refused(request: Request, error: RequestRefusedError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answer(request, error.status, error.why)

    @app.exception_handler(TooLargeError)
    def too_large(request: Request, error: TooLargeError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answer(request, 413, "the request is too large")

    @app.exception_handler(AlreadyJudgedError)
    def twice(request: Request, error: AlreadyJudgedError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answer(request, 409, str(error))

    @app.exception_handler(PlanishError)
    def wrong(request: Request, error: PlanishError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answer(request, 422, str(error))

    @app.exception_handler(DBAPIError)
    def unsaved(request: Request, error: DBAPIError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answer(request, 503, f"the database did not take it: {first_line(error.orig or error)}")

    @app.exception_handler(404)
    @app.exception_handler(405)
    def missing(request: Request, error: Exception) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answer(request, 404, "there is no such page")
