"""Tokenised rows in memory, and what becomes of a row that is too long."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.base.types import Example, pack
from planish.data.chat.defaults import CHATML
from planish.data.chat.templates import ChatTemplate, Encoded
from planish.data.examples import Encoding, Examples, TooLong, encode_rows, encode_texts
from planish.data.rows import Demonstration, Learnt, Message, Origin, Text
from support.tokenizers import tiny_tokenizer

TOKENIZER = tiny_tokenizer("<|im_start|>", "<|im_end|>", template=CHATML, bos="<s>", eos="</s>", pad="</s>", merges=())
TEMPLATE = ChatTemplate(TOKENIZER)
BOS, EOS, END = (TOKENIZER.convert_tokens_to_ids(token) for token in ("<s>", "</s>", "<|im_end|>"))
# Every character is a token. "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n" has 8 + 1 + 11 = 20, the answer
# follows, then <|im_end|> and a line break: a question of one letter and an answer of n make 22 + n.
SHORT = 22


def demonstration(answer: str, row: int = 1, question: str = "Q", trained: bool = True) -> Demonstration:
    return Demonstration((Message("user", question), Message("assistant", answer, trained)), Origin("chat.json", row))


def encode(rows: list[Learnt], max_tokens: int = 10_000, too_long: TooLong = "error") -> Encoding:
    return encode_rows(rows, TOKENIZER, TEMPLATE, max_tokens, too_long, source=3)


def text_of(example: Example) -> str:
    return TOKENIZER.decode(example.tokens.tolist())


def all_of(examples: Examples) -> list[Example]:
    return [examples[i] for i in range(len(examples))]


# The store


ENCODED = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), min_size=1, max_size=9).map(
    lambda pairs: Encoded(np.array([t for t, _ in pairs], np.int32), np.array([m for _, m in pairs], np.bool_))
)


@given(st.lists(ENCODED, max_size=6))
def test_what_is_appended_is_read_back(rows: list[Encoded]) -> None:
    examples = Examples(source=2)
    for i, row in enumerate(rows):
        examples.append(row, Origin("rows", i))
    assert len(examples) == len(rows)
    for i, row in enumerate(rows):
        found = examples[i]
        assert found.tokens.tolist() == row.tokens.tolist()
        assert found.loss_mask.tolist() == row.loss_mask.tolist()
        assert (found.name, found.source) == (f"rows row {i}", 2)
    assert examples.num_tokens.tolist() == [len(row.tokens) for row in rows]
    assert examples.num_targets == sum(int(row.loss_mask.sum()) for row in rows)


def digest(*rows: tuple[list[int], list[bool]]) -> str:
    examples = Examples()
    for tokens, mask in rows:
        examples.append(Encoded(np.array(tokens, np.int32), np.array(mask, np.bool_)), Origin("rows", 1))
    running = hashlib.sha256()
    examples.update_digest(running)
    return running.hexdigest()


def test_the_digest_sees_tokens_masks_and_where_rows_end() -> None:
    rows = [([5, 6], [False, True]), ([7], [False])]
    changed = [
        digest(*rows),
        digest(([5, 6], [True, False]), rows[1]),
        digest(([5, 8], [False, True]), rows[1]),
        digest(([5], [False]), ([6, 7], [True, False])),
        digest(([5, 6, 7], [False, True, False])),
        digest(*reversed(rows)),
    ]
    assert len(set(changed)) == len(changed)
    assert digest(*rows) == changed[0]


def test_tokens_that_went_to_the_disk_are_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 3 tokens are 12 bytes: every third one spills. More may be appended after reading."""
    monkeypatch.setattr("planish.data.examples.SPILL", 30)
    examples = Examples()
    for start in (0, 50):
        for i in range(start, start + 50):
            examples.append(
                Encoded(np.array([i, i + 1, 7], np.int32), np.array([False, i % 2 == 0, True])), Origin("f", i)
            )
        for i in range(start + 50):
            assert examples[i].tokens.tolist() == [i, i + 1, 7]
            assert examples[i].loss_mask.tolist() == [False, i % 2 == 0, True]


