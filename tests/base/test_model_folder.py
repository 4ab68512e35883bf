"""A model that is not here is told at once; the hub is asked only for names that can be on it, and where it can be reached."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from planish.base import model_folder
from planish.base.distributed import local_device
from planish.base.errors import ConfigError, ModelError
from planish.base.model_folder import check_model_folder


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("models/nothing", "models/nothing: there is no such folder."),
        ("models/smollm2", "planish model get smollm2"),
        ("models/wind-tunnel", "planish model get wind-tunnel"),
        ("runs/sft", "runs/sft: there is no such folder."),
        ("mine/model", "mine/model: there is no such folder."),
        ("./model", "no such folder"),
        ("/a/b/c", "no such folder"),
        ("gpt2", "A name on the hub is owner/name"),
    ],
)
def test_a_folder_that_is_not_here_is_told_without_asking_the_hub(
    path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(ModelError, match="no such folder") as caught:
        check_model_folder(path)
    assert says in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(model_folder, "getproxies", dict)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError, match=r"some/model: there is no such folder, and .* cannot be reached"):
        check_model_folder("some/model")


def test_a_name_on_the_hub_is_left_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert check_model_folder("some/model") is False


def test_offline_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        check_model_folder("some/model")


def test_a_device_that_is_not_here_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device=cuda: this torch .*set device=cpu"):
        local_device("cuda")
    with pytest.raises(ConfigError, match=r"device=gpu: there is no such device; expected cpu, cuda, cuda:0 or auto"):
        local_device("gpu")
