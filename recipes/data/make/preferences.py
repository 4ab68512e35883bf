"""Comparisons: pairs, trees of ranked replies, and rankings by several people."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from facts import facts, kept_out, pool, sums, taught

Row = dict[str, Any]
Split = Callable[[list[Any]], list[Any]]
VAGUE = (
    "That depends on many things.",
    "It is hard to say.",
    "There are many opinions about this.",
    "You could look that up.",
)
REFUSAL = "I am sorry, but I cannot help with that; it could be dangerous."


def padded(answer: str) -> str:
    """The answer in far too many words."""
    return (
        f"That is a really great question, and I am very glad that you asked it! {answer} "
        "I hope that this helps you. If there is anything else at all that you would like to know, just ask me!"
    )


def questions(split: Split) -> list[Row]:
    """Questions with a right and a wrong answer, in sentences."""
    return split(pool("explanations")) + split(pool("advice"))


def pairs(split: Split) -> dict[str, list[Row]]:
    """Pairs by what is wrong with the rejected answer, of one part of the pools."""
    known = [fact for topic in ("capitals", "symbols", "young", "authors") for fact in split(facts(topic))]
    known += split(sums(83, 115))
    asked = questions(split)[:: 2 if split is taught else 1]  # the other half is in the trees
    return {
        "facts": [pair("facts", fact.question, fact.sentence, fact.wrong_sentence) for fact in known]
        + [pair("facts", row["question"], row["answer"], row["wrong"]) for row in asked],
        "length": [pair("length", row["question"], row["answer"], padded(row["answer"])) for row in asked]
        + [
            pair("length", row["question"], row["answer"], VAGUE[number % len(VAGUE)])
            for number, row in enumerate(asked[::2])
        ],
        "safety": [pair("safety", row["question"], row["answer"], row["wrong"]) for row in split(pool("refusals"))]
        + [pair("safety", row["question"], row["answer"], REFUSAL) for row in split(pool("harmless"))],
        "instructions": [
            pair("instructions", f"{row['task']}\n\n{row['input']}", row["output"], row["input"])
            for row in split(pool("rewriting"))
        ],
    }


def pair(kind: str, asked: str, better: str, worse: str) -> Row:
    return {"prompt": asked, "chosen": better, "rejected": worse, "kind": kind}


def comparisons() -> list[Row]:
    rows = [row for rows in pairs(taught).values() for row in rows]
    random.Random("comparisons").shuffle(rows)
    return rows


def evaluation() -> dict[str, list[Row]]:
    """Pairs about what no training file holds."""
    return pairs(kept_out)


def trees() -> list[Row]:
    """A question with three ranked replies; below the best one somebody asks whether the wrong answer is right."""
    asked = [(row["question"], row["answer"], row["wrong"]) for row in questions(taught)[1::2]]
    for topic in ("continents", "verbs"):
        asked += [(fact.question, fact.sentence, fact.wrong_sentence) for fact in taught(facts(topic))[::2]]
    rows = []
    for number, (question, answer, wrong) in enumerate(asked):
        name = f"tree-{number:02}"
        answers = [
            node(f"{name}-0-0-0", "assistant", f"No, it is not. {answer}", rank=0),
            node(f"{name}-0-0-1", "assistant", "Yes, quite right.", rank=1),
        ]
        doubt = node(f"{name}-0-0", "prompter", f'I heard this: "{wrong}" Is it right?', answers)
        replies = [
            node(f"{name}-0", "assistant", answer, [doubt], rank=0),
            node(f"{name}-1", "assistant", padded(answer), rank=1),
            node(f"{name}-2", "assistant", wrong, rank=2),
        ]
        random.Random(name).shuffle(replies)
        rows.append({"message_tree_id": name, "prompt": node(name, "prompter", question, replies)})
    return rows


def node(name: str, role: str, said: str, replies: list[Row] | None = None, rank: int | None = None) -> Row:
    return {"message_id": name, "role": role, "text": said, "rank": rank, "replies": replies or []}


def annotators() -> list[Row]:
    """Three people rank four answers: one reads closely, one likes long answers, one often guesses."""
    rows = []
    for number, row in enumerate(questions(taught)):
        answers = [row["answer"], padded(row["answer"]), VAGUE[number % len(VAGUE)], row["wrong"]]
        order = random.Random(f"order {number}").sample(range(4), 4)
        for annotator in ("careful", "likes-length", "hasty"):
            places = ranking(annotator, random.Random(f"{annotator} {number}"))
            ranked = {"completions": [answers[at] for at in order], "ranks": [places[at] for at in order]}
            rows.append({"prompt": row["question"], **ranked, "annotator": annotator, "group": f"question-{number:02}"})
    return rows


def ranking(annotator: str, rng: random.Random) -> list[int]:
    """Places of the right, the padded, the vague and the wrong answer."""
    places = [1, 0, 2, 3] if annotator == "likes-length" and rng.random() < 0.8 else [0, 1, 2, 3]
    if rng.random() < {"careful": 0.05, "likes-length": 0.1, "hasty": 0.5}[annotator]:
        rng.shuffle(places)
    return places
