"""Loading a Hugging Face model and its tokenizer, and saving what became of them.

Only safetensors are read, remote code stays off unless asked for, and a folder whose weights are incomplete, not finite or
of another shape is refused: transformers would fill the gaps with fresh random weights and a warning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging as transformers_logging

from planish.base.config import Config, Field
from planish.base.errors import ModelError, first_line
from planish.base.files import new_folder
from planish.base.model_folder import ModelPath, check_model_folder, model_folder
from planish.models.attention import attention_in_use
from planish.models.saved import Texts, check_same, numbers_of

DtypeName = Literal["float32", "bfloat16", "float64"]
SavedDtypeName = Literal["float32", "bfloat16", "float64", "float16"]

ALIGNMENT = 64  # bytes


class LoraConfig(Config):
    rank: int = Field(default=16, ge=1, description="rank of the update")
    alpha: int = Field(default=32, gt=0, description="the update is scaled by alpha / rank")
    targets: str | tuple[str, ...] = Field(
        default="all-linear", description="module names; all-linear is all but the output head"
    )


class ModelConfig(Config):
    path: ModelPath = Field(description="a Hugging Face folder, a run of planish, or a hub name")
    dtype: DtypeName = Field(default="float32", description="type of the weights and of the optimizer's moments")
    compute: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="type of the matrix products; auto is bfloat16 on a GPU that has it, else the weights' own",
    )
    lora: LoraConfig | None = Field(default=None, description="LoRA: train low-rank updates in place of the weights")
    save_dtype: SavedDtypeName | None = Field(default=None, description="type of the saved weights; absent is dtype")
    gradient_checkpointing: bool = Field(
        default=False, description="recompute activations in the backward pass: slower, less memory"
    )
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model")
    changeable = Config.changeable | {"gradient_checkpointing"}


def compute_dtype(config: ModelConfig, device: torch.device) -> torch.dtype | None:
    """The type to autocast to, or None to compute in the weights' own type."""
    if config.compute == "bfloat16":
        return torch.bfloat16
    bf16_gpu = config.compute == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if bf16_gpu and config.dtype == "float32" else None


def load_model(config: ModelConfig, device: torch.device) -> PreTrainedModel:
    """The model in evaluation mode: planish trains without dropout."""
    check_folder(config)
    return load_pretrained(config, device, AutoModelForCausalLM)


def check_folder(config: ModelConfig, *, scores: bool = False) -> PreTrainedConfig:
    """Refuses what cannot be a model's folder, without reading its weights; returns its settings."""
    path = model_folder(config.path)
    _check_config(path)
    _check_weights(path)
    settings = load_settings(path, config.trust_remote_code)
    if not scores and gives_scores(
        settings
    ):  # with tied weights it would load, and no word say that its head was left out
        raise ModelError(
            f"{config.path}: is a reward model, which gives scores and no text. Name the model it began as"
        )
    return settings


def load_pretrained(
    config: ModelConfig, device: torch.device, loader: Any, may_be_missing: Sequence[str] = (), **settings: Any
) -> PreTrainedModel:
    """A model loaded by the auto class `loader`; weights named in `may_be_missing` may be absent, for the caller to fill."""
    path = model_folder(config.path)
    _check_config(path)
    _check_weights(path)
    quiet()
    try:
        model, report = loader.from_pretrained(
            path,
            dtype=getattr(torch, config.dtype),
            use_safetensors=True,
            trust_remote_code=config.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and then refused by _check_report with their names
            **settings,
        )
    except SafetensorError as error:
        raise ModelError(
            f"{path}: its safetensors cannot be read: {error}. The file is damaged or cut short: fetch it anew"
        ) from None
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{path}: cannot be loaded: {first_line(error)}") from None
    model = cast(PreTrainedModel, model.to(device).eval())
    align_weights(model)
    _check_report(path, {**report, "missing_keys": set(report["missing_keys"]) - set(may_be_missing)})
    _check_finite(path, model)
    if config.gradient_checkpointing:
        _recompute_layers(model)
    return model


