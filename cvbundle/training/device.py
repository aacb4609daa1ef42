"""The device of this process: which one it is, what it is called, and its memory."""

import ctypes
import os
from pathlib import Path
from typing import Protocol

import torch

from cvbundle.problems import UserError

_DRIVERS = {"cuda": Path("/sys/module/nvidia/version")}
"""Where Linux says which driver runs a type of device."""


class Event(Protocol):
    """A moment in the work of a device, of whichever type it is."""

    def record(self, stream: object) -> None:
        """Be the moment at which a stream has done all that it was asked for until now."""

    def synchronize(self) -> None:
        """Wait for that moment; not at all where none was recorded."""


def process_device(kind: str) -> torch.device:
    """The device of a type that is this process's own, always with its index; made the current one.

    `cuda` without an index is whichever device a thread has chosen: `torch.cuda.set_device`
    refuses it, and two tensors on "cuda" may be on two devices.

    Raises:
        UserError: this machine has no such device, or fewer than processes.
    """
    if kind == "cpu":
        return torch.device("cpu")
    try:
        parsed = torch.device(kind)
        module = torch.get_device_module(parsed)
    except RuntimeError:
        raise UserError(
            f"{kind} is no type of device: set CVBUNDLE_DEVICE to cuda, cpu or what else torch has"
        ) from None
    if ":" in kind:
        raise UserError(
            f"CVBUNDLE_DEVICE is {kind}, but says only the type: "
            f"set it to {parsed.type}, and CUDA_VISIBLE_DEVICES to the devices that are meant"
        )
    count = module.device_count() if module.is_available() else 0
    if not count:
        raise UserError(
            f"torch {torch.__version__} finds no {kind} device on this machine: "
            "install a torch that is built for it, or set CVBUNDLE_DEVICE to cpu"
        )
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= count:
        raise UserError(
            f"this machine has {count} {kind} devices, and process {index + 1} on it finds none "
            "left: set CVBUNDLE_NUM_PROCESSES to at most as many as all machines have"
        )
    device = torch.device(kind, index)
    module.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """What the device is called, for a person."""
    if device.type == "cpu":
        return f"cpu, {os.cpu_count()} cores"
    return str(torch.get_device_module(device).get_device_name(device))


def arithmetic(kind: str) -> dict[str, str | None]:
    """What decides the last bits of a result on this process's device of a type.

    On a CPU the instructions that torch has kernels for, on a GPU its model and NVIDIA's libraries.
    """
    if kind == "cpu":
        return {"type": kind, "instructions": torch.backends.cpu.get_cpu_capability()}
    cudnn = torch.backends.cudnn.version() if kind == "cuda" else None
    return {
        "type": kind,
        "model": str(torch.get_device_module(kind).get_device_name()),
        "cuda": torch.version.cuda if kind == "cuda" else None,
        "cudnn": None if cudnn is None else str(cudnn),
    }


def driver_version(device: torch.device) -> str | None:
    """The version of the driver that runs the device; None where there is none to be read."""
    path = _DRIVERS.get(device.type)
    try:
        return None if path is None else path.read_text("ascii").strip()
    except OSError:
        return None


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure `peak_memory` anew."""
    if device.type != "cpu":
        torch.get_device_module(device).reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that tensors had on the device at once; None on a CPU, which doesn't count."""
    if device.type == "cpu":
        return None
    return int(torch.get_device_module(device).max_memory_allocated(device))


def free(device: torch.device) -> None:
    """Give the memory of what was just let go back to the device, and to the machine."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
    # glibc keeps what is below something still in use; other C libraries have no such call.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
