"""Using the result: talk to a model in the terminal, or let it answer a file of prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT
from typing import Any

from pydantic import model_validator
from transformers import PreTrainedModel, TextStreamer

from planish.base.config import Field
from planish.base.distributed import local_device
from planish.base.files import as_lines, new_file
from planish.base.interrupt import Stopped
from planish.base.plugins import Plugins
from planish.base.random import subsample
from planish.data.chat.templates import ChatTemplate
from planish.data.chat.tool_calls import as_dicts
from planish.data.formats.mapping import ColumnsSetting
from planish.data.prompts import import_prompts
from planish.data.rows import Message, Prompt
from planish.inference.room import check_room
from planish.inference.sample import Completion, SamplingConfig, sample, stream
from planish.models.load import ModelConfig, context_length
from planish.models.loaded import load_chat_model
from planish.models.packed import CausalLM


class ChatConfig(SamplingConfig):
    model: ModelConfig = Field(description="the model to talk to")
    system: str | None = Field(default=None, description="a system message to begin with")
    max_completion_tokens: int = Field(default=512, ge=1, description="an answer is cut after this many tokens")
    temperature: float = Field(default=0.7, ge=0, description="0 takes the likeliest token each time")
    top_p: float = Field(
        default=0.95, gt=0, le=1, description="sample from the likeliest tokens that hold this much probability"
    )
    device: str = Field(default="auto", description="cpu, cuda, or auto")


def _load(config: ModelConfig, device: str) -> tuple[CausalLM, ChatTemplate]:
    loaded = load_chat_model(config, local_device(device))
    return loaded.causal_lm(), loaded.template


HELP = "/help lists the commands, /reset forgets the conversation, /quit leaves; Ctrl-C stops an answer"


def chat(config: ChatConfig) -> None:
    """A conversation in the terminal, until /quit or the end of input."""
    policy, template = _load(config.model, config.device)
    model = policy.model
    beginning = [Message("system", config.system)] if config.system else []
    messages = list(beginning)
    print(HELP)
    while True:
        try:
            text = input("\n> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if text == "/quit":
            return
        if text == "/reset":
            messages = list(beginning)
        elif re.fullmatch(r"/\w+", text):
            print(HELP)
        elif text:
            asked = [*messages, Message("user", text)]
            answer = _answer(model, template, asked, config)
            messages = messages if answer is None else [*asked, Message("assistant", answer)]


class _Heard(TextStreamer):
    """Prints an answer as it grows, and keeps it for the case that it is stopped."""

    text = ""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.text += text
        super().on_finalized_text(text, stream_end)


def _answer(
    model: PreTrainedModel, template: ChatTemplate, messages: list[Message], config: SamplingConfig
) -> str | None:
    """The answer, as far as it came; None where the conversation leaves no room for one."""
    prompt = template.encode_prompt(messages)
    limit = context_length(model.config)
    room = config.max_completion_tokens if limit is None else min(config.max_completion_tokens, limit - len(prompt))
    if room < 1:
        print(
            f"(no room: the conversation has {len(prompt)} tokens, the model was made for {limit}; /reset begins anew)"
        )
        return None
    heard = _Heard(template.tokenizer, skip_prompt=True, skip_special_tokens=True)  # pyright: ignore
    sampling = config.model_copy(update={"max_completion_tokens": room})
    try:
        tokens = stream(model, prompt, sampling, template.stop_token_ids, heard, len(messages))
    except KeyboardInterrupt as error:
        if isinstance(error, Stopped) and error.number != SIGINT:
            raise
        print("\n(stopped)")
        return heard.text
    if not {*tokens[-1:]} & {*template.stop_token_ids}:
        why = "max_completion_tokens" if room == config.max_completion_tokens else "the model has room for no more"
        print(f"(cut after {len(tokens)} tokens: {why})")
    return str(template.tokenizer.decode(tokens, skip_special_tokens=True))


class SampleConfig(SamplingConfig):
    model: ModelConfig = Field(description="the model that completes")
    prompts: str = Field(description="a file of prompts, or of demonstrations of any known format")
    columns: ColumnsSetting | None = Field(
        default=None, description="column of each field, {prompt: Question, completion: Answer}; absent recognizes them"
    )
    out: str = Field(description="the jsonl file to write")
    plugins: Plugins = ()
    device: str = Field(default="auto", description="cpu, cuda, or auto")
    limit: int | None = Field(default=None, ge=1, description="number of prompts, drawn by the seed; absent is all")
    num_samples: int = Field(default=1, ge=1, description="completions of each prompt, a line for each")

    @model_validator(mode="after")
    def _differ(self) -> SampleConfig:
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError(f"num_samples={self.num_samples}: at temperature 0 all would be the same; set temperature")
        return self


def sample_file(config: SampleConfig) -> int:
    """Writes one line for each completion: the prompt's messages and notes, and the model's words. Returns how many."""
    asked = subsample(import_prompts(config.prompts, columns=config.columns), config.limit, config.seed)
    policy, template = _load(config.model, config.device)
    encoded = [template.encode_prompt(prompt.messages, prompt.tools, prompt.origin) for prompt in asked]
    limit = context_length(policy.model.config)
    check_room(asked, encoded, config.max_completion_tokens, limit, config.model.path, "max_completion_tokens")
    with new_file(Path(config.out)) as partial:
        completions = sample(policy, template.tokenizer, encoded, config, template.stop_token_ids, config.num_samples)
        lines = _sampled_lines(asked, completions)
        partial.write_text(as_lines(lines), encoding="utf-8")
    return len(lines)


def _sampled_lines(asked: Sequence[Prompt], completions: Sequence[Sequence[Completion]]) -> list[dict[str, Any]]:
    return [
        {
            "messages": as_dicts(prompt.messages),
            **({"tools": list(prompt.tools)} if prompt.tools else {}),
            "completion": completion.text,
            "ended": completion.ended,
            **({"about": dict(prompt.about)} if prompt.about else {}),
        }
        for prompt, answers in zip(asked, completions, strict=True)
        for completion in answers
    ]
