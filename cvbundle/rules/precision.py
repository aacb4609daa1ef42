"""The rule about mixed precision."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule


@rule(
    "precision-fp16",
    Severity.WAIVABLE,
    why="Only cogvideox-2b was trained in fp16; the others were trained in bf16 and overflow in "
    "fp16.",
    source="zai-org/CogVideo README.md:291, finetune/schemas/args.py:171",
    reads=("training.mixed_precision",),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b", "training.mixed_precision": "bf16"},
    bad={"model.path": "THUDM/CogVideoX-5b", "training.mixed_precision": "fp16"},
)
def precision_fp16(subject: Subject) -> Iterator[Finding]:
    """fp16 is only used for models that were trained in it."""
    if subject.spec.training.mixed_precision == "fp16" and subject.model.precision != "fp16":
        yield Finding.write(
            "training.mixed_precision",
            f"fp16 overflows on {subject.model.name}, which was trained in "
            f"{subject.model.precision}",
            subject.model.precision,
        )
