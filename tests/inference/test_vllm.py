"""A server samples what the policy would: shown on a real vLLM where there is one, and every way of failing on a stand-in."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from planish.base.config import load_config
from planish.base.errors import ConfigError, PlanishError, RunError
from planish.base.random import fold_in
from planish.base.types import Example, pack
from planish.data.chat.templates import ChatTemplate
from planish.data.rows import Message
from planish.inference.decode import Sampled, SampleRequest, TokenSampling, decode
from planish.inference.sampler import LocalSampler, Sampler
from planish.inference.vllm import VllmConfig, VllmSampler, save_untied
from planish.judges.config import LlmConfig
from planish.judges.llm import LlmClient
from planish.methods.ppo.config import PpoConfig
from planish.models.load import LoraConfig, save_model
from planish.models.lora import add_lora, merge
from planish.models.packed import CausalLM
from support.models import UNPACKABLE, VOCAB_SIZE, random_model, write_model
from support.processes import finish
from support.tokenizers import tiny_tokenizer

GREEDY, PLAIN = TokenSampling(0.0, 1.0, 0), TokenSampling(1.0, 1.0, 0)
SIZES = {"hidden_size": 128, "intermediate_size": 192}  # vLLM's attention on a CPU takes heads of 32 and wider
PROMPTS = [[(7 * i + 3) % VOCAB_SIZE for i in range(70)], [5, 9, 2, 40, 7], [33]]  # the first is longer than a block
STOP = 1
CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"


def requests(count: int) -> list[SampleRequest]:
    return [SampleRequest(prompt, (0, "test", prompt, k)) for prompt in range(len(PROMPTS)) for k in range(count)]


def changed(policy: CausalLM) -> CausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for parameter in policy.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return policy


# A sampler of one's own


def test_our_own_sampler_is_decode() -> None:
    policy = CausalLM(random_model("llama"))
    sampler: Sampler = LocalSampler(policy)
    expected = decode(policy, PROMPTS, requests(2), PLAIN, 6, (STOP,))
    assert sampler.sample(PROMPTS, requests(2), PLAIN, 6, (STOP,)) == expected


def test_our_own_sampler_follows_the_weights_of_the_policy_it_is_given() -> None:
    policy, other = CausalLM(random_model("llama")), changed(CausalLM(random_model("llama")))
    sampler = LocalSampler(policy)
    sampler.update(other)
    assert sampler.sample(PROMPTS, requests(1), GREEDY, 6, ()) == decode(other, PROMPTS, requests(1), GREEDY, 6, ())


@pytest.mark.parametrize("kind", list(UNPACKABLE))
@pytest.mark.parametrize("choosing", [GREEDY, TokenSampling(0.7, 1.0, 0), TokenSampling(1.0, 0.9, 5)])
def test_a_model_that_decode_cannot_serve_gives_the_same_kind_of_logprobs(kind: str, choosing: TokenSampling) -> None:
    policy = CausalLM(random_model(kind))
    generation: Any = policy.model.generation_config
    generation.repetition_penalty = 5.0  # as in some models' folders: nothing we sample from
    some = requests(2)[2:]
    drawn = LocalSampler(policy).sample(PROMPTS, some, choosing, 5, (STOP,))
    assert [d.tokens for d in LocalSampler(policy).sample(PROMPTS, some[::-1], choosing, 5, (STOP,))][::-1] == [
        d.tokens for d in drawn
    ]
    assert generation.repetition_penalty == 5.0
    for request, each in zip(some, drawn, strict=True):
        expected = tempered_logprobs(policy, PROMPTS[request.prompt], each, choosing.temperature or 1.0)
        torch.testing.assert_close(torch.tensor(each.logprobs, dtype=torch.float64), expected, rtol=0, atol=1e-5)


def tempered_logprobs(policy: CausalLM, prompt: list[int], drawn: Sampled, temperature: float) -> torch.Tensor:
    """From the model's own forward pass, logits held whole."""
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([[*prompt, *drawn.tokens]]), use_cache=False).logits[0].double()
    logprobs = torch.log_softmax(logits / temperature, -1)[len(prompt) - 1 : -1]
    return logprobs.gather(1, torch.tensor(drawn.tokens)[:, None]).squeeze(1)


