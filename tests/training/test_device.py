"""Each process computes on one device, which it knows by its index."""

from pathlib import Path

import pytest
import torch

from cvbundle.problems import UserError
from cvbundle.training import device as devices
from cvbundle.training.device import (
    device_name,
    driver_version,
    free,
    peak_memory,
    process_device,
    reset_peak_memory,
)
from tests.training.simgpu import MEMORY

_CPU = torch.device("cpu")


def test_a_process_alone_has_the_first_device(simgpu: None) -> None:
    assert process_device("simgpu") == torch.device("simgpu", 0)


def test_one_of_several_has_the_device_of_its_number(
    simgpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert process_device("simgpu") == torch.device("simgpu", 1)
    # What is made without saying where is made there.
    assert torch.ones(1, device="simgpu").device == torch.device("simgpu", 1)


def test_more_processes_than_devices_are_refused(
    simgpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="2 simgpu devices, and process 3 on it finds none"):
        process_device("simgpu")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("gpu", "gpu is no type of device: set CVBUNDLE_DEVICE to cuda, cpu or what"),
        ("cuda:0", "set it to cuda, and CUDA_VISIBLE_DEVICES"),
    ],
)
def test_what_is_no_type_of_device_is_refused(kind: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        process_device(kind)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="finds no cuda device on this machine"):
        process_device("cuda")


def test_a_device_has_a_name(simgpu: None) -> None:
    assert device_name(torch.device("simgpu", 1)) == "Simulated GPU 1"
    assert "cores" in device_name(_CPU)


def test_the_version_of_the_driver_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "version"
    monkeypatch.setattr(devices, "_DRIVERS", {"cuda": told})
    assert driver_version(torch.device("cuda", 0)) is None
    told.write_text("580.65.06\n")
    assert driver_version(torch.device("cuda", 0)) == "580.65.06"
    assert driver_version(_CPU) is None


def test_the_peak_of_memory_is_measured_from_when_it_is_asked_to(simgpu: None) -> None:
    device = torch.device("simgpu", 0)
    before = peak_memory(device)
    assert before is not None
    kilobyte = torch.zeros(1024, dtype=torch.uint8, device=device)
    del kilobyte
    assert peak_memory(device) == before + 1024
    reset_peak_memory(device)
    assert peak_memory(device) == before
    assert peak_memory(_CPU) is None


def test_free_gives_memory_back_to_the_device(simgpu: None) -> None:
    free(_CPU)
    assert MEMORY.emptied == 0
    free(torch.device("simgpu", 0))
    assert MEMORY.emptied == 1
