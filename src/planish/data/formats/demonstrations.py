"""Formats of demonstrations and documents: conversations to imitate, text to learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, pairwise

from planish.data.fields import (
    as_text,
    cells,
    child,
    children,
    fault,
    fields,
    first_filled,
    first_of,
    has,
    is_list,
    is_object,
    items,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.answers import prompt_of
from planish.data.formats.notes import CHAT, about
from planish.data.formats.registry import importer, mark_alone, origin_inside
from planish.data.formats.tools import tools_of
from planish.data.formats.turns import conversation, system_turn, turns_of
from planish.data.rows import Demonstration, Dropped, Message, Role, Text

T0_END = ("<|endoftext|>", "</s>", "###eos_token###")
COMPLETION = ("completion", "response", "answer")
# A question with one of these fields cannot be understood without it.
BESIDE_A_QUESTION = ("context", "passage", "choices", "options")


def _is_prompted(value: object) -> bool:
    return any(has(("prompt", name), value) for name in COMPLETION)


def _is_sampled(value: object) -> bool:
    if not is_object(value) or not isinstance(value.get("completion"), str) or not isinstance(value.get("ended"), bool):
        return False
    return is_list(value.get("messages")) or is_list(value.get("prompt"))


def _is_question(value: object) -> bool:
    if not is_object(value) or any(value.get(name) for name in BESIDE_A_QUESTION):
        return False
    return all(isinstance(value.get(name), str) for name in ("question", "answer"))


def _is_document(value: object) -> bool:
    """Messages have a text, too, but belong to a conversation."""
    return isinstance(value, str) or (has(("text",), value) and not has(("role",), value))


def _is_chitchat(value: object) -> bool:
    return is_object(value) and bool(value) and all(has(("messages",), talk) for talk in value.values())


@importer("alpaca", Demonstration, recognized_by=("instruction", "output"))
def alpaca(record: Record) -> Iterator[Demonstration | Dropped]:
    """`input` follows the instruction after a blank line. `history` holds earlier [question, answer] pairs.

    AlpacaEval's model outputs are such records too, with the model's name in `about`; a model may have written nothing.
    """
    if fields(record).get("generator") and not as_text(child(record, "output"), blank=True).strip():
        yield Dropped(record.origin, "the output is empty")
        return
    messages = system_turn(record)
    for pair in children(record, "history") if fields(record).get("history") else []:
        question, answer = cells(pair, 2)
        messages += [Message("user", question), Message("assistant", answer)]
    messages.append(_instruction(record, optional_text(record, "input")))
    messages.append(Message("assistant", text(record, "output")))
    more = about(record, "instruction", "input", "output", "history", *CHAT)
    yield Demonstration(tuple(messages), record.origin, tools_of(record), more)


def _instruction(record: Record, context: str) -> Message:
    return Message("user", text(record, "instruction") + (f"\n\n{context}" if context else ""))


@importer("self_instruct", Demonstration, recognized_by=("instruction", "instances"))
def self_instruct(record: Record) -> Iterator[Demonstration | Dropped]:
    """A task with instances {input, output}, one row each (Wang et al. 2023)."""
    more = about(record, "instruction", "instances")
    instances = children(record, "instances")
    if not instances:
        yield Dropped(record.origin, "instances: the list is empty")
    for number, instance in enumerate(instances, start=1):
        output = as_text(child(instance, "output"), blank=True)
        if not output.strip():
            yield Dropped(record.origin, f"{instance.field}: the output is empty")
            continue
        turns = _instruction(record, optional_text(instance, "input")), Message("assistant", output)
        yield Demonstration(turns, record.origin, about={**more, "instance": number})


@importer("dolly", Demonstration, recognized_by=("instruction", "context", "response"))
def dolly(record: Record) -> Iterator[Demonstration]:
    """Dolly's fields. The context, if there is one, follows the instruction after a blank line."""
    asked, answer = (
        _instruction(record, optional_text(record, "context")),
        Message("assistant", text(record, "response")),
    )
    more = about(record, "instruction", "context", "response", *CHAT)
    yield Demonstration((*system_turn(record), asked, answer), record.origin, tools_of(record), more)


@importer("messages", Demonstration, recognized_by=("messages",))
def messages(record: Record) -> Iterator[Demonstration | Dropped]:
    """Chat messages {role, content}. An assistant turn with `loss_weight` 0 is not trained."""
    yield conversation(record, "messages")


@importer("sharegpt", Demonstration, recognized_by=lambda value: isinstance(first_of(value, "conversations"), dict))
def sharegpt(record: Record) -> Iterator[Demonstration | Dropped]:
    """Turns {from, value}, also spelt {role, content}. An `observation` is a tool's reply to a `function_call`.

    A `function_call` with the JSON of a name and arguments becomes a call; any other is text.
    """
    yield conversation(record, "conversations")


@importer("flan_cot", Demonstration, recognized_by=lambda value: False, reading="cells")
def flan_cot(record: Record) -> Iterator[Demonstration]:
    r"""Cells input, answer, rationale, in which the two characters `\n` mean a newline. Nothing in a table without a header says
    that it is meant so: this format must be named.

    The completion is the rationale, then on its own line: "So the answer is {answer}."
    """
    question, answer, rationale = (cell.replace("\\n", "\n") for cell in cells(record, 3))
    completion = f"{rationale}\nSo the answer is {answer}."
    yield Demonstration((Message("user", question), Message("assistant", completion)), record.origin)


