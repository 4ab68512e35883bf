"""Chat templates: the tokens are those that the tokenizer's own template gives, and exactly the assistant's words and their
end are learnt. The templates are worded as the public models' own are, without their branches for tools."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.base.errors import DataError, ModelError
from planish.base.types import Example, pack
from planish.data.chat.defaults import CHATML, HEADINGS, ensure_template
from planish.data.chat.kept import EVERYONE
from planish.data.chat.notes import Note
from planish.data.chat.rendering import Renderer
from planish.data.chat.templates import ChatTemplate
from planish.data.rows import Message
from support.templates import (
    CONVERSATIONS,
    FAMILIES,
    IM,
    SMOLLM2,
    WORDS,
    as_dicts,
    conversation,
    demonstration,
    encode,
    every_family,
    expected_text,
    fits,
    learnt_text,
    template_of,
    tokenizer_of,
)
from support.tokenizers import tiny_tokenizer

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
    """So would a server: the thought is not in the tokens, and cannot be learnt. That is told."""
    messages = conversation("2 + 2?", "<think>\nTwo and two.\n</think>\n\n4.", "3 + 3?", "<think>\nHm.\n</think>\n\n6.")
    template, encoded = encode("qwen 3", messages)
    assert learnt_text(template, encoded) == "4.<|im_end|><think>\nHm.\n</think>\n\n6.<|im_end|>"
    assert encoded.notes == (Note("thought", "turn 2: '<think>\\nTwo and two.\\n</think>' is left out"),)


def test_qwen_3_learns_the_empty_thought_that_its_template_adds() -> None:
    template, encoded = encode("qwen 3", conversation("2 + 2?", "4."))
    assert learnt_text(template, encoded) == "<think>\n\n</think>\n\n4.<|im_end|>"


def test_the_white_space_that_the_template_sets_around_a_thought_is_learnt_and_told() -> None:
    template, encoded = encode("qwen 3", conversation("2 + 2?", "<think>Two and two.</think>4."))
    assert learnt_text(template, encoded) == "<think>\nTwo and two.\n</think>\n\n4.<|im_end|>"
    assert encoded.notes == (Note("space", "turn 2"),)


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


def test_a_named_template_comes_before_the_tokenizers_own(tmp_path: Path) -> None:
    (tmp_path / "headings.jinja").write_text(HEADINGS, encoding="utf-8")
    tokenizer = tiny_tokenizer(*IM, template=SMOLLM2, eos="<|im_end|>")
    ensure_template(tokenizer, str(tmp_path / "headings.jinja"))
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


# One rendering for all turns


@every_family
@given(messages=conversations())
@settings(max_examples=20, deadline=None)
def test_words_found_all_at_once_stand_where_they_do_one_by_one(name: str, messages: list[Message]) -> None:
    renderer, row = Renderer(tokenizer_of(name)), demonstration(messages)
    text = renderer.render(row)
    for turn, span in renderer.marked([row], [text], EVERYONE)[0].items():
        assert span == renderer.changed_by(row, turn, text)


def test_words_are_found_all_at_once_where_the_template_keeps_or_trims_them() -> None:
    messages = conversation("1?", "One.", "2?", " Two. ", "3?", "")
    for name in ("chatml", "llama 3", "gemma"):
        renderer, row = Renderer(tokenizer_of(name)), demonstration(messages)
        assert set(renderer.marked([row], [renderer.render(row)], EVERYONE)[0]) == {0, 1, 2, 3, 4, 5}
