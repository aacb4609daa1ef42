"""The files of a bundle that are written from templates."""

from pathlib import Path

import jinja2

import cvbundle
from cvbundle.spec.schema import Spec


def templates_folder() -> Path:
    """`templates/`: inside the package where it is installed, beside it in a checkout."""
    package = Path(cvbundle.__file__).parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def render(name: str, /, **values: object) -> bytes:
    """A template with its values; a value that it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder(), encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # shell, YAML and Markdown, from checked values
    )
    return environment.get_template(name).render(**values).encode()


def launch_script(spec: Spec) -> bytes:
    """`launch.sh` for a spec."""
    return render("launch.sh", launch=spec.launch)


def accelerate_config(spec: Spec) -> bytes:
    """`accelerate.yaml` for a spec: what is the same on every machine."""
    return render("accelerate.yaml", spec=spec)
