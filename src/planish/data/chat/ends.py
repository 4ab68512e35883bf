"""The tokens that end an assistant's turn, found by trial: one after an answer, perhaps another after an answer in a history
(harmony's <|end|>) or after a call (<|call|>), or none of its own (GLM), where the next role's token ends the turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from planish.base.errors import DataError, ModelError
from planish.data.chat.defaults import default_system
from planish.data.chat.kept import is_in, words_of_answer
from planish.data.chat.notes import control_tokens, one_of
from planish.data.chat.rendering import FIRST, LAST, Renderer, shared_start
from planish.data.chat.tool_calls import in_words
from planish.data.rows import Demonstration, Message, Origin, ToolCall

_TOOLS = ({"name": "look_up", "description": "Finds a thing.", "parameters": {"type": "object", "properties": {}}},)
_CALLED = Message("assistant", "", tool_calls=(ToolCall("look_up", {"place": "Zanzibar"}),))
_ASKED, _ANSWERED = Message("user", "a question"), Message("assistant", "an answer")
ANSWER = Demonstration((_ASKED, _ANSWERED), Origin("a question and its answer", 1))
HISTORY = Demonstration(
    (_ASKED, _ANSWERED, Message("user", "why"), Message("assistant", "so")), Origin("two answers", 1)
)
CALL = Demonstration(
    (_ASKED, _CALLED, Message("tool", "a reply"), _ANSWERED), Origin("a call and its reply", 1), _TOOLS
)  # a conversation with a call, to test if a template can write one


@dataclass(frozen=True, slots=True)
class TurnEnds:
    """The tokens that may end a turn, that of a last answer first. The others are those that follow a last answer or call
    without being written by the template."""

    tokens: tuple[str, ...]
    closing_answer: str = ""
    closing_call: str = ""

    def after(self, text: str, start: int) -> int | None:
        """Where the end-of-turn token ends that follows `start`, white space aside; None if none does."""
        rest = text[start:].lstrip()
        lengths = [len(token) for token in self.tokens if rest.startswith(token)]
        return len(text) - len(rest) + max(lengths) if lengths else None

    def within(self, text: str, start: int, limit: int) -> int | None:
        """Where the first end-of-turn token ends between `start` and `limit`."""
        found = [(at, -len(token)) for token in self.tokens if (at := text.find(token, start, limit)) >= 0]
        return min(found)[0] - min(found)[1] if found else None


class EndTrials:
    """Trials of a template. `known` are the tokens at which the model's own settings end a generation."""

    def __init__(self, renderer: Renderer, known: Collection[str]) -> None:
        self.renderer, self.known = renderer, known
        untyped: Any = renderer.tokenizer
        begins = {untyped.bos_token} - {untyped.eos_token}
        self.pattern = one_of(control_tokens(untyped) - begins)

    def find(self, calls: bool) -> TurnEnds:
        """The ends of turns. `calls` is True for a template that can write them."""
        try:
            text = self.renderer.render(ANSWER)
            (_, end), _ = words_of_answer(self.renderer, ANSWER, 1, text)
        except DataError as error:
            raise ModelError(f"the model's chat template, tried on {error}") from None
        self._refuse_lost_default(text)
        last, history, closing = self._leading(text[end:]), self._in_history(), ""
        if last is None:
            if history is None or history not in self.known:
                raise ModelError(
                    f"the chat template writes {text[end:]!r} after the assistant's last words, and no special token: trained "
                    "with it, the model would never stop. End the turn with eos_token in the template (chat_template.jinja), "
                    "or set another with template=FILE. If the token of the next role ends the turn, it must be among the "
                    "eos_token_id of generation_config.json"
                )
            last = closing = history
        ends = TurnEnds(tuple(dict.fromkeys([last, *([history] if history else [])])), closing)
        return self._with_calls(ends) if calls else ends

    def _refuse_lost_default(self, text: str) -> None:
        system = default_system(self.renderer.template)
        if system and not is_in(system, text):
            raise ModelError(
                f"the chat template leaves out the default system message {system[:40]!r}: set another with data.template=FILE, "
                "or do without data.system"
            )

    def _leading(self, text: str) -> str | None:
        """The special token with which the text begins, white space aside."""
        found = self.pattern.match(text.lstrip())
        return found[0] if found else None

    def _in_history(self) -> str | None:
        """The token after an answer that another question follows, unless it is the beginning of that question's turn."""
        text = self._text(HISTORY)
        if text is None:
            return None
        _, start = self.renderer.changed_by(HISTORY, 1, text)
        stop, _ = self.renderer.changed_by(HISTORY, 2, text)
        between = text[start:stop].lstrip()
        token = self._leading(between)
        if token is None or token in self.known:
            return token
        begins = not between[len(token) :].strip() or token in self._headers(text)
        return None if begins else token

    def _headers(self, text: str) -> set[str]:
        """Tokens that begin a turn: the first of the text, and the first of what a server's prompt adds."""
        asked = Demonstration(HISTORY.messages[:1], HISTORY.origin)
        try:
            alone, prompt = self.renderer.render(asked), self.renderer.render(asked, prompt=True)
        except DataError:
            alone = prompt = ""
        found = (self.pattern.search(text), self.pattern.search(prompt, shared_start(alone, prompt)))
        return {match[0] for match in found if match}

    def _with_calls(self, ends: TurnEnds) -> TurnEnds:
        """The ends with that of a call: as the template ends a conversation with one, or as its reply ends it."""
        called = Demonstration(CALL.messages[:2], CALL.origin, CALL.tools)
        known = {*ends.tokens, *self.known}
        for row in (CALL, called) if ends.closing_answer else (called, CALL):
            text = self._text(row)
            if text is None:
                continue
            limit = len(text) if row is called else self.renderer.changed_by(CALL, 2, text)[0]
            found: list[str] = self.pattern.findall(text, self._end_of_call(row, text), limit)
            token = next((token for token in found if token in known), found[-1] if found and row is called else None)
            if token is not None:
                closing = token if ends.closing_answer and row is CALL else ""
                return TurnEnds(tuple(dict.fromkeys([*ends.tokens, token])), ends.closing_answer, closing)
        return ends

    def _end_of_call(self, row: Demonstration, text: str) -> int:
        return self.renderer.difference(row, 1, text, other_calls(row.messages[1]))[1]

    def _text(self, row: Demonstration) -> str | None:
        try:
            return self.renderer.render(row)
        except DataError:
            return None


