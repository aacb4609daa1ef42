"""Rehearse a bundle: the memory and arithmetic of its run, without weights, clips or a GPU."""

import subprocess
from collections.abc import Mapping

from attrs import frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.files.json_objects import parse_object
from cvbundle.problems import UserError
from cvbundle.processes.interpreters import module_command, safe_environment
from cvbundle.spec.tables.gpus import Gpu


@frozen
class RehearsedPhase:
    """The peak memory of a device in a phase."""

    name: str
    bytes: int
    of: Mapping[str, int]
    """Bytes of weights, gradients, optimizer, encoder and activations."""
    host: int
    """Page-locked memory of the host, in bytes."""
    disk: int
    """Bytes that it writes."""


@frozen
class Rehearsal:
    """The memory and arithmetic of a bundle's run on one device."""

    phases: tuple[RehearsedPhase, ...]
    step_flops: int
    """Floating point operations of one optimizer step."""
    trained: int
    """Parameters that are trained."""

    @property
    def peak(self) -> int:
        """The largest phase, in bytes."""
        return max(phase.bytes for phase in self.phases)


def rehearse_bundle(bundle: Bundle, gpu: Gpu) -> Rehearsal:
    """Rehearse a bundle in a process of its own, since only the trainer imports torch.

    Raises:
        UserError: the shapes or types of a phase don't fit, and which.
    """
    options = f"--bundle={bundle.folder}", f"--processors={gpu.processors}"
    command = module_command("cvbundle.training.rehearse", *options)
    result = subprocess.run(
        command, env=safe_environment(), capture_output=True, text=True, check=False
    )
    last = (result.stderr.strip().splitlines() or ["no message"])[-1]
    place = f"the output of a rehearsal that ended with {result.returncode} ({last})"
    data = parse_object(result.stdout.encode(), place, "run it again")
    if result.returncode:
        raise UserError(str(data["error"]))
    phases = tuple(RehearsedPhase(**phase) for phase in data.pop("phases"))
    return Rehearsal(phases=phases, **data)
