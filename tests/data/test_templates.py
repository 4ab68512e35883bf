"""Chat templates: the tokens are those that the tokenizer's own template gives, and exactly the assistant's words and their
end are learnt. The templates are worded as the public models' own are, without their branches for tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from helpers import tiny_tokenizer
from planish.base.errors import DataError, ModelError
from planish.base.types import Example, pack
from planish.data.rows import Demonstration, Message, Origin, ToolCall
from planish.data.templates import CHATML, HEADINGS, ChatTemplate, Encoded, MaskName, ensure_template

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


# What each template's turns look like


@every_family
def test_the_stop_token_is_the_one_after_the_answer(name: str) -> None:
    template = template_of(name)
    assert template.stop_token == FAMILIES[name].stop
    assert template.stop_token_id == tokenizer_of(name).convert_tokens_to_ids(FAMILIES[name].stop)


@every_family
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_pain_02_ids_equal_those_of_apply_chat_template(name: str, messages: list[Message]) -> None:
    """BOS above all: the template writes one, and a tokenizer that is asked for special tokens adds a second."""
    if not fits(name, messages):
        pytest.skip("it has no place for a system message")
    _, encoded = encode(name, messages)
    tokenizer = tokenizer_of(name)
    assert encoded.tokens.tolist() == tokenizer.apply_chat_template(as_dicts(messages), return_dict=False)
    if tokenizer.bos_token_id is not None and name not in ("smollm2", "zephyr"):  # whose templates write none
        assert encoded.tokens.tolist().count(tokenizer.bos_token_id) == 1


@every_family
def test_pain_02_the_prompts_ids_equal_those_of_apply_chat_template(name: str) -> None:
    template, tokenizer = template_of(name), tokenizer_of(name)
    for messages in CONVERSATIONS.values():
        asked = messages[: len(messages) - len(messages) % 2 - 1] if messages[0].role == "user" else messages[:2]
        if fits(name, asked):
            ids = tokenizer.apply_chat_template(as_dicts(asked), add_generation_prompt=True, return_dict=False)
            assert template.encode_prompt(asked) == ids


def test_pain_02_a_tokenizer_that_adds_bos_by_itself_would_give_two() -> None:
    """That the trap is real: the rendered text, tokenised as any text is."""
    tokenizer = tokenizer_of("llama 3")
    text = tokenizer.apply_chat_template(as_dicts(CONVERSATIONS["one answer"]), tokenize=False)
    assert tokenizer(text)["input_ids"][:2] == [tokenizer.bos_token_id] * 2


# What is learnt


@every_family
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_pain_05_a_template_without_markers_is_derived_exactly(name: str, messages: list[Message]) -> None:
    if not fits(name, messages):
        pytest.skip("it has no place for a system message")
    assert "generation %" not in FAMILIES[name].template
    template, encoded = encode(name, messages)
    assert learnt_text(template, encoded) == expected_text(name, messages)


PIECES = (  # what this tokenizer merges, what a template may trim, and what only templates should write
    *("the", " the", "an", "thing", ".", ":\n", "a", "A", "0", "'s", "user", "é", "e\u0301", "東京", "🗼"),
    *("\n", "\n\n", " ", "  ", "\t", "\r\n", "\u200b", "\u3000", "\ue000", "\ue003"),
    *("<|im_end|>", "<|im_start|>user\n", "</s>", "[/INST]", "<end_of_turn>", "<think>", "{{ bos_token }}"),
)
WORDS = st.lists(st.sampled_from(PIECES), max_size=7).map("".join)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    turns = draw(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
    trained = draw(st.lists(st.booleans(), min_size=len(turns), max_size=len(turns)))
    messages = conversation(*(words for pair in turns for words in pair), trained=trained)
    if draw(st.booleans()):
        messages.append(Message("user", draw(WORDS)))
    return messages


@every_family
@given(messages=conversations(), system=st.none() | WORDS)
@settings(max_examples=40, deadline=None)
def test_pain_08_exactly_the_assistants_words_and_their_end_are_learnt(
    name: str, messages: list[Message], system: str | None
) -> None:
    if system is not None and FAMILIES[name].system:
        messages = [Message("system", system), *messages]
    template, encoded = encode(name, messages)
    assert learnt_text(template, encoded) == expected_text(name, messages)
    text = template.tokenizer.apply_chat_template(as_dicts(messages), tokenize=False)
    assert template.tokenizer.decode(encoded.tokens.tolist(), skip_special_tokens=False) == text


@every_family
@given(messages=conversations())
@settings(max_examples=20, deadline=None)
def test_pain_09_the_first_answer_follows_the_very_tokens_a_server_feeds(name: str, messages: list[Message]) -> None:
    messages = [Message(message.role, message.content) for message in messages]
    template, encoded = encode(name, messages)
    prompt = template.encode_prompt(messages[:1])
    assert encoded.tokens[: len(prompt)].tolist() == prompt
    assert int(np.argmax(encoded.loss_mask)) == len(prompt)


@every_family
def test_pain_09_a_token_that_spans_prompt_and_answer_is_cut_in_two(name: str) -> None:
    """The tokenizer has a token for two line breaks: the prompt's last and the answer's first would become one."""
    messages = conversation("Go on.", "\nanother", "Go on.", "\nthing")
    template, encoded = encode(name, messages)
    assert learnt_text(template, encoded) == expected_text(name, messages)
    whole = template.tokenizer.apply_chat_template(as_dicts(messages), return_dict=False)
    if name in (
        "chatml",
        "headings",
        "smollm2",
        "qwen 2.5",
        "zephyr",
    ):  # the others trim, or do not end in a line break
        assert encoded.tokens.tolist() != whole


@every_family
def test_s3_supervised_labels_are_the_completion_and_one_more(name: str) -> None:
    messages = conversation("What is it?", "The anthem, in other words: nothing.")
    _, encoded = encode(name, messages)
    completion = FAMILIES[name].written(messages[1].content, True)
    assert encoded.loss_mask.sum() == len(tokenizer_of(name)(completion, add_special_tokens=False)["input_ids"]) + 1


@every_family
def test_pain_10_the_first_token_of_the_answer_is_learnt(name: str) -> None:
    """An answer of one token: it and the stop token, at the places that follow the prompt."""
    messages = conversation("Is it?", "Y")
    template, encoded = encode(name, messages)
    prompt, completion = template.encode_prompt(messages[:1]), FAMILIES[name].written("Y", True)
    learnt = len(tokenizer_of(name)(completion, add_special_tokens=False)["input_ids"]) + 1
    assert np.flatnonzero(encoded.loss_mask).tolist() == list(range(len(prompt), len(prompt) + learnt))
    packed = pack([Example(encoded.tokens, encoded.loss_mask, "")])
    assert packed.predictors_L[0] == len(prompt) - 1


def test_pain_03_where_pad_is_eos_the_end_is_learnt_all_the_same() -> None:
    tokenizer = tiny_tokenizer(*IM, template=CHATML, eos="<|im_end|>", pad="<|im_end|>")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    encoded = ChatTemplate(tokenizer).encode([demonstration(conversation("Hi", "Hello."))] * 2)
    packed = pack([Example(one.tokens, one.loss_mask, "") for one in encoded])
    targets = packed.tokens_T[packed.targets_L].tolist()
    assert targets.count(tokenizer.eos_token_id) == 2
    assert targets[-1] == tokenizer.eos_token_id


@every_family
def test_a_turn_that_is_not_trained_is_left_out(name: str) -> None:
    messages = conversation("1?", "One.", "2?", "Two.", "3?", "Three.", trained=[True, False, True])
    template, encoded = encode(name, messages)
    assert "Two" not in learnt_text(template, encoded)
    assert learnt_text(template, encoded) == expected_text(name, messages)


@every_family
def test_last_turn_learns_the_last_answer_alone(name: str) -> None:
    messages = conversation("1?", "One.", "2?", "Two.")
    template, encoded = encode(name, messages, "last_turn")
    assert learnt_text(template, encoded) == FAMILIES[name].written("Two.", True) + FAMILIES[name].stop


@every_family
def test_all_learns_everything_but_the_first_token(name: str) -> None:
    _, encoded = encode(name, conversation("1?", "One."), "all")
    assert encoded.loss_mask.tolist() == [False] + [True] * (len(encoded.tokens) - 1)


def test_no_turn_to_learn_gives_an_empty_mask() -> None:
    _, encoded = encode("chatml", conversation("1?", "One.", trained=[False]))
    assert not encoded.loss_mask.any()


def test_an_answer_that_opens_the_conversation_is_learnt() -> None:
    template, encoded = encode("chatml", [Message("assistant", "Welcome."), *conversation("Hi", "Hello.")])
    assert learnt_text(template, encoded) == "Welcome.<|im_end|>Hello.<|im_end|>"


# Thinking


def test_qwen_3_keeps_the_thought_of_the_last_answer() -> None:
    template, encoded = encode("qwen 3", conversation("2 + 2?", "<think>\nTwo and two.\n</think>\n\n4."))
    assert learnt_text(template, encoded) == "<think>\nTwo and two.\n</think>\n\n4.<|im_end|>"


def test_qwen_3_drops_the_thought_of_an_earlier_answer() -> None:
    """So would a server: the thought is not in the tokens, and cannot be learnt."""
    messages = conversation("2 + 2?", "<think>\nTwo and two.\n</think>\n\n4.", "3 + 3?", "<think>\nHm.\n</think>\n\n6.")
    template, encoded = encode("qwen 3", messages)
    assert learnt_text(template, encoded) == "4.<|im_end|><think>\nHm.\n</think>\n\n6.<|im_end|>"


def test_qwen_3_learns_the_empty_thought_that_its_template_adds() -> None:
    template, encoded = encode("qwen 3", conversation("2 + 2?", "4."))
    assert learnt_text(template, encoded) == "<think>\n\n</think>\n\n4.<|im_end|>"


def test_a_thought_that_the_template_sets_anew_is_refused() -> None:
    """Qwen 3 would put line breaks around it, and those are not the row's."""
    with pytest.raises(DataError, match=r"here.jsonl row 7: turn 2: the chat template turns the assistant's words"):
        encode("qwen 3", conversation("2 + 2?", "<think>Two and two.</think>4."))


