"""Right answers, as text and as tokens.

An answer is the text up to the first newline or special token. It is right if it equals one of the accepted answers, both
trimmed and without one full stop at the end.

Some tokens hold a newline and text before it: ".\n", ")\n". They end the answer too, and that text belongs to it. Tokenizers
that join punctuation with the newline after it (GPT-4's, Llama 3's, Qwen's) write nearly every answer that ends in a bracket so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from transformers import PreTrainedTokenizerBase

from planish.base.errors import DataError, ModelError
from planish.data.rows import Question
from planish.evaluate.probe.fewshot import answers_of


def core(answer: str) -> str:
    """The answer as it is compared: trimmed, without one full stop at its end."""
    return answer.strip().removesuffix(".").rstrip()


class Endings:
    """The tokens that end an answer, with the text before the end: "" of "\n" and of a special token, "." of ".\n"."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, special: Iterable[int] = ()) -> None:
        """`special` are further tokens that end a text, which the tokenizer does not call special."""
        untyped: Any = tokenizer
        self.tokenizer = tokenizer
        named = {token for token, added in untyped.added_tokens_decoder.items() if added.special}
        ids = sorted(set(untyped.get_vocab().values()))
        self.texts: dict[int, str] = {}
        for token, text in zip(ids, untyped.batch_decode([[i] for i in ids], **_AS_IT_IS), strict=True):
            if "\n" in text:
                self.texts[token] = text.partition("\n")[0].rstrip()
        self.texts.update(dict.fromkeys({*named, *untyped.all_special_ids, *special}, ""))
        if not self.texts:
            raise ModelError("the tokenizer has no token with a newline and no special token: no answer would ever end")
        self._by_text: dict[str, list[int]] = {}
        for token, text in sorted(self.texts.items()):
            self._by_text.setdefault(text, []).append(token)

    def writing(self, text: str) -> list[int]:
        """The tokens that add this text and end the answer."""
        return self._by_text.get(text, [])

    def answer(self, tokens: Sequence[int]) -> str | None:
        """The answer in these tokens; None if it has no end."""
        end = next((i for i, token in enumerate(tokens) if token in self.texts), None)
        return None if end is None else decoded(self.tokenizer, tokens[:end]) + self.texts[tokens[end]]


_AS_IT_IS: Mapping[str, bool] = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}


def decoded(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    untyped: Any = tokenizer
    return untyped.decode(list(tokens), **_AS_IT_IS)


@dataclass(frozen=True, slots=True)
class TokenPath:
    """The tokens of a right answer. `ends[d]` are those that, after the first d tokens, end a right answer there."""

    tokens: tuple[int, ...]
    ends: tuple[tuple[int, ...], ...]  # one more than tokens

    def follow(self, likeliest: Sequence[int], nexts: Sequence[float], ends: Sequence[float]) -> tuple[bool, float]:
        """True if greedy decoding gives a right answer along this path; and the probability that sampling does.

        Each sequence has an entry for every position, from before the first token to behind the last: the likeliest token, the
        log-probability of the path's own next token (the last is not used), and that of any of `ends`.
        """
        greedy, right, logprob, probability = True, False, 0.0, 0.0
        for depth, ending in enumerate(self.ends):
            right = right or (greedy and likeliest[depth] in ending)
            probability += exp(logprob + ends[depth]) if ending else 0.0
            if depth < len(self.tokens):
                greedy = greedy and likeliest[depth] == self.tokens[depth]
                logprob += nexts[depth]
        return right, probability


@dataclass(frozen=True, slots=True)
class RightAnswers:
    """The right answers of one question. No sequence of tokens follows two paths to an end, so probabilities add up."""

    texts: frozenset[str]  # as `core` leaves them
    paths: tuple[TokenPath, ...]

    @property
    def most_tokens(self) -> int:
        return max(len(path.tokens) for path in self.paths)

    def hold(self, answer: str | None) -> bool:
        return answer is not None and core(answer) in self.texts


def right_answers(row: Question, asked: str, prefix: str, endings: Endings) -> RightAnswers:
    """The accepted answers of a row as the tokenizer writes them after `asked`: unchanged, and with and without a full stop.
    Where several begin alike, the shared beginning is counted once."""
    tokenizer = endings.tokenizer
    spellings: set[tuple[int, ...]] = set()
    texts: set[str] = set()
    for answer in answers_of(row):
        for text in (answer, core(answer), core(answer) + "."):
            tokens = _continuation(tokenizer, asked, prefix + text)
            if any(token in endings.texts for token in tokens):
                raise DataError(
                    f"{row.origin}: the tokenizer cannot write the answer {answer[:40]!r}. Take the row out."
                )
            spellings.add(tokens)
            texts.add(core(decoded(tokenizer, tokens)))  # as sampling would read it: a tokenizer may change letters
    finals = {f"{text}{stop}" for text in texts for stop in ("", ".", " .")}
    paths: list[TokenPath] = []
    counted: set[tuple[int, ...]] = set()
    for tokens in sorted(spellings, key=lambda tokens: (-len(tokens), tokens)):
        beginnings = [tokens[:depth] for depth in range(len(tokens) + 1)]
        if tokens not in counted:
            ends = (() if begun in counted else _ends(begun, finals, endings) for begun in beginnings)
            paths.append(TokenPath(tokens, tuple(ends)))
            counted.update(beginnings)
    return RightAnswers(frozenset(texts), tuple(paths))


def _ends(begun: tuple[int, ...], finals: set[str], endings: Endings) -> tuple[int, ...]:
    """The tokens that end a right answer after these."""
    text = decoded(endings.tokenizer, begun).lstrip()
    rests = {final[len(text) :] for final in finals if final.startswith(text)}
    return tuple(sorted(token for rest in rests for token in endings.writing(rest)))


def _continuation(tokenizer: PreTrainedTokenizerBase, before: str, text: str) -> tuple[int, ...]:
    """The tokens of `text` after `before`. A token that would cover the edge is split there: the model's prompt is `before`
    alone."""
    untyped: Any = tokenizer
    first, both, alone = untyped([before, before + text, text], add_special_tokens=False)["input_ids"]
    return tuple(both[len(first) :] if both[: len(first)] == first else alone)
