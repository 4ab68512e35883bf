"""All of a row reaches the model, or is said not to: turns, tools and thoughts that a template loses, prompts that its texts do
not begin with, ends that differ from turn to turn, clocks, control tokens, and a default system message."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from planish.base import clock
from planish.base.errors import DataError, ModelError
from planish.data.chat.defaults import CHATML, ensure_template, with_system
from planish.data.chat.notes import Note, Notes
from planish.data.chat.templates import ChatTemplate, Encoded
from planish.data.rows import Message, Origin, ToolCall
from support.templates import IM, SMOLLM2, conversation, demonstration, learnt_text
from support.tokenizers import tiny_tokenizer

TOOL = {"name": "tide", "description": "Tells the tide.", "parameters": {"properties": {"harbour": {"type": "string"}}}}
CALLED = Message("assistant", "", tool_calls=(ToolCall("tide", {"harbour": "Leith"}),))
CALLS = [Message("user", "High tide?"), CALLED, Message("tool", "at noon"), Message("assistant", "At noon.")]


def chatml(of: str = "message['content']", asks: str = "") -> str:
    """ChatML that writes `of` as a turn's words; `asks` follows the assistant's heading in a prompt."""
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ " + of + " }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n" + asks + "{% endif %}"
    )


def made(template: str, *special: str, eos: str = "<|im_end|>") -> ChatTemplate:
    return ChatTemplate(tiny_tokenizer(*IM, *special, template=template, eos=eos))


def one(template: ChatTemplate, messages: list[Message], *tools: dict[str, Any]) -> Encoded:
    return template.encode([demonstration(messages, *tools)])[0]


def text_of(template: ChatTemplate, encoded: Encoded) -> str:
    return str(template.tokenizer.decode(encoded.tokens.tolist(), skip_special_tokens=False))


# Turns that a template loses

WITHOUT_SYSTEM = "message['content'] if message['role'] != 'system' else ''"
LOSING = {
    "every system message": (chatml(WITHOUT_SYSTEM), conversation("Hi", "Ho.", system="Be brief."), "system"),
    "a system message that is not the first": (
        chatml("message['content'] if message['role'] != 'system' or loop.first else ''"),
        [*conversation("Hi", "Ho."), Message("system", "Be brief."), *conversation("Hm", "Ha.")],
        "system",
    ),
    "a system message before the last question, in a prompt alone": (
        "{% for message in messages if message['role'] != 'system' %}<|im_start|>"
        "{% if loop.last and message.role == 'user' and messages[0].role == 'system' %}{{ messages[0].content }}\n{% endif %}"
        "{{ message['content'] }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}",
        conversation("Hi", "Ho.", system="Be brief."),
        "system",
    ),
    "all but the last question": (
        chatml("message['content'] if message['role'] != 'user' or loop.revindex < 3 else 'earlier'"),
        conversation("Hi", "Ho.", "Hm", "Ha."),
        "user",
    ),
    "capitals of a question": (
        chatml("message['content'] if message['role'] != 'user' else message['content'] | lower"),
        conversation("Hi", "Ho."),
        "user",
    ),
}


@pytest.mark.parametrize("name", LOSING)
@pytest.mark.parametrize("trained", [True, False])
def test_pain_28_a_turn_that_the_template_loses_is_refused(name: str, trained: bool) -> None:
    template, messages, role = LOSING[name]
    messages = [Message(m.role, m.content, trained) for m in messages]
    with pytest.raises(DataError, match=rf"here.jsonl row 7: turn \d: the chat template leaves out the {role} message"):
        one(made(template), messages)


def test_pain_28_a_prompt_whose_system_message_is_lost_is_refused_too() -> None:
    template, messages, _ = LOSING["every system message"]
    with pytest.raises(DataError, match=r"pots.jsonl row 3: turn 1: the chat template leaves out the system message"):
        made(template).encode_prompt(messages[:2], origin=Origin("pots.jsonl", 3))


@pytest.mark.parametrize(
    "of",
    [
        pytest.param("message['content'] | trim", id="trimmed"),
        pytest.param("message['content'] | replace('/no_think', '') if loop.first else message['content']", id="flags"),
        pytest.param("message['content'] | tojson if message['role'] == 'user' else message['content']", id="as JSON"),
    ],
)
def test_what_a_template_may_do_to_a_question_is_not_refused(of: str) -> None:
    template = made(chatml(of))
    encoded = one(template, conversation(' Say "Ho"\n/no_think', "Ho."))
    assert learnt_text(template, encoded) == "Ho.<|im_end|>"
    assert encoded.notes == ()


def test_a_reply_that_must_be_json_is_compared_without_a_mark() -> None:
    of = "message['content'] if message['role'] != 'tool' or message['content'][0] == '{' else raise_exception('no JSON')"
    template = made(chatml(of))
    talk = [Message("user", "Tide?"), Message("assistant", "I look."), Message("tool", '{"at": 12}'), CALLS[-1]]
    assert learnt_text(template, one(template, talk)) == "I look.<|im_end|>At noon.<|im_end|>"


def test_a_tool_that_the_template_writes_in_part_is_refused() -> None:
    template = (
        "{% for tool in tools or [] %}{{ tool.function.name }}: {{ tool.function.description }}\n{% endfor %}"
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
        "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert made(template).writes_tools
    with pytest.raises(DataError, match=r"here.jsonl row 7: the chat template leaves 'port' of the row's tools out"):
        one(made(template), CALLS, {**TOOL, "parameters": {"properties": {"port": {"type": "string"}}}})


# Thoughts

AFTER_THE_THOUGHT = chatml("message['content'].split('</think>')[-1]", "<think>\n")


def test_pain_28_thoughts_that_a_template_leaves_out_are_told() -> None:
    """As DeepSeek-R1's does in every turn."""
    template = made(AFTER_THE_THOUGHT)
    talk = conversation("1 + 1?", "<think>\nOne on.\n</think>\n\n2.", "And 1?", "<think>\nOn.\n</think>\n\n3.")
    encoded = one(template, talk)
    assert learnt_text(template, encoded) == "\n\n2.<|im_end|>\n\n3.<|im_end|>"
    assert [note.found for note in encoded.notes if note.kind == "thought"] == [
        "turn 2: '<think>\\nOne on.\\n</think>' is left out",
        "turn 4: '<think>\\nOn.\\n</think>' is left out",
    ]


