"""Names that people give to the columns of a file, and what they tell about a record that fits no format as it is.

Two columns with names of a question and of an answer are a demonstration, whatever their letter case. Columns with names of a
better and a worse answer, or of answers A and B, look like a comparison; only a person can say which is better, so they have
to be mapped.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planish.data.fields import is_list, is_object
from planish.data.formats.mapping import Places, folded
from planish.data.formats.notes import CHAT, MEDIA, READ, THOUGHTS
from planish.data.formats.verdicts import LABELS, OUT_IF_FALSE, OUT_IF_TRUE, WEIGHTS

QUESTIONS = (
    *("prompt", "question", "query", "instruction", "input", "inputs", "problem", "request", "q"),
    *("user", "human", "user_message", "user_prompt", "user_input", "question_text"),
)
ANSWERS = (
    *("completion", "answer", "response", "output", "outputs", "target", "targets", "reply", "solution", "a"),
    *("assistant", "bot", "assistant_message", "assistant_response", "model_response", "answer_text"),
)
# Names of an answer that say so beside a `prompt`, which else may well have a note of that name.
CERTAIN = ("completion", "answer", "response", "output", "reply", "assistant_response", "model_response", "answer_text")
SYSTEMS = ("system", "system_prompt", "system_message", "system_instruction")
PROMPTS = ("prompt", "conversations", "messages", "question", "instruction")  # where formats of comparisons find theirs
CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns", "thread", "data")
# Columns without which a question may not be understood: only a person knows how they belong to it.
BESIDE = (
    *("context", "passage", "choices", "options", "definition", "documents", "document", "article", "background"),
    *("history", "examples", "table", "schema"),
)
# Fields that formats read, which a column may spell in other letters.
FIELDS = (
    *QUESTIONS[:6],
    *(
        "completion",
        "answer",
        "response",
        "output",
        "annotator",
        "group",
        "chosen",
        "rejected",
        "messages",
        "conversations",
    ),
    *("text", "score_chosen", "score_rejected", "preference", *CHAT, *READ, *MEDIA, *THOUGHTS),
    *(*OUT_IF_TRUE, *OUT_IF_FALSE, *WEIGHTS, *LABELS),
)

SIDES = (
    *(("winner", "loser"), ("win", "lose"), ("won", "lost"), ("w", "l"), ("better", "worse"), ("best", "worst")),
    *(("chosen", "rejected"), ("accepted", "rejected"), ("preferred", "rejected"), ("preferred", "dispreferred")),
    *(("preferred", "unpreferred"), ("preferred", "non_preferred"), ("positive", "negative"), ("pos", "neg")),
    *(("good", "bad"), ("upvoted", "downvoted")),
)
LETTERS = (("a", "b"), ("1", "2"), ("0", "1"), ("first", "second"), ("left", "right"), ("one", "two"), ("j", "k"))
ANSWERED = {
    *("answer", "answers", "response", "completion", "output", "reply", "candidate", "generation", "summary"),
    *("conversation", "assistant", "continuation", "y"),
}
VERDICTS = (
    *("preference", "preferred", "better", "best", "winner", "choice", "chosen", "label", "verdict", "vote"),
    *("overall_preference", "preferred_answer", "preferred_response", "human_preference", "better_response"),
)
LISTED = ("responses", "completions", "candidates", "outputs", "generations", "replies", "answers")
RATED = ("ranks", "rank", "ranking", "rankings", "scores", "score", "ratings", "rating", "rewards")

SHORT, LONG = (
    ("question", "answer"),
    ("prompt", "completion"),
)  # fields of a question with a short answer, and of any pair

Names = Mapping[str, str]  # the columns by their folded names


def names_of(value: Mapping[str, Any]) -> Names:
    """The columns of a record by their folded names, without those that two columns share."""
    names = [folded(name) for name in value]
    return {name: column for name, column in zip(names, value, strict=True) if names.count(name) == 1}


def other_spelling(value: object, among: Sequence[str] = ()) -> Places:
    """The columns that spell the name of a field, or one of these, in other letters."""
    if not is_object(value):
        return {}
    found = {name: column for name, column in names_of(value).items() if name != column and name not in value}
    return {name: ((column,),) for name, column in found.items() if not among or name in among}


def further_columns(value: object, is_prompt: bool, compares: bool) -> Iterator[Places]:
    """The mappings that a record suggests that fits a format as it is: of its other columns in other letters, of the answer
    beside a prompt, and of the question beside the answers of a comparison."""
    if not is_object(value):
        return
    names, respelt = names_of(value), other_spelling(value, FIELDS)
    asked = [name for name in QUESTIONS if name in names]
    pair = _pair(value, names) if is_prompt else {}
    if pair and folded(str(pair["completion"][0][0])) in CERTAIN:
        yield {**respelt, **pair}
    if (
        compares
        and len(asked) == 1
        and not any(names.get(name) for name in PROMPTS)
        and not _is_whole(value.get("chosen"))
    ):
        yield {**respelt, "prompt": ((names[asked[0]],),)}
    yield respelt


def _is_whole(answer: object) -> bool:
    """True if an answer is a conversation that begins with its prompt."""
    first = answer[0] if is_list(answer) and answer else None
    return is_object(first) and (first.get("role") or first.get("from")) not in ("assistant", "gpt")


def known_columns(value: object) -> Iterator[Places]:
    """The mappings that the names of a record suggest that fits no format, the nearest first."""
    if not is_object(value):
        return
    respelt = other_spelling(value)
    if respelt:
        yield respelt
    names = names_of(value)
    for places in (_pair(value, names), _conversation(value, names)):
        if places:
            yield {
                **places,
                **{name: place for name, place in respelt.items() if name in FIELDS and name not in places},
            }


def _pair(value: Mapping[str, Any], names: Names) -> Places:
    """A question and its answer, maybe with a system message; Alpaca's three fields where the answer has another name."""
    asked = [name for name in QUESTIONS if name in names]
    answered = [name for name in ANSWERS if name in names]
    system = [name for name in SYSTEMS if name in names]
    if len(answered) != 1 or len(system) > 1 or any(value[names[name]] for name in BESIDE if name in names):
        return {}
    answer = names[answered[0]]
    found: dict[str, str] = {"system": names[system[0]]} if system else {}
    if set(asked) == {"instruction", "input"}:
        found |= {"instruction": names["instruction"], "input": names["input"], "output": answer}
    elif len(asked) == 1:
        short = asked[0] in ("question", "q") and answered[0] in ("answer", "a")
        found |= dict(zip(SHORT if short else LONG, (names[asked[0]], answer), strict=True))
    else:
        return {}
    return {name: ((column,),) for name, column in found.items()}