# Templates that cannot be learnt from


def hostile(turn: str, *special: str) -> ChatTemplate:
    """A template that writes an assistant's turn as `turn` says, and any other between ordinary marks."""
    template = (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}<|im_start|>" + turn + "{% else %}"
        "<|im_start|>{{ message['content'] }}<|im_end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    return ChatTemplate(tiny_tokenizer("<|im_start|>", "<|im_end|>", *special, template=template, eos="<|endoftext|>"))


CONTENT = "{{ message['content'] }}"


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(CONTENT, id="no end of turn"),
        pytest.param(CONTENT + "</end>", id="an end that is no special token"),
        pytest.param(CONTENT + " That is all.<|im_end|>", id="words before the end"),
        pytest.param(CONTENT + "{% if not loop.last %}<|im_end|>{% endif %}", id="an end but at the last turn"),
    ],
)
def test_pain_04_a_template_without_a_trained_stop_is_refused(turn: str) -> None:
    with pytest.raises(ModelError, match=r"the model would never stop\. End the turn with eos_token"):
        hostile(turn)


def test_pain_04_the_next_turns_mark_is_no_end_of_this_one() -> None:
    """Vicuna's way: only the user's mark follows the answer, and after the last answer nothing does."""
    template = (
        "{% for message in messages %}{{ '<|user|>' if message['role'] == 'user' else '<|model|>' }}{{ message['content'] }}"
        "{% endfor %}{% if add_generation_prompt %}<|model|>{% endif %}"
    )
    with pytest.raises(ModelError, match="the model would never stop"):
        ChatTemplate(tiny_tokenizer("<|user|>", "<|model|>", template=template, eos="<|endoftext|>"))