def test_thoughts_of_a_turn_that_is_not_learnt_are_told_as_well() -> None:
    talk = conversation("1 + 1?", "<think>One on.</think>2.", "And 1?", "3.", trained=[False, True])
    kinds = [note.kind for note in one(made(AFTER_THE_THOUGHT), talk).notes]
    assert "thought" in kinds


@pytest.mark.parametrize("mark", ["[/THINK]", "<|END_THINKING|>", "</seed:think>", "<channel|>"])
def test_thoughts_end_in_any_tag(mark: str) -> None:
    template = made(chatml(f"message['content'].split('{mark}')[-1]"))
    (note,) = one(template, conversation("1 + 1?", f"One on.{mark}2.")).notes
    assert note == Note("thought", f"turn 2: {'One on.' + mark!r} is left out")


def test_a_beginning_that_is_no_thought_is_refused() -> None:
    template = made(chatml("message['content'].split('Answer: ')[-1]"))
    with pytest.raises(
        DataError, match="turn 2: the chat template leaves out 'Sure\\. Answer:' of the assistant's words"
    ):
        one(template, conversation("1 + 1?", "Sure. Answer: 2."))


# The prompt of a server


def test_a_prompt_that_opens_a_thought_is_told() -> None:
    template = made(chatml(asks="<think>\n"))
    encoded = one(template, conversation("1 + 1?", "2."))
    assert learnt_text(template, encoded) == "2.<|im_end|>"
    assert encoded.notes == (Note("prompt", "turn 2: '<think>\\n' there, '2.<|im_end|>\\n' in the text"),)


def test_after_a_prompt_that_opens_a_thought_its_end_is_learnt() -> None:
    """As in Nemotron 3: a server's model has to write the tag."""
    of = "('<think></think>' if message['role'] == 'assistant' else '') + message['content']"
    template = made(chatml(of, "<think>\n"))
    assert learnt_text(template, one(template, conversation("1 + 1?", "2."))) == "</think>2.<|im_end|>"


def test_a_thought_of_the_row_that_the_prompt_opens_is_learnt_from_there() -> None:
    template = made(chatml(asks="<think>\n"))
    encoded = one(template, conversation("1 + 1?", "<think>\nOne on.\n</think>\n\n2."))
    assert learnt_text(template, encoded) == "One on.\n</think>\n\n2.<|im_end|>"
    assert encoded.notes == ()


# Several ends