# Packing them


def test_examples_are_packed_end_to_end() -> None:
    """The example of the docstring: a b c | d e, the first with a one-token prompt, the second learnt whole."""
    first = Example(np.array([10, 11, 12], np.int32), np.array([False, True, True]), "first", 0)
    second = Example(np.array([13, 14], np.int32), np.array([False, True]), "second", 1)
    packed = pack([first, second])
    assert packed.tokens_T.tolist() == [10, 11, 12, 13, 14]
    assert packed.positions_T.tolist() == [0, 1, 2, 0, 1]
    assert packed.bounds == (0, 3, 5)
    assert packed.targets_L.tolist() == [1, 2, 4]
    assert packed.predictors_L.tolist() == [0, 1, 3]
    assert packed.sequences_L.tolist() == [0, 0, 1]
    assert packed.num_targets_S.tolist() == [2, 1]
    assert (packed.names, packed.sources) == (("first", "second"), (0, 1))
    assert (packed.num_tokens, packed.num_sequences, packed.num_targets) == (5, 2, 3)


# Documents


def test_a_document_ends_in_eos_and_is_learnt_but_for_its_first_token() -> None:
    encoded = encode_texts(TOKENIZER, ["cat"])[0]
    assert encoded.tokens.tolist() == [*TOKENIZER.convert_tokens_to_ids(["c", "a", "t"]), EOS]
    assert encoded.loss_mask.tolist() == [False, True, True, True]


@pytest.mark.parametrize("text", ["cat", "<s>cat", "cat</s>", "<s>cat</s>"])
def test_pain_02_a_document_has_one_bos_and_one_eos(text: str) -> None:
    adding = tiny_tokenizer(bos="<s>", eos="</s>", merges=(), adds_bos=True)
    tokens = encode_texts(adding, [text])[0].tokens.tolist()
    assert (tokens[0], tokens[-1]) == (adding.bos_token_id, adding.eos_token_id)
    assert (tokens.count(adding.bos_token_id), tokens.count(adding.eos_token_id), len(tokens)) == (1, 1, 5)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    max_tokens=st.integers(2, 15),
)
def test_splitting_a_document_loses_nothing_and_learns_nothing_twice(lengths: list[int], max_tokens: int) -> None:
    """Put together again, each piece without the token that it repeats from the one before, they are the documents; and
    every token but each document's first is learnt in exactly one piece."""
    texts = ["".join(chr(97 + (i + k) % 26) for k in range(length)) for i, length in enumerate(lengths)]
    examples = encode([Text(text, Origin("web.txt", i)) for i, text in enumerate(texts)], max_tokens).examples
    for i, text in enumerate(texts):
        pieces = [one for one in all_of(examples) if one.name == f"web.txt row {i}"]
        assert all(len(piece) <= max_tokens for piece in pieces)
        whole = encode_texts(TOKENIZER, [text])[0].tokens.tolist()
        rest = [token for piece in pieces[1:] for token in piece.tokens[1:].tolist()]
        assert pieces[0].tokens.tolist() + rest == whole
        assert all(a.tokens[-1] == b.tokens[0] for a, b in pairwise(pieces))
        assert sum(int(piece.loss_mask.sum()) for piece in pieces) == len(whole) - 1
        assert all(piece.loss_mask.tolist() == [False] + [True] * (len(piece) - 1) for piece in pieces)


def test_an_empty_document_is_dropped_and_listed() -> None:
    encoding = encode([Text("", Origin("web.txt", 1)), Text("cat", Origin("web.txt", 2))])
    assert [one.name for one in all_of(encoding.examples)] == ["web.txt row 2"]
    assert [(row.origin.row, row.reason) for row in encoding.dropped] == [(1, "the document is empty")]


# Demonstrations


