"""Judges of known character behind a server, and comparisons whose better answer is known: what every maker of preferences is
tried on. One that knows must give labels that are all right, one that always says A none, and one that likes length is found out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planish.base.config import load_config
from planish.base.files import write_lines
from planish.feedback.command import judge
from planish.feedback.judgements import JudgedItem, judgements
from planish.feedback.judging.config import JudgeAnswersConfig
from planish.feedback.judging.summary import JudgeSummary
from planish.feedback.store import open_store
from support.llm_server import Sent, llm_server

Taste = Callable[[str], float]
ANSWER = re.compile(r"<answer(?: \w)?>\n(.*?)\n</answer", re.DOTALL)
QUALITY = ("worst", "worse", "bad", "good")  # of the answers of `known_pairs`


def knows(text: str) -> float:
    return QUALITY.index(text.split()[0])


def likes_length(text: str) -> float:
    return len(text)


def known_pairs(number: int, answers: int = 2, seed: int = 0) -> list[dict[str, Any]]:
    """Comparisons in an order that the seed draws; the better answer is the longer one in half of them."""
    chance, rows = random.Random(seed), []
    for n in range(number):
        words = list(QUALITY[-answers:])
        chance.shuffle(words)
        best, worst = max(words, key=knows), min(words, key=knows)
        tail = {best: " indeed" * (8 * (n % 2)), worst: " indeed" * (8 * (1 - n % 2))}
        completions = [f"{word} {n}{tail.get(word, '')}" for word in words]
        ranks = [sorted(words, key=knows, reverse=True).index(word) for word in words]
        rows.append({"prompt": f"Question {n}?", "completions": completions, "ranks": ranks})
    return rows


def by_taste(taste: Taste) -> Callable[[dict[str, Any], int], Sent]:
    """Replies to a question on two answers with the one it likes better, and on one with a grade."""

    def reply(body: dict[str, Any], number: int) -> Sent:
        liked = [taste(text) for text in ANSWER.findall(body["messages"][0]["content"])[-2:]]
        if len(liked) == 1:
            return Sent(str(min(10, 2 + liked[0])))
        return Sent("tie" if liked[0] == liked[1] else "A" if liked[0] > liked[1] else "B")

    return reply


def always(words: str) -> Callable[[dict[str, Any], int], Sent]:
    return lambda body, number: Sent(words)


def judged(
    reply: Callable[[dict[str, Any], int], Sent], rows: list[dict[str, Any]], folder: Path, **settings: Any
) -> tuple[list[JudgeSummary], list[JudgedItem]]:
    """What `planish judge` says of these rows with a judge that replies so."""
    folder.mkdir(exist_ok=True)
    write_lines(folder / "answers.jsonl", rows)
    with llm_server(reply) as server:
        values = {
            "answers": [str(folder / "answers.jsonl")],
            "out": str(folder / "feedback.db"),
            "judge": {"base_url": server.url, "model": "judge"},
            **settings,
        }
        if "jury" in values:
            del values["judge"]
            values["jury"] = {
                name: {"base_url": server.url, "model": name, **more} for name, more in values["jury"].items()
            }
        summaries = judge(load_config(JudgeAnswersConfig, values=values))
    return summaries, rows_of(values["out"])


def rows_of(place: str | Path) -> list[JudgedItem]:
    store = open_store(place)
    try:
        with store.reading() as session:
            return list(judgements(session))
    finally:
        store.close()


def quality_order(row: JudgedItem) -> list[int]:
    """The right ranks of an item of `known_pairs`."""
    qualities = [knows(completion["content"]) for completion in row.item.completions]
    return [sorted(qualities, reverse=True).index(quality) for quality in qualities]