def align_weights(model: nn.Module) -> None:
    """Moves weights out of a mapped file into memory that starts at a multiple of 64 bytes, as all memory of torch does.

    A matrix product may add its terms in another order when its input starts elsewhere (seen with MKL on AVX-512: the last bit).
    Safetensors are mapped wherever their header ends, so a loaded model and the one that was saved would differ.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


def build_model(
    settings: dict[str, Any], vocab_size: int, dtype: DtypeName, seed: int, device: torch.device
) -> PreTrainedModel:
    """A model with fresh weights from the settings of its architecture: {"model_type": "llama", "hidden_size": 256, …}."""
    quiet()
    rest = {key: value for key, value in settings.items() if key != "model_type"}
    try:
        config = AutoConfig.for_model(settings.get("model_type", "llama"), **{"vocab_size": vocab_size, **rest})
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model: Any = AutoModelForCausalLM.from_config(config)
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise ModelError(f"model.architecture: no model can be built from it: {first_line(error)}") from None
    return model.to(device=device, dtype=getattr(torch, dtype)).eval()


def num_embeddings(model: PreTrainedModel) -> int:
    return cast(nn.Embedding, model.get_input_embeddings()).weight.shape[0]


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Every token must have its embedding. Added tokens without one, as Gemma 3 has for images, may be there, but in no text."""
    size = num_embeddings(model)
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= size}
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    if ordinary := [number for number in sorted(beyond) if number not in added]:
        raise ModelError(
            f"the tokenizer numbers its tokens up to {max(beyond)}, and the model has {size} embeddings: {len(ordinary)} tokens "
            f"have none, such as {beyond[ordinary[0]]!r}, number {ordinary[0]}. They do not belong together"
        )

    if beyond:
        refuse_beyond_embeddings(model, tokenizer)


def refuse_beyond_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Makes a token without an embedding an error that names it, in place of an IndexError, or of a crash on a GPU."""

    def refuse(module: Any, inputs: tuple[Any, ...]) -> None:
        size = module.weight.shape[0]  # which may have grown since
        if inputs and int(inputs[0].max()) >= size:
            raise ModelError(no_embedding(int(inputs[0].max()), tokenizer, size))

    model.get_input_embeddings().register_forward_pre_hook(refuse)


def no_embedding(number: int, tokenizer: PreTrainedTokenizerBase, size: int) -> str:
    """The error about a text that has a token beyond the embeddings."""
    token = tokenizer.convert_ids_to_tokens(number)
    return (
        f"the text holds the token {token!r}, number {number}, and the model has {size} embeddings, numbers 0 to {size - 1}. "
        "Take the token out of the texts or the chat template, or give the model an embedding for it (transformers' "
        "resize_token_embeddings)"
    )


def load_settings(path: str | Path, trust_remote_code: bool = False) -> PreTrainedConfig:
    """A model's config.json alone."""
    path = model_folder(path)
    _check_config(path)
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: has no config.json that can be read: {first_line(error)}") from None


def gives_scores(settings: PreTrainedConfig) -> bool:
    """True for the config of a model that scores a text and cannot continue one."""
    return any("SequenceClassification" in name for name in settings.architectures or [])


