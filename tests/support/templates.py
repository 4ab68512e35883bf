"""Chat templates of well-known models, in words of their own, without their branches for tools; and what tests do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from planish.data.chat.defaults import CHATML, HEADINGS
from planish.data.chat.templates import ChatTemplate, Encoded, MaskName
from planish.data.rows import Demonstration, Message, Origin
from support.tokenizers import tiny_tokenizer

HERE = Origin("here.jsonl", 7)

SMOLLM2 = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

LLAMA_3 = """\
{% set loop_messages = messages %}{% for message in loop_messages %}\
{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>

'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}\
{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %}"""

LLAMA_3_1 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{#- System message #}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""

QWEN_2_5 = """\
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or \
(message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN_3 = """\
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and \
not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + \
'\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

MISTRAL = """\
{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}\
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""

MISTRAL_3 = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {{- "[INST] " + message["content"] + "[/INST]" }}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""


def as_it_is(words: str, last: bool) -> str:
    return words


def trimmed(words: str, last: bool) -> str:
    return words.strip()


def after_a_space(words: str, last: bool) -> str:
    """Mistral's prompt ends in [/INST]: the space before the answer is the model's to write."""
    return " " + words.strip()


def after_a_thought(words: str, last: bool) -> str:
    """Qwen 3 lets the last answer, and no other, begin with a block of thought, here an empty one."""
    return "<think>\n\n</think>\n\n" + words.lstrip("\n") if last else words


@dataclass(frozen=True)
class Family:
    template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    stop: str
    written: Callable[[str, bool], str]  # what a server's model has to write before it stops, from an answer's words
    system: bool = True  # has a place for a system message


IM = ("<|im_start|>", "<|im_end|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
FAMILIES = {
    "chatml": Family(CHATML, IM, None, "<|endoftext|>", "<|im_end|>", as_it_is),
    "headings": Family(HEADINGS, (), None, "<|endoftext|>", "<|endoftext|>", as_it_is),
    "smollm2": Family(SMOLLM2, IM, "<|im_start|>", "<|im_end|>", "<|im_end|>", as_it_is),
    "llama 3": Family(LLAMA_3, HEADERS, "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", trimmed),
    "llama 3.1": Family(LLAMA_3_1, HEADERS, "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>", trimmed),
    "gemma": Family(GEMMA, ("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", "<end_of_turn>", trimmed, False),
    "qwen 2.5": Family(QWEN_2_5, IM, None, "<|im_end|>", "<|im_end|>", as_it_is),
    "qwen 3": Family(QWEN_3, IM, None, "<|im_end|>", "<|im_end|>", after_a_thought),
    "mistral": Family(MISTRAL, (), "<s>", "</s>", "</s>", as_it_is, False),
    "mistral 3": Family(MISTRAL_3, ("[INST]", "[/INST]"), "<s>", "</s>", "</s>", after_a_space, False),
    "zephyr": Family(ZEPHYR, (), "<s>", "</s>", "</s>", as_it_is),
}
every_family = pytest.mark.parametrize("name", FAMILIES)


@cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """As Llama's and Gemma's do, it puts BOS before any text unless told not to."""
    family = FAMILIES[name]
    return tiny_tokenizer(
        *family.special, template=family.template, bos=family.bos, eos=family.eos, adds_bos=family.bos is not None
    )


@cache
def template_of(name: str, mask: MaskName = "assistant") -> ChatTemplate:
    return ChatTemplate(tokenizer_of(name), mask)


def conversation(*turns: str, system: str | None = None, trained: Sequence[bool] = ()) -> list[Message]:
    """User and assistant in turn."""
    messages = [Message("system", system)] if system is not None else []
    for i, words in enumerate(turns):
        learnt = trained[i // 2] if trained and i % 2 else True
        messages.append(Message("assistant" if i % 2 else "user", words, learnt))
    return messages


CONVERSATIONS = {
    "one answer": conversation("What is 2 + 2?", "4."),
    "two answers": conversation("Name the capital.", "It is Paris.", "And another.", "Rome, in the south."),
    "a question at the end": conversation("Hi", "Hello.", "And?"),
    "many lines": conversation("Write.\n\nPlease.", "The thing\n\nin the\n\n\nanthem.", "", " "),
    "other alphabets": conversation("Wie heißt 東京?", "Tōkyō 🗼 – so heißt's."),
    "with a system message": conversation("Hi", "Hello.", system="Be kind."),
}


def fits(name: str, messages: Sequence[Message]) -> bool:
    return FAMILIES[name].system or messages[0].role != "system"


def as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def learnt_text(template: ChatTemplate, encoded: Encoded) -> str:
    return template.tokenizer.decode(encoded.tokens[encoded.loss_mask].tolist(), skip_special_tokens=False)


def expected_text(name: str, messages: Sequence[Message]) -> str:
    """By the assistant's turns: what has to be written, and the end-of-turn token."""
    family, last = FAMILIES[name], len(messages) - 1
    turns = [(i, message) for i, message in enumerate(messages) if message.role == "assistant" and message.trained]
    return "".join(family.written(message.content, i == last) + family.stop for i, message in turns)


def demonstration(messages: Sequence[Message], *tools: Mapping[str, Any]) -> Demonstration:
    return Demonstration(tuple(messages), HERE, tools)


def encode(name: str, messages: Sequence[Message], mask: MaskName = "assistant") -> tuple[ChatTemplate, Encoded]:
    template = template_of(name, mask)
    return template, template.encode([demonstration(messages)])[0]


PIECES = (  # what this tokenizer merges, what a template may trim, and what only templates should write
    *("the", " the", "an", "thing", ".", ":\n", "a", "A", "0", "'s", "user", "é", "e\u0301", "東京", "🗼"),
    *("\n", "\n\n", " ", "  ", "\t", "\r\n", "\u200b", "\u3000", "\ue000", "\ue003"),
    *("<|im_end|>", "<|im_start|>user\n", "</s>", "[/INST]", "<end_of_turn>", "<think>", "{{ bos_token }}"),
)
WORDS = st.lists(st.sampled_from(PIECES), max_size=7).map("".join)
