"""The tokenizer of a world: each of its words is one token, any other text is spelled in bytes.

A token is a word with the space before it, a digit, or a mark, so names have two tokens, and requests that differ in one
word differ in one token. It is an ordinary `tokenizer.json` (byte-level BPE that keeps pieces of its vocabulary whole),
which transformers and vLLM load.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from planish.base.files import new_folder

END_OF_TEXT, PAD, USER, ASSISTANT, SYSTEM, END = SPECIAL = (
    "<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>",
)  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PIECE = re.compile(r" ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]|\n| ")
LINE = re.compile(r"\n(?=\S)")  # a new line also begins as if after a space
# PIECE after bytes have become letters: a space is Ġ, the end of a line Ċ.
_PIECE = "Ġ?[A-Za-z]+|Ġ?[0-9]|Ċ|Ġ?[^A-Za-z0-9ĠĊ]|Ġ"


def pieces(text: str) -> list[str]:
    """The tokens of a text as strings; a text begins as if after a space."""
    text = LINE.sub("\n ", text)
    return PIECE.findall(text if text[:1] in (" ", "") else f" {text}")


def make_tokenizer(texts: Iterable[str], words: Iterable[str]) -> Tokenizer:
    """Makes a token for each piece in `texts`, for each of `words` after a space, and for each byte."""
    known = {piece for text in texts for piece in pieces(text)} | {f" {word}" for word in words}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = dict.fromkeys([*SPECIAL, *alphabet, *map(_as_letters, sorted(known))])
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], ignore_merges=True))
    tokenizer.normalizer = normalizers.Replace(Regex(LINE.pattern), "\n ")  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
            pre_tokenizers.Split(Regex(_PIECE), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def _as_letters(piece: str) -> str:
    return piece.replace(" ", "Ġ").replace("\n", "Ċ")


def save_tokenizer(tokenizer: Tokenizer, path: Path, max_tokens: int = 512) -> None:
    """Writes a folder for transformers' AutoTokenizer."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": PAD,
        "model_max_length": max_tokens,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    with new_folder(path) as folder:
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
