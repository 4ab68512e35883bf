"""Byte-level tokenizers with a few merges, built in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

# Pairs of texts that become one token. There is no pre-tokenizer that splits words, so a merge applies wherever its
# texts meet, across the edge of a prompt too.
MERGES: tuple[tuple[str, str], ...] = (
    ("\n", "\n"),
    ("t", "h"),
    ("th", "e"),
    (" ", "the"),
    ("a", "n"),
    (" ", "an"),
    ("e", "r"),
    ("i", "n"),
    ("in", "g"),
    (" ", " "),
    (":", "\n"),
    (".", "\n"),
    ("\n", "a"),
)


def tiny_tokenizer(
    *special: str,
    template: str | None = None,
    bos: str | None = None,
    eos: str | None = None,
    pad: str | None = None,
    merges: Sequence[tuple[str, str]] = MERGES,
    adds_bos: bool = False,
) -> PreTrainedTokenizerFast:
    """Byte-level BPE: the special tokens, the 256 bytes and one token for each merge. `adds_bos`: as Llama's does, it puts
    BOS before any text unless told not to."""
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def spelt(text: str) -> str:
        return bytes_only.pre_tokenize_str(text)[0][0]

    named = [token for token in (bos, eos, pad) if token is not None]
    begin = list(dict.fromkeys([*special, *named]))
    pairs = [(spelt(a), spelt(b)) for a, b in merges]
    words = [*begin, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in pairs)]
    bpe = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, pairs))
    bpe.pre_tokenizer = bytes_only
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(begin)
    if adds_bos and bos is not None:
        bpe.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, begin.index(bos))])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=bos, eos_token=eos, pad_token=pad, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = template
    return tokenizer
