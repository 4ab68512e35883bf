"""Rows for the benchmarks of methods that learn from comparisons: real pairs, or invented ones of like lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from turns import MOST_TOKENS, SEED, learnt_template

from planish.base.types import Example
from planish.data.chat.templates import Encoded
from planish.data.examples import Examples, encode_rows
from planish.data.mixture.pairs import join_completions
from planish.data.rows import Comparison, Origin

DATA = Path(__file__).parents[2] / "shared/data/hh_rlhf/harmless-base-test.jsonl.gz"


def read(path: Path, vocab_size: int, count: int) -> Examples:
    return hh_rlhf(path, vocab_size, count) if path.exists() else invented(vocab_size, count)


def hh_rlhf(path: Path, vocab_size: int, count: int) -> Examples:
    """The first rows of the file through planish's own data path, `count` at most; all of them make the vocabulary."""
    from planish.data.formats import import_rows

    rows = import_rows(path, (Comparison,)).rows
    texts = [message.content for row in rows for message in (*row.prompt, *row.completions)]
    template = learnt_template(texts, vocab_size)
    return encode_rows(rows[:count], template.tokenizer, template, MOST_TOKENS, "cut").examples


def invented(vocab_size: int, count: int) -> Examples:
    """Random tokens of ragged, log-normal lengths like those of hh_rlhf: a prompt of about 145, answers of about 45."""
    chance, examples = np.random.default_rng(SEED), Examples()
    for i in range(min(count, 2000)):
        prompt, *answers = (int(np.clip(chance.lognormal(mean, 0.6), 4, 500)) for mean in (4.8, 3.6, 3.6))
        shared = chance.integers(1, vocab_size, prompt)
        encoded = [
            Encoded(np.r_[shared, chance.integers(1, vocab_size, n)].astype(np.int32), np.arange(prompt + n) >= prompt)
            for n in answers
        ]
        laid, choices = join_completions((0, 1), encoded)
        examples.append(laid, Origin("invented", i), choices)
    return examples


def parts(row: Example) -> tuple[list[int], list[int], list[int]]:
    """Tokens of prompt, chosen and rejected completion. Every token of a completion is learnt, as TRL learns it."""
    choices = row.choices
    assert choices is not None
    assert len(choices.ends) == 2
    assert row.loss_mask[choices.prompt_length :].all()
    tokens = row.tokens.tolist()
    first, second = tokens[choices.prompt_length : choices.ends[0]], tokens[choices.ends[0] : choices.ends[1]]
    return tokens[: choices.prompt_length], *(
        (first, second) if choices.ranks[0] < choices.ranks[1] else (second, first)
    )


def longer(row: Example) -> int:
    """Tokens of the longer of the two conversations, to which TRL pads both."""
    prompt, *completions = parts(row)
    return len(prompt) + max(map(len, completions))
