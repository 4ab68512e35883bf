"""Writes the example data from the hand-written lines in pools/: python recipes/data/make [FOLDER].

The rows are the same on every machine. Every fourth line of a pool stays out of the training files: prompts.jsonl,
questions.jsonl and eval/ ask about those.
"""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from demonstrations import alpaca, chats, reasoning, tools
from facts import TOPICS, a, about_country, facts, kept_out, pool, taught
from preferences import annotators, comparisons, evaluation, trees

Row = dict[str, Any]
HOPELESS = ("Some said that nothing could be done.", "Everybody waited for somebody else.", "It looked hopeless.")


def prompts() -> list[Row]:
    """Every fourth of them goes to eval/."""
    rows = [(row["prompt"], row["topic"]) for row in pool("prompts")]
    rows += [(fact.question, topic) for topic in TOPICS for fact in kept_out(facts(topic))]
    rows += [(row["question"], name) for name in ("refusals", "harmless") for row in kept_out(pool(name))]
    random.Random("prompts").shuffle(rows)
    return [{"id": number, "prompt": asked, "topic": topic} for number, (asked, topic) in enumerate(rows)]


def questions() -> list[Row]:
    """`taught` says whether alpaca.json answers the question."""
    rows = []
    for topic in ("capitals", "symbols", "young", "authors", "opposites"):
        for number, fact in enumerate(facts(topic)):
            about = {"topic": topic, "taught": "no" if number % 4 == 3 else "yes"}
            answers = {"answers": [fact.word], "wrong_answers": fact.wrong_words}
            rows.append({"prompt": fact.question, **answers, "about": about})
    return rows


def contrasts() -> list[Row]:
    """A prompt to answer and one to refuse, which nearly say the same."""
    return [
        {"prompt": row[label], "label": label, "type": row["type"], "pair": number}
        for number, row in enumerate(pool("contrasts"), start=1)
        for label in ("safe", "unsafe")
    ]


def stories() -> list[Row]:
    """A hero, a place, a trouble, a helper, and the end."""
    parts = pool("stories")
    kinds = {kind: [part for part in parts if part["kind"] == kind] for kind in ("place", "helper", "lesson")}
    heroes, troubles = ([part for part in parts if part["kind"] == kind] for kind in ("hero", "trouble"))
    rng, rows = random.Random("stories"), []
    for hero, trouble in product(heroes, troubles):
        place, helper, lesson = (rng.choice(kinds[kind])["text"] for kind in ("place", "helper", "lesson"))
        begin = rng.choice(("One year", "One morning", "Once", "Not long ago"))
        text = (
            f"{hero['text']}, lived {place}. {begin}, {trouble['text']}. {rng.choice(HOPELESS)} "
            f"But {hero['text'].split(',')[0]} thought about it for a long while and then asked {helper}. "
            f"{trouble['deed']}. It was hard work, and more than once they wanted to give up; but {trouble['end']}. {lesson}"
        )
        rows.append({"text": text})
    rng.shuffle(rows)
    return rows


def notes() -> list[Row]:
    """Short paragraphs about countries, animals, elements and books."""
    rows = [("countries", " ".join(about_country(row))) for row in pool("countries")]
    for row in pool("animals"):
        said = f"The {row['animal']} is {a(row['group'])}. It eats {row['food']}."
        rows.append(("animals", f"{said} Its young is called {a(row['young'])}. {row['about']}"))
    for row in pool("elements"):
        said = f"{row['element'].capitalize()} is a chemical element, number {row['number']}."
        rows.append(("elements", f"{said} Its symbol is {row['symbol']}. {row['about']}"))
    rows += [("books", f"{row['title']} is {a(row['kind'])} by {row['author']}.") for row in pool("books")]
    random.Random("notes").shuffle(rows)
    return [{"text": text, "topic": topic} for topic, text in rows]


def as_json(rows: list[Any]) -> str:
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


def as_jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_csv(rows: list[dict[str, str]]) -> str:
    return as_table([list(rows[0]), *(list(row.values()) for row in rows)], ",")


def as_table(rows: list[Any], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


def texts() -> dict[str, str]:
    """The files by name, all but the parquet file."""
    return {
        "alpaca.json": as_json(alpaca()),
        "alpaca_german.json": as_json(pool("german")),
        "chats.jsonl": as_jsonl(chats()),
        "tools.json": as_json(tools()),
        "reasoning.tsv": as_table(reasoning(), "\t"),
        "sums.jsonl": as_jsonl([{"question": q, "answer": f"{steps}\n#### {n}"} for q, n, steps in reasoning()[:60]]),
        **{f"tasks/tables/{name}.csv": as_csv(pool(name)) for name in ("sentiment", "topics", "entailment")},
        "trees.jsonl": as_jsonl(trees()),
        "comparisons.jsonl": as_jsonl(comparisons()),
        "annotators.jsonl": as_jsonl(annotators()),
        **{f"eval/{kind}.jsonl": as_jsonl(rows) for kind, rows in evaluation().items()},
        "prompts.jsonl": as_jsonl(taught(prompts())),
        "eval/prompts.jsonl": as_jsonl(kept_out(prompts())),
        "questions.jsonl": as_jsonl(questions()),
        "contrasts.jsonl": as_jsonl(contrasts()),
        "stories.jsonl": as_jsonl(stories()),
        "sentences.txt": "".join(f"{row['question']} {row['answer']}\n" for row in pool("explanations")),
    }


def main(folder: Path) -> None:
    for name, text in texts().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    pq.write_table(pa.Table.from_pylist(notes()), folder / "notes.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])