def context_length(config: PreTrainedConfig) -> int | None:
    """The most tokens that the model was made for, where its config says so."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    stop_token_ids: Sequence[int] = (),
    dtype: SavedDtypeName | None = None,
    texts: Texts = (),
    beside: Callable[[Path], None] | None = None,
) -> None:
    """An ordinary Hugging Face folder, complete or not there: weights, config, tokenizer and chat template.

    `stop_token_ids` join those that end a generation, so that any server stops where the model was taught to. `beside` writes
    further files. The folder is loaded again, and has to give the same numbers on these texts, or on tokens without a meaning.
    """
    state = model.state_dict()
    if dtype is not None:
        state = {name: tensor.to(getattr(torch, dtype)) for name, tensor in state.items()}
        if wide := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
            raise ModelError(f"{wide[0]} does not fit into {dtype}: save the model in float32 or bfloat16")
    with new_folder(path) as folder:
        own_attention = attention_in_use(model)
        _add_stops(model, stop_token_ids)
        model.save_pretrained(folder, state_dict=state)
        tokenizer.save_pretrained(str(folder))
        if dtype is not None:
            _set_json(folder / "config.json", "dtype", dtype)
        if beside is not None:
            beside(folder)
        _check_saved(model, folder, texts)
        model.set_attn_implementation(own_attention)


def _check_saved(model: PreTrainedModel, folder: Path, texts: Texts) -> None:
    scores = "SequenceClassification" in type(model).__name__
    foreign = type(model).__module__.startswith("transformers_modules")
    dtype = cast(torch.dtype, load_settings(folder, foreign).dtype)
    name = str(dtype).removeprefix("torch.")
    config = ModelConfig.model_validate(
        {"path": str(folder), "dtype": name if name in get_args(DtypeName) else "float32", "trust_remote_code": foreign}
    )
    loader = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    loaded = load_pretrained(config, torch.device("cpu"), loader)
    before, after = numbers_of(model, texts), numbers_of(loaded, texts)
    check_same(before, after, [model.dtype, dtype], "saving it and loading it again")


def weights_differ(model: PreTrainedModel, folder: Path) -> bool:
    """Whether the safetensors in a folder hold other weights than the model."""
    state = model.state_dict()
    for file in folder.glob("*.safetensors"):
        with safe_open(str(file), "pt") as shard:
            for name in shard.keys():  # noqa: SIM118  (safe_open is no mapping)
                if name not in state or not torch.equal(shard.get_tensor(name), state[name].detach().cpu()):
                    return True
    return False


def _add_stops(model: PreTrainedModel, ids: Sequence[int]) -> None:
    generation: Any = getattr(model, "generation_config", None)  # a reward model has none
    if generation is None or not ids:
        return
    before = generation.eos_token_id
    known = [] if before is None else [before] if isinstance(before, int) else list(before)
    generation.eos_token_id = list(dict.fromkeys([*ids, *known]))


def _set_json(file: Path, key: str, value: Any) -> None:
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**settings, key: value}, indent=2) + "\n", encoding="utf-8")


def _check_config(path: str) -> None:
    folder = Path(path)
    if not check_model_folder(path):
        return
    if (folder / "config.yaml").exists() and not (folder / "config.json").exists():
        raise ModelError(f"{path}: is a run that has no model yet: start the same command again and let it finish")
    if not (folder / "config.json").exists():
        raise ModelError(f"{path}: is no model folder: it has no config.json")


def _check_weights(path: str) -> None:
    folder = Path(path)
    if folder.exists() and not list(folder.glob("*.safetensors")):
        pickles = [file.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(kind)]
        if pickles:
            raise ModelError(
                f"{path}: its weights are a pickle ({pickles[0]}), which can run any code when loaded. planish reads safetensors "
                "only: convert it where you trust its source"
            )
        raise ModelError(f"{path}: has no weights: no *.safetensors in it")


def _check_report(path: str, report: dict[str, Any]) -> None:
    for key, meaning in (
        ("missing_keys", "weights are missing and would be random"),
        ("mismatched_keys", "weights have another shape than the config says"),
    ):
        if report.get(key):
            names = [str(name) for name in sorted(report[key], key=str)]
            raise ModelError(
                f"{path}: {meaning}: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            )


def _check_finite(path: str, model: PreTrainedModel) -> None:
    for name, tensor in model.named_parameters():
        if not bool(tensor.isfinite().all()):
            count = int((~tensor.isfinite()).sum())
            raise ModelError(
                f"{path}: {count} of {tensor.numel()} numbers in {name} are not finite: the weights are damaged"
            )


def _recompute_layers(model: PreTrainedModel) -> None:
    """Activation checkpointing of every layer. transformers does it only in training mode, which would bring dropout."""
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(
            "model.gradient_checkpointing: transformers does not know where this model's layers begin: leave it off"
        )
    for layer in layers:
        layer.forward = _forgetful(layer.forward)


def _forgetful(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose activations are computed again in the backward pass, under the same attention layout."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        run = copy_context().run  # the plan may be known by context alone (models/attention.py)
        return checkpoint(run, forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return checkpointed


def quiet() -> None:
    """transformers' own bars and warnings say little that our errors do not say better."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
