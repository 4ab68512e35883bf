"""Tiny models of many architectures with random weights, built in memory, and what they compute the slow, obvious way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from planish.base.types import Example
from planish.data.chat.tokenizer import train_tokenizer
from planish.models.load import build_model, quiet, save_model
from support.rows import tiny_rows

VOCAB_SIZE = 320


# Each kind has what makes it different from the next: see the comments. The sliding windows are shorter than the rows
# that the tests use. Dropout stays at the model's own default: planish must train without it.
_SMALL: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.1,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


_GROUPED: dict[str, Any] = {"num_key_value_heads": 2}


_GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}


KINDS: dict[str, dict[str, Any]] = {
    "llama": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 8},  # norms of queries and keys
    "gemma2": {  # soft-capping of scores and of logits, every other layer with a window
        **_GROUPED,
        "head_dim": 8,
        "sliding_window": 5,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "gemma3_text": {  # a window and full attention, each with rotary angles of its own
        **_GROUPED,
        "head_dim": 8,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "mistral": {**_GROUPED, "sliding_window": 5},
    "olmo2": _GROUPED,  # norms after the layers
    "phi": {"partial_rotary_factor": 0.5},  # a head with bias
    "gpt2": _GPT2,  # learnt positions
    "gpt_neox": {},  # queries, keys and values in one matrix
    "granite": {**_GROUPED, "logits_scaling": 8.0},
    "cohere": {**_GROUPED, "logit_scale": 0.25},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.1},  # positions from an offset, dropout in the layer
    "stablelm": _GROUPED,  # hands nothing down to its attention
    "nemotron": _GROUPED,
    "codegen": {**_GPT2, "rotary_dim": 8, "n_ctx": 128},  # knows no attention interface
}


# These cannot be packed: each runs a sequence at a time.
UNPACKABLE: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2, "n_head": 4},  # positions are a bias on the scores
    "mamba": {"state_size": 4},  # a recurrence
    "lfm2": {**_GROUPED, "layer_types": ["conv", "full_attention"]},  # a convolution
    "gpt_oss": {  # attention sinks
        **_GROUPED,
        "head_dim": 8,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}


# What the trial at loading has to find out.
TRIED: dict[str, dict[str, Any]] = {
    "phi3": {  # other rotary angles for texts of more than eight tokens
        **_GROUPED,
        "original_max_position_embeddings": 8,
        "rope_scaling": {
            "type": "longrope",
            "rope_type": "longrope",
            "short_factor": [1.0] * 4,
            "long_factor": [1.0, 1.5, 3.0, 8.0],
        },
    },
    "hrm_text": {"num_hidden_layers": 4, "num_key_value_heads": 4, "head_dim": 8},  # each layer runs several times
    "minimax_m3_vl_text": {  # chosen blocks of keys
        **_GROUPED,
        "head_dim": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "index_n_heads": 2,
        "index_head_dim": 8,
        "index_block_size": 8,
        "index_topk_blocks": 2,
        "layer_types": ["minimax_m3_sparse"] * 2,
    },
    "deepseek_v32": {  # the top k keys
        "num_key_value_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 16,
        "index_n_heads": 2,
        "index_head_dim": 8,
        "index_topk": 4,
    },
    "bert": {},
    "cpmant": {"dim_head": 8, "dim_ff": 48},
    "marian": {  # positions are counted from the row's beginning
        "d_model": 32,
        "decoder_layers": 2,
        "encoder_layers": 2,
        "decoder_attention_heads": 4,
        "encoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
        "encoder_ffn_dim": 48,
        "decoder_start_token_id": 0,
        "forced_eos_token_id": 1,
        "init_std": 0.02,
    },
}


def random_model(kind: str, dtype: torch.dtype = torch.float32, **changes: Any) -> PreTrainedModel:
    """A model of one kind with random weights, the same at every call, in evaluation mode."""
    quiet()
    config = AutoConfig.for_model(kind, **{**_SMALL, **{**KINDS, **UNPACKABLE, **TRIED}[kind], **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # biases and norms too, which would begin at 0 and 1
            parameter.data += 0.02 * torch.randn_like(parameter)
    return model.to(dtype).eval()


def eager(model: PreTrainedModel) -> PreTrainedModel:
    """The same model with transformers' plain attention: the slow, obvious version."""
    model.set_attn_implementation("eager")
    return model


def logprobs_one_by_one(model: PreTrainedModel, examples: Sequence[Example]) -> Tensor:
    """Log-probabilities of the learnt tokens, each example a forward pass of its own and its logits held whole."""
    found: list[Tensor] = []
    for one in examples:
        tokens = torch.from_numpy(one.tokens.astype(np.int64))
        everything = torch.log_softmax(model(input_ids=tokens[None], use_cache=False).logits[0], -1)
        found += [everything[t - 1, tokens[t]] for t in np.flatnonzero(one.loss_mask)]
    return torch.stack(found)


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    """The gradients of all parameters that have one, by name; they are then forgotten."""
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad(set_to_none=True)
    return found


def largest_difference(some: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """Over all gradients, which must be of the same parameters."""
    assert some.keys() == others.keys()
    return max((some[name] - others[name]).abs().max().item() for name in some)


def write_model(folder: Path, width: int) -> Path:
    """A Llama of two layers with a byte-level tokenizer and ChatML, as an ordinary folder; 32 wide, 30 thousand weights."""
    texts = [word for row in tiny_rows(60) for word in row.values()]
    tokenizer = train_tokenizer(texts, 400)
    settings = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": width * 3 // 2,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    save_model(build_model(settings, len(tokenizer), "float32", 0, torch.device("cpu")), tokenizer, folder)
    return folder
