"""Formats of demonstrations and documents: conversations to imitate, text to learn."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby

from planish.data.fields import (
    as_text,
    cells,
    child,
    children,
    fault,
    fields,
    has,
    is_list,
    is_object,
    items,
    optional_text,
    text,
)
from planish.data.files.readers import Record
from planish.data.formats.answers import asked
from planish.data.formats.registry import importer
from planish.data.formats.tools import calls_in, tools_of
from planish.data.formats.turns import (
    MAY_BE_BLANK,
    SHAREGPT_ROLES,
    about,
    chat_turns,
    conversation,
    refuse_what_would_be_lost,
    role_of,
    system_turn,
)
from planish.data.rows import Demonstration, Dropped, Message, Origin, Role, Text

T0_END = ("<|endoftext|>", "</s>", "###eos_token###")
COMPLETION = ("completion", "response", "answer")
# A question that comes with one of these cannot be asked without it.
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
    """A message has a text as well, but belongs to a conversation."""
    return isinstance(value, str) or (has(("text",), value) and not has(("role",), value))


def _are_talks(kind: type | tuple[type, ...], value: object) -> bool:
    """Whether `conversations` starts with a value of this kind: one turn, or a whole conversation."""
    talks = value.get("conversations") if is_object(value) else None
    return is_list(talks) and isinstance(next(iter(talks), None), kind)


def _is_chitchat(value: object) -> bool:
    return is_object(value) and bool(value) and all(has(("messages",), talk) for talk in value.values())


@importer("alpaca", Demonstration, recognized_by=("instruction", "output"))
def alpaca(record: Record) -> Iterator[Demonstration | Dropped]:
    """`input` follows the instruction after a blank line. `history` holds earlier [question, answer] pairs.

    AlpacaEval's model outputs are such records too; whose they are stays in `about`. A model may have written nothing.
    """
    if fields(record).get("generator") and not as_text(child(record, "output"), blank=True).strip():
        yield Dropped(record.origin, "the output is empty")
        return
    messages = system_turn(record)
    for pair in children(record, "history") if fields(record).get("history") else []:
        question, answer = cells(pair, 2)
        messages += [Message("user", question), Message("assistant", answer)]
    messages.append(_asked(record, optional_text(record, "input")))
    messages.append(Message("assistant", text(record, "output")))
    more = about(record, "instruction", "input", "output", "history", "system", "tools")
    yield Demonstration(tuple(messages), record.origin, tools_of(record), more)


def _asked(record: Record, given: str) -> Message:
    return Message("user", text(record, "instruction") + (f"\n\n{given}" if given else ""))


@importer("self_instruct", Demonstration, recognized_by=("instruction", "instances"))
def self_instruct(record: Record) -> Iterator[Demonstration | Dropped]:
    """A task with instances {input, output}: a row for each (Wang et al. 2023)."""
    more = about(record, "instruction", "instances")
    instances = children(record, "instances")
    if not instances:
        yield Dropped(record.origin, "instances: the list is empty")
    for number, instance in enumerate(instances, start=1):
        output = as_text(child(instance, "output"), blank=True)
        if not output.strip():
            yield Dropped(record.origin, f"{instance.field}: the output is empty")
            continue
        turns = _asked(record, optional_text(instance, "input")), Message("assistant", output)
        yield Demonstration(turns, record.origin, about={**more, "instance": number})


@importer("dolly", Demonstration, recognized_by=("instruction", "context", "response"))
def dolly(record: Record) -> Iterator[Demonstration]:
    """Dolly's fields: the context, where there is one, follows the instruction after a blank line."""
    turns = _asked(record, optional_text(record, "context")), Message("assistant", text(record, "response"))
    yield Demonstration(turns, record.origin, about=about(record, "instruction", "context", "response"))


@importer("messages", Demonstration, recognized_by=("messages",))
def messages(record: Record) -> Iterator[Demonstration | Dropped]:
    """Chat messages {role, content}. An assistant turn with `loss_weight` 0 is read but not trained."""
    found = chat_turns(record)
    row = conversation(record, "messages", found)
    trained = any(message.role == "assistant" and message.trained for message in found)
    yield row if trained else Dropped(record.origin, "every assistant turn has loss_weight 0")


@importer("sharegpt", Demonstration, recognized_by=partial(_are_talks, dict))
def sharegpt(record: Record) -> Iterator[Demonstration]:
    """Turns {from, value}, also spelt {role, content}. An `observation` is what a tool replied to a `function_call`.

    A `function_call` that holds JSON with a name and arguments becomes a call; any other is text.
    """
    found = system_turn(record)
    for turn in children(record, "conversations"):
        found.append(_sharegpt_turn(turn))
    yield conversation(record, "conversations", found)


def _sharegpt_turn(turn: Record) -> Message:
    says, holds = ("role", "content") if has(("role", "content"), turn.value) else ("from", "value")
    role = role_of(turn, says, SHAREGPT_ROLES)
    refuse_what_would_be_lost(turn, says, holds)
    said = as_text(child(turn, holds), blank=role in MAY_BE_BLANK)
    calls = calls_in(said) if turn.value[says] == "function_call" else ()
    return Message(role, "" if calls else said, tool_calls=calls)