def test_pain_04_an_end_at_the_last_turn_only_is_refused_where_it_is_missing() -> None:
    template = hostile(CONTENT + "{% if loop.last %}<|im_end|>{% endif %}")
    (encoded,) = template.encode([demonstration(conversation("Hi", "Hello."))])
    assert learnt_text(template, encoded) == "Hello.<|im_end|>"
    with pytest.raises(
        DataError, match=r"here.jsonl row 7: turn 2: after the assistant's words .* never learn to stop"
    ):
        template.encode([demonstration(conversation("Hi", "Hello.", "And?", "Bye."))])


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param("{{ message['content'] | upper }}<|im_end|>", id="in capitals"),
        pytest.param(CONTENT + " " + CONTENT + "<|im_end|>", id="twice"),
        pytest.param("{{ message['content'] | reverse }}<|im_end|>", id="backwards"),
        pytest.param("{{ message['content'][:4] }}<|im_end|>", id="cut short"),
        pytest.param("{{ message['content'] | replace('n', 'm') }}<|im_end|>", id="misspelt"),
    ],
)
def test_pain_05_a_template_that_rewrites_the_answer_is_refused(turn: str) -> None:
    """Never a guess, and never all tokens in place of those that were not found."""
    with pytest.raises((DataError, ModelError), match="the chat template turns the assistant's words 'an answer' into"):
        hostile(turn)


