"""Chat templates in whole runs: the clock of a run, what its start tells of rows, ends of turns and the default system message in
the saved model."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from planish.base import clock
from planish.data.chat.tokenizer import end_ids, load_tokenizer, open_template
from planish.methods.reward_model import RewardConfig, reward_model
from planish.methods.sft import SftConfig, sft
from planish.train.run_folder import open_run

CLOCK = "{{ strftime_now('%H:%M') }}"
ROLES = (
    "{% for message in messages %}<|im_start|>{{ message.content }}{% if message.role == 'user' %}<|im_end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
)


def rows(path: Path, answer: str = "It is {}.") -> str:
    turns = (
        [{"role": "user", "content": f"Number {n}?"}, {"role": "assistant", "content": answer.format(n)}]
        for n in range(12)
    )
    path.write_text("".join(json.dumps({"messages": both}) + "\n" for both in turns), encoding="utf-8")
    return str(path)


def settings(model: Path, data: str, out: Path, **more: object) -> SftConfig:
    tree = {"model": {"path": str(model)}, "out": str(out), "steps": 2, "device": "cpu", "sample_every": 0}
    return SftConfig.model_validate({**tree, "data": {"sources": {"own": {"path": data}}, "max_tokens": 128, **more}})


def test_a_runs_clock_shows_its_first_start_whenever_it_is_opened(tiny_model: Path, tmp_path: Path) -> None:
    config = settings(tiny_model, rows(tmp_path / "rows.jsonl"), tmp_path / "run")
    with clock.stopped(datetime(2024, 5, 1, 9, 30)), open_run(config.out, config) as folder:
        (folder.path / "metrics.jsonl").write_text("", encoding="utf-8")
    with clock.stopped(datetime(2025, 6, 2, 10, 0)), open_run(config.out, config):
        assert clock.now() == datetime(2024, 5, 1, 9, 30)
    assert (tmp_path / "run/clock.txt").read_text(encoding="utf-8") == "2024-05-01T09:30:00\n"


def test_a_run_that_has_not_begun_takes_the_time_of_its_next_start(tiny_model: Path, tmp_path: Path) -> None:
    config = settings(tiny_model, rows(tmp_path / "rows.jsonl"), tmp_path / "run")
    for day in (1, 2):
        with clock.stopped(datetime(2024, 5, day)), open_run(config.out, config):
            assert clock.now().day == day


def test_a_run_resumes_on_another_day_though_its_template_writes_the_time(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "dated.jinja").write_text(f"{CLOCK}{load_tokenizer(tiny_model).chat_template}", encoding="utf-8")
    more = {"template": str(tmp_path / "dated.jinja")}
    config = settings(tiny_model, rows(tmp_path / "rows.jsonl"), tmp_path / "run", **more)
    with clock.stopped(datetime(2024, 5, 1, 9, 30)):
        sft(config)
    with clock.stopped(datetime(2024, 5, 2, 11, 45)):
        assert sft(config) == tmp_path / "run"


def test_thoughts_and_control_tokens_are_told_at_the_start_and_in_data_json(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = str(load_tokenizer(tiny_model).chat_template)
    thoughtless = own.replace("message['content']", "message['content'].split('</think>')[-1]")
    assert thoughtless != own
    (tmp_path / "thoughtless.jinja").write_text(thoughtless, encoding="utf-8")
    data = rows(tmp_path / "rows.jsonl", "<think>Hm.</think>It is {}, not <|im_end|>.")
    sft(settings(tiny_model, data, tmp_path / "run", template=str(tmp_path / "thoughtless.jinja")))
    told = capsys.readouterr().err
    assert "warning: source 'own': 12 rows, such as " in told
    assert "the chat template leaves out thoughts" in told
    assert "words hold a control token" in told
    notes = json.loads((tmp_path / "run/data.json").read_text(encoding="utf-8"))["sources"]["own"]["notes"]
    assert {kind: note["rows"] for kind, note in notes.items()} == {"thought": 12, "control_token": 12}
    assert notes["thought"]["first"][0]["reason"] == "turn 2: '<think>Hm.</think>' is left out"


def test_a_default_system_message_is_saved_with_the_model(tiny_model: Path, tmp_path: Path) -> None:
    sft(settings(tiny_model, rows(tmp_path / "rows.jsonl"), tmp_path / "run", system="Be brief."))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/model")
    asked = [{"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    ruled = [{"role": "system", "content": "Be brief."}, *asked]
    plain = AutoTokenizer.from_pretrained(tiny_model)
    assert text == plain.apply_chat_template(ruled, tokenize=False, add_generation_prompt=True)


def test_a_reward_model_of_a_template_whose_turns_end_with_the_next_keeps_their_ends(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Its folder has no generation_config.json, so config.json has them."""
    (tmp_path / "roles.jinja").write_text(ROLES, encoding="utf-8")
    tokenizer = load_tokenizer(tiny_model)
    start = tokenizer.get_vocab()["<|im_start|>"]
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [start]}), encoding="utf-8")
    pairs = tmp_path / "pairs.jsonl"
    lines = ({"prompt": f"Number {n}?", "chosen": f"It is {n}.", "rejected": "No."} for n in range(12))
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    tree = settings(model, str(pairs), tmp_path / "run", template=str(tmp_path / "roles.jinja")).model_dump()
    kept = {key: tree[key] for key in ("model", "out", "steps", "device", "data")}
    folder = reward_model(RewardConfig.model_validate(kept))
    saved = load_tokenizer(folder / "model")
    assert start in end_ids(folder / "model")
    assert open_template(folder / "model", saved).stop_token == "<|im_start|>"
