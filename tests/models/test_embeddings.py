"""Vocabularies whose numbers have gaps, and tokens beyond a model's embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from planish.base.errors import ModelError
from planish.cli.main import main
from planish.data.chat.tokenizer import vocabulary_size
from planish.models.load import check_vocabulary
from planish.models.reward_head import set_padding
from support.models import random_model, write_model
from support.refusals import refused
from support.tokenizers import tiny_tokenizer


def renumbered(tokenizer: PreTrainedTokenizerBase, folder: Path, changes: dict[str, int]) -> PreTrainedTokenizerBase:
    """The same tokenizer, in which some tokens have other numbers."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    spec["model"]["vocab"] |= changes
    for token in spec["added_tokens"]:
        token["id"] = changes.get(token["content"], token["id"])
    path.write_text(json.dumps(spec), encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)


def test_an_ordinary_token_without_an_embedding_is_refused(tmp_path: Path) -> None:
    tokenizer = renumbered(tiny_tokenizer(eos="<|end|>"), tmp_path, {"Z": 400})
    with pytest.raises(ModelError, match=r"320 embeddings: 1 tokens have none, such as 'Z', number 400"):
        check_vocabulary(random_model("llama"), tokenizer)


def test_an_added_token_without_an_embedding_is_refused_where_a_text_has_it(tmp_path: Path) -> None:
    """Gemma 3's tokenizer has one for images, of which its models of text know nothing."""
    tokenizer = renumbered(tiny_tokenizer("<|image|>", eos="<|end|>"), tmp_path, {"<|image|>": 400})
    assert (len(tokenizer) < 320, vocabulary_size(tokenizer)) == (True, 401)
    model = random_model("llama")
    check_vocabulary(model, tokenizer)
    ids = tokenizer("a text", return_tensors="pt")["input_ids"]
    assert model(input_ids=ids).logits.isfinite().all()
    ids = tokenizer("a <|image|>", return_tensors="pt")["input_ids"]
    with pytest.raises(ModelError, match=r"the token '<\|image\|>', number 400, and the model has 320 embeddings"):
        model(input_ids=ids)


def test_gaps_below_the_embeddings_are_no_fault(tmp_path: Path) -> None:
    tokenizer = renumbered(tiny_tokenizer(eos="<|end|>"), tmp_path, {"Z": 319})
    model = random_model("llama")
    check_vocabulary(model, tokenizer)
    assert not model.get_input_embeddings()._forward_pre_hooks
    assert vocabulary_size(tokenizer) == 320


def test_a_token_to_pad_with_takes_no_number_of_another(tmp_path: Path) -> None:
    """tokenizers gives a new token the number of tokens that there are, which behind a gap is taken."""
    given = tiny_tokenizer(bos="<|end|>", eos="<|end|>")
    given = renumbered(given, tmp_path, {"Z": len(given)})
    given.pad_token = None
    with pytest.raises(ModelError, match="have gaps, and it has no token to pad with"):
        set_padding(random_model("llama"), given, [int(given.eos_token_id)])


def test_the_row_is_named_before_the_first_step(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 32)
    size = vocabulary_size(AutoTokenizer.from_pretrained(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|new|>"]})
    tokenizer.save_pretrained(folder)
    rows = [{"prompt": f"Say {i}.", "completion": "<|new|>" if i == 7 else f"{i}"} for i in range(20)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "run"
    message = refused(lambda: main(["sft", "--model", str(folder), "--data", str(data), "--out", str(out), "steps=1"]))
    assert f"rows.jsonl row 8: the text holds the token '<|new|>', number {size}" in message
    assert not (out / "model").exists()


def test_a_model_that_is_not_here_is_missed_before_any_row_is_read(tmp_path: Path) -> None:
    """Those that are loaded late too: the reference of DPO, the reward models of PPO."""
    folder, nothing = write_model(tmp_path / "model", 32), tmp_path / "nothing"
    common = ["--model", str(folder), "--out", str(tmp_path / "run")]
    unread = str(tmp_path / "absent.jsonl")
    missing = f"{nothing}: there is no such folder"
    assert missing in refused(lambda: main(["dpo", *common, "--data", unread, f"reference={nothing}"]))
    assert missing in refused(lambda: main(["ppo", *common, "--prompts", unread, "--reward", str(nothing)]))
    values = [f"value.path={nothing}", "--prompts", unread, "--reward", str(folder)]
    assert missing in refused(lambda: main(["ppo", *common, *values]))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_numbers_of_tokens_need_not_be_dense_for_a_new_model(tmp_path: Path) -> None:
    tokenizer = renumbered(tiny_tokenizer(eos="<|end|>"), tmp_path / "tokenizer", {"Z": 350})
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    rows = [{"text": f"Zoo {i}"} for i in range(20)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shape = "{hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2}"
    new = [f"model.architecture={shape}", f"model.tokenizer={tmp_path / 'tokenizer'}"]
    out = tmp_path / "run"
    main(["pretrain", "--data", str(tmp_path / "texts.jsonl"), "--out", str(out), *new, "steps=1"])
    assert json.loads((out / "model" / "config.json").read_text())["vocab_size"] == 351
