"""`planish annotate`: files in, a page out. What it needs beyond planish's own packages is an extra, imported when it runs."""

from __future__ import annotations

import shlex
import socket
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from planish.base.errors import ConfigError
from planish.base.interrupt import Stopped
from planish.base.notices import say, warn
from planish.base.text import count_text
from planish.feedback.config import AnnotateConfig, FeedbackExportConfig, without_password
from planish.feedback.guard import OWN_HOSTS

if TYPE_CHECKING:
    from planish.feedback.export import FeedbackExport
    from planish.feedback.judging.config import CritiqueConfig, JudgeAnswersConfig
    from planish.feedback.judging.critique import CritiqueResult
    from planish.feedback.judging.summary import JudgeSummary
    from planish.feedback.store import Store

NEEDED = {
    "alembic": "alembic",
    "fastapi": "fastapi",
    "markdown_it": "markdown-it-py",
    "sqlalchemy": "sqlalchemy",
    "uvicorn": "uvicorn",
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A study that is ready: its items, and the paths of its people's pages."""

    items: int
    paths: dict[str, str]
    next: str  # the command that takes the comparisons out


def annotate(config: AnnotateConfig) -> Prepared:
    """Prepares the database and serves the page until it is stopped. The same command again carries on."""
    check_extra()
    from planish.feedback.server import create_app
    from planish.feedback.store import open_store

    listening = _listen(config) if config.serve else None
    store = open_store(config.out)
    try:
        prepared = prepare(store, config)
        origin = f"http://{config.host}:{config.port}" if listening is None else _origin(config.host, listening)
        for name, path in prepared.paths.items():
            print(f"{name + ':':<12} {origin}{path}", flush=True)
        if listening is not None:
            if config.host not in OWN_HOSTS:
                warn(
                    f"{config.host} is not loopback, and nothing is encrypted: let others in by a proxy with TLS, or by ssh -L"
                )
            say("Ctrl-C closes the page; the same command opens it again")
            _serve(create_app(store, [config.host, *config.hosts], export_command(config.out)), listening)
    finally:
        store.close()
    return prepared


def export(config: FeedbackExportConfig) -> FeedbackExport:
    check_extra()
    from planish.feedback.export import export_comparisons

    return export_comparisons(config)


def judge(config: JudgeAnswersConfig) -> list[JudgeSummary]:
    """Lets a model or several judge the answers of a study. The same command again carries on."""
    check_extra()
    from planish.feedback.judging.run import judge_study
    from planish.feedback.store import open_store

    store = open_store(config.out)
    try:
        return judge_study(store, config)
    finally:
        store.close()


def critique(config: CritiqueConfig) -> CritiqueResult:
    """Lets a model criticise and revise answers, and writes demonstrations and pairs."""
    check_extra()
    from planish.feedback.judging import critique as critiques

    return critiques.critique(config)


def check_extra() -> None:
    """Raises where a package of the extra is missing, with the command that installs all of them."""
    if missing := [package for module, package in NEEDED.items() if find_spec(module) is None]:
        raise ConfigError(f"annotating needs packages that are not installed: pip install {' '.join(missing)}")


def export_command(place: str) -> str:
    return f"planish feedback export {shlex.quote(without_password(place))} --out comparisons.jsonl"


def prepare(store: Store, config: AnnotateConfig) -> Prepared:
    """Begins the study or takes it up, adds the files' items, and makes the people's addresses."""
    from sqlalchemy import func, select

    from planish.feedback.guidelines import read_guidelines
    from planish.feedback.people import add_annotator, token_of
    from planish.feedback.reading import MOST, read_answers
    from planish.feedback.schema import Study, StudyItem
    from planish.feedback.study import add_items, settle

    with store.writing() as session:
        is_new = session.get(Study, 1) is None
        words = read_guidelines(config.guidelines) if is_new or config.guidelines is not None else None
        settings = settle(session, config, words)
        kinds = {"training": config.training, "test": config.test, "gold": config.gold}
        for kind, files in [("task", config.answers), *((kind, [file]) for kind, file in kinds.items() if file)]:
            read = read_answers(files, config.format, config.columns, 10_000 if settings.show == "pairs" else MOST)
            added = add_items(session, read.answers, kind, settings)
            if files:
                known = f", {added.known} known already" if added.known else ""
                alone = f"; {count_text(read.alone, 'prompt')} with one answer alone" if read.alone else ""
                say(f"{count_text(added.new, kind + ' item')} from {', '.join(files)}{known}{alone}")
            for row in read.dropped[:5]:
                say(f"left out: {row.origin}: {row.reason}")
        items = session.scalar(select(func.count()).select_from(StudyItem).where(StudyItem.kind == "task")) or 0
        if not items:
            raise ConfigError(
                f"{config.out}: there is nothing to compare: no prompt has two different answers. Name files with answers"
            )
        people = [
            add_annotator(session, "owner", role="owner"),
            *(add_annotator(session, name) for name in config.invite),
        ]
        paths = {person.name: f"/a/{token_of(session, person)}" for person in people}
        return Prepared(items, paths, export_command(config.out))


def _listen(config: AnnotateConfig) -> socket.socket:
    """Takes the port before the database is touched."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
        listening.listen(128)  # so that a browser that is quicker waits
    except OSError as error:
        listening.close()
        why = error.strerror or str(error)
        raise ConfigError(
            f"host={config.host} port={config.port}: cannot listen there: {why}. port=0 takes a free one"
        ) from None
    return listening


def _origin(host: str, listening: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def _serve(app: object, listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]
        log_level="warning",
        access_log=False,  # addresses hold tokens
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        limit_concurrency=500,
        h11_max_incomplete_event_size=16_384,
    )
    with suppress(Stopped, KeyboardInterrupt):  # which is how one closes it
        uvicorn.Server(config).run(sockets=[listening])