# A stand-in, which answers what vLLM 0.32 was seen to answer


@dataclass
class StandIn:
    """Its completion of any prompt is the last token of the prompt, again and again; its model has VOCAB_SIZE tokens."""

    logprobs: bool = True
    raw: bool = False  # log-probabilities from before top_k
    vocab_size: int = VOCAB_SIZE
    pause: float = 0.0
    rooms: bool = True
    develops: bool = True  # VLLM_SERVER_DEV_MODE=1
    reloads: bool = True
    stale: bool = False  # it says that it has read new weights, and goes on with the first it was given
    model: PreTrainedModel | None = None
    finish_reason: str | None = None
    asked: list[tuple[str, Any, str | None]] = field(default_factory=list[tuple[str, Any, str | None]])

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"data": [{"id": "policy", **({"max_model_len": 128} if self.rooms else {})}]}
        if path == "/v1/completions":
            return self.complete(body)
        if not self.develops:
            return 404, {"detail": "Not Found"}
        if path == "/collective_rpc" and not self.reloads:
            return 500, {"error": {"message": "Call to collective_rpc method failed", "code": 500}}
        if path == "/collective_rpc" and not (self.stale and self.model):
            self.model = AutoModelForCausalLM.from_pretrained(body["kwargs"]["weights_path"])
        return 200, {"results": [None]}

    def complete(self, body: Any) -> tuple[int, Any]:
        if bad := [token for token in body["prompt"] if token >= self.vocab_size]:
            return 400, {"error": {"message": f"Token id {bad[0]} is out of vocabulary", "code": 400}}
        if body["max_tokens"] > 1:
            time.sleep(self.pause)
        count = min(2, body["max_tokens"]) if self.finish_reason else body["max_tokens"]
        logprob = 0.0 if body["top_k"] == 1 and not self.raw else self.logprob(body["prompt"])
        logprobs = {"token_logprobs": [logprob] * count} if self.logprobs else None
        tokens = [body["prompt"][-1]] * count
        reason = self.finish_reason or "length"
        return 200, {"choices": [{"token_ids": tokens, "logprobs": logprobs, "finish_reason": reason}]}

    def logprob(self, prompt: list[int]) -> float:
        """Of the prompt's last token, once more."""
        if self.model is None:
            return -3.012619972229004
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([prompt])).logits[0, -1]
        return torch.log_softmax(logits, -1)[prompt[-1]].item()


@contextmanager
def listening(stand_in: StandIn) -> Generator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            stand_in.asked.append((self.path, body, self.headers.get("Authorization")))
            status, answer = stand_in.answer(self.path, body)
            content = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except BrokenPipeError:  # the client's patience ended
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def sampler_at(url: str, folder: Path, **settings: Any) -> VllmSampler:
    return VllmSampler(
        VllmConfig(**{"base_url": url, "model": "policy", "weights_folder": str(folder / "new"), **settings})
    )


def test_each_completion_has_a_seed_of_its_own_and_nothing_else_shapes_it(tmp_path: Path) -> None:
    stand_in = StandIn()
    with listening(stand_in) as url:
        drawn = sampler_at(url, tmp_path).sample(PROMPTS, requests(3), TokenSampling(0.7, 1.0, 0), 4, (STOP, 2))
    assert [each.tokens for each in drawn] == [(PROMPTS[prompt][-1],) * 4 for prompt in (0, 0, 0, 1, 1, 1, 2, 2, 2)]
    bodies = [body for _, body, _ in stand_in.asked if body and body["max_tokens"] == 4]
    assert {body["seed"] for body in bodies} == {fold_in(*request.key) for request in requests(3)}
    without = {
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "ignore_eos": True,
        "stop_token_ids": [STOP, 2],
    }
    assert all({key: body[key] for key in without} == without for body in bodies)


def test_new_weights_go_over_as_a_folder_while_the_server_is_paused(tmp_path: Path) -> None:
    policy, stand_in = CausalLM(random_model("llama")), StandIn()
    with listening(stand_in) as url:
        sampler = sampler_at(url, tmp_path)
        sampler.update(policy)
        calls = [(path, body) for path, body, _ in stand_in.asked if not path.startswith("/v1")]
        sampler.update(changed(policy))
    reload = {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path / "new")}}
    assert calls == [("/pause?mode=wait", {}), ("/collective_rpc", reload), ("/resume", {})]
    written = type(policy.model).from_pretrained(tmp_path / "new")
    for name, expected in policy.model.state_dict().items():
        assert torch.equal(written.state_dict()[name], expected), name
    assert policy(packed()).isfinite().all()  # it still takes packed rows