HARMONY = (
    "{% for message in messages %}{% if message.tool_calls %}{% for call in message.tool_calls %}<|im_start|>assistant to="
    "{{ call.function.name }}<|message|>{{ call.function.arguments | tojson }}<|call|>{% endfor %}"
    "{% elif message.role == 'assistant' %}<|im_start|>assistant<|message|>{{ message.content }}"
    "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}{% else %}<|im_start|>{{ message.role }}<|message|>"
    "{{ message.content }}{% if tools and loop.first %}{{ tools | tojson }}{% endif %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
HARMONYS = ("<|message|>", "<|return|>", "<|end|>", "<|call|>")


def test_every_turn_is_learnt_with_its_own_end() -> None:
    template = made(HARMONY, *HARMONYS, eos="<|return|>")
    encoded = one(template, conversation("Hi", "Ho.", "Hm", "Ha."))
    assert learnt_text(template, encoded) == "<|message|>Ho.<|end|><|message|>Ha.<|return|>"
    assert encoded.notes == (Note("end", "turn 2: '<|end|>', not '<|return|>'"),)
    vocabulary = template.tokenizer.get_vocab()
    assert template.stop_token_ids == tuple(vocabulary[token] for token in ("<|return|>", "<|end|>", "<|call|>"))


def test_a_call_is_learnt_with_its_own_end() -> None:
    template = made(HARMONY, *HARMONYS, eos="<|return|>")
    encoded = one(template, CALLS, TOOL)
    called = ' to=tide<|message|>{"harbour": "Leith"}<|call|>'
    assert learnt_text(template, encoded) == called + "<|message|>At noon.<|return|>"


def test_an_end_that_no_trial_has_found_names_the_way_out() -> None:
    template = made(chatml().replace("<|im_end|>", "{{ '<|im_end|>' if loop.last else '' }}"))
    with pytest.raises(DataError, match=r"data.mask=last_turn learns the last answer of each row alone"):
        one(template, conversation("Hi", "Ho.", "Hm", "Ha."))


ROLES = (
    "{% for message in messages %}{{ {'tool': '<|observation|>'}[message.role] or '<|' + message.role + '|>' }}\n"
    "{{ message.content }}{% for call in message.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}"
    "{% if tools and loop.first %}{{ tools | tojson }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def by_role(*ends: str) -> ChatTemplate:
    tokenizer = tiny_tokenizer("<|user|>", "<|assistant|>", "<|observation|>", template=ROLES, eos="<|endoftext|>")
    return ChatTemplate(tokenizer, end_ids=[tokenizer.get_vocab()[token] for token in ends])


def test_the_next_role_ends_a_turn_where_the_models_settings_say_so() -> None:
    template = by_role("<|endoftext|>", "<|user|>", "<|observation|>")
    encoded = one(template, conversation("Hi", "Ho.", "Hm", "Ha."))
    assert learnt_text(template, encoded) == "Ho.<|user|>Ha.<|user|>"
    assert text_of(template, encoded).endswith("Ha.<|user|>")
    assert encoded.notes == ()
    assert template.closing_ids == list(template.stop_token_ids)


def test_a_reply_ends_a_call_where_the_models_settings_say_so() -> None:
    template = by_role("<|user|>", "<|observation|>")
    called = '<call>{"name": "tide", "arguments": {"harbour": "Leith"}}</call><|observation|>'
    assert learnt_text(template, one(template, CALLS, TOOL)) == called + "At noon.<|user|>"
    assert learnt_text(template, one(template, CALLS[:2], TOOL)) == called


def test_the_next_role_ends_no_turn_otherwise() -> None:
    with pytest.raises(ModelError, match=r"must be among the eos_token_id of generation_config\.json"):
        by_role("<|endoftext|>")


def test_arguments_are_given_as_text_to_a_template_that_joins_them() -> None:
    """DeepSeek V3's."""
    template = made(
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{{ message.content }}{% for call in message.tool_calls or [] %}{{ call.function.name + call.function.arguments }}"
        "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert template.writes_tools
    assert learnt_text(template, one(template, CALLS, TOOL)) == 'tide{"harbour": "Leith"}<|im_end|>At noon.<|im_end|>'


# Clocks

DATED = "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y, %H:%M') }}\n{% endif %}" + CHATML


def test_a_templates_clock_can_be_stopped() -> None:
    with clock.stopped(datetime(2024, 2, 29, 23, 59)):
        template = made(DATED)
    encoded = one(template, conversation("Hi", "Ho."))
    assert text_of(template, encoded).startswith("29 February 2024, 23:59\n<|im_start|>user")
    prompt = template.encode_prompt(conversation("Hi"))
    assert encoded.tokens[: len(prompt)].tolist() == prompt


def test_a_format_that_is_not_written_out_is_refused() -> None:
    with pytest.raises(ModelError, match="in a format that it does not write out"):
        made("{{ strftime_now('%' + 'd') }}" + CHATML)


def test_a_clock_that_is_not_stopped_shows_the_time() -> None:
    before = datetime.now()
    shown = text_of(made("{{ strftime_now('%Y') }}" + CHATML), one(made(DATED), conversation("Hi", "Ho.")))
    assert before <= clock.now()
    assert str(before.year) in shown


# Control tokens in words


def test_control_tokens_in_words_are_told() -> None:
    template = made(CHATML)
    encoded = one(template, conversation("What ends a turn?", "The token <|im_end|> does."))
    assert encoded.notes == (Note("control_token", "<|im_end|>"),)
    assert one(template, conversation("What ends a turn?", "A token.")).notes == ()


def test_control_tokens_in_arguments_are_told() -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("tide", {"harbour": "<|im_start|>"}),))
    encoded = one(made(HARMONY, *HARMONYS, eos="<|return|>"), [CALLS[0], call], TOOL)
    assert encoded.notes == (Note("control_token", "<|im_start|>"),)


def test_notes_are_counted_by_row_and_kind() -> None:
    notes = Notes()
    thought = Note("thought", "turn 2: 'Hm.</think>' is left out")
    for number in range(1, 31):
        notes.add(
            Origin("a.jsonl", number), (thought, thought, *([Note("control_token", "</s>")] if number > 28 else []))
        )
    account = notes.merged(notes).account()
    assert account["thought"]["rows"] == 60
    assert [row["row"] for row in account["thought"]["first"]] == list(range(1, 21))
    assert account["control_token"] == {
        "rows": 4,
        "first": [{"file": "a.jsonl", "row": row, "reason": "</s>"} for row in (29, 30, 29, 30)],
    }
    assert notes.lines()[1].startswith("2 rows, such as a.jsonl row 29: words hold a control token")


# Tokens of the whole text


def llama_2() -> PreTrainedTokenizerFast:
    """A tokenizer that puts a space before any text, as Llama 2's does."""
    bpe = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    bpe.train_from_iterator(["ASK: Which river? TELL: The Tay. The Tay it is."] * 50, trainer)
    bpe.pre_tokenizer = None
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = decoders.Strip(" ", 1, 0)
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=False
    )