def _conversation(value: Mapping[str, Any], names: Names) -> Places:
    """The one column with a conversation: a list of turns, of exchanges, or of what two people say in turn."""
    listed = [name for name in CONVERSATIONS if name in names and is_list(value[names[name]]) and value[names[name]]]
    if len(listed) != 1:
        return {}
    first = value[names[listed[0]]][0]
    field = "messages" if is_object(first) and {"role", "content"} <= first.keys() else "conversations"
    return {} if isinstance(first, str) and listed[0] == "turns" else {field: ((names[listed[0]],),)}


def exchange(value: object) -> tuple[str, str] | None:
    """The names of the question and the answer in an object that has both, such as {"human": …, "assistant": …}."""
    names = names_of(value) if is_object(value) else {}
    asked, answered = ([names[name] for name in known if name in names] for known in (QUESTIONS, ANSWERS))
    return (asked[0], answered[0]) if len(asked) == len(answered) == 1 else None


# What looks like a comparison


def comparison_hint(value: object) -> str | None:
    """The mapping that a record with the names of a comparison needs, in words; None if it does not look like one."""
    if not is_object(value):
        return None
    names = {name: column for name, column in names_of(value).items() if _is_said(value[column])}
    ask = next((names[name] for name in QUESTIONS if name in names), "…")
    if sides := _two(names, SIDES, {""} | ANSWERED):
        better, worse = sides
        return f"If {better} is the better answer, map them: {_flag(prompt=ask, chosen=better, rejected=worse)}"
    if sides := _two(names, LETTERS, ANSWERED):
        verdict = next((column for name, column in names_of(value).items() if name in VERDICTS), "…")
        mapped = _flag(prompt=ask, completion_a=sides[0], completion_b=sides[1], preference=verdict)
        return f"Say which column names the better one: {mapped}"
    columns = {name: column for name, column in names_of(value).items() if name in (*LISTED, *RATED, *VERDICTS)}
    several = next((column for name, column in columns.items() if name in LISTED and _are_several(value[column])), None)
    if several is None:
        return None
    for name, column in columns.items():
        if name in RATED and is_list(value[column]) and len(value[column]) == len(value[several]):
            field = "ranks" if name.startswith("rank") else "scores"
            return f"Map them: {_flag(prompt=ask, completions=several, **{field: column})}"
    if any(name in VERDICTS for name in columns) and folded(several) != "answers":  # which may all be right
        return f"Write a list of ranks, 0 for the best, and map it: {_flag(prompt=ask, completions=several, ranks='…')}"
    return None


