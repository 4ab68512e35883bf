"""A reward model: one score for each sequence, the same as transformers', whatever stands beside it in the row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

from planish.base.errors import ModelError
from planish.base.types import Example, pack, unshared
from planish.data.chat.defaults import CHATML
from planish.data.chat.templates import ChatTemplate
from planish.inference.sequences import sequence_values
from planish.models.load import LoraConfig, ModelConfig, save_model
from planish.models.lora import add_lora, merge
from planish.models.reward_head import HEAD, Scorer, load_scorer, set_padding
from support.examples import compared, example, random_examples
from support.models import eager, gradients, largest_difference, random_model
from support.tokenizers import tiny_tokenizer

CPU = torch.device("cpu")
PAD = 2  # of the tiny models; no example has it
ROWS = random_examples([13, 6, 1, 17, 3])
ROWS_OF_FEW = random_examples([13, 6, 1, 17, 3], vocab_size=200)
COMPARED = [
    compared(random_examples([30], seed=5)[0], prompt_length=10, ends=(17, 25, 30)),
    random_examples([9], seed=6)[0],
    compared(random_examples([12], seed=7)[0], prompt_length=4, ends=(7, 12)),
]
# Families whose class has a head called score; Bloom cannot be packed.
SCORED = ["llama", "qwen3", "gpt2", "gemma2", "gemma3_text", "mistral", "phi", "gpt_neox", "opt", "bloom"]


def saved(folder: Path, kind: str = "llama", **changes: Any) -> ModelConfig:
    random_model(kind, **changes).save_pretrained(folder)
    return ModelConfig(path=str(folder), dtype="float64")


def padded(rows: Sequence[Example], side: str, more: int) -> dict[str, Tensor]:
    """The rows as a batch of transformers, with `more` tokens of padding than it needs. Positions are counted from a row's
    own first token: GPT-2 has learnt them, and would count the padding."""
    width = more + max(len(row) for row in rows)
    ids, mask = torch.full((len(rows), width), PAD), torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        here = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[i, here], mask[i, here] = torch.from_numpy(row.tokens.astype(np.int64)), 1
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


# The same as transformers


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("kind", SCORED)
def test_r5_scores_are_those_of_transformers_whatever_the_padding(kind: str, tmp_path: Path) -> None:
    model = load_scorer(saved(tmp_path / "causal", kind), CPU)
    scorer = Scorer(model)
    assert (scorer.why_not_packed is None) == (kind != "bloom")
    scores_S = scorer(pack(ROWS)).detach()
    model.config.pad_token_id = PAD
    save_model(model, tiny_tokenizer(eos="<s>"), tmp_path / "scorer")
    plain = eager(AutoModelForSequenceClassification.from_pretrained(tmp_path / "scorer", dtype=torch.float64)).eval()
    for side, more in (("right", 0), ("right", 5), ("left", 0), ("left", 9)):
        batch = padded(ROWS, side, more)
        if kind in ("bloom", "opt"):  # positions by the mask alone
            del batch["position_ids"]
        with torch.no_grad():
            expected_S = plain(**batch).logits[:, 0]
        torch.testing.assert_close(scores_S, expected_S, rtol=0, atol=1e-9)
    again = Scorer(load_scorer(ModelConfig(path=str(tmp_path / "scorer"), dtype="float64"), CPU))
    assert torch.equal(again(pack(ROWS)).detach(), scores_S)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom"])
def test_r5_scores_in_float32_are_within_1e_5(kind: str, tmp_path: Path) -> None:
    config = saved(tmp_path, kind)
    exact, coarse = (load_scorer(config.model_copy(update={"dtype": name}), CPU) for name in ("float64", "float32"))
    found_S, expected_S = Scorer(coarse)(pack(ROWS)).detach(), Scorer(exact)(pack(ROWS)).detach()
    assert found_S.dtype == torch.float32
    torch.testing.assert_close(found_S.double(), expected_S, rtol=0, atol=1e-5)


def test_pain_18_a_score_does_not_depend_on_what_else_is_in_the_batch(tmp_path: Path) -> None:
    scorer, rows = Scorer(load_scorer(saved(tmp_path), CPU)), random_examples([3, 31, 8, 5, 22, 4, 13, 9])
    together = sequence_values(scorer, rows, 1000, CPU)
    for micro_tokens in (1, 40):
        assert np.abs(sequence_values(scorer, rows, micro_tokens, CPU) - together).max() < 1e-6
    backwards = sequence_values(scorer, rows[::-1], 40, CPU)[::-1]
    assert np.abs(backwards - together).max() < 1e-6


# The last token


def test_pain_18_the_last_token_is_found_although_it_also_pads(tmp_path: Path) -> None:
    """Two rows, of which the second is one token longer by its end-of-turn token, which this tokenizer pads with too.
    Read by its number, as by transformers where it is the padding, both would have one score."""
    config, scorer = saved(tmp_path), Scorer(load_scorer(saved(tmp_path), CPU))
    scorer.config.pad_token_id = stop = 7
    one, other = scorer(pack([example([5, 6, 9]), example([5, 6, 9, stop])])).tolist()
    assert abs(one - other) > 1e-3
    plain = AutoModelForSequenceClassification.from_pretrained(config.path, dtype=torch.float64, num_labels=1)
    plain.load_state_dict(scorer.model.state_dict())
    plain.config.pad_token_id = stop
    with torch.no_grad():
        wrong = plain(input_ids=torch.tensor([[5, 6, 9, stop]])).logits.item()
        plain.config.pad_token_id = PAD
        right = plain(input_ids=torch.tensor([[5, 6, 9, stop]])).logits.item()
    assert wrong == pytest.approx(one, abs=1e-6)
    assert right == pytest.approx(other, abs=1e-6)


def test_pain_18_the_end_of_a_turn_does_not_pad_a_saved_reward_model(tmp_path: Path) -> None:
    model = load_scorer(saved(tmp_path), CPU)
    tokenizer = tiny_tokenizer("<|im_start|>", template=CHATML, eos="<|im_end|>", pad="<|im_end|>")
    template = ChatTemplate(tokenizer)
    set_padding(model, tokenizer, template.stop_token_ids)
    assert model.config.pad_token_id == tokenizer.pad_token_id != template.stop_token_id


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("spare", [0, 3])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_pain_18_a_tokenizer_of_one_special_token_gets_one_to_pad_with(kind: str, spare: int, tmp_path: Path) -> None:
    """As GPT-2's, whose only special token begins and ends all. The model has as many embeddings as there are tokens, or
    some to spare; transformers gives the same scores in batches of one and of eight, padded on either side."""
    given = tiny_tokenizer(bos="<|endoftext|>", eos="<|endoftext|>")
    size = len(given)
    model = load_scorer(saved(tmp_path / "causal", kind, vocab_size=size + spare), CPU)
    before_S = Scorer(model)(pack(ROWS_OF_FEW)).detach()
    set_padding(model, given, [int(given.eos_token_id)])
    assert (given.pad_token, given.pad_token_id, given.eos_token_id, len(given)) == ("<|pad|>", size, 0, size + 1)
    assert torch.equal(Scorer(model)(pack(ROWS_OF_FEW)).detach(), before_S)
    save_model(model, given, tmp_path / "scorer")
    plain = eager(AutoModelForSequenceClassification.from_pretrained(tmp_path / "scorer", dtype=torch.float64)).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "scorer")
    assert plain.get_input_embeddings().weight.shape[0] == max(size + 1, size + spare)
    texts = ["the sun and the moon"[: 3 + 2 * n] + "<|endoftext|>" for n in range(8)]
    rows = [example(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    again = Scorer(load_scorer(ModelConfig(path=str(tmp_path / "scorer"), dtype="float64"), CPU))
    expected = again(pack(rows)).tolist()
    for side in ("left", "right"):
        tokenizer.padding_side = side
        for size in (1, 8):
            found: list[float] = []
            for start in range(0, len(texts), size):
                some = texts[start : start + size]
                batch = dict(tokenizer(some, padding=True, add_special_tokens=False, return_tensors="pt"))
                batch.pop("token_type_ids", None)
                if kind != "opt":  # which counts positions by the mask; the others would count the padding
                    batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
                with torch.no_grad():
                    found += plain(**batch).logits[:, 0].tolist()
            assert found == pytest.approx(expected, abs=1e-9)


def test_a_pad_token_that_ends_no_turn_is_kept(tmp_path: Path) -> None:
    model, tokenizer = load_scorer(saved(tmp_path), CPU), tiny_tokenizer("<s>", pad="<pad>", eos="<|im_end|>")
    set_padding(model, tokenizer, [int(tokenizer.eos_token_id)])
    assert tokenizer.pad_token == "<pad>"
    assert model.config.pad_token_id == tokenizer.pad_token_id


# A prompt once for several completions


@pytest.mark.usefixtures("nothing_below_float64")
@pytest.mark.parametrize("kind", SCORED)
def test_a_shared_prompt_gives_the_scores_of_one_that_is_repeated(kind: str, tmp_path: Path) -> None:
    scorer, packed = Scorer(load_scorer(saved(tmp_path, kind), CPU)), pack(COMPARED)
    assert scorer.shares_prompts == (kind != "bloom")
    weights_S = torch.linspace(0.5, 1.5, packed.num_sequences, dtype=torch.float64)
    found_S = scorer(packed)
    (weights_S * found_S).sum().backward()
    found = gradients(scorer.model)
    alone = unshared(packed).examples
    assert [len(each) for each in alone] == [17, 18, 15, 9, 7, 9]
    expected_S = torch.cat([scorer(pack([each])) for each in alone])
    (weights_S * expected_S).sum().backward()
    torch.testing.assert_close(found_S, expected_S, rtol=0, atol=1e-9)
    assert largest_difference(found, gradients(scorer.model)) < 1e-9


@pytest.mark.parametrize("kind", ["llama", "bloom"])
def test_values_come_in_the_order_of_examples_and_their_completions(kind: str, tmp_path: Path) -> None:
    scorer = Scorer(load_scorer(saved(tmp_path, kind), CPU))
    with torch.no_grad():
        expected = [score for each in COMPARED for score in scorer(pack([each])).tolist()]
    for micro_tokens in (1, 30, 1000):
        assert sequence_values(scorer, COMPARED, micro_tokens, CPU) == pytest.approx(expected, abs=1e-6)


# The head


def test_a_fresh_head_has_variance_one_over_width_plus_one_and_depends_on_the_seed(tmp_path: Path) -> None:
    config = saved(tmp_path, hidden_size=1024, num_hidden_layers=1)
    heads = [load_scorer(config, CPU, seed).get_parameter(f"{HEAD}.weight") for seed in (0, 1, 0)]
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], heads[1])
    for head in heads[:2]:
        assert head.shape == (1, 1024)
        # The sample variance of 1024 normal numbers has a standard error of sqrt(2 / 1024) = 0.044 of itself.
        assert head.var().item() * 1025 == pytest.approx(1, abs=4 * 0.044)
        assert abs(head.mean().item()) < 4 / 1025


def test_a_reward_model_keeps_its_head_whatever_the_seed(tmp_path: Path) -> None:
    model = load_scorer(saved(tmp_path / "causal"), CPU, seed=3)
    model.save_pretrained(tmp_path / "scorer")
    again = load_scorer(ModelConfig(path=str(tmp_path / "scorer"), dtype="float64"), CPU, seed=4)
    assert torch.equal(again.get_parameter(f"{HEAD}.weight"), model.get_parameter(f"{HEAD}.weight"))


def test_the_offset_is_subtracted_and_saved(tmp_path: Path) -> None:
    scorer = Scorer(load_scorer(saved(tmp_path / "causal"), CPU))
    before_S = scorer(pack(ROWS)).detach()
    scorer.offset = 1.5
    torch.testing.assert_close(scorer(pack(ROWS)).detach(), before_S - 1.5, rtol=0, atol=1e-12)
    scorer.model.save_pretrained(tmp_path / "scorer")
    again = Scorer(load_scorer(ModelConfig(path=str(tmp_path / "scorer"), dtype="float64"), CPU))
    assert again.offset == 1.5


def test_a_model_that_gives_two_numbers_is_refused(tmp_path: Path) -> None:
    config = saved(tmp_path / "causal")
    AutoModelForSequenceClassification.from_pretrained(config.path, num_labels=2).save_pretrained(tmp_path / "two")
    with pytest.raises(ModelError, match="gives 2 numbers for a text; a reward model gives one"):
        load_scorer(ModelConfig(path=str(tmp_path / "two")), CPU)


def test_a_model_without_a_head_called_score_is_refused(tmp_path: Path) -> None:
    small = BertConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=40, num_labels=1
    )
    BertForSequenceClassification(small).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="BertForSequenceClassification has no head called 'score'"):
        load_scorer(ModelConfig(path=str(tmp_path)), CPU)


@pytest.mark.parametrize("kind", ["mamba", "granite"])
def test_a_model_that_transformers_gives_no_head_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_scorer(saved(tmp_path, kind), CPU)


# LoRA


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom"])
def test_lora_trains_the_head_and_merges_to_the_same_scores(kind: str, tmp_path: Path) -> None:
    model = load_scorer(saved(tmp_path / "causal", kind), CPU)
    given = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = add_lora(model, LoraConfig(rank=2, alpha=4), seed=0, whole=(HEAD,))
    scorer = Scorer(model)
    trained = {name for name, parameter in scorer.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or HEAD in name for name in trained)
    optimiser = torch.optim.SGD([p for p in scorer.parameters() if p.requires_grad], lr=0.1)
    start_S = scorer(pack(ROWS)).detach()
    for _ in range(3):
        optimiser.zero_grad()
        scorer(pack(ROWS)).square().sum().backward()
        optimiser.step()
    scores_S = scorer(pack(ROWS)).detach()
    assert (scores_S - start_S).abs().max() > 1e-3
    merged = merge(adapted)
    assert isinstance(merged.get_submodule(HEAD), nn.Linear)
    assert not torch.equal(merged.get_parameter(f"{HEAD}.weight"), given[f"{HEAD}.weight"])
    merged.save_pretrained(tmp_path / "merged")
    again = Scorer(load_scorer(ModelConfig(path=str(tmp_path / "merged"), dtype="float64"), CPU))
    torch.testing.assert_close(again(pack(ROWS)).detach(), scores_S, rtol=0, atol=1e-9)
    assert again.model.state_dict().keys() == given.keys()