@pytest.mark.slow
def test_two_ranks_sample_at_a_server_without_gathering_the_policy(
    tiny_model: Path, tiny_data: dict[str, str], tmp_path: Path
) -> None:
    """In float64 the numbers of one rank: completions, and the log-probabilities of a policy and a reference in halves."""
    lines = list[list[dict[str, Any]]]()
    for ranks in (1, 2):
        out, size = tmp_path / f"{ranks}", AutoModelForCausalLM.from_pretrained(tiny_model).config.vocab_size
        with listening(StandIn(vocab_size=size)) as url:
            values = {
                "model": {"path": str(tiny_model), "dtype": "float64"},
                "rewards": {"letters": {"name": "function", "function": "tests.support.rewards:letters"}},
                "advantage": {"name": "rloo"},
                "prompts": {"first": tiny_data["first"]},
                "held_out": 0,
                "iterations": 2,
                "batch": {"prompts": 4, "completions": 2},
                "sampling": {"max_completion_tokens": 5},
                "server": {"base_url": url, "model": "policy", "weights_folder": str(tmp_path / "new")},
                "num_samples": 0,
                "out": str(out),
            }
            finish("ppo", load_config(PpoConfig, values=values), ranks)
        lines.append([json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()])
    compared = ("loss", "grad_norm", "kl", "entropy", "sampler_mismatch", "policy_loss")
    one, two = ([{name: line[name] for name in compared if name in line} for line in each] for each in lines)
    assert {name for numbers in one for name in numbers} == set(compared)
    for some, others in zip(one, two, strict=True):
        assert some == pytest.approx(others, rel=1e-10, abs=1e-12)


def test_a_server_that_keeps_old_weights_is_found_out(tmp_path: Path) -> None:
    policy = CausalLM(random_model("llama"))
    with listening(StandIn(stale=True)) as url:
        sampler = sampler_at(url, tmp_path)
        sampler.update(policy)
        policy.model.get_output_embeddings().weight.data *= -3
        with pytest.raises(RunError, match="kept some of the old ones"):
            sampler.update(policy)


def test_an_untied_copy_has_an_output_head_of_its_own_and_the_same_numbers(tmp_path: Path) -> None:
    write_model(tmp_path / "tied", 32)
    save_untied(str(tmp_path / "tied"), str(tmp_path / "untied"))
    tied, untied = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("tied", "untied"))
    assert tied.config.tie_word_embeddings
    assert untied.lm_head.weight.data_ptr() != untied.model.embed_tokens.weight.data_ptr()
    ids = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(tied(ids).logits, untied(ids).logits)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])  # GPT-2's weights lie on their side
