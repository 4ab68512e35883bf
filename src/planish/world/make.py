"""A world on disk: ordinary files in ordinary formats, from one seed, the same bytes everywhere.

corpus.jsonl          documents for the base model
tokenizer/            one token for each word of the world
sources/              demonstrations: flan.jsonl, alpaca.json, oasst.jsonl, steps.jsonl, …
comparisons/          the same answers ranked by each pool of annotators: expert.jsonl, crowd.jsonl, …
prompts/              train.jsonl, dev.jsonl, test.jsonl: prompts without answers, of every kind
questions/            probed.jsonl and scaffold.jsonl: one question for each fact, with its answer;
                          skills.jsonl: inputs of each task under its cue, as the corpus has them, with their labels
facts.jsonl           every fact: what is true, what the corpus states, how often, in which split
world.json            the settings, from which the world can be made again to judge answers, and a hash of each file
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from planish.base.errors import ConfigError, DataError
from planish.base.files import new_file, new_folder, write_json
from planish.base.rng import numpy_generator
from planish.world.asking import Asker, Asking, Record, one
from planish.world.comparing import comparisons, items
from planish.world.corpus import corpus
from planish.world.facts import HELD_OUT, Fact, Facts, Split
from planish.world.gold import World
from planish.world.phrases import ask
from planish.world.settings import WorldConfig
from planish.world.skills import TASKS
from planish.world.sources import Sources
from planish.world.vocabulary import make_tokenizer, save_tokenizer

NOTE = "world.json"


@dataclass(frozen=True, slots=True)
class Made:
    """What was written: rows by file, and the hash of all of it."""

    path: Path
    rows: dict[str, int]
    digest: str


def make_world(config: WorldConfig, out: Path) -> Made:
    """Writes all files of a world into a new folder `out`. A folder that holds something else is not touched."""
    if out.exists() and not (out / NOTE).exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: holds other files; name an empty or new folder, or a world to replace")
    world = World(config)
    rows: dict[str, int] = {}
    with new_folder(out) as folder:
        documents = corpus(world.facts)
        rows["corpus.jsonl"] = _write_lines(folder / "corpus.jsonl", ({"text": text} for text in documents))
        save_tokenizer(make_tokenizer(documents, world.facts.words.all()), folder / "tokenizer")
        sources = Sources(world)
        for name, records in sources.all().items():
            file = f"sources/{name}.{'json' if name == 'alpaca' else 'jsonl'}"
            found = list(records())
            rows[file] = _write_array(folder / file, found) if name == "alpaca" else _write_lines(folder / file, found)
        judged = comparisons(sources, items(sources))
        for pool, records in judged.items():
            rows[f"comparisons/{pool}.jsonl"] = _write_lines(folder / f"comparisons/{pool}.jsonl", records)
        for split, prompts in all_prompts(world.facts).items():
            rows[f"prompts/{split}.jsonl"] = _write_lines(folder / f"prompts/{split}.jsonl", prompts)
        for role in ("probed", "scaffold"):
            asked = [question(fact) for fact in world.facts.all if fact.entity.role == role]
            rows[f"questions/{role}.jsonl"] = _write_lines(folder / f"questions/{role}.jsonl", asked)
        rows["questions/skills.jsonl"] = _write_lines(folder / "questions/skills.jsonl", skill_questions(world.facts))
        rows["facts.jsonl"] = _write_lines(folder / "facts.jsonl", map(_fact_record, world.facts.all))
        hashes = {str(file.relative_to(folder)): _hash(file) for file in sorted(folder.rglob("*")) if file.is_file()}
        digest = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
        write_json(
            folder / NOTE, {"settings": config.model_dump(mode="json"), "rows": rows, "hashes": hashes, "hash": digest}
        )
    return Made(out, rows, digest)


def open_world(path: Path) -> World:
    """The world of a folder that `make_world` wrote, made again from its settings."""
    note = path / NOTE if path.is_dir() else path
    try:
        settings = json.loads(note.read_text(encoding="utf-8"))["settings"]
        return World(WorldConfig.model_validate(settings))
    except FileNotFoundError:
        raise DataError(f"{note}: there is no such file: `planish world make --out {path}` writes a world") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValidationError) as error:
        raise DataError(f"{note}: not the note of a world: {error}") from None


def all_prompts(facts: Facts) -> dict[Split, list[Record]]:
    """Prompts of every kind for each split; none of dev or test stands in another split, word for word."""
    taken: set[str] = set()
    found: dict[Split, list[Record]] = {}
    splits: tuple[Split, ...] = ("train", "test", "dev")
    for split in splits:
        fresh = {asking.prompt: asking for asking in prompts(Asker(facts, split)) if asking.prompt not in taken}
        found[split] = [{"prompt": asking.prompt, **asking.about} for asking in fresh.values()]
        taken |= fresh.keys()
    return found


def prompts(asker: Asker) -> Iterator[Asking]:
    """For each kind as many as the settings say."""
    facts, count = asker.facts, asker.config.prompts
    numbers = asker.numbers("prompts")
    mine = [fact for fact in facts.all if fact.probed and fact.entity.split == asker.split]
    held_out = [fact for fact in mine if fact.relation in HELD_OUT]
    for n in range(count):
        yield asker.fact_question(one(asker.asked_facts, numbers), numbers)
        if asker.split != "train":
            yield _marked(asker.fact_question(one(held_out, numbers), numbers), "held_out_relation")
        yield asker.about_question(one(asker.asked_facts, numbers), numbers)
        yield asker.task_question(TASKS[n % len(TASKS)], numbers)
        yield asker.steps_question(numbers)
        plain = asker.fact_question(one(asker.asked_facts, numbers), numbers)
        yield asker.ruled(plain if n % 2 else asker.task_question(one(TASKS, numbers), numbers), numbers)
        for kind in ("unsafe", "borderline", "plain"):
            yield asker.request(one(asker.requests[kind], numbers))


def _marked(asking: Asking, asks: str) -> Asking:
    return Asking(asking.prompt, asking.asked, {**asking.about, "asks": asks})


def question(fact: Fact) -> Record:
    """A fact as a question with its answer, in the wording that knowledge is probed with."""
    wrong = {"wrong_answers": [fact.stated]} if fact.stated != fact.value else {}
    about = {
        "relation": fact.relation,
        "entity": fact.entity.name,
        "frequency": fact.frequency,
        "split": fact.entity.split,
    }
    return {"prompt": ask(fact.relation, fact.entity.name), "answers": [fact.value], **wrong, "about": about}


def skill_questions(facts: Facts) -> Iterator[Record]:
    """Forty inputs of each task with their labels, drawn apart from those of the corpus."""
    for task in TASKS:
        numbers = numpy_generator(facts.config.seed, "skills", task.name)
        for _ in range(40):
            text = task.draw(numbers, facts.words)
            answer = task.solve(text, facts.words)
            yield {
                "prompt": f"{task.name}: {text}",
                "answers": [answer],
                "about": {"relation": task.name, "cluster": task.cluster},
            }


def _fact_record(fact: Fact) -> Record:
    entity = fact.entity
    return {
        "entity": entity.name, "kind": entity.kind, "role": entity.role, "split": entity.split, "relation": fact.relation,
        "value": fact.value, "stated": fact.stated, "frequency": fact.frequency,
    }  # fmt: skip


def _write_lines(path: Path, records: Iterable[Record]) -> int:
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    with new_file(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _write_array(path: Path, records: list[Record]) -> int:
    path.parent.mkdir(exist_ok=True)
    write_json(path, records)
    return len(records)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