@pytest.mark.parametrize("answer", ["The Tay.", "Die Möwe 🗼", "\nThe Tay.", "The  Tay"])
def test_a_cut_at_the_prompts_end_adds_no_space(answer: str) -> None:
    """The prompt ends in a space, which is one token with the answer's first word."""
    tokenizer = llama_2()
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message.role == 'user' %}{{ 'ASK: ' + message.content + ' ' }}{% else %}"
        "{{ 'TELL: ' + message.content + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'TELL: ' }}"
        "{% endif %}"
    )
    template = ChatTemplate(tokenizer)
    encoded = one(template, conversation("Which river?", answer))
    assert text_of(template, encoded) == f"ASK: Which river? TELL: {answer}</s>"
    prompt = template.encode_prompt(conversation("Which river?"))
    assert encoded.tokens[: len(prompt)].tolist() == prompt
    assert encoded.loss_mask.tolist() == [False] * len(prompt) + [True] * (len(encoded.tokens) - len(prompt))


# A default system message

GREETING = 'Be "kind",\nand {{ brief }} {% endif %} 🗼 \\n.'


def test_a_default_system_message_takes_the_place_of_the_templates_own() -> None:
    tokenizer = tiny_tokenizer(*IM, template=SMOLLM2, eos="<|im_end|>")
    ensure_template(tokenizer, system=GREETING)
    template = ChatTemplate(tokenizer)
    text = text_of(template, one(template, conversation("Hi", "Ho.")))
    assert text.startswith(f"<|im_start|>system\n{GREETING}<|im_end|>\n<|im_start|>user\nHi")
    assert "SmolLM" not in text
    prompt = str(tokenizer.decode(template.encode_prompt(conversation("Hi"))))
    assert text.startswith(prompt)


def test_a_rows_own_system_message_stays() -> None:
    tokenizer = tiny_tokenizer(*IM, template=SMOLLM2, eos="<|im_end|>")
    ensure_template(tokenizer, system=GREETING)
    template = ChatTemplate(tokenizer)
    text = text_of(template, one(template, conversation("Hi", "Ho.", system="Be rude.")))
    assert text.startswith("<|im_start|>system\nBe rude.<|im_end|>\n<|im_start|>user\nHi")


def test_a_new_default_replaces_an_old_one() -> None:
    once = with_system(SMOLLM2, "first")
    assert with_system(once, "second") == with_system(SMOLLM2, "second")


def test_a_default_that_the_template_has_no_place_for_is_refused() -> None:
    tokenizer = tiny_tokenizer(*IM, template=chatml(WITHOUT_SYSTEM), eos="<|im_end|>")
    ensure_template(tokenizer, system="Be kind.")
    with pytest.raises(ModelError, match=r"leaves out the default system message 'Be kind\.'"):
        ChatTemplate(tokenizer)
