"""Using the result: talk to a model in the terminal, or let it answer a file of prompts."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

from transformers import PreTrainedModel, TextStreamer

from planish.base.distributed import local_device
from planish.base.errors import ModelError
from planish.base.files import write_text
from planish.data.prompts import import_prompts
from planish.data.rows import Message
from planish.data.templates import ChatTemplate, ensure_template
from planish.models.forward import CausalLM
from planish.models.load import (
    ModelConfig,
    check_vocabulary,
    compute_dtype,
    context_length,
    load_model,
    load_tokenizer,
)
from planish.rollout.sample import SamplingConfig, sample, stream


def _load(path: str) -> tuple[CausalLM, ChatTemplate]:
    config, device = ModelConfig(path=path), local_device()
    model, tokenizer = load_model(config, device), load_tokenizer(path)
    check_vocabulary(model, tokenizer)
    ensure_template(tokenizer)
    return CausalLM(model, compute_dtype(config, device)), ChatTemplate(tokenizer)


def chat(path: str, config: SamplingConfig, system: str | None = None) -> None:
    """A conversation in the terminal, until /quit or the end of input."""
    policy, template = _load(path)
    model = policy.model
    beginning = [Message("system", system)] if system else []
    messages = list(beginning)
    print("/reset forgets the conversation, /quit leaves")
    while True:
        try:
            text = input("\n> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if text == "/quit":
            return
        if text == "/reset":
            messages = list(beginning)
        elif text:
            messages.append(Message("user", text))
            messages.append(Message("assistant", _answer(model, template, messages, config)))


def _answer(model: PreTrainedModel, template: ChatTemplate, messages: list[Message], config: SamplingConfig) -> str:
    prompt = template.encode_prompt(messages)
    limit = context_length(model.config)
    if limit is not None and len(prompt) + config.max_completion_tokens > limit:
        raise ModelError(
            f"the conversation has {len(prompt)} tokens, the model was made for {limit}: /reset begins anew"
        )
    streamer = TextStreamer(template.tokenizer, skip_prompt=True, skip_special_tokens=True)  # pyright: ignore
    tokens = stream(model, prompt, config, template.stop_token_id, streamer, len(messages))
    return str(template.tokenizer.decode(tokens, skip_special_tokens=True))


def sample_file(path: str, prompts: str, out: Path, config: SamplingConfig) -> int:
    """Writes one line for each prompt of the file: its messages, and the model's completion. Returns how many."""
    asked = import_prompts(prompts)
    policy, template = _load(path)
    encoded = [template.encode_prompt(prompt.messages, prompt.tools) for prompt in asked]
    completions = sample(policy, template.tokenizer, encoded, config, template.stop_token_id)
    lines = [
        {
            "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
            "completion": completion.text,
            "ended": completion.ended,
        }
        for prompt, completion in zip(asked, chain(*completions), strict=True)
    ]
    write_text(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return len(lines)
