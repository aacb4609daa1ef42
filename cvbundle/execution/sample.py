"""Make a video with the result of a run."""

import subprocess
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.run import Run
from cvbundle.bundle.runs import newest_complete
from cvbundle.bundle.store import find_bundle, is_bundle
from cvbundle.problems import UserError
from cvbundle.processes.interpreters import module_command, safe_environment


@frozen(kw_only=True)
class SampleRequest:
    """A video to make."""

    prompt: str
    output: Path
    image: Path | None = None
    """The first frame, for a model of image to video."""
    seed: int = 42
    num_inference_steps: int | None = None
    """Denoising steps; None for those of the bundle's validation, or 50."""
    guidance_scale: float | None = None
    """How much the prompt counts; None for the bundle's, or 6."""


def find_result(text: str) -> tuple[Bundle, Run]:
    """The bundle and the complete run that a run's folder, a bundle's folder or a hash names.

    Raises:
        UserError: there is no such run, or it isn't complete.
    """
    folder = Path(text)
    if folder.is_dir() and not is_bundle(folder):
        run = Run(folder.resolve())
        if run.record.bundle is None:
            raise UserError(f"{text} is neither a run nor a bundle")
        inside = run.folder.parent.parent
        bundle = Bundle(inside) if is_bundle(inside) else find_bundle(run.record.bundle)
        if not run.is_complete:
            raise UserError(f"run {run.folder} is not complete: cvbundle run {bundle.folder}")
        return bundle, run
    bundle = find_bundle(text)
    newest = newest_complete(bundle.runs)
    if newest is None:
        raise UserError(f"no run of {bundle.name} is complete: cvbundle run {bundle.folder}")
    return bundle, newest


def make_sample(text: str, request: SampleRequest) -> int:
    """Make a video with a run's result, in a process of its own; returns the exit code.

    Raises:
        UserError: there is no complete run, or the model needs an image, or takes none.
    """
    bundle, run = find_result(text)
    task = bundle.spec.model.type
    if (task == "i2v") != (request.image is not None):
        needs = "needs --image" if task == "i2v" else "is text to video: leave out --image"
        raise UserError(f"the model of {bundle.name} {needs}")
    options = {
        "--bundle": bundle.folder,
        "--run": run.folder,
        "--prompt": request.prompt,
        "--image": request.image,
        "--output": request.output,
        "--seed": request.seed,
        "--steps": request.num_inference_steps,
        "--guidance-scale": request.guidance_scale,
    }
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    command = module_command("cvbundle.training.sample", *given)
    code = subprocess.run(command, env=safe_environment(), check=False).returncode
    return code if code in (0, 130) else 3