def test_updates_of_lora_go_over_inside_the_weights(kind: str, tmp_path: Path) -> None:
    model = random_model(kind)
    names = ["c_attn", "c_fc"] if kind == "gpt2" else ["q_proj", "down_proj"]
    adapted = add_lora(model, LoraConfig(rank=2, targets=names), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += 0.1
    with listening(StandIn()) as url:
        sampler_at(url, tmp_path).update(CausalLM(model))
    expected = merge(adapted).state_dict()
    written = type(random_model(kind)).from_pretrained(tmp_path / "new").state_dict()
    assert written.keys() == expected.keys()
    assert max((written[name] - expected[name]).abs().max().item() for name in expected) < 1e-6


def packed() -> Any:
    return pack([Example(np.arange(9, dtype=np.int32), np.arange(9) > 3, "")])


@pytest.mark.parametrize(
    ("stand_in", "settings", "expected"),
    [
        (StandIn(), {"model": "other"}, "serves policy, not model=other"),
        (StandIn(rooms=False), {}, "is no vLLM: it does not say how long its texts may be"),
        (StandIn(raw=True), {}, "Start it with --logprobs-mode processed_logprobs"),
        (StandIn(logprobs=False), {}, "came without the log-probability of each token"),
        (StandIn(pause=1.0), {"timeout": 0.2}, "no answer within timeout=0.2 seconds"),
        (StandIn(finish_reason="abort"), {}, "was cut short: abort"),
    ],
)
def test_what_is_wrong_with_a_server_is_said(
    stand_in: StandIn, settings: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    with listening(stand_in) as url, pytest.raises(RunError, match=expected):
        sampler_at(url, tmp_path, **settings).sample(PROMPTS, requests(1), PLAIN, 4, ())


@pytest.mark.parametrize(
    ("stand_in", "expected"),
    [
        (StandIn(vocab_size=VOCAB_SIZE - 1), f"has fewer tokens than the policy, which has {VOCAB_SIZE}"),
        (StandIn(vocab_size=VOCAB_SIZE + 1), f"has more tokens than the policy, which has {VOCAB_SIZE}"),
        (StandIn(develops=False), "takes no new weights. Start it with VLLM_SERVER_DEV_MODE=1"),
        (StandIn(reloads=False), "answered 500: Call to collective_rpc method failed"),
    ],
)
def test_a_server_that_cannot_take_the_weights_is_refused(stand_in: StandIn, expected: str, tmp_path: Path) -> None:
    with listening(stand_in) as url, pytest.raises(RunError, match=expected):
        sampler_at(url, tmp_path).update(CausalLM(random_model("llama")))
    assert "/resume" not in [path for path, _, _ in stand_in.asked]


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RunError, match=f"{url}/v1/models: no server answers there"):
        sampler_at(url, tmp_path).sample(PROMPTS, requests(1), PLAIN, 4, ())


def test_texts_longer_than_the_server_takes_are_refused(tmp_path: Path) -> None:
    with listening(StandIn()) as url:
        sampler = sampler_at(url, tmp_path)
        assert len(sampler.sample(PROMPTS, requests(1), PLAIN, 58, ())) == 3  # 70 + 58 = 128
        with pytest.raises(RunError, match="may take 129 tokens, the server has room for 128"):
            sampler.sample(PROMPTS, requests(1), PLAIN, 59, ())


@pytest.mark.parametrize("choosing", [TokenSampling(1.0, 0.9, 0), TokenSampling(1.0, 1.0, 5)])
def test_cuts_are_refused_because_the_logprobs_would_be_those_after_them(
    choosing: TokenSampling, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="only after the cut"):
        sampler_at("http://127.0.0.1:1", tmp_path).sample(PROMPTS, requests(1), choosing, 4, ())


@pytest.mark.parametrize("url", ["http://10.0.0.7:8000", "http://vllm.example:8000", "https://[2001:db8::1]"])
def test_another_machine_is_refused_unless_allowed(url: str) -> None:
    settings = {"base_url": url, "model": "policy", "weights_folder": "new"}
    with pytest.raises(ConfigError, match="set allow_remote to allow it"):
        load_config(VllmConfig, values=settings)
    assert load_config(VllmConfig, values={**settings, "allow_remote": True}).base_url == url


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://127.0.0.1:8000/api", "http://localhost:x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"no http://host:port|Port could not be cast"):
        load_config(VllmConfig, values={"base_url": url, "model": "policy", "weights_folder": "new"})


def test_the_key_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn()
    with listening(stand_in) as url:
        with pytest.raises(ConfigError, match="api_key_env=NO_SUCH_KEY"):
            sampler_at(url, tmp_path, api_key_env="NO_SUCH_KEY")
        monkeypatch.setenv("A_KEY", "open sesame")
        sampler_at(url, tmp_path, api_key_env="A_KEY").sample(PROMPTS, requests(1), GREEDY, 2, ())
    assert {key for _, _, key in stand_in.asked} == {"Bearer open sesame"}


# A real server


@dataclass(frozen=True)
class Served:
    policy: CausalLM
    tokenizer: PreTrainedTokenizerFast
    sampler: VllmSampler


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """vLLM with a tiny policy, on this machine. It takes a minute to start."""
    python = os.environ.get("PLANISH_VLLM")
    if python is None:
        pytest.skip("PLANISH_VLLM is not set: it names a Python that has vLLM")
    folder = tmp_path_factory.mktemp("served")
    policy = CausalLM(random_model("llama", **SIZES))
    tokenizer = tiny_tokenizer("<s>", "</s>", "<pad>", template=CHAT, bos="<s>", eos="</s>", pad="<pad>")
    save_model(policy.model, tokenizer, folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "model": folder / "model",
        "served-model-name": "policy",
        "host": "127.0.0.1",
        "port": port,
        "dtype": "float32",
        "max-model-len": 128,
        "max-num-seqs": 16,
        "block-size": 32,
        "logprobs-mode": "processed_logprobs",
    }
    arguments = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    environment = {
        **os.environ,
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "HOME": str(folder),
    }
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *arguments]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield Served(policy, tokenizer, sampler_at(f"http://127.0.0.1:{port}", folder, timeout=120))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


