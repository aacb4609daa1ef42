"""Make a video with what a run has trained."""

import subprocess
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.layout import SUMS
from cvbundle.bundle.places import bundle_runs
from cvbundle.bundle.runs import Run, list_runs, read_run
from cvbundle.bundle.settings import read_spec
from cvbundle.bundle.store import find_bundle
from cvbundle.problems import UserError
from cvbundle.processes.interpreters import module_command, safe_environment


@frozen(kw_only=True)
class Wish:
    """The video that someone wants."""

    prompt: str
    image: Path | None
    output: Path
    seed: int
    num_inference_steps: int | None
    guidance_scale: float | None


def find_result(text: str) -> tuple[Path, Run]:
    """The bundle and the finished run that a run's folder, a bundle or its hash means.

    Raises:
        UserError: there is no such run, or it is not finished.
    """
    folder = Path(text)
    if folder.is_dir() and not (folder / SUMS).is_file():
        run = read_run(folder.resolve())
        if not run.record:
            raise UserError(f"{text} is neither a run nor a bundle")
        inside = run.folder.parent.parent
        named = str(run.record["bundle"])
        bundle = inside if (inside / SUMS).is_file() else find_bundle(named)
    else:
        bundle = find_bundle(text)
        runs = [run for run in list_runs(bundle_runs(bundle)) if run.complete]
        if not runs:
            raise UserError(f"no run of {bundle.name} is complete: cvbundle run {bundle}")
        run = runs[-1]
    if not run.complete:
        raise UserError(f"run {run.folder} is not complete: cvbundle run {bundle} goes on with it")
    return bundle, run


def make_sample(text: str, wish: Wish) -> int:
    """Make the video, in a process of its own; its exit code.

    Raises:
        UserError: there is no finished run, or the model needs an image (or takes none).
    """
    bundle, run = find_result(text)
    task = read_spec(bundle).model.type
    if (task == "i2v") != (wish.image is not None):
        needs = "needs --image" if task == "i2v" else "is text to video: leave out --image"
        raise UserError(f"the model of {bundle.name} {needs}")
    options = {
        "--bundle": bundle,
        "--run": run.folder,
        "--prompt": wish.prompt,
        "--image": wish.image,
        "--output": wish.output,
        "--seed": wish.seed,
        "--steps": wish.num_inference_steps,
        "--guidance-scale": wish.guidance_scale,
    }
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    command = module_command("cvbundle.training.sample", *given)
    code = subprocess.run(command, env=safe_environment(), check=False).returncode
    return code if code in (0, 130) else 3
