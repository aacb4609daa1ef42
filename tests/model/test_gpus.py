"""The table of GPUs is whole and is found by the names that devices report."""

import pytest

from cvbundle.spec.tables.gpus import GPUS, Gpu, reported_gpu


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_every_row_has_sources_and_rates_in_order(gpu: Gpu) -> None:
    assert gpu.source
    assert gpu.memory_source
    assert gpu.fp32 < gpu.fp16 < (gpu.fp8 or float("inf"))
    least, most = gpu.utilization
    assert 0 < least < most < 1


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA GeForce RTX 4090", "4090"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("Tesla T4", "t4"),
    ],
)
def test_a_device_is_found_by_the_name_it_reports(reported: str, name: str) -> None:
    assert reported_gpu(reported) is GPUS[name]


def test_no_device_has_two_rows() -> None:
    names = [reported for gpu in GPUS.values() for reported in gpu.reported]
    assert len(set(names)) == len(names)


def test_another_device_has_no_row() -> None:
    """The PCIe card has other rates than the module of its name."""
    assert reported_gpu("NVIDIA H100 PCIe") is None


def test_a_t4_has_no_bf16() -> None:
    assert GPUS["t4"].rate("bf16") is None
    assert GPUS["t4"].rate("fp16") == 65.0
