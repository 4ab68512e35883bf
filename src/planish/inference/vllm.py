"""Sampling from a vLLM server, which holds its own copy of the policy and receives new weights while it runs.

    VLLM_SERVER_DEV_MODE=1 vllm serve runs/sft/model --host 127.0.0.1 --served-model-name policy \
        --logprobs-mode processed_logprobs

Each completion is one request with a seed of its own, made from its key. vLLM groups requests as they come, so rounding, and
with it now and then a token, may differ from one draw to the next. Weights go over as safetensors in a folder that both sides
see. Tried with vLLM 0.32.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
import torch
from pydantic import model_validator
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from planish.base.config import Field
from planish.base.distributed import all_sum_list, is_main
from planish.base.errors import ConfigError, PlanishError, RunError
from planish.base.files import new_folder
from planish.base.http import HttpClient, HttpReply, NoAnswerError, ServerConfig
from planish.base.parallel import in_threads
from planish.base.random import fold_in
from planish.base.types import Example, pack
from planish.data.chat.tokenizer import load_tokenizer
from planish.inference.decode import Sampled, SampleRequest, TokenSampling
from planish.models.load import ModelConfig, load_model
from planish.models.lora import plain_weights
from planish.models.packed import CausalLM
from planish.models.sharding import whole_weights

TOLERANCE = 0.1  # nats; a server in bfloat16 rounds
START = "VLLM_SERVER_DEV_MODE=1 vllm serve … --logprobs-mode processed_logprobs"


class VllmConfig(ServerConfig):
    base_url: str = Field(default="http://127.0.0.1:8000", description="where the server listens")
    weights_folder: str = Field(description="new weights are written here; the server sees it under the same path")
    concurrency: int = Field(default=64, ge=1, description="completions asked for at once")
    timeout: float = Field(default=600.0, gt=0, description="seconds for one completion, or for taking new weights")
    allow_remote: bool = Field(default=False, description="the server may be on another machine")
    changeable = ServerConfig.changeable | {"weights_folder", "allow_remote"}

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        url = urlsplit(self.base_url)
        if url.path not in ("", "/", "/v1", "/v1/"):
            raise ValueError(f"base_url={self.base_url!r} is no http://host:port; leave out any path but /v1")
        if not self.allow_remote and not _loopback(url.hostname or ""):
            raise ValueError(
                f"base_url={self.base_url!r} is on another machine, which would see every prompt: set allow_remote to allow it"
            )
        return self


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class VllmSampler:
    """A `Sampler` (sampler.py). It checks the server before the first completion, and the vocabulary before the first update.

    >>> sampler = VllmSampler(VllmConfig(model="policy", weights_folder="/dev/shm/policy"))
    >>> sampler.update(policy)
    >>> drawn = sampler.sample(prompts, requests, TokenSampling(1.0, 1.0, 0), 128, (stop_token_id,))
    """

    def __init__(self, config: VllmConfig) -> None:
        self.config = config
        self.client = HttpClient(config)
        self.most_tokens: int | None = None  # of prompt and completion; known once the server has been checked
        self.vocab_size: int | None = None

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        requests: Sequence[SampleRequest],
        choosing: TokenSampling,
        most_tokens: int,
        stop_token_ids: Sequence[int],
    ) -> list[Sampled]:
        """A completion for each request, in their order; `Sampler.sample`.

        top_p and top_k are refused: the log-probabilities that vLLM then gives are those after the cut."""
        if choosing.top_p < 1 or choosing.top_k:
            raise ConfigError(
                f"top_p={choosing.top_p}, top_k={choosing.top_k}: a server samples from all tokens, as it would give "
                "log-probabilities only after the cut. Set top_p=1 and top_k=0, or sample without a server"
            )
        longest = max((len(prompts[request.prompt]) for request in requests), default=0) + most_tokens
        if longest > (room := self._room()):
            raise RunError(
                f"{self.client.root}: a prompt and its completion may take {longest} tokens, the server has room for {room}. "
                f"Start it with --max-model-len {longest}, or lower max_completion_tokens"
            )

        def one(request: SampleRequest) -> Sampled:
            body = self._body(prompts[request.prompt], choosing.temperature, most_tokens, fold_in(*request.key))
            return self._complete({**body, "stop_token_ids": list(stop_token_ids)})

        found = dict(in_threads(one, requests, self.config.concurrency))
        return [found[i] for i in range(len(requests))]

    def update(self, policy: CausalLM) -> None:
        """Writes the weights, lets running completions end, and has the server read the weights and forget its cache. All ranks
        call it; the main one acts."""
        weights = whole_weights(policy)
        failure, token, logprob = None, 0, 0.0
        if is_main():
            try:
                token, logprob = self._hand_over(policy, weights)
            except PlanishError as error:
                failure = error
            except OSError as error:
                failure = RunError(f"weights_folder={self.config.weights_folder}: cannot be written: {error}")
        failed, drawn, logprob = all_sum_list([float(failure is not None), float(token), logprob])
        if failed:  # the other ranks learn of it
            raise failure or RunError(f"{self.client.root}: the main rank could not hand over the weights")
        self._check_weights(policy, int(drawn), logprob)

    def _hand_over(self, policy: CausalLM, weights: dict[str, Tensor]) -> tuple[int, float]:
        """Gives the server the weights; returns a token that it draws with them, and its log-probability."""
        self._room()
        self._check_vocabulary(policy.config.get_text_config().vocab_size)
        folder = Path(self.config.weights_folder).resolve()
        with new_folder(folder) as partial:
            policy.config.save_pretrained(partial)
            tensors = _with_head(policy.model, plain_weights(policy.model, weights))
            save_file(tensors, str(partial / "model.safetensors"), {"format": "pt"})
        # The pause empties the prefix cache: without it, prompts seen before would keep the keys and values of the old
        # weights. After a failure the server stays paused, so that nobody samples from half of the new ones.
        self._call("/pause?mode=wait", {})
        self._call("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
        self._call("/resume", {})
        drawn = self._complete(self._body(_few_tokens(policy), 1.0, 1, 0))
        return drawn.tokens[0], drawn.logprobs[0]

    def _check_weights(self, policy: CausalLM, token: int, found: float) -> None:
        """That the server answers with the weights it was given: how likely a token is that it draws after a few others. All
        ranks compute it, as a sharded policy needs."""
        prompt = _few_tokens(policy)
        row = Example(np.array([*prompt, token], np.int32), np.arange(len(prompt) + 1) == len(prompt), "")
        with torch.no_grad():
            expected = policy(pack([row]).to(policy.model.device)).item()
        if abs(found - expected) > TOLERANCE:
            raise RunError(
                f"{self.client.root}: gives a token the log-probability {found:.3f}, and the new weights {expected:.3f}: the "
                "server kept some of the old ones. vLLM 0.32 on a CPU keeps an output head that is tied to the embedding: "
                "start it from an untied copy of the model (planish.inference.vllm.save_untied)"
            )

    def _room(self) -> int:
        """The most tokens of a prompt with its completion. The server is asked once, and checked."""
        if self.most_tokens is None:
            lengths = {each["id"]: each.get("max_model_len") for each in self._call("/v1/models")["data"]}
            if self.config.model not in lengths:
                served = ", ".join(lengths) or "nothing"
                raise RunError(f"{self.client.root}: serves {served}, not model={self.config.model}")
            if (length := lengths[self.config.model]) is None:
                raise RunError(f"{self.client.root}: is no vLLM: it does not say how long its texts may be")
            # The only token left has probability 1: what it samples from, or what the model said before?
            (logprob,) = self._complete({**self._body([0], 1.0, 1, 0), "top_k": 1}).logprobs
            if abs(logprob) > 1e-6:
                raise RunError(
                    f"{self.client.root}: its log-probabilities are not those of what it samples from. Start it with "
                    "--logprobs-mode processed_logprobs"
                )
            self.most_tokens = int(length)
        return self.most_tokens

    def _check_vocabulary(self, size: int) -> None:
        """The server knows the policy's last token, and none beyond it. There is no call that says how many it has."""
        if self.vocab_size != size:
            last, beyond = (
                self._ask("/v1/completions", self._body([token], 0.0, 1, 0)).status for token in (size - 1, size)
            )
            if (last, beyond) != (200, 400):
                than = "fewer" if last != 200 else "more"
                raise RunError(
                    f"{self.client.root}: its model has {than} tokens than the policy, which has {size}. Start it with "
                    "the model that is being trained"
                )
            self.vocab_size = size

    def _body(self, prompt: Sequence[int], temperature: float, most_tokens: int, seed: int) -> dict[str, Any]:
        """A request for one completion. What a model's own generation_config.json would otherwise add is set to do nothing."""
        return {
            "model": self.config.model,
            "prompt": list(prompt),
            "max_tokens": most_tokens,
            "temperature": temperature,
            "seed": seed,
            "logprobs": 0,  # of the sampled token alone
            "return_token_ids": True,
            "ignore_eos": True,  # stops are those that we name
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }

    def _complete(self, body: dict[str, Any]) -> Sampled:
        (choice,) = self._call("/v1/completions", body)["choices"]
        tokens, logprobs = choice.get("token_ids"), (choice.get("logprobs") or {}).get("token_logprobs")
        if tokens is None or logprobs is None or len(tokens) != len(logprobs):
            lacking = "its token ids" if tokens is None else "the log-probability of each token"
            raise RunError(f"{self.client.root}: a completion came without {lacking}. planish was tried with vLLM 0.32")
        if len(tokens) < body["max_tokens"] and choice.get("finish_reason") != "stop":
            raise RunError(f"{self.client.root}: a completion was cut short: {choice.get('finish_reason')}")
        return Sampled(tuple(tokens), tuple(logprobs))

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = self._ask(path, body)
        status, text = reply.status, reply.text
        if status == 404 and not path.startswith("/v1"):
            raise RunError(f"{self.client.root}{path}: it takes no new weights. Start it with {START}")
        if status != 200:
            raise RunError(f"{self.client.root}{path}: answered {status}: {_message(text)}")
        try:
            return json.loads(text)
        except ValueError:
            raise RunError(f"{self.client.root}{path}: is no vLLM: it answered {text[:80]!r}") from None

    def _ask(self, path: str, body: dict[str, Any] | None) -> HttpReply:
        try:
            return self.client.ask(path, None if body is None else json.dumps(body).encode())
        except NoAnswerError as error:
            hint = "" if error.late else f". Start it: {START}"
            raise RunError(f"{self.client.root}{path}: {error}{hint}") from None


