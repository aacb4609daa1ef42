"""The files of a bundle that are written from templates."""

from cvbundle.files.templates import render
from cvbundle.spec.schema import Spec


def launch_script(spec: Spec) -> bytes:
    """`launch.sh` for a spec."""
    return render("launch.sh", launch=spec.launch, model=spec.model).encode()


def accelerate_config(spec: Spec) -> bytes:
    """`accelerate.yaml` for a spec: what is the same on every machine."""
    return render("accelerate.yaml", spec=spec).encode()


def readme(spec: Spec, samples: int) -> bytes:
    """The README of a bundle."""
    steps = spec.total_steps(samples)
    length = f"{steps} steps"
    if spec.training.epochs is not None:
        length = f"{spec.training.epochs} epochs ({steps} steps)"
    return render("bundle-README.md", spec=spec, samples=samples, length=length).encode()