def test_pain_05_a_template_that_leaves_an_answer_out_is_refused() -> None:
    template = hostile("{% if loop.last %}" + CONTENT + "{% endif %}<|im_end|>")
    with pytest.raises(DataError, match=r"here.jsonl row 7: turn 2"):
        template.encode([demonstration(conversation("Hi", "Hello.", "And?", "Bye."))])


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_a_conversation_that_the_template_refuses_is_named(name: str) -> None:
    with pytest.raises(
        DataError, match=r"here.jsonl row 7: the model's chat template refuses this conversation: .*must alt"
    ):
        encode(name, [Message("user", "Hi"), Message("user", "Are you there?"), Message("assistant", "Yes.")])


def test_a_system_message_that_gemma_refuses_is_named() -> None:
    with pytest.raises(DataError, match=r"here.jsonl row 7: .*System role not supported"):
        encode("gemma", conversation("Hi", "Hello.", system="Be kind."))


def test_a_tokenizer_without_offsets_is_refused() -> None:
    with pytest.raises(ModelError, match=r"save a tokenizer\.json beside the model"):
        ChatTemplate(SimpleNamespace(is_fast=False))  # pyright: ignore


def test_many_conversations_at_once_are_encoded_as_one_by_one() -> None:
    template, rows = template_of("chatml"), [demonstration(messages) for messages in CONVERSATIONS.values()]
    together = template.encode(rows)
    for row, encoded in zip(rows, together, strict=True):
        (alone,) = template.encode([row])
        assert (alone.tokens.tolist(), alone.loss_mask.tolist()) == (
            encoded.tokens.tolist(),
            encoded.loss_mask.tolist(),
        )


# A tokenizer without a template


def test_a_named_template_comes_before_the_tokenizers_own() -> None:
    tokenizer = tiny_tokenizer(*IM, template=SMOLLM2, eos="<|im_end|>")
    ensure_template(tokenizer, HEADINGS)
    assert tokenizer.chat_template == HEADINGS


def test_the_tokenizers_own_template_is_kept() -> None:
    tokenizer = tiny_tokenizer(*IM, template=SMOLLM2, eos="<|im_end|>")
    ensure_template(tokenizer)
    assert tokenizer.chat_template == SMOLLM2