def _are_several(value: object) -> bool:
    return is_list(value) and len(value) > 1


def mapping_hint(value: object) -> str:
    """The beginning of a sentence that says how to map the columns of a record that is not recognized."""
    if is_list(value):
        return (
            f"If the first line is a header, name its columns in --columns; a table without one is mapped by numbers, such as "
            f"{_flag(prompt='1', completion='2')}. For columns of input, answer and rationale set `format` to flan_cot. Or set"
        )
    said = [column for column, part in value.items() if _is_said(part)] if is_object(value) else []
    if len(said) < 2:
        return "Set"
    ask = next((column for column in said if {*folded(column).split("_")} & {*QUESTIONS}), said[0])
    rest = [column for column in said if column != ask]
    answer = next((column for column in rest if {*folded(column).split("_")} & {*ANSWERS}), rest[0])
    return f"Name the columns, such as {_flag(prompt=ask, completion=answer)}, or set"


def _flag(**fields: str) -> str:
    return "--columns " + shlex.quote(",".join(f"{name}={column}" for name, column in fields.items()))


def _is_said(value: object) -> bool:
    return isinstance(value, str | list | dict)


def _two(names: Names, pairs: Sequence[tuple[str, str]], around: set[str]) -> tuple[str, str] | None:
    """Two columns whose names differ in the two words of one of these pairs, with a word of `around` beside it."""
    words = {name: re.sub(r"(?<=[a-z])(?=\d)", "_", _apart(column)) for name, column in names.items()}
    rests = {word: _rests(words, word) for word in {word for pair in pairs for word in pair}}
    others = {word: {rest: name for name, rest in reversed(found.items())} for word, found in rests.items()}
    for one in words:
        for first, second in pairs:
            rest = rests[first].get(one)
            if rest in others[second] and ({*rest.split("_")} & around or rest in around):
                return names[one], names[others[second][rest]]
    return None


def _rests(words: Mapping[str, str], word: str) -> dict[str, str]:
    """The rest of each name that contains the word, by name."""
    found = {name: _without(text, word) for name, text in words.items() if word in text}
    return {name: rest for name, rest in found.items() if rest is not None}


def _apart(column: str) -> str:
    """A name in lower case, with its words apart: "responseA" is response_a."""
    return folded(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column))


def _without(name: str, word: str) -> str | None:
    """The name without this word; None if it does not have it."""
    found = re.fullmatch(rf"(|.*_){word}(|_.*)", name)
    return None if found is None else "_".join(filter(None, (found[1].strip("_"), found[2].strip("_"))))
