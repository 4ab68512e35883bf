"""Calls of functions: written as the template writes them, or in Hermes' words, and learnt whole."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.base.errors import DataError
from planish.data.chat.templates import ChatTemplate, Encoded, MaskName
from planish.data.rows import Message, ToolCall
from support.templates import FAMILIES, IM, WORDS, demonstration, learnt_text, template_of
from support.tokenizers import tiny_tokenizer

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
