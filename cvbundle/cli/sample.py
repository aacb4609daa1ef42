"""`cvbundle sample`."""

from pathlib import Path

import click

from cvbundle.cli._echo import echo
from cvbundle.execution.sample import SampleRequest, make_sample

SECTION = "Runs"


@click.command("sample")
@click.argument("run")
@click.option("--prompt", required=True, help="What the video is to show.")
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Image to video: the first frame.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("sample.mp4"),
    show_default=True,
    help="The file to write.",
)
@click.option("--seed", type=click.IntRange(min=0), default=42, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps; else the bundle's, 50.")
@click.option("--guidance-scale", type=float, help="How much the prompt counts; else 6.")
def command(
    run: str,
    prompt: str,
    image: Path | None,
    output: Path,
    seed: int,
    steps: int | None,
    guidance_scale: float | None,
) -> int:
    """Make a video with the result of RUN (a folder of a run or bundle, or a prefix of a hash)."""
    request = SampleRequest(
        prompt=prompt,
        image=image,
        output=output,
        seed=seed,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
    )
    code = make_sample(run, request)
    if not code:
        echo(output)
    return code