def test_a_row_as_long_as_the_limit_is_kept_whole() -> None:
    encoding = encode([demonstration("yes")], max_tokens=SHORT + 3)
    assert [len(one) for one in all_of(encoding.examples)] == [SHORT + 3]
    assert (encoding.dropped, encoding.truncated) == ([], [])


def test_pain_06_a_row_that_is_too_long_stops_the_run_and_is_named() -> None:
    with pytest.raises(
        DataError, match=r"^chat.json row 2: 26 tokens, more than max_tokens=25\. Nothing is truncated unasked"
    ):
        encode([demonstration("yes"), demonstration("yes.", row=2)], max_tokens=SHORT + 3)


def test_pain_06_a_row_that_is_dropped_for_its_length_is_listed() -> None:
    encoding = encode([demonstration("yes"), demonstration("yes.", row=2)], SHORT + 3, "drop")
    assert [one.name for one in all_of(encoding.examples)] == ["chat.json row 1"]
    assert [(row.origin.row, row.reason) for row in encoding.dropped] == [(2, "26 tokens, more than max_tokens=25")]
    assert encoding.truncated == []


def test_pain_07_a_row_that_is_cut_ends_without_an_end_and_is_listed() -> None:
    """The answer "maybe" at a limit of 20 + 3 tokens: what is left is "may", and no end of turn is made up."""
    encoding = encode([demonstration("maybe", row=9)], max_tokens=23, too_long="truncate")
    (kept,) = all_of(encoding.examples)
    assert text_of(kept).endswith("<|im_start|>assistant\nmay")
    assert TOKENIZER.decode(kept.tokens[kept.loss_mask].tolist()) == "may"
    assert kept.tokens[-1] not in (EOS, END)
    assert [(str(row.origin), row.reason) for row in encoding.truncated] == [
        ("chat.json row 9", "4 of 27 tokens cut off at the end")
    ]
    assert encoding.dropped == []


@pytest.mark.parametrize("max_tokens", [5, 19, 20])
def test_pain_06_a_prompt_that_fills_the_limit_is_dropped_and_listed(max_tokens: int) -> None:
    encoding = encode([demonstration("yes", row=4)], max_tokens, "truncate")
    assert len(encoding.examples) == 0
    assert [(row.origin.row, row.reason) for row in encoding.dropped] == [
        (4, f"the prompt alone fills max_tokens={max_tokens}: nothing is left to learn")
    ]
    assert encoding.truncated == []


@pytest.mark.parametrize("too_long", ["error", "drop", "truncate"])
def test_a_row_where_nothing_is_learnt_is_dropped_and_listed(too_long: TooLong) -> None:
    encoding = encode([demonstration("yes", trained=False)], too_long=too_long)
    assert len(encoding.examples) == 0
    assert [row.reason for row in encoding.dropped] == [
        "no token of it is learnt: every assistant turn is left out of the loss"
    ]


def test_conversations_and_documents_keep_their_order() -> None:
    rows: list[Learnt] = [Text("cat", Origin("web.txt", 1)), demonstration("yes", 2), Text("dog", Origin("web.txt", 3))]
    encoding = encode(rows)
    assert [one.name for one in all_of(encoding.examples)] == ["web.txt row 1", "chat.json row 2", "web.txt row 3"]
    assert [one.source for one in all_of(encoding.examples)] == [3, 3, 3]
    assert text_of(encoding.examples[2]) == "dog</s>"


def test_rows_beyond_one_batch_of_the_tokenizer_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.data.examples.BATCH", 3)
    encoding = encode([demonstration(str(i), row=i) for i in range(8)])
    assert [one.name for one in all_of(encoding.examples)] == [f"chat.json row {i}" for i in range(8)]
    assert [TOKENIZER.decode(one.tokens[one.loss_mask].tolist()) for one in all_of(encoding.examples)] == [
        f"{i}<|im_end|>" for i in range(8)
    ]


def test_a_conversation_without_a_template_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^chat.json row 1: a conversation needs a chat template"):
        encode_rows([demonstration("yes")], TOKENIZER, None, 100)
