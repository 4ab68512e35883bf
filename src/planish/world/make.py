"""A world on disk: ordinary files in ordinary formats, from one seed, with the same bytes everywhere.

corpus.jsonl          documents for the base model
tokenizer/            one token for each word of the world
sources/              demonstrations: flan.jsonl, alpaca.json, oasst.jsonl, steps.jsonl, …
comparisons/          the same answers ranked by each pool of annotators: expert.jsonl, crowd.jsonl, …
prompts/              train.jsonl, dev.jsonl, test.jsonl: prompts without answers, of every kind
questions/            probed.jsonl: a question for each probed fact, with its answer; shots.jsonl: few-shot examples;
                      skills.jsonl: inputs of each task under its cue, with their labels
facts.jsonl           every fact: its value, the stated value, the frequency and the split
world.json            the settings, to make the world again and judge answers, and a hash of each file
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.base.config import Field
from planish.base.errors import ConfigError, DataError
from planish.base.files import json_line, new_folder, write_json
from planish.world.annotators.compare import comparisons, items
from planish.world.gold.utility import World
from planish.world.language.facts import Fact
from planish.world.language.vocabulary import make_tokenizer, save_tokenizer
from planish.world.settings import SizedWorld, WorldConfig
from planish.world.texts.corpus import corpus
from planish.world.texts.prompts import all_prompts
from planish.world.texts.questions import question, shots, skill_questions
from planish.world.texts.requests import Record
from planish.world.texts.sources import Sources

NOTE = "world.json"
EDITION = 2  # of the generator: the same settings make another world in another edition


@dataclass(frozen=True, slots=True)
class MadeWorld:
    """A world that was written: rows by file, and the hash of all files."""

    path: Path
    rows: dict[str, int]
    digest: str


class MakeConfig(SizedWorld):
    out: str = Field(description="the folder to write")


def make(config: MakeConfig) -> MadeWorld:
    return make_world(config.world_config(), Path(config.out))


def make_world(config: WorldConfig, out: Path) -> MadeWorld:
    """Writes all files of a world into the folder `out`. It may replace an older world, but no other files."""
    _check_folder(out)
    world = World(config)
    files = records_of(world)
    texts = [text for records in files.values() for text in _texts(records)]
    with new_folder(out) as folder:
        save_tokenizer(make_tokenizer(texts, world.facts.words.all()), folder / "tokenizer")
        for file, records in files.items():
            _write(folder / file, records)
        hashes = {str(file.relative_to(folder)): _hash(file) for file in sorted(folder.rglob("*")) if file.is_file()}
        digest = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
        rows = {file: len(records) for file, records in files.items()}
        note = {
            "edition": EDITION,
            "settings": config.model_dump(mode="json"),
            "rows": rows,
            "hashes": hashes,
            "hash": digest,
        }
        write_json(folder / NOTE, note)
    return MadeWorld(out, rows, digest)


def records_of(world: World) -> dict[str, list[Record]]:
    """The records of each file by its name."""
    sources = Sources(world)
    files: dict[str, list[Record]] = {"corpus.jsonl": [{"text": text} for text in corpus(world.facts)]}
    files |= {f"sources/{name}.jsonl": list(records()) for name, records in sources.all().items()}
    files["sources/alpaca.json"] = files.pop("sources/alpaca.jsonl")
    shown = items(sources)
    files |= {f"comparisons/{pool}.jsonl": records for pool, records in comparisons(sources, shown).items()}
    taught = {text for file, records in files.items() if file.startswith("sources") for text in _texts(records)}
    taken = taught | {item.prompt.text for item in shown}
    files |= {f"prompts/{split}.jsonl": records for split, records in all_prompts(world.facts, taken).items()}
    files["questions/probed.jsonl"] = [question(fact) for fact in world.facts.all if fact.probed]
    files["questions/shots.jsonl"] = list(shots(world.facts))
    files["questions/skills.jsonl"] = list(skill_questions(world.facts))
    files["facts.jsonl"] = [_fact_record(fact) for fact in world.facts.all]
    return files


def _check_folder(out: Path) -> None:
    """Refuses a folder with files that are not of an earlier world."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out} is a file: name a new or empty folder for the world")
    known: set[str] = {NOTE}
    if (out / NOTE).exists():
        known |= set(_note(out / NOTE)["hashes"])
    others = [file for file in sorted(out.rglob("*")) if file.is_file() and str(file.relative_to(out)) not in known]
    if others:
        raise ConfigError(f"{out} holds {others[0].relative_to(out)}, of no world: name a new folder, or move the file")


def _note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        WorldConfig.model_validate(note["settings"])
        return {**note, "hashes": dict(note["hashes"])}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file: `planish world make --out {path.parent}` writes a world") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the note of a world: {error}") from None


def _texts(records: Iterable[Record]) -> Iterator[str]:
    """All texts that a model may read or write: prompts, answers, turns."""
    for record in records:
        for name, value in record.items():
            if name in ("text", "prompt", "completion", "instruction", "input", "output", "content") and isinstance(
                value, str
            ):
                yield value
            elif name in ("completions", "answers"):
                yield from value
            elif name in ("messages", "replies"):
                yield from _texts(value)
            elif name == "prompt":
                yield from _texts([value])


def open_world(path: Path) -> World:
    """The world in a folder written by `make_world`, made again from its settings."""
    file = path / NOTE if path.is_dir() else path
    note = _note(file)
    if note.get("edition") != EDITION:
        raise DataError(
            f"{file}: a world of edition {note.get('edition', 1)}, and this planish knows edition {EDITION}, which has other "
            f"facts: make it anew, `planish world make --out {file.parent}`"
        )
    return World(WorldConfig.model_validate(note["settings"]))


def _fact_record(fact: Fact) -> Record:
    entity = fact.entity
    return {
        "entity": entity.name, "kind": entity.kind, "role": entity.role, "split": entity.split, "relation": fact.relation,
        "value": fact.value, "stated": fact.stated, "frequency": fact.frequency,
    }  # fmt: skip


def _write(path: Path, records: list[Record]) -> None:
    """Writes one record a line, or one array to a .json file."""
    path.parent.mkdir(exist_ok=True)
    lines = [json_line(record).rstrip("\n") for record in records]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if path.suffix == ".json" else "".join(f"{line}\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
