"""The tokenizer of a world, as transformers loads it: a word is a token, and what comes out is what went in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from planish.data.chat.templates import ChatTemplate
from planish.data.formats import import_rows
from planish.data.rows import Demonstration
from planish.world.language.vocabulary import LINE, SPECIAL, make_tokenizer, pieces
from planish.world.make import make_world
from support.worlds import ci_config, ci_corpus, ci_world, read_records

SAID = (
    "text",
    "prompt",
    "completion",
    "instruction",
    "input",
    "output",
    "messages",
    "content",
    "replies",
    "answers",
    "completions",
)
SOURCES = ("flan.jsonl", "alpaca.json", "oasst.jsonl", "steps.jsonl", "constraints.jsonl", "safety.jsonl", "idk.jsonl")


@pytest.fixture(scope="module")
def tokenizer(ci_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(ci_folder / "tokenizer"))


def texts_in(value: object) -> Iterator[str]:
    """Whatever a model reads or writes of a record."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)
    elif isinstance(value, dict):
        for name in SAID:
            yield from texts_in(value.get(name, []))


def texts_of(folder: Path, *parts: str) -> list[str]:
    files = [file for part in parts for file in sorted(folder.glob(part))]
    assert files
    return [text for file in files for record in read_records(file) for text in texts_in(record) if text]


def encoded(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def spelt_pieces(tokenizer: Any, texts: list[str]) -> set[str]:
    """Pieces of these texts that have no token of their own. In the vocabulary a space is Ġ and the end of a line Ċ."""
    vocabulary = tokenizer.get_vocab()
    every = {piece for text in texts for piece in pieces(text)}
    return {piece for piece in every if piece.replace(" ", "Ġ").replace("\n", "Ċ") not in vocabulary}


PARTS = ["corpus.jsonl", *(f"sources/{file}" for file in SOURCES), "comparisons/*", "prompts/*", "questions/*"]


@pytest.mark.parametrize("part", PARTS)
def test_every_piece_of_every_text_is_one_token(part: str, tokenizer: Any, ci_folder: Path):
    texts = texts_of(ci_folder, part)
    assert spelt_pieces(tokenizer, texts) == set()
    assert [len(ids) for ids in encoded(tokenizer, texts)] == [len(pieces(text)) for text in texts]


def test_so_it_is_where_the_corpus_is_small(tmp_path: Path):
    """Words of the instructions do not become tokens by the chance that the filler has them."""
    path = make_world(ci_config(filler_documents=1, skill_documents=1, harm_documents=1), tmp_path / "world").path
    tokenizer = AutoTokenizer.from_pretrained(str(path / "tokenizer"))
    assert spelt_pieces(tokenizer, texts_of(path, *PARTS)) == set()


def test_the_tokens_of_a_text_are_its_pieces(tokenizer: Any, ci_folder: Path):
    texts = texts_of(ci_folder, "corpus.jsonl")[:200]
    for text, ids in zip(texts, encoded(tokenizer, texts), strict=True):
        assert [tokenizer.decode([token]) for token in ids] == pieces(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Where was Tavo born?", [" Where", " was", " Tavo", " born", "?"]),
        ("7 + 15", [" 7", " +", " 1", "5"]),
        ("A & B (1957), J.", [" A", " &", " B", " (", "1", "9", "5", "7", ")", ",", " J", "."]),
        ("Q: a\nA: b\n", [" Q", ":", " a", "\n", " A", ":", " b", "\n"]),
        ("a\n\nb", [" a", "\n", "\n", " b"]),
        (" a", [" a"]),
        ("", []),
    ],
)
def test_a_text_falls_into_words_digits_and_marks(text: str, tokens: list[str]):
    assert pieces(text) == tokens


@pytest.mark.parametrize("part", ["corpus.jsonl", "sources/*", "comparisons/*", "prompts/*", "questions/*"])
def test_a_text_comes_back_with_a_space_before_it_and_after_each_new_line(part: str, tokenizer: Any, ci_folder: Path):
    texts = texts_of(ci_folder, part)
    decoded = tokenizer.batch_decode(encoded(tokenizer, texts))
    assert decoded == [" " + LINE.sub("\n ", text) for text in texts]


