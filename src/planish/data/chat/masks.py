"""Loss masks of tokens, from the spans of the text that are learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, pairwise

import numpy as np
from tokenizers import Encoding

Span = tuple[int, int]  # start and end, in characters or tokens
ANCHORS = ("\n", ".", "!", "0", "a")  # characters that few texts share a token with
Tokenize = Callable[[Sequence[str]], list[Encoding]]


def masked_tokens(text: str, spans: list[Span], tokens: Encoding, tokenize: Tokenize) -> tuple[np.ndarray, np.ndarray]:
    """Token ids, int32 [t], and the tokens in any of the spans, bool [t]."""
    ids = tokens.ids
    mask = np.zeros(len(ids), np.bool_)
    for span in spans:
        learnt = _tokens_of(tokens, len(ids), *span)
        if learnt is None:
            ids, mask = _by_offsets(text, spans, tokens, tokenize)
            break
        mask[slice(*learnt)] = True
    mask[:1] = False  # nothing precedes the first token, so nothing can predict it
    return np.array(ids, np.int32), mask


def _tokens_of(tokens: Encoding, count: int, start: int, end: int) -> Span | None:
    """The first token of a span and the one after its last, if the span begins and ends with a token."""
    first, last = tokens.char_to_token(start), tokens.char_to_token(end - 1)
    if first is None or last is None:
        return None
    # `last` is the first of the tokens that share a character: then another of them follows.
    edges = [tokens.token_to_chars(i) for i in (first, last, min(last + 1, count - 1))]
    (begin, _), (_, stop), (after, _) = (edge or (-1, -1) for edge in edges)
    whole = begin == start and stop == end and (after >= end or last + 1 == count)
    return (first, last + 1) if whole else None


def _by_offsets(text: str, spans: list[Span], tokens: Encoding, tokenize: Tokenize) -> tuple[list[int], np.ndarray]:
    """Token ids and mask from the offsets of every token: slower, for spans that begin or end inside a token."""
    ids, offsets = tokens.ids, _columns(tokens.offsets)
    edges = {edge for span in spans for edge in span} - {0, len(text)}
    torn = sorted(edge for edge in edges if np.any((offsets[0] < edge) & (edge < offsets[1])))
    if torn:
        # A token crosses the end of the prompt. A server tokenizes the prompt by itself, so the text is cut there.
        pieces = [_continued(text[a:b], a, tokenize) for a, b in pairwise([0, *torn, len(text)])]
        ids = [token for piece_ids, _ in pieces for token in piece_ids]
        offsets = np.concatenate([piece_offsets for _, piece_offsets in pieces], axis=1)
    begins, ends = offsets
    mask = np.zeros(len(ids), np.bool_)
    for start, end in spans:
        mask |= (begins >= start) & (ends <= end) & (ends > start)
    return ids, mask


def _continued(piece: str, start: int, tokenize: Tokenize) -> tuple[list[int], np.ndarray]:
    """Ids and offsets of the tokens of a piece of a text, from its character `start` on, as they continue the text before.

    By itself a piece would get the space that some tokenizers (Llama 2's) put before any text. There it is tokenized after a
    character that shares no token with it, whose own tokens are then taken off.
    """
    if start and "".join(tokenize(["x"])[0].tokens) != "x":
        for anchor in ANCHORS:
            tokens = tokenize([anchor + piece])[0]
            offsets = _columns(tokens.offsets)
            first = int(np.count_nonzero(offsets[1] <= 1))
            if first < len(tokens.ids) and offsets[0, first] == 1:
                return tokens.ids[first:], offsets[:, first:] + start - 1
    tokens = tokenize([piece])[0]
    return tokens.ids, _columns(tokens.offsets) + start


def _columns(offsets: list[Span]) -> np.ndarray:
    """int64 [2, t]: the start and end of each token."""
    return np.fromiter(chain.from_iterable(offsets), np.int64, 2 * len(offsets)).reshape(-1, 2).T
