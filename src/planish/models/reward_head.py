"""The reward model: a causal LM's backbone with one number in place of the vocabulary, read at a completion's last token.

Saved, it is transformers' AutoModelForSequenceClassification with one label. The last layer of that class has no bias, so what
makes the demonstrations' mean score 0 is kept in config.json as `score_offset`: planish subtracts it, transformers does
not, and differences are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from planish.base.errors import ModelError
from planish.base.types import Packed
from planish.models.confidence import Confidence
from planish.models.load import ModelConfig, gives_scores, load_pretrained, load_settings
from planish.models.packed import PackedModel, backbone

HEAD = "score"
PAD = "<|pad|>"  # of tokenizers that have none


class Scorer(PackedModel):
    """Scores [S], one for each sequence of a packed row: a linear function of the hidden state at its last token, less the
    offset. Which token is last is known from where the sequence ends, not from any token's number. `confidence`, if there is
    one, adds its term (models/confidence.py).

    >>> scorer = Scorer(load_scorer(config, device))
    >>> scores_S = scorer(packed)
    """

    confidence: Confidence | None = None
    causal = False  # a score is read at the end, where all of the text may be seen

    @property
    def offset(self) -> float:
        return float(getattr(self.config, "score_offset", 0.0))

    @offset.setter
    def offset(self, value: float) -> None:
        self.config.score_offset = value

    def forward(self, packed: Packed) -> Tensor:
        packed = self.fitted(packed)
        with self.precision():
            hidden_SD = (self.run_unpacked if self.why_not_packed else self.run_packed)(self.model, packed)
        scores_S = self.number(hidden_SD)
        return scores_S if self.confidence is None else scores_S + self.confidence(packed).to(scores_S.dtype)

    def save_beside(self, folder: Path) -> None:
        if self.confidence is not None:
            self.confidence.save(folder)

    def number(self, hidden_ND: Tensor) -> Tensor:
        """The head's output for hidden states, less the offset; [N], in at least float32."""
        head: Any = self.model.score
        numbers_N = head(hidden_ND.to(next(head.parameters()).dtype)).squeeze(1)
        return numbers_N.to(torch.promote_types(numbers_N.dtype, torch.float32)) - self.offset

    @staticmethod
    def run_unpacked(model: PreTrainedModel, packed: Packed) -> Tensor:
        rows = (packed.tokens_T[None, start:stop] for start, stop in pairwise(packed.bounds))
        return torch.stack([model.base_model(input_ids=row, use_cache=False).last_hidden_state[0, -1] for row in rows])

    @staticmethod
    def run_packed(model: PreTrainedModel, packed: Packed) -> Tensor:
        return backbone(model, packed, packed.ends)


class Values(Scorer):
    """Values [L]: the number that a reward model's head gives at the place before each learnt token. What PPO expects of a
    completion from there on."""

    causal = True

    @staticmethod
    def run_unpacked(model: PreTrainedModel, packed: Packed) -> Tensor:
        return values_unpacked(model, packed)

    @staticmethod
    def run_packed(model: PreTrainedModel, packed: Packed) -> Tensor:
        return values_packed(model, packed)


def values_unpacked(model: PreTrainedModel, packed: Packed) -> Tensor:
    rows: list[Tensor] = []
    for start, stop in pairwise(packed.bounds):
        targets = packed.targets_L[(packed.targets_L >= start) & (packed.targets_L < stop)]
        row = model.base_model(input_ids=packed.tokens_T[None, start:stop], use_cache=False)
        rows.append(row.last_hidden_state[0, targets - 1 - start])
    return torch.cat(rows)


def values_packed(model: PreTrainedModel, packed: Packed) -> Tensor:
    return backbone(model, packed, packed.predictors)


def load_scorer(config: ModelConfig, device: torch.device, seed: int = 0) -> PreTrainedModel:
    """A reward model, or one made of a causal LM: then the head is fresh, N(0, 1 / (d + 1)) as in lm-human-preferences."""
    settings = load_settings(config.path, config.trust_remote_code)
    made = gives_scores(settings)
    if made and settings.num_labels != 1:
        raise ModelError(f"{config.path}: gives {settings.num_labels} numbers for a text; a reward model gives one")
    model = load_pretrained(
        config, device, AutoModelForSequenceClassification, () if made else (f"{HEAD}.weight",), num_labels=1
    )
    head = getattr(model, HEAD, None)
    if not isinstance(head, nn.Linear):
        raise ModelError(f"{config.path}: transformers' {type(model).__name__} has no head called '{HEAD}'")
    if not made:
        noise = torch.Generator().manual_seed(seed)
        width = head.weight.shape[1]
        fresh = torch.randn(head.weight.shape, generator=noise, dtype=torch.float64) * (width + 1) ** -0.5
        head.weight.data.copy_(fresh)
    return model


def set_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stop_token_ids: Sequence[int]) -> None:
    """transformers reads a score at the last token that is not padding. The end of a turn must therefore not be padding, as
    it is in many tokenizers: then another special token is used. Where there is none, as in GPT-2's, one is added, with an
    embedding of zeros: transformers looks that up, and its attention mask keeps it from every other token."""
    named = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, *tokenizer.all_special_ids]
    added: dict[int, Any] = tokenizer.added_tokens_decoder  # a beginning of turns need not have a name
    special = [*named, *(i for i, token in added.items() if token.special)]
    other = next((i for i in special if i is not None and i not in stop_token_ids), None)
    if other is None:
        before = set(tokenizer.get_vocab().values())
        tokenizer.add_special_tokens({"pad_token": PAD})
        if tokenizer.pad_token_id in before:  # tokenizers takes the number of tokens for a free number
            raise ModelError(
                "the numbers of the tokenizer's tokens have gaps, and it has no token to pad with: name one as pad_token in "
                "tokenizer_config.json, any but the one that ends a turn"
            )
    else:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(cast(int, other))
    padding = cast(int, tokenizer.pad_token_id)
    model.config.pad_token_id = padding
    if padding >= cast(nn.Embedding, model.get_input_embeddings()).weight.shape[0]:
        model.resize_token_embeddings(padding + 1, mean_resizing=False)
        cast(nn.Embedding, model.get_input_embeddings()).weight.data[padding] = 0