def test_names_have_two_tokens_anywhere(tokenizer: Any):
    names = [entity.name for entity in ci_world().facts.entities]
    assert {len(ids) for ids in encoded(tokenizer, names)} == {2}
    alone, after = encoded(tokenizer, names), encoded(tokenizer, [f"the {name}" for name in names])
    assert [ids[1:] for ids in after] == alone
    on_a_line = encoded(tokenizer, [f"the\n{name}" for name in names])
    assert [ids[2:] for ids in on_a_line] == alone


def test_every_word_of_the_world_is_a_token_whether_the_corpus_has_it_or_not(tokenizer: Any):
    assert {len(ids) for ids in encoded(tokenizer, ci_world().facts.words.all())} == {1}


def test_special_tokens_are_one_token_each_and_first_in_the_vocabulary(tokenizer: Any):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == list(range(len(SPECIAL)))
    assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.pad_token == "<|pad|>"


def test_words_follow_in_alphabetical_order_whatever_their_number(tokenizer: Any):
    """So what is added to one file moves no token of another, unless it brings a new word."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(SPECIAL) + 256, len(tokenizer))))
    assert len(tokens) > 1000
    assert [token.replace("Ġ", " ") for token in tokens] == sorted(token.replace("Ġ", " ") for token in tokens)


def test_nothing_is_put_before_a_text(tokenizer: Any):
    assert tokenizer("Where was")["input_ids"] == encoded(tokenizer, ["Where was"])[0]


@cache
def bare_tokenizer() -> Any:
    return make_tokenizer(ci_corpus()[:50], ["dak"])


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc", "Z"]) | st.just(" "))
)
def test_what_the_world_has_no_word_for_is_spelt_and_comes_back(text: str):
    assume(not any(token in text for token in SPECIAL))  # hypothesis tries the words that it finds in the code
    ids = bare_tokenizer().encode(text).ids
    assert bare_tokenizer().decode(ids, skip_special_tokens=False) == (text if text[:1] in (" ", "") else f" {text}")


def test_a_conversation_is_written_with_a_token_for_each_role_and_one_at_each_end(tokenizer: Any):
    turns = [{"role": "user", "content": "Where was it?"}, {"role": "assistant", "content": "not known"}]
    text = "<|user|> Where was it?<|end|><|assistant|> not known<|end|>"
    assert tokenizer.apply_chat_template(turns, tokenize=False) == text
    prompt = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|user|> Where was it?<|end|><|assistant|>"
    system = tokenizer.apply_chat_template([{"role": "system", "content": "Be brief."}], tokenize=False)
    assert system == "<|system|> Be brief.<|end|>"
    assert len(encoded(tokenizer, [text])[0]) == 1 + 4 + 1 + 1 + 2 + 1


def test_a_conversation_begins_with_the_tokens_of_its_prompt(tokenizer: Any, ci_folder: Path):
    template = ChatTemplate(tokenizer)
    rows = import_rows(ci_folder / "sources/safety.jsonl", (Demonstration,)).rows
    for row, one in zip(rows, template.encode(rows), strict=True):
        prompt = template.encode_prompt(row.messages[:1])
        assert one.tokens[: len(prompt)].tolist() == prompt
        assert one.loss_mask.tolist() == [t >= len(prompt) for t in range(len(one.tokens))]


@pytest.mark.parametrize("file", SOURCES)
def test_learnt_are_the_assistants_words_and_the_token_that_ends_them(file: str, tokenizer: Any, ci_folder: Path):
    template = ChatTemplate(tokenizer)
    assert template.stop_token == "<|end|>"
    rows = import_rows(ci_folder / "sources" / file, (Demonstration,)).rows
    for row, one in zip(rows, template.encode(rows), strict=True):
        learnt = tokenizer.decode(one.tokens[np.flatnonzero(one.loss_mask)].tolist())
        words = [message.content for message in row.messages if message.role == "assistant"]
        assert learnt == "".join(f" {text}<|end|>" for text in words)


def test_the_same_texts_in_another_order_give_the_same_tokenizer():
    texts = ci_corpus()[:300]
    assert make_tokenizer(texts, ["dak"]).to_str() == make_tokenizer(texts[::-1], ["dak"]).to_str()
