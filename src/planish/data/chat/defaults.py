"""The chat template of a tokenizer: its own, a file's, or one that fits its vocabulary; and its default system message."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from planish.base.errors import ConfigError

MaskName = Literal["assistant", "last_turn", "all"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# For base models without ChatML's tokens: headings in words, and the end-of-sequence token as end of turn.
HEADINGS = (
    "{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
# A template that begins with these lines gives a conversation without a system message this one. Any server that renders
# the template does so, too.
_BEGIN = "{#- default system message -#}\n{%- if not messages or messages[0]['role'] != 'system' %}"
_END = "{%- endif %}\n"
_SET = "{%- set messages = [{'role': 'system', 'content': "
_ADD = "}] + messages %}"
_DEFAULT_SYSTEM = re.compile(re.escape(_BEGIN + _SET) + "(.*?)" + re.escape(_ADD + _END))


@dataclass(frozen=True, slots=True)
class TemplateChoice:
    """The settings of a chat template: a jinja file, a default system message, and which turns are learnt."""

    path: str | None = None
    system: str | None = None
    mask: MaskName = "assistant"


AS_IT_IS = TemplateChoice()


def ensure_template(tokenizer: PreTrainedTokenizerBase, path: str | None = None, system: str | None = None) -> None:
    """Sets the tokenizer's chat template: the jinja file `path`, else its own, else one that fits its vocabulary. `system` is
    the system message of conversations that have none; the template itself writes it, and is saved with the model."""
    if path is not None:
        try:
            tokenizer.chat_template = Path(path).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigError(f"data.template={path}: cannot be read: {error.strerror}") from None
    elif not tokenizer.chat_template:
        vocabulary = tokenizer.get_vocab()
        tokenizer.chat_template = CHATML if {"<|im_start|>", "<|im_end|>"} <= vocabulary.keys() else HEADINGS
    if system is not None:
        named: Any = tokenizer.chat_template  # some tokenizers have several, by name
        if isinstance(named, dict):
            tokenizer.chat_template = {name: with_system(text, system) for name, text in named.items()}  # pyright: ignore
        else:
            tokenizer.chat_template = with_system(named, system)


def default_system(template: str) -> str | None:
    """The default system message that `with_system` has given a template."""
    found = _DEFAULT_SYSTEM.match(template)
    return json.loads(found[1]) if found else None


def with_system(template: str, system: str) -> str:
    """The template, which now gives conversations without a system message this one."""
    message = f"{_SET}{json.dumps(system, ensure_ascii=False)}{_ADD}"
    return f"{_BEGIN}{message}{_END}{_DEFAULT_SYSTEM.sub('', template, count=1)}"