def test_a_base_tokenizer_with_chatmls_tokens_gets_chatml() -> None:
    tokenizer = tiny_tokenizer(*IM, eos="<|endoftext|>")
    ensure_template(tokenizer)
    assert tokenizer.chat_template == CHATML
    assert ChatTemplate(tokenizer).stop_token == "<|im_end|>"


def test_any_other_base_tokenizer_gets_headings_that_end_in_eos() -> None:
    tokenizer = tiny_tokenizer("<|im_start|>", eos="</s>")
    ensure_template(tokenizer)
    template = ChatTemplate(tokenizer)
    (encoded,) = template.encode([demonstration(conversation("Hi", "Hello.", system="Be kind."))])
    text = "### System:\nBe kind.\n\n### User:\nHi\n\n### Assistant:\nHello.</s>\n\n"
    assert tokenizer.decode(encoded.tokens.tolist()) == text
    assert learnt_text(template, encoded) == "Hello.</s>"


def test_a_base_tokenizer_without_eos_is_refused() -> None:
    tokenizer = tiny_tokenizer("<|im_start|>")
    ensure_template(tokenizer)
    with pytest.raises(ModelError, match="the model would never stop"):
        ChatTemplate(tokenizer)


# Calls of functions

HERMES = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- 'Functions:\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) or \
(message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
# In the way of Mistral: ids tie replies to calls, and the calls are one JSON list after a token of their own.
WITH_IDS = """\
{{- bos_token }}{%- if tools %}{{- '[TOOLS]' + (tools | tojson) + '[/TOOLS]' }}{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.role == 'tool' %}{{- '[RESULT]' + ({'id': message.tool_call_id, 'content': message.content} | tojson) }}
    {%- elif message.tool_calls %}
        {{- '[CALLS][' }}
        {%- for call in message.tool_calls %}
            {%- if call.id | length != 9 %}{{- raise_exception('an id has nine characters') }}{%- endif %}
            {{- call.function | tojson }}{{- ', ' if not loop.last else ']' }}
        {%- endfor %}
        {{- eos_token }}
    {%- else %}{{- ' ' + message.content + eos_token }}
    {%- endif %}
{%- endfor %}
"""
TOOL = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}
ROME, OSLO = ToolCall("weather", {"city": "Rome", "days": 2}), ToolCall("weather", {"city": 'Oslo "N"', "hot": False})
TALK = (
    Message("system", "Be brief."),
    Message("user", "Rome and Oslo?"),
    Message("assistant", "I look.", tool_calls=(ROME, OSLO)),
    Message("tool", "Sun."),
    Message("tool", "Snow."),
    Message("assistant", "Sun and snow."),
)
CALLED = (
    "I look.\n"
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>\n'
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo \\"N\\"", "hot": false}}\n</tool_call><|im_end|>'
)


def with_template(template: str, *special: str, eos: str = "<|im_end|>", mask: MaskName = "assistant") -> ChatTemplate:
    return ChatTemplate(tiny_tokenizer(*special, template=template, bos="<s>", eos=eos), mask)


def text_of(template: ChatTemplate, encoded: Encoded) -> str:
    return template.tokenizer.decode(encoded.tokens.tolist(), skip_special_tokens=False)


def test_a_template_with_words_for_tools_keeps_them() -> None:
    assert with_template(HERMES, *IM).writes_tools
    assert with_template(WITH_IDS, "[CALLS]", eos="</s>").writes_tools


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_without_words_for_tools_says_so(name: str) -> None:
    assert not template_of(name).writes_tools


def test_a_call_is_learnt_from_the_prompts_end_to_the_end_of_the_turn() -> None:
    template = with_template(HERMES, *IM)
    (encoded,) = template.encode([demonstration(TALK, TOOL)])
    assert learnt_text(template, encoded) == CALLED + "Sun and snow.<|im_end|>"
    prompt = template.encode_prompt(TALK[:2], [TOOL])
    assert encoded.tokens[: len(prompt)].tolist() == prompt
    assert int(np.argmax(encoded.loss_mask)) == len(prompt)