def _few_tokens(policy: CausalLM) -> list[int]:
    vocab_size = policy.config.get_text_config().vocab_size
    return [(7 * i + 3) % vocab_size for i in range(8)]


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]


def save_untied(path: str, out: str) -> None:
    """A copy of a model's folder whose output head is a weight of its own, for a server to start from."""
    model, tokenizer = load_model(ModelConfig(path=path), torch.device("cpu")), load_tokenizer(path)
    with new_folder(Path(out)) as folder:
        weights = _with_head(model, dict(model.state_dict()))
        save_file(
            {name: tensor.contiguous() for name, tensor in weights.items()},
            str(folder / "model.safetensors"),
            {"format": "pt"},
        )
        model.config.tie_word_embeddings = False
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _with_head(model: PreTrainedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the output head under its own name, also where it is the embedding: a server that ties them passes over it."""
    names = {id(module): name for name, module in model.named_modules()}
    head, embedding = (
        f"{names[id(each)]}.weight" for each in (model.get_output_embeddings(), model.get_input_embeddings())
    )
    shared = weights.get(head) is None or weights[head].data_ptr() == weights[embedding].data_ptr()
    if model.config.get_text_config().tie_word_embeddings and shared:  # LoRA on one of the two gives each a weight
        weights = {**weights, head: weights[embedding].clone()}
    return weights
