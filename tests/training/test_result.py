"""What a run leaves: an adapter that diffusers loads, and a record of how it came about."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXPipeline
from safetensors import safe_open

from cvbundle.bundle.layout import ADAPTER_WEIGHTS
from tests.training.conftest import CompileDemo, Train, adapter, digest


def _frames(pipeline: Any) -> torch.Tensor:
    frames: torch.Tensor = pipeline(
        "A red square moves to the right.",
        height=64,
        width=96,
        num_frames=9,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).frames
    return frames


@pytest.mark.train
def test_the_adapter_changes_the_pipeline_and_without_it_the_base_model_is_back(
    demo: Path, compile_demo: CompileDemo, train_here: Train
) -> None:
    run = train_here(compile_demo("training.learning_rate=0.05"))
    pipeline = CogVideoXPipeline.from_pretrained(demo / "model")
    pipeline.set_progress_bar_config(disable=True)
    base = _frames(pipeline)
    pipeline.load_lora_weights(str(run / "adapter"))
    adapted = _frames(pipeline)
    pipeline.unload_lora_weights()
    assert not torch.equal(adapted, base)
    assert torch.equal(_frames(pipeline), base)


@pytest.mark.train
def test_the_adapter_is_loaded_at_the_strength_it_was_trained_at(
    demo: Path, compile_demo: CompileDemo, train_here: Train
) -> None:
    run = train_here(compile_demo("lora.alpha=2"))
    pipeline = CogVideoXPipeline.from_pretrained(demo / "model")
    pipeline.load_lora_weights(str(run / "adapter"))
    scales = {
        module.scaling["default_0"]
        for module in pipeline.transformer.modules()
        if hasattr(module, "scaling")
    }
    assert scales == {2 / 8}
    with safe_open(adapter(run), framework="pt") as file:
        described = json.loads(file.metadata()["lora_adapter_metadata"])
    assert described["transformer.r"] == 8
    assert described["transformer.lora_alpha"] == 2


@pytest.mark.train
def test_a_fine_tuned_transformer_is_a_diffusers_folder(
    compile_demo: CompileDemo, train_here: Train, demo: Path, tmp_path: Path
) -> None:
    from diffusers import CogVideoXTransformer3DModel

    from cvbundle.compiler.build import compile_file

    text = (demo / "spec.yaml").read_text()
    head, _, rest = text.partition("lora:\n")
    spec = tmp_path / "sft.yaml"
    spec.write_text(head.replace("type: lora", "type: sft") + rest.partition("\n\n")[2])
    settings = [f"model.path={demo}/model", f"data.root={demo}/data", "tracking.report_to=[]"]
    bundle = compile_file(spec, tmp_path / "bundles", settings=settings).only.bundle
    run = train_here(bundle)
    tuned = CogVideoXTransformer3DModel.from_pretrained(run / "transformer")
    base = CogVideoXTransformer3DModel.from_pretrained(demo / "model/transformer")
    changed = [
        name
        for name, parameter in tuned.named_parameters()
        if not torch.equal(parameter, base.get_parameter(name))
    ]
    assert len(changed) > 50


@pytest.mark.train
def test_the_record_says_how_the_run_went(compile_demo: CompileDemo, train_here: Train) -> None:
    run = train_here(compile_demo())
    record = json.loads((run / "run.json").read_bytes())
    assert record["status"] == "complete"
    assert record["steps"] == 20
    assert record["digests"] == {f"adapter/{ADAPTER_WEIGHTS}": digest(adapter(run))}
    (attempt,) = record["attempts"]
    assert attempt["reason"] == "done"
    assert attempt["drift"] == []
    assert attempt["device"] == "cpu"
    assert {"train", "validation", "export"} <= set(record["phases"])


@pytest.mark.train
def test_the_card_names_bundle_data_and_settings(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    bundle = compile_demo()
    card = (train_here(bundle) / "adapter/README.md").read_text()
    assert digest(bundle / "SHA256SUMS") in card
    assert digest(bundle / "dataset.jsonl") in card
    assert "load_lora_weights" in card
    assert '"rank": 8' in card
    assert "/model" not in card.replace("base/model", "")


@pytest.mark.train
def test_metrics_go_to_tensorboard(demo: Path, tmp_path: Path, train_here: Train) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from cvbundle.compiler.build import compile_file

    bundle = compile_file(demo / "spec.yaml", tmp_path / "bundles").only.bundle
    run = train_here(bundle)
    events = EventAccumulator(str(run / "trackers/cvbundle"))
    events.Reload()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    points = events.Scalars("loss")
    assert [point.step for point in points] == [row["step"] for row in rows]
    assert points[-1].value == pytest.approx(rows[-1]["loss"])
