"""Rehearse a bundle: what its run would hold and compute, without weights, clips or a GPU."""

import json
import subprocess
from collections.abc import Mapping

from attrs import frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.problems import UserError
from cvbundle.processes.interpreters import module_command, safe_environment
from cvbundle.spec.tables.gpus import Gpu


@frozen
class RehearsedPhase:
    """The most that a device holds in a phase."""

    name: str
    bytes: int
    of: Mapping[str, int]
    """Bytes of weights, gradients, optimizer, encoder and activations."""
    host: int
    """Page-locked memory of the host that it takes, in bytes."""
    disk: int
    """Bytes that it writes."""


@frozen
class Rehearsal:
    """What a bundle's run will hold and compute on one device."""

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
    if result.returncode:
        said = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(said.removeprefix("error: "))
    found = json.loads(result.stdout)
    phases = tuple(RehearsedPhase(**phase) for phase in found.pop("phases"))
    return Rehearsal(phases=phases, **found)
