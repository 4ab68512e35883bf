"""Which device a rank takes, and what its process group is made of. No GPU is needed: torch is told that there are some."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from planish.base import distributed
from planish.base.distributed import PATIENCE, local_device
from planish.base.errors import ConfigError


@pytest.fixture
def _four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def _started_by_torchrun(monkeypatch: pytest.MonkeyPatch, local_rank: int, processes: int) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_each_rank_takes_its_own_gpu(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for local_rank in range(4):
        _started_by_torchrun(monkeypatch, local_rank, 4)
        assert local_device(asked) == torch.device("cuda", local_rank)


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize(("asked", "index"), [("auto", 0), ("cuda", 0), ("cuda:2", 2)])
def test_one_process_takes_the_first_gpu_or_the_one_that_is_named(asked: str, index: int) -> None:
    assert local_device(asked) == torch.device("cuda", index)


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize(
    ("asked", "local_rank", "processes", "message"),
    [
        ("cuda:0", 1, 2, "device=cuda:0: all processes of this machine would share that GPU"),
        ("auto", 4, 5, "process 4 of this machine needs GPU 4, and there are 4"),
        ("cuda:7", 0, 1, "device=cuda:7 needs GPU 7, and there are 4"),
    ],
)
def test_a_gpu_that_is_shared_or_absent_is_refused(
    asked: str, local_rank: int, processes: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _started_by_torchrun(monkeypatch, local_rank, processes)
    with pytest.raises(ConfigError, match=message):
        local_device(asked)


@pytest.mark.usefixtures("_four_gpus")
def test_attention_on_a_gpu_never_waits_for_a_plan_of_cudnn() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        local_device("cpu")
        assert torch.backends.cuda.cudnn_sdp_enabled()
        local_device("cuda")
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize(("device", "backend"), [("cuda", "cpu:gloo,cuda:nccl"), ("cpu", "gloo")])
def test_ranks_talk_over_both_and_wait_for_hours(device: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, chosen = list[tuple[str, timedelta]](), list[torch.device]()
    _started_by_torchrun(monkeypatch, 3, 4)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: made.append((backend, timeout)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)

    def work(config: Any) -> str:
        return config.device

    assert distributed.distributed(work)(SimpleNamespace(device=device)) == device
    assert made == [(backend, PATIENCE)]
    assert chosen == ([torch.device("cuda", 3)] if device == "cuda" else [])  # with its number: without, torch refuses
    assert timedelta(minutes=30) < PATIENCE  # gloo's own


@pytest.mark.parametrize(("backends", "device"), [("cpu:gloo,cuda:nccl", "cpu"), ("cuda:nccl", "cuda:3")])
def test_numbers_are_added_up_on_the_cpu_where_that_is_possible(
    backends: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "get_backend_config", lambda: backends)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert distributed._collective_device() == torch.device(device)