@importer("flan_cot", Demonstration, recognized_by=lambda value: is_list(value) and len(value) == 3, reading="cells")
def flan_cot(record: Record) -> Iterator[Demonstration]:
    r"""Cells input, answer, rationale; the two characters `\n` in them stand for a newline.

    The assistant gives the rationale, then on a line of its own: "So the answer is {answer}."
    """
    question, answer, rationale = (cell.replace("\\n", "\n") for cell in cells(record, 3))
    said = f"{rationale}\nSo the answer is {answer}."
    yield Demonstration((Message("user", question), Message("assistant", said)), record.origin)


@importer("prompt_completion", Demonstration, recognized_by=_is_prompted)
def prompt_completion(record: Record) -> Iterator[Demonstration]:
    """One prompt with its completion, `response` or `answer`.

    T0's and some other files end each completion in an end-of-text marker. It is removed: the chat template writes its
    own end of turn.
    """
    name = next((name for name in COMPLETION if fields(record).get(name) is not None), COMPLETION[0])
    said = text(record, name)
    said = said.removesuffix(next(filter(said.endswith, T0_END), ""))
    if not said.strip():
        raise fault(child(record, name), "is an end-of-text marker alone; expected a text before it.")
    turns = *system_turn(record), Message("user", text(record, "prompt")), Message("assistant", said)
    more = about(record, "prompt", name, "system", "tools")
    yield Demonstration(turns, record.origin, tools_of(record), more)


@importer("sampled", Demonstration, recognized_by=_is_sampled, over=("messages", "prompt_completion"))
def sampled(record: Record) -> Iterator[Demonstration]:
    """What a model said, as `planish sample` and a run's samples.jsonl have it: `messages` or `prompt`, `completion`, and
    `ended`, whether it came to an end. It may have said nothing: that can be scored, but is not learnt."""
    said = as_text(child(record, "completion"), blank=True)
    turns = *asked(record, with_tools=True), Message("assistant", said, trained=bool(said.strip()))
    more = about(record, "messages", "prompt", "completion", "system", "tools")
    yield Demonstration(turns, record.origin, tools_of(record), more)


@importer("question_answer", Demonstration, recognized_by=_is_question)
def question_answer(record: Record) -> Iterator[Demonstration]:
    """A question and the whole answer to it, as GSM8K has them."""
    turns = Message("user", text(record, "question")), Message("assistant", text(record, "answer"))
    yield Demonstration(turns, record.origin, about=about(record, "question", "answer"))


@importer("text", Text, recognized_by=_is_document)
def document(record: Record) -> Iterator[Text]:
    """A document for pretraining: a text file as a whole, or the field `text`."""
    if isinstance(record.value, str):
        yield Text(as_text(record), record.origin)
    else:
        yield Text(text(record, "text"), record.origin, about(record, "text"))


@importer("lines", Text, recognized_by=lambda value: False, reading="lines")
def line(record: Record) -> Iterator[Text]:
    """Each line of a text file is a document. Nothing in a file tells that it is so: this format must be named."""
    yield Text(as_text(record), record.origin)


@importer("chatterbot", Demonstration, recognized_by=partial(_are_talks, (list, str)))
def chatterbot(record: Record) -> Iterator[Demonstration | Dropped]:
    """Lists of utterances, user and assistant in turn. An unanswered one at the end stays; it is never trained."""
    names = children(record, "categories") if fields(record).get("categories") else []
    more = {"categories": ", ".join(map(as_text, names))} if names else {}
    for number, talk in enumerate(children(record, "conversations"), start=1):
        origin = Origin(record.origin.file, number)
        said = [talk] if isinstance(talk.value, str) else items(talk)
        if len(said) < 2:
            yield Dropped(origin, "a single utterance, without an answer")
        else:
            turns = (Message("assistant" if at % 2 else "user", as_text(part)) for at, part in enumerate(said))
            yield Demonstration(tuple(turns), origin, about=more)


@importer("chitchat", Demonstration, recognized_by=_is_chitchat)
def chitchat(record: Record) -> Iterator[Demonstration | Dropped]:
    """One object from id to conversation between two people; who speaks first is the user.

    What one of them writes in a row is one turn, each utterance on its own line.
    """
    for number, key in enumerate(fields(record), start=1):
        origin, talk = Origin(record.origin.file, number), child(record, key)
        utterances = [part for turn in children(talk, "messages") for part in items(turn)]
        turns = [
            (sender, "\n".join(as_text(child(part, "text"), blank=True) for part in said))
            for sender, said in groupby(utterances, key=lambda part: text(part, "sender"))
        ]
        senders = list(dict(turns))
        if len(senders) != 2:
            yield Dropped(origin, f"speakers: found {len(senders)}, expected 2")
        elif not all(said.strip() for _, said in turns):
            yield Dropped(origin, "a turn is blank")
        else:
            roles: dict[str, Role] = {senders[0]: "user", senders[1]: "assistant"}
            messages = tuple(Message(roles[sender], said) for sender, said in turns)
            ratings = about(child(talk, "ratings")) if fields(talk).get("ratings") else {}
            yield Demonstration(messages, origin, about={**ratings, **about(talk, "messages"), "id": key})
