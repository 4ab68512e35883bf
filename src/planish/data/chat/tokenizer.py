"""Tokenizers: loaded with a model, or trained on the rows of a run as byte-level BPE, which can encode any text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from planish.base.errors import ModelError, first_line
from planish.base.files import new_folder
from planish.base.model_folder import check_model_folder, model_folder
from planish.data.chat.defaults import AS_IT_IS, CHATML, TemplateChoice, ensure_template
from planish.data.chat.templates import ChatTemplate

END_OF_TEXT = "<|endoftext|>"
SPECIAL = [END_OF_TEXT, "<|im_start|>", "<|im_end|>"]


def load_tokenizer(path: str | Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    path = model_folder(path)
    check_model_folder(path)
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: no tokenizer can be loaded from it: {first_line(error)}") from None


def vocabulary_size(tokenizer: PreTrainedTokenizerBase) -> int:
    """The number of embeddings that a tokenizer needs: more than it has tokens, where its numbers have gaps."""
    return 1 + max(tokenizer.get_vocab().values())


def open_template(
    path: str | Path | None, tokenizer: PreTrainedTokenizerBase, choice: TemplateChoice = AS_IT_IS
) -> ChatTemplate:
    """The chat template of a model's tokenizer, as the settings have it. `path` is the model, None for a new one."""
    ensure_template(tokenizer, choice.path, choice.system)
    return ChatTemplate(tokenizer, choice.mask, end_ids(path) if path is not None else ())


def end_ids(path: str | Path) -> list[int]:
    """The tokens at which a model's own settings end a generation."""
    folder = model_folder(path)
    found: list[Any] = []
    try:
        found.append(PreTrainedConfig.get_config_dict(folder)[0].get("eos_token_id"))
        found.append(GenerationConfig.from_pretrained(folder).eos_token_id)
    except (OSError, ValueError):
        pass  # not every model has a generation_config.json
    lists = [ids if isinstance(ids, list) else [ids] for ids in found]
    return list(dict.fromkeys(i for ids in lists for i in ids if isinstance(i, int)))


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE with ChatML's tokens, so that its base model can be fine-tuned to chat later."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    with new_folder(path) as folder:
        tokenizer.save_pretrained(str(folder))
