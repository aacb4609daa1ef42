"""The estimate gives what was measured, and says where it is only a bound."""

from typing import Any

import attrs
import pytest

from cvbundle.model.architecture import lora_parameters
from cvbundle.model.catalog import CATALOG, card
from cvbundle.model.identify import named
from cvbundle.model.memory import (
    GIB,
    TrainingLoad,
    block_parameters,
    encode_bytes,
    estimate,
    render_estimate,
    step_bytes,
    train_bytes,
)
from cvbundle.spec.schema import ModelName
from tests.rules.specs import spec_of

_QKVO = ("to_q", "to_k", "to_v", "to_out.0")


def load(name: ModelName, *, rank: int | None, batch: int = 1, **changes: Any) -> TrainingLoad:
    """A training of 49x480x720; the measured adapters and their states were in 16 bit."""
    known = card(name)
    assert known is not None
    transformer = known.architecture.transformer
    base = TrainingLoad(
        transformer=transformer,
        trainable=lora_parameters(transformer, _QKVO, rank) if rank else known.parameters,
        adapter=rank is not None,
        tokens=known.architecture.tokens(49, 480, 720),
        batch=batch,
        weight_bytes=2,
        trained_bytes=2 if rank else 4,
        gradient_bytes=2 if rank else 4,
        moment_bytes=4 if rank else 8,
    )
    return attrs.evolve(base, **changes)


@pytest.mark.parametrize(
    ("measured", "of"),
    [
        (20.8, load("cogvideox-5b", rank=64)),
        (22.1, load("cogvideox-5b", rank=256)),
        (46.5, load("cogvideox-5b", rank=16, batch=4)),
        (47.8, load("cogvideox-5b", rank=64, batch=4)),
        (47.3, load("cogvideox-5b", rank=256, batch=4)),
        (22.3, load("cogvideox-2b", rank=64, batch=4)),
        (43.8, load("cogvideox-2b", rank=64, checkpointing=False)),
        # An optimizer on the host takes gradients and keeps all states.
        (39.4, load("cogvideox-5b", rank=None, gradient_bytes=0, moment_bytes=0)),
        (66.6, load("cogvideox-5b", rank=None, batch=4, gradient_bytes=0, moment_bytes=0)),
        (27.9, load("cogvideox-2b", rank=None, batch=4, gradient_bytes=0, moment_bytes=0)),
    ],
)
def test_training_is_within_a_tenth_of_what_was_measured(measured: float, of: TrainingLoad) -> None:
    """Cells of cogvideox-factory's table (examples/_legacy/training/README.md), in GiB."""
    assert train_bytes(of)[0] / GIB == pytest.approx(measured, rel=0.10)


@pytest.mark.parametrize(
    ("measured", "of"),
    [
        (33.9, load("cogvideox-2b", rank=None)),
        (16.4, load("cogvideox-2b", rank=None, moment_bytes=2, foreach=False)),
        (52.8, load("cogvideox-5b", rank=None, moment_bytes=2, foreach=False)),
    ],
)
def test_the_step_is_within_a_tenth_of_what_was_measured(measured: float, of: TrainingLoad) -> None:
    """Rows of the same table whose peak is the optimizer's step."""
    assert step_bytes(of) / GIB == pytest.approx(measured, rel=0.10)


@pytest.mark.parametrize(
    ("published", "name", "size", "strategy"),
    [
        (17, "cogvideox-2b", (49, 480, 720), "zero2"),
        (19, "cogvideox-2b", (49, 480, 720), "zero3"),
        (14, "cogvideox-2b", (49, 480, 720), "zero3-offload"),
        (42, "cogvideox-5b", (49, 480, 720), "zero2"),
        (43, "cogvideox-5b", (49, 480, 720), "zero3"),
        (28, "cogvideox-5b", (49, 480, 720), "zero3-offload"),
        (56, "cogvideox1.5-5b", (81, 768, 1360), "zero2"),
        (55, "cogvideox1.5-5b", (81, 768, 1360), "zero3"),
        (40, "cogvideox1.5-5b", (81, 768, 1360), "zero3-offload"),
    ],
)
def test_deepspeed_is_the_larger_of_sum_and_published_and_says_so(
    published: float, name: ModelName, size: tuple[int, int, int], strategy: str
) -> None:
    """Rows of zai-org/CogVideo finetune/README.md, full fine-tuning on eight devices."""
    known = card(name)
    assert known is not None
    of = load(
        name,
        rank=None,
        tokens=known.architecture.tokens(*size),
        strategy=strategy,
        processes=8,
    )
    needed, note = train_bytes(of)
    assert needed / GIB == pytest.approx(published, rel=0.10)
    assert "larger of" in note


@pytest.mark.parametrize(
    ("size", "tiled", "gib"),
    [
        ((49, 480, 720), True, 1.63),
        ((49, 480, 720), False, 6.23),
        ((81, 768, 1360), True, 2.03),
        ((81, 768, 1360), False, 22.8),
    ],
)
def test_encoding_takes_what_fake_tensors_showed(
    size: tuple[int, int, int], tiled: bool, gib: float
) -> None:
    vae = CATALOG[0].architecture.vae
    assert encode_bytes(vae, *size, tiled=tiled) / GIB == pytest.approx(gib, rel=0.03)


def test_the_published_lora_rows_are_met() -> None:
    """Our adapters are fp32: rank 128 takes 22.0 GiB on 5b and 36.8 on 1.5 (facts 4)."""
    for name, gib in (("cogvideox-5b", 22.0), ("cogvideox1.5-5b", 36.8)):
        spec = spec_of({"model.path": _hub(name)})
        model = named(name)
        assert model is not None
        train = estimate(spec, model).phase("train")
        assert train.bytes / GIB == pytest.approx(gib, rel=0.01)


def test_a_block_of_5b_has_the_linear_parameters_diffusers_gives_it() -> None:
    known = card("cogvideox-5b")
    assert known is not None
    layer_norms = 2 * 2 * 3072 + 2 * 2 * 64
    assert block_parameters(known.architecture.transformer) == 132_197_632 - layer_norms


def test_the_peak_is_the_largest_phase() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    found = estimate(spec_of({"model.path": "THUDM/CogVideoX-5b"}), model)
    assert found.peak == max(phase.bytes for phase in found.phases)
    assert attrs.asdict(found)["peak"] == found.peak


def test_validation_is_a_phase_only_where_there_is_one() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    plain = spec_of({"model.path": "THUDM/CogVideoX-5b"})
    with_samples = spec_of(
        {
            "model.path": "THUDM/CogVideoX-5b",
            "validation.steps": 200,
            "validation.prompts": ["A cat."],
        }
    )
    assert [phase.name for phase in estimate(plain, model).phases][-1] == "step"
    assert [phase.name for phase in estimate(with_samples, model).phases][-1] == "validate"


def test_the_text_marks_the_peak_and_names_every_phase() -> None:
    model = named("cogvideox-2b")
    assert model is not None
    text = render_estimate(estimate(spec_of({}), model))
    assert next(line for line in text.splitlines() if "peak" in line).startswith("train ")
    assert "CUDA context" in text


def _hub(name: str) -> str:
    known = card(name)
    assert known is not None
    return known.hub_ids[0]
