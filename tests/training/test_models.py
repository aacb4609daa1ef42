"""Each of the five models, as an adapter and whole: from the demo to a pipeline that samples."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel, DiffusionPipeline
from PIL import Image

from cvbundle.spec.schema import TrainingType
from cvbundle.spec.tables.models import MODELS
from cvbundle.training.processes import Stopped
from tests.training.conftest import CompileModel, DemoOf, StopAfter, Train, result


def _frames(pipeline: Any, demo: Path) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    first = demo / "first.png"
    options = {"image": Image.open(first)} if first.is_file() else {}
    frames: torch.Tensor = pipeline(
        prompt="A red square moves to the right.",
        height=64,
        width=96,
        num_frames=9,
        num_inference_steps=1,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
        **options,
    ).frames
    return frames


_ALL = [(model, kind) for model in MODELS for kind in ("lora", "sft")]
_ALWAYS = [("cogvideox-5b-i2v", "sft"), ("cogvideox1.5-5b-i2v", "lora")]


@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "kind"),
    [pytest.param(*each, marks=[] if each in _ALWAYS else [pytest.mark.slow]) for each in _ALL],
)
def test_it_trains_samples_exports_and_changes_its_own_pipeline(
    model: str,
    kind: TrainingType,
    demo_of: DemoOf,
    compile_model: CompileModel,
    train_here: Train,
) -> None:
    demo = demo_of(model, kind)
    settings = ["training.steps=4", "checkpointing.steps=4", "validation.steps=4"]
    rate = "training.learning_rate=0.05" if kind == "lora" else "training.learning_rate=0.001"
    run = train_here(compile_model(model, kind, *settings, rate))
    assert (run / "samples/step-00000004-00.mp4").stat().st_size > 0
    base = DiffusionPipeline.from_pretrained(demo / "model")
    before = _frames(base, demo)
    if kind == "lora":
        base.load_lora_weights(str(run / "adapter"))
        after = _frames(base, demo)
    else:
        tuned = CogVideoXTransformer3DModel.from_pretrained(run / "transformer")
        assert dict(tuned.config) | {"_name_or_path": ""} == dict(base.transformer.config) | {
            "_name_or_path": ""
        }
        after = _frames(DiffusionPipeline.from_pretrained(demo / "model", transformer=tuned), demo)
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "kind"),
    [("cogvideox-5b-i2v", "sft"), ("cogvideox1.5-5b", "sft"), ("cogvideox1.5-5b-i2v", "lora")],
)
def test_two_runs_and_a_stopped_one_end_with_the_same_bytes(
    model: str, kind: TrainingType, compile_model: CompileModel, train_here: Train
) -> None:
    dropout = ["training.image_dropout=0.3"] if model.endswith("i2v") else []
    bundle = compile_model(
        model,
        kind,
        "training.steps=4",
        "checkpointing.steps=2",
        "validation.steps=4",
        "data.caption_dropout=0.3",
        "training.gradient_checkpointing=true",
        "training.gradient_accumulation_steps=2",
        "training.batch_size=1",
        *dropout,
    )
    first, second = train_here(bundle), train_here(bundle, "fresh")
    with pytest.raises(Stopped):
        train_here(bundle, "fresh", StopAfter(2))
    stopped = train_here(bundle)
    assert len({first, second, stopped}) == 3
    assert result(first) == result(second) == result(stopped)
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (first / name).read_bytes() == (stopped / name).read_bytes()


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("model", ["cogvideox-5b-i2v", "cogvideox1.5-5b-i2v"])
@pytest.mark.parametrize("kind", ["lora", "sft"])
def test_bf16_with_image_latents_from_the_cache(
    model: str, kind: TrainingType, compile_model: CompileModel, train_here: Train
) -> None:
    run = train_here(
        compile_model(
            model,
            kind,
            "training.mixed_precision=bf16",
            "training.image_noise=null",
            "training.steps=3",
            "checkpointing.steps=3",
            "validation.steps=3",
            "training.gradient_checkpointing=true",
        )
    )
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    if kind == "sft":
        from safetensors.torch import load_file

        tuned = load_file(run / "transformer/diffusion_pytorch_model.safetensors")
        assert {tensor.dtype for tensor in tuned.values()} == {torch.bfloat16}
