"""The model card's own words load the result: its snippet is run as it stands."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from cvbundle.compiler.build import compile_file
from cvbundle.spec.schema import TrainingType
from tests.conftest import COMMIT
from tests.training.conftest import CompileModel, DemoOf, Train

_QUICK = ("training.steps=2", "checkpointing.steps=2", "validation.steps=4")


def _snippet(folder: Path) -> str:
    (found,) = re.findall(r"```python\n(.*?)\n```", (folder / "README.md").read_text(), re.S)
    return str(found)


def _run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The pipeline that the snippet makes where the result is."""
    names: dict[str, Any] = {}
    monkeypatch.chdir(folder)
    exec(_snippet(folder), names)
    return names["pipe"]


@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "kind", "precision", "dtype"),
    [
        ("cogvideox-2b", "lora", "no", torch.float32),
        ("cogvideox-5b-i2v", "lora", "bf16", torch.bfloat16),
        ("cogvideox1.5-5b", "sft", "bf16", torch.bfloat16),
    ],
)
def test_its_snippet_loads_what_was_trained_in_the_type_it_was_trained_in(
    model: str,
    kind: TrainingType,
    precision: str,
    dtype: torch.dtype,
    demo_of: DemoOf,
    compile_model: CompileModel,
    train_here: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = train_here(compile_model(model, kind, *_QUICK, f"training.mixed_precision={precision}"))
    # The result alone, as it is passed on.
    folder = tmp_path / "received"
    shutil.copytree(run / ("adapter" if kind == "lora" else "transformer"), folder)
    base = folder / "path/to/the/base/model"
    base.parent.mkdir(parents=True)
    base.symlink_to(demo_of(model, kind) / "model")
    pipe = _run(folder, monkeypatch)
    assert type(pipe) is type(DiffusionPipeline.from_pretrained(base))
    assert pipe.transformer.dtype == pipe.vae.dtype == pipe.text_encoder.dtype == dtype
    if kind == "lora":
        assert pipe.get_active_adapters() == ["default_0"]
        return
    trained = DiffusionPipeline.from_pretrained(base, torch_dtype=dtype).transformer
    assert any(
        not torch.equal(parameter, trained.get_parameter(name))
        for name, parameter in pipe.transformer.named_parameters()
    )


@pytest.mark.train
def test_a_hub_model_is_loaded_at_the_commit_that_was_trained_on(
    hub_demo: Path, tmp_path: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["tracking.report_to=[]", *_QUICK]
    bundle = compile_file(hub_demo / "spec.yaml", tmp_path / "hub", settings=settings).only.bundle
    folder = train_here(bundle) / "adapter"
    # The branch has gone on since, to something else.
    (tmp_path / "hub/models--THUDM--CogVideoX-2b/refs/main").write_text("f" * 40)
    assert f'revision="{COMMIT}"' in _snippet(folder)
    # Read when the library was imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", os.environ["HF_HUB_CACHE"])
    assert _run(folder, monkeypatch).get_active_adapters() == ["default_0"]