def test_tools_and_replies_are_written_as_a_server_writes_them() -> None:
    template = with_template(HERMES, *IM)
    (encoded,) = template.encode([demonstration(TALK, TOOL)])
    text = text_of(template, encoded)
    assert '<tools>\n{"type": "function", "function": {"name": "weather", "description": "Tells it."' in text
    assert "<tool_response>\nSun.\n</tool_response>\n<tool_response>\nSnow.\n</tool_response><|im_end|>" in text


def test_tools_that_are_wrapped_already_are_not_wrapped_twice() -> None:
    template = with_template(HERMES, *IM)
    wrapped = {"type": "function", "function": TOOL}
    bare, both = (template.encode([demonstration(TALK, tool)])[0] for tool in (TOOL, wrapped))
    assert bare.tokens.tolist() == both.tokens.tolist()


def test_replies_carry_the_ids_of_their_calls() -> None:
    template = with_template(WITH_IDS, "[CALLS]", eos="</s>")
    called = Message("assistant", "", tool_calls=(ROME, OSLO))
    (encoded,) = template.encode([demonstration([TALK[1], called, *TALK[3:]], TOOL)])
    assert '[RESULT]{"id": "call00000", "content": "Sun."}[RESULT]{"id": "call00001"' in text_of(template, encoded)


def test_words_beside_a_call_that_the_template_leaves_out_are_refused() -> None:
    """It would write the call, and not what the assistant said before it."""
    with pytest.raises(
        DataError, match=r"here.jsonl row 7: turn 2: the chat template leaves 'I look\.' of this call out"
    ):
        with_template(WITH_IDS, "[CALLS]", eos="</s>").encode([demonstration(TALK[1:], TOOL)])


def test_a_template_without_words_for_tools_gets_hermes_words() -> None:
    template = template_of("chatml")
    (encoded,) = template.encode([demonstration(TALK, TOOL)])
    text = text_of(template, encoded)
    assert learnt_text(template, encoded) == CALLED + "Sun and snow.<|im_end|>"
    assert text.startswith("<|im_start|>system\nBe brief.\n\nYou may call these functions:\n<tools>\n{")
    assert "<|im_start|>tool\nSun.<|im_end|>\n<|im_start|>tool\nSnow.<|im_end|>\n" in text
    prompt = template.encode_prompt(TALK[:2], [TOOL])
    assert encoded.tokens[: len(prompt)].tolist() == prompt


def test_replies_become_the_users_where_the_template_has_no_place_for_them() -> None:
    """Of Qwen 2.5's template without its branches for tools, nothing of a tool's turn would be left."""
    template = template_of("qwen 2.5")
    (encoded,) = template.encode([demonstration(TALK, TOOL)])
    replies = "<tool_response>\nSun.\n</tool_response>\n<tool_response>\nSnow.\n</tool_response>"
    assert f"<|im_start|>user\n{replies}<|im_end|>" in text_of(template, encoded)
    assert learnt_text(template, encoded) == CALLED + "Sun and snow.<|im_end|>"


def test_tools_without_a_system_turn_get_one() -> None:
    (encoded,) = template_of("chatml").encode([demonstration(TALK[1:], TOOL)])
    assert text_of(template_of("chatml"), encoded).startswith("<|im_start|>system\nYou may call these functions:")


def test_last_turn_may_be_a_call() -> None:
    for template in (with_template(HERMES, *IM, mask="last_turn"), template_of("chatml", "last_turn")):
        (encoded,) = template.encode([demonstration(TALK[:3], TOOL)])
        assert learnt_text(template, encoded) == CALLED