def test_greedy_completions_of_the_server_are_ours_and_follow_the_weights(served: Served) -> None:
    def both() -> tuple[list[Sampled], list[Sampled]]:
        theirs = served.sampler.sample(PROMPTS, requests(1), GREEDY, 24, (STOP,))
        return theirs, decode(served.policy, PROMPTS, requests(1), GREEDY, 24, (STOP,))

    theirs, ours = both()
    assert [each.tokens for each in theirs] == [each.tokens for each in ours]
    changed(served.policy)
    stale, ours = both()
    assert all(a.tokens != b.tokens for a, b in zip(stale, ours, strict=True))
    served.sampler.update(served.policy)
    theirs, ours = both()
    assert [each.tokens for each in theirs] == [each.tokens for each in ours]
    for a, b in zip(theirs, ours, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_of_the_server_are_those_of_training(served: Served, temperature: float) -> None:
    served.sampler.update(served.policy)
    some = requests(8)
    drawn = served.sampler.sample(PROMPTS, some, TokenSampling(temperature, 1.0, 0), 24, (STOP,))
    assert len({each.tokens for each in drawn}) == len(some)
    for request, each in zip(some, drawn, strict=True):
        prompt = PROMPTS[request.prompt]
        expected = tempered_logprobs(served.policy, prompt, each, temperature)
        if temperature == 1:
            tokens = np.array([*prompt, *each.tokens], np.int32)
            with torch.no_grad():
                expected = served.policy(pack([Example(tokens, np.arange(len(tokens)) >= len(prompt), "")])).double()
        torch.testing.assert_close(torch.tensor(each.logprobs, dtype=torch.float64), expected, rtol=0, atol=1e-3)


def test_the_same_places_draw_the_same_in_any_order(served: Served) -> None:
    some = requests(8)
    first = served.sampler.sample(PROMPTS, some, PLAIN, 24, (STOP,))
    again = served.sampler.sample(PROMPTS, some[::-1], PLAIN, 24, (STOP,))[::-1]
    assert sum(a.tokens == b.tokens for a, b in zip(first, again, strict=True)) >= len(some) - 2  # rounding may tip one


def test_the_real_server_refuses_another_vocabulary(served: Served) -> None:
    other = CausalLM(random_model("llama", vocab_size=VOCAB_SIZE + 8, **SIZES))
    config = served.sampler.config
    with pytest.raises(PlanishError, match=f"has fewer tokens than the policy, which has {VOCAB_SIZE + 8}"):
        VllmSampler(config).update(other)


def test_the_real_servers_reply_to_a_judges_question_is_the_likeliest(served: Served, tmp_path: Path) -> None:
    served.sampler.update(served.policy)
    config = LlmConfig(base_url=served.sampler.config.base_url, model="policy", max_tokens=12)
    questions = ["A or B?", "Which of the two?"]
    replies = LlmClient(config, tmp_path / "replies.jsonl").replies(questions)
    template = ChatTemplate(served.tokenizer)
    prompts = [template.encode_prompt((Message("user", question),)) for question in questions]
    drawn = decode(served.policy, prompts, requests(1)[: len(prompts)], GREEDY, 12, (STOP,))
    expected = [served.tokenizer.decode(each.tokens, skip_special_tokens=True) for each in drawn]
    # Bytes that are no text yet: a server holds them back.
    assert [reply.replace("\ufffd", "") for reply in replies] == [text.replace("\ufffd", "") for text in expected]
    assert all(replies)
