"""The database: SQLite in a file, or PostgreSQL by its URL. Opening it brings its tables up to date.

Writers take turns (in SQLite by its own lock, in PostgreSQL by a lock on the study), so that two tabs or fifty annotators are as
simple as one. A transaction is on the disk before it is acknowledged.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from planish.base.errors import ConfigError, RunError, first_line
from planish.feedback.config import without_password
from planish.feedback.schema import Event, Guideline, Study

MIGRATIONS = Path(__file__).parent / "migrations"
PATIENCE = 15  # seconds that a writer waits for another
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
)  # a commit is on the disk, and readers do not wait
LOCK = 7_021_969  # the number of PostgreSQL's lock while tables are made


class Store:
    """A database of judgements. `with store.writing() as session` is one transaction, kept as a whole or not at all."""

    def __init__(self, engine: Engine, place: str) -> None:
        self.engine, self.place = engine, place
        self._turn = threading.Lock()  # fairer than SQLite's own waiting, which sleeps and tries again

    @contextmanager
    def reading(self) -> Generator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Generator[Session]:
        engine = self.engine.execution_options(writes=True)
        with self._turn, Session(engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "postgresql":
                session.execute(select(Study.id).with_for_update())
            yield session

    def close(self) -> None:
        self.engine.dispose()


def open_store(place: str | Path) -> Store:
    """The database in this file or at this URL, made if it is not there yet."""
    engine, url = None, str(place)
    place = without_password(url)
    try:
        engine = _engine(url)
        with engine.execution_options(writes=True).begin() as connection:
            _upgrade(connection, place)
        store, engine = Store(engine, place), None
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(
            f"{place}: no database: {first_line(error)}. Expected a file's name or postgresql://USER@HOST/DATABASE"
        ) from None
    except ImportError as error:
        raise ConfigError(
            f"{place}: PostgreSQL needs a driver ({error}). Install it: pip install 'psycopg[binary]'"
        ) from None
    except DBAPIError as error:
        raise RunError(f"{place}: the database cannot be opened: {first_line(error.orig or error)}") from None
    finally:
        if engine is not None:
            engine.dispose()
    return store


def _engine(place: str) -> Engine:
    if "://" in place:
        scheme, _, rest = place.partition("://")
        driver = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}.get(scheme, scheme)
        if driver.startswith("sqlite"):
            raise ConfigError(f"{place}: write the name of the file, without {scheme}://")
        return create_engine(f"{driver}://{rest}", pool_size=10, max_overflow=20, pool_pre_ping=True)
    path = Path(place)
    if path.is_dir():
        raise ConfigError(f"{place}: is a folder; expected the name of a file, such as {path / 'feedback.db'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(
            os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        )  # it holds what people said, and the secret of addresses
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": PATIENCE}, pool_size=10, max_overflow=30)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so
    for setting in PRAGMAS:
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(connection: Connection, place: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    config = alembic_config(connection)
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current not in (None, *(script.revision for script in scripts.walk_revisions())):
        raise RunError(f"{place}: its tables are of version {current}, which a newer planish made. Update planish")
    if current != scripts.get_current_head():
        command.upgrade(config, "head")


def alembic_config(connection: Connection) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def study_of(session: Session) -> Study:
    study = session.get(Study, 1)
    if study is None:
        raise RunError("the database holds no study yet: planish annotate ANSWERS.jsonl --out FILE begins one")
    return study


def note(session: Session, kind: str, annotator_id: int | None = None, details: dict[str, Any] | None = None) -> None:
    session.add(Event(created=time.time(), kind=kind, annotator_id=annotator_id, details=details or {}))


def keep_guideline(session: Session, digest: str, words: str) -> None:
    if session.get(Guideline, digest) is None:
        session.add(Guideline(digest=digest, text=words, created=time.time()))
        session.flush()