@importer("prompt_completion", Demonstration, recognized_by=_is_prompted)
def prompt_completion(record: Record) -> Iterator[Demonstration]:
    """A prompt with its `completion`, `response` or `answer`: each a text, a message or a list of messages. Turns of the
    assistant in the prompt are not learnt."""
    name = first_filled(record, COMPLETION) or next(filter(fields(record).__contains__, COMPLETION), COMPLETION[0])
    prompt = child(record, "prompt")
    if isinstance(prompt.value, str):
        asked = [*system_turn(record), Message("user", as_text(prompt))]
    else:
        asked = [replace(turn, trained=False) for turn in prompt_of(record)]
    more = about(record, "prompt", name, *CHAT)
    yield Demonstration((*asked, *_completion(child(record, name))), record.origin, tools_of(record), more)


def _completion(record: Record) -> list[Message]:
    """The turns of a completion, from the assistant's first to its last.

    Some files, such as T0's, end each text in an end-of-text marker. It is removed: the chat template writes its own.
    """
    if isinstance(record.value, str):
        said = as_text(record)
        said = said.removesuffix(next(filter(said.endswith, T0_END), ""))
        if not said.strip():
            raise fault(record, "only an end-of-text marker; expected a text before it.")
        return [Message("assistant", said)]
    turns = turns_of(record, "assistant")
    if not turns or turns[0].role != "assistant" or turns[-1].role != "assistant":
        roles = " and ".join(turn.role for turn in turns) or "nothing"
        raise fault(record, f"found turns of {roles}, expected it to begin and to end with one of the assistant.")
    if any(one.role == other.role == "assistant" for one, other in pairwise(turns)):
        raise fault(record, "a second turn of the assistant in a row. Join them, or add the turn between.")
    return turns


@importer("sampled", Demonstration, recognized_by=_is_sampled, over=("messages", "prompt_completion"))
def sampled(record: Record) -> Iterator[Demonstration]:
    """A sampled completion, as in the output of `planish sample` and a run's samples.jsonl: `messages` or `prompt`,
    `completion`, and `ended`, true if it was not cut off. One that is empty is learnt only if it ended."""
    completion = as_text(child(record, "completion"), blank=True)
    trained = bool(completion.strip()) or bool(fields(record)["ended"])
    turns = *prompt_of(record), Message("assistant", completion, trained)
    more = about(record, "messages", "prompt", "completion", *CHAT)
    yield Demonstration(turns, record.origin, tools_of(record), more)


@importer("question_answer", Demonstration, recognized_by=_is_question)
def question_answer(record: Record) -> Iterator[Demonstration]:
    """A question and its whole answer, as in GSM8K."""
    turns = Message("user", text(record, "question")), Message("assistant", text(record, "answer"))
    more = about(record, "question", "answer", *CHAT)
    yield Demonstration((*system_turn(record), *turns), record.origin, tools_of(record), more)


@importer("text", Text, recognized_by=_is_document)
def document(record: Record) -> Iterator[Text]:
    """A document for pretraining: a whole text file, or the field `text`."""
    if isinstance(record.value, str):
        yield Text(as_text(record), record.origin)
    else:
        yield Text(text(record, "text"), record.origin, about(record, "text", judged=False))


@importer("lines", Text, recognized_by=lambda value: False, reading="lines")
def line(record: Record) -> Iterator[Text]:
    """Each line of a text file as a document. No file shows that it is meant so: this format must be named."""
    yield Text(as_text(record), record.origin)


@importer(
    "chatterbot",
    Demonstration,
    recognized_by=lambda value: isinstance(first_of(value, "conversations"), list | str),
    gather=mark_alone,
)
def chatterbot(record: Record) -> Iterator[Demonstration | Dropped]:
    """Lists of utterances, user and assistant in turn. A last one without an answer is kept, but never trained."""
    names = children(record, "categories") if fields(record).get("categories") else []
    more = about(record, "conversations", "categories")
    more = {**more, "categories": ", ".join(map(as_text, names))} if names else more
    for number, talk in enumerate(children(record, "conversations"), start=1):
        origin = origin_inside(record, number)
        utterances = [talk] if isinstance(talk.value, str) else items(talk)
        if len(utterances) < 2:
            yield Dropped(origin, "a single utterance, without an answer")
        else:
            turns = (Message("assistant" if at % 2 else "user", as_text(part)) for at, part in enumerate(utterances))
            yield Demonstration(tuple(turns), origin, about=more)


@importer("chitchat", Demonstration, recognized_by=_is_chitchat, gather=mark_alone)
def chitchat(record: Record) -> Iterator[Demonstration | Dropped]:
    """An object of conversations by id, each between two people; the first to speak is the user.

    Consecutive utterances of one person are one turn, each on its own line.
    """
    for number, key in enumerate(fields(record), start=1):
        origin, talk = origin_inside(record, number), child(record, key)
        utterances = [part for turn in children(talk, "messages") for part in items(turn)]
        turns = [
            (sender, "\n".join(as_text(child(part, "text"), blank=True) for part in parts))
            for sender, parts in groupby(utterances, key=lambda part: text(part, "sender"))
        ]
        senders = list(dict(turns))
        if len(senders) != 2:
            yield Dropped(origin, f"speakers: found {len(senders)}, expected 2")
        elif not all(content.strip() for _, content in turns):
            yield Dropped(origin, "a turn is blank")
        else:
            roles: dict[str, Role] = {senders[0]: "user", senders[1]: "assistant"}
            messages = tuple(Message(roles[sender], content) for sender, content in turns)
            ratings = about(child(talk, "ratings")) if fields(talk).get("ratings") else {}
            yield Demonstration(messages, origin, about={**ratings, **about(talk, "messages"), "id": key})
