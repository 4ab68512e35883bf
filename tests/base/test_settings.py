"""Settings are listed as they are; a mistake in one is told in words, with the nearest that exists."""

from __future__ import annotations

import pytest

from planish.base.config import load_config
from planish.base.errors import ConfigError
from planish.base.settings import near_settings, settings_of
from planish.commands import COMMANDS
from planish.evaluate.compare.config import CompareConfig
from planish.methods.dpo import DpoConfig
from planish.methods.ppo.config import PpoConfig
from planish.methods.pretrain import PretrainConfig
from planish.methods.sft import SftConfig
from planish.models.load import LoraConfig

SFT = ["model.path=x", "data.sources.a.path=y", "out=z"]
PPO = ["model.path=x", "rewards.r={name: model, path: r}", "prompts.a=x", "out=z"]


def refused(command: str, *settings: str) -> str:
    given = {"sft": SFT, "dpo": SFT, "pretrain": SFT[1:], "ppo": PPO}.get(command, [])
    with pytest.raises(ConfigError) as caught:
        load_config(COMMANDS[command].load_config_class(), None, [*given, *settings])
    return str(caught.value)


def test_settings_are_listed_with_the_defaults_of_the_config_around_them() -> None:
    listed = {setting.key: setting for setting in settings_of(PpoConfig)}
    assert listed["optim.lr"].default == "3e-06"  # PPO's own, not 2e-05 of OptimConfig
    assert listed["model.path"].default == "needed"
    assert listed["model.lora"].default == "absent"
    assert listed["optim.betas"].default == "[0.9, 0.999]"
    assert listed["rewards.*.path"].of == "model"
    assert listed["pretraining.max_tokens"].default == "absent"


def test_a_choice_lists_its_names_and_the_settings_of_each() -> None:
    settings = settings_of(DpoConfig)
    assert next(s for s in settings if s.key == "loss.name").default == "dpo"
    betas = [setting for setting in settings if setting.key == "loss.beta"]
    assert [(setting.of, setting.default) for setting in betas][:2] == [("dpo", "0.1"), ("cdpo", "0.1")]
    world = next(setting for setting in settings_of(CompareConfig) if setting.key == "judge.world")
    assert (world.of, world.default) == ("gold", "needed")


def test_a_new_model_is_listed_behind_a_named_one() -> None:
    keys = [setting.key for setting in settings_of(PretrainConfig)]
    assert keys.count("model.dtype") == 1
    assert keys.index("model.path") < keys.index("model.architecture")


@pytest.mark.parametrize(
    ("command", "written", "meant"),
    [
        ("sft", "lr", ["optim.lr"]),
        ("sft", "optim.learning_rate", ["optim.lr"]),
        ("sft", "learning_rate", ["optim.lr"]),
        ("sft", "num_train_epochs", ["epochs"]),
        ("sft", "max_steps", ["steps"]),
        ("ppo", "max_steps", ["iterations"]),
        ("sft", "batch_size", ["batch.examples"]),
        ("ppo", "per_device_train_batch_size", ["batch.prompts"]),
        ("sft", "max_seq_length", ["data.max_tokens"]),
        ("sft", "max_new_tokens", ["sampling.max_completion_tokens"]),
        ("sample", "max_new_tokens", ["max_completion_tokens"]),
        ("sft", "output_dir", ["out"]),
        ("sft", "temperature", ["data.temperature", "sampling.temperature"]),
        ("sft", "optim.lrr", ["optim.lr"]),
        ("sft", "optimm.lr", ["optim.lr"]),
        ("sft", "data.sources.web.formt", ["data.sources.web.format"]),
        ("dpo", "beta", ["loss.beta"]),
        ("data convert", "exact_copies", ["cleaning.exact_copies"]),
        ("sft", "qwertyuiop", []),
    ],
)
def test_the_nearest_setting_is_found(command: str, written: str, meant: list[str]) -> None:
    keys = [setting.key for setting in settings_of(COMMANDS[command].load_config_class())]
    assert near_settings(written, keys) == meant


@pytest.mark.parametrize(
    ("command", "setting", "says"),
    [
        ("sft", "lr=1", "unknown setting 'lr'; did you mean 'optim.lr'?"),
        ("ppo", "lr=1", "did you mean 'optim.lr' or 'value.lr'?"),
        ("sft", "qwertyuiop=1", "unknown setting 'qwertyuiop'; there are: "),
        ("sft", "model=x", "'model' is 'x': it has settings of its own, such as model.path=…"),
        ("pretrain", "model.architecture={a: 1}", None),
        ("dpo", "loss.name=kto", "'loss.name' is 'kto'; there are dpo, ipo, "),
        ("ppo", "advantage.name=gea", "there are gae, rloo, grpo; did you mean 'gae'?"),
        ("ppo", "rewards.mine.weight=2", "'rewards.mine.path' is needed and absent"),
        ("compare", "out=x", "'judge' (name: gold, reward, llm, function)"),
        ("compare", "judge.world=x", "'judge.name' is needed and absent (name: gold, "),
        ("sft", "model.lora=3", "'model.lora' is 3: it has settings of its own"),
    ],
)
def test_a_mistake_is_told_in_words(command: str, setting: str, says: str | None) -> None:
    if says is None:
        kind = COMMANDS[command].load_config_class()
        assert load_config(kind, None, [*SFT[1:], setting]).model.architecture == {"a": 1}
    else:
        assert says in refused(command, setting)


def test_what_is_absent_is_told_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(SftConfig, None, ["steps=3"])
    assert str(caught.value) == "the settings: 'out', 'data' and 'model' are needed and absent"


def test_of_a_model_that_is_new_or_named_only_the_fitting_kind_is_told() -> None:
    message = refused("pretrain", "model.architecture={}", "model.vocab_size=3")
    assert message == "the settings: 'model.vocab_size' is 3: Input should be greater than or equal to 300"
    assert "architecture" not in refused("pretrain", "model.pth=x")


@pytest.mark.parametrize(("text", "lora"), [("true", LoraConfig()), ("false", None), ("{rank: 4}", LoraConfig(rank=4))])
def test_a_component_that_may_be_absent_is_switched_on_with_its_defaults(text: str, lora: LoraConfig | None) -> None:
    assert load_config(SftConfig, None, [*SFT, f"model.lora={text}"]).model.lora == lora


def test_a_component_that_is_switched_on_still_asks_for_what_it_needs() -> None:
    assert refused("ppo", "pretraining=true") == "the settings: 'pretraining.sources' is needed and absent"