def find_ends(renderer: Renderer, known: Collection[str], calls: bool) -> TurnEnds:
    """The ends of turns of a template; `known` are the tokens at which the model's own settings end a generation."""
    return EndTrials(renderer, known).find(calls)


def writes_calls(renderer: Renderer) -> bool:
    """True if the template can write functions and calls, with arguments as an object or as JSON text."""
    for renderer.arguments_as_text in (False, True):
        if _writes(renderer, CALL, ("Zanzibar", "Finds a thing.", "a reply")):
            return True
    renderer.arguments_as_text = False
    return False


def writes_replies(renderer: Renderer) -> bool:
    """True if the template has a place for replies of tools, beside calls in words."""
    words = in_words(CALL.messages, (), replies_too=False)
    return _writes(renderer, Demonstration(tuple(words), CALL.origin), ("a reply",))


def _writes(renderer: Renderer, row: Demonstration, words: Sequence[str]) -> bool:
    try:
        text = renderer.render(row)
    except DataError:
        return False
    return all(word in text for word in words)


def other_calls(message: Message) -> Message:
    """The turn with calls that share nothing with its own."""
    others = tuple(ToolCall(FIRST[0], {FIRST[1]: LAST[0]}) for _ in message.tool_calls)
    return Message(message.role, message.content, message.trained, others)


def known_ends(tokenizer: Any, ids: Sequence[int]) -> set[str]:
    """The tokens of `ids`, at which the model's settings end a generation, and the tokenizer's end of sequence."""
    named = tokenizer.convert_ids_to_tokens([i for i in ids if i < len(tokenizer)])
    return {token for token in [*named, tokenizer.eos_token] if token}
