"""How large a frame may be."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.schema import Resolution

_FIELD = "data.resolution"


@rule(
    "resolution-multiple",
    Severity.ERROR,
    why="Height and width are compressed by the VAE and cut into patches; what is left over is "
    "dropped silently or fails in the first step.",
    source="diffusers pipeline_cogvideox.py check_inputs, cogvideox_transformer_3d.py; executed",
    reads=(_FIELD,),
    needs_model=True,
    good={_FIELD: "49x480x720"},
    bad={_FIELD: "49x480x728"},
)
def resolution_multiple(subject: Subject) -> Iterator[Finding]:
    """Height and width divide by VAE factor times patch size."""
    size = subject.spec.data.resolution
    unit = subject.model.architecture.pixels_per_patch
    wrong = [value for value in (size.height, size.width) if value % unit]
    if wrong:
        better = Resolution(size.frames, _nearest(size.height, unit), _nearest(size.width, unit))
        yield Finding.write(
            _FIELD,
            f"{' and '.join(map(str, wrong))}: height and width must be multiples of {unit}",
            str(better),
        )


@rule(
    "resolution-fixed",
    Severity.ERROR,
    why="Learned position embeddings fit one size only; the model raises at any other.",
    source="diffusers embeddings.py, CogVideoXPatchEmbed (750-754); executed",
    reads=(_FIELD,),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b-I2V", _FIELD: "49x480x720"},
    bad={"model.path": "THUDM/CogVideoX-5b-I2V", _FIELD: "49x480x704"},
)
def resolution_fixed(subject: Subject) -> Iterator[Finding]:
    """A model with learned positions gets exactly its own height and width."""
    size = subject.spec.data.resolution
    own = subject.model.resolution
    if not subject.model.architecture.transformer.use_learned_positional_embeddings:
        return
    if (size.height, size.width) != (own.height, own.width):
        yield Finding.write(
            _FIELD,
            f"{size.height}x{size.width}: this model's learned positions are for exactly "
            f"{own.height}x{own.width}",
            str(Resolution(size.frames, own.height, own.width)),
        )


def _nearest(value: int, unit: int) -> int:
    return max(1, (2 * value + unit) // (2 * unit)) * unit