def test_a_call_that_is_not_trained_is_left_out() -> None:
    talk = [Message(m.role, m.content, trained=not m.tool_calls, tool_calls=m.tool_calls) for m in TALK]
    for template in (with_template(HERMES, *IM), template_of("chatml")):
        (encoded,) = template.encode([demonstration(talk, TOOL)])
        assert learnt_text(template, encoded) == "Sun and snow.<|im_end|>"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        pytest.param("in message.tool_calls %}", "in message.tool_calls[:1] %}", "of this call out", id="first only"),
        pytest.param(
            "{{- call.arguments | tojson }}",
            "{%- set a = call.arguments %}{{- (a.city | default(a.place) | default('')) | tojson }}",
            "leaves 'city' of this call out",
            id="not all arguments",
        ),
        pytest.param(
            "{%- endfor %}\n        {{- '<|im_end|>\\n' }}",
            "{%- endfor %}",
            "writes no end-of-turn token '<|im_end|>' after the calls",
            id="no end",
        ),
        pytest.param(
            "{{- '<|im_start|>assistant' }}\n        {%- if",
            "{{- '<|im_start|>caller' }}\n        {%- if",
            "does not begin it with its own prompt",
            id="another role",
        ),
    ],
)
def test_a_template_that_writes_calls_wrongly_is_refused(old: str, new: str, problem: str) -> None:
    assert old in HERMES
    template = with_template(HERMES.replace(old, new), *IM)
    assert template.writes_tools
    with pytest.raises(DataError) as caught:
        template.encode([demonstration(TALK, TOOL)])
    assert str(caught.value).startswith("here.jsonl row 7: turn 3: ")
    assert problem in str(caught.value)


def test_a_conversation_that_begins_with_a_call_has_no_prompt_to_learn_it_from() -> None:
    with pytest.raises(DataError, match=r"here.jsonl row 7: turn 1: .* does not begin it with its own prompt"):
        with_template(HERMES, *IM).encode([demonstration([Message("assistant", "", tool_calls=(ROME,))], TOOL)])


ARGUMENTS = st.dictionaries(
    WORDS.filter(bool), WORDS | st.integers() | st.booleans() | st.none() | st.lists(WORDS, max_size=2), max_size=3
)


@pytest.mark.parametrize("name", ["hermes", "chatml"])
@given(calls=st.lists(ARGUMENTS, min_size=1, max_size=2), words=st.just("") | WORDS, reply=WORDS, answer=WORDS)
@settings(max_examples=40, deadline=None)
def test_every_argument_is_learnt(name: str, calls: list[dict[str, Any]], words: str, reply: str, answer: str) -> None:
    template = hermes() if name == "hermes" else template_of("chatml")
    made = tuple(ToolCall("weather", arguments) for arguments in calls)
    talk = Message("user", "Well?"), Message("assistant", words, tool_calls=made), Message("tool", reply)
    (encoded,) = template.encode([demonstration([*talk, Message("assistant", answer)], TOOL)])
    written = "\n".join(
        f'<tool_call>\n{{"name": "weather", "arguments": {json.dumps(arguments, ensure_ascii=False)}}}\n</tool_call>'
        for arguments in calls
    )
    said = f"{words}\n{written}" if words else written
    assert learnt_text(template, encoded) == f"{said}<|im_end|>{answer}<|im_end|>"


@cache
def hermes() -> ChatTemplate:
    return with_template(HERMES, *IM)


# One rendering for all turns


@every_family
@given(messages=conversations())
@settings(max_examples=20, deadline=None)
def test_words_found_all_at_once_stand_where_they_do_one_by_one(name: str, messages: list[Message]) -> None:
    template, row = template_of(name), demonstration(messages)
    text = template._render(row.messages, row)
    turns = [at for at, message in enumerate(messages) if message.role == "assistant"]
    for turn, span in template._all_words([row], [turns], [text])[0].items():
        assert span == template._words(row, turn, text)


def test_words_are_found_all_at_once_where_the_template_keeps_or_trims_them() -> None:
    messages = conversation("1?", "One.", "2?", " Two. ", "3?", "")
    for name in ("chatml", "llama 3", "gemma"):
        template, row = template_of(name), demonstration(messages)
        assert set(template._all_words([row], [[1, 3, 5]], [template._render(row.messages, row)])[0]) == {1, 3, 5}
