"""What went wrong, silently or late, in the upstream trainer as it was run.

Here stands what belongs to no other file: each promise is about two runs that must not mix, or
about a mistake that must be told before anything is encoded.
"""

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file

from cvbundle.cli import main
from cvbundle.compiler.build import compile_file
from cvbundle.spec.schema import TrainingType
from cvbundle.training.checkpoint import list_checkpoints, verify
from cvbundle.training.load import load_trainer
from cvbundle.training.loop import Trainer
from cvbundle.training.processes import Stopped
from tests.training.conftest import (
    CompileDemo,
    DemoOf,
    StopAfter,
    Train,
    adapter,
    digest,
)

_QUICK = ("training.steps=2", "checkpointing.steps=2", "validation.steps=4")


@pytest.fixture
def own_model(demo_of: DemoOf, tmp_path: Path) -> Callable[[str, TrainingType], Path]:
    """Copies a model's demo to where a test may change it."""

    def copied(model: str, kind: TrainingType) -> Path:
        return Path(shutil.copytree(demo_of(model, kind), tmp_path / "own"))

    return copied


@pytest.fixture
def compile_own(tmp_path: Path) -> Callable[..., Path]:
    """Compile a spec that is a test's own."""

    def compiled(folder: Path, *settings: str) -> Path:
        quick = ["tracking.report_to=[]", *_QUICK, *settings]
        return compile_file(
            folder / "spec.yaml", tmp_path / "bundles", settings=quick
        ).only.bundle.folder

    return compiled


def _in_an_empty_cache(
    bundle: Path, train_here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The digest of the adapter of a run that can't take anything from another one."""
    with monkeypatch.context() as patch:
        patch.setenv("CVBUNDLE_CACHE", str(tmp_path / "empty"))
        return digest(adapter(train_here(bundle, "fresh")))


@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("cogvideox-2b", []),
        # The image as pixels, which get noise at each visit, and as latents.
        ("cogvideox-5b-i2v", []),
        ("cogvideox-5b-i2v", ["training.image_noise=null"]),
    ],
)
def test_a_clip_replaced_under_its_name_is_trained_on_with_its_own_first_frame(
    model: str,
    settings: list[str],
    own_model: Callable[[str, TrainingType], Path],
    compile_own: Callable[..., Path],
    train_here: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = own_model(model, "lora")
    before = digest(adapter(train_here(compile_own(folder, *settings))))
    videos = folder / "data/videos"
    shutil.copy(videos / "blue_down.mp4", videos / "red_right.mp4")
    bundle = compile_own(folder, *settings)
    after = digest(adapter(train_here(bundle)))
    assert after != before
    assert after == _in_an_empty_cache(bundle, train_here, tmp_path, monkeypatch)


@pytest.mark.train
def test_two_clips_of_one_name_have_a_first_frame_each(
    own_model: Callable[[str, TrainingType], Path],
    compile_own: Callable[..., Path],
    train_here: Train,
) -> None:
    folder = own_model("cogvideox-5b-i2v", "lora")
    data = folder / "data"
    for name, clip in (("a", "red_right"), ("b", "blue_down")):
        (data / name).mkdir()
        shutil.copy(data / f"videos/{clip}.mp4", data / name / "clip.mp4")
    (data / "prompts.txt").write_text("A square.\nA square.\n")
    digests = set()
    for listed in ("a/clip.mp4\nb/clip.mp4\n", "a/clip.mp4\na/clip.mp4\n"):
        (data / "videos.txt").write_text(listed)
        run = train_here(compile_own(folder, 'allow=["clip-duplicate"]'))
        digests.add(digest(adapter(run)))
    assert len(digests) == 2


def _other_text_encoder(folder: Path) -> None:
    path = folder / "model/text_encoder/model.safetensors"
    weights = {name: tensor + 0.1 for name, tensor in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})


def _shorter_captions(folder: Path) -> None:
    _configure(folder / "model/transformer/config.json", max_text_seq_length=224)


def _other_scale(folder: Path) -> None:
    """The latents of one model for another: the encoder's weights are the same ones."""
    _configure(folder / "model/vae/config.json", scaling_factor=0.35)


def _configure(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def _nothing(folder: Path) -> None:
    """The same model."""


@pytest.mark.train
@pytest.mark.parametrize(
    ("change", "first", "second"),
    [
        (_other_text_encoder, "no", "no"),
        pytest.param(_shorter_captions, "no", "no", marks=pytest.mark.slow),
        pytest.param(_other_scale, "no", "no", marks=pytest.mark.slow),
        (_nothing, "bf16", "no"),
        pytest.param(_nothing, "no", "bf16", marks=pytest.mark.slow),
    ],
)
def test_a_run_takes_nothing_from_the_encodings_of_another_model_or_type(
    change: Callable[[Path], None],
    first: str,
    second: str,
    own_model: Callable[[str, TrainingType], Path],
    compile_own: Callable[..., Path],
    train_here: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = own_model("cogvideox-5b", "lora")
    before = digest(adapter(train_here(compile_own(folder, f"training.mixed_precision={first}"))))
    change(folder)
    bundle = compile_own(folder, f"training.mixed_precision={second}")
    after = digest(adapter(train_here(bundle)))
    assert after != before
    assert after == _in_an_empty_cache(bundle, train_here, tmp_path, monkeypatch)


@pytest.mark.train
def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_in_the_middle(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    # Four samples of which a step takes one: 2.5 epochs.
    bundle = compile_demo(
        "training.steps=10",
        "training.batch_size=1",
        "checkpointing.steps=10",
        "validation.steps=20",
    )
    whole = train_here(bundle)
    with pytest.raises(Stopped) as stopped:
        train_here(bundle, "fresh", StopAfter(5))
    assert int(str(stopped.value).split()[-1]) % 4
    run = train_here(bundle)
    assert run != whole
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert digest(adapter(run)) == digest(adapter(whole))


@pytest.mark.train
def test_a_run_that_was_killed_after_its_last_step_trains_no_step_more(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    bundle = compile_demo()
    run = train_here(bundle)
    metrics, wanted = (run / "metrics.jsonl").read_bytes(), digest(adapter(run))
    # As it is between the last checkpoint and the result.
    shutil.rmtree(run / "adapter")
    record = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**record, "status": "running"}))
    assert train_here(bundle) == run
    assert (run / "metrics.jsonl").read_bytes() == metrics
    assert metrics.count(b"\n") == 20
    assert digest(adapter(run)) == wanted


@pytest.mark.parametrize(
    "setting", ["training.learning_rate=2e-3", "lora.alpha=4", "lora.rank=4", "training.seed=1"]
)
def test_a_run_with_another_setting_is_of_another_bundle_and_takes_up_no_old_one(
    setting: str, compile_demo: CompileDemo
) -> None:
    first, second = compile_demo(), compile_demo(setting)
    assert first != second
    assert not list((second / "runs").iterdir())


@pytest.mark.train
def test_a_checkpoint_is_there_at_every_moment_of_saving_the_next(
    compile_demo: CompileDemo, train_here: Train, tmp_path: Path
) -> None:
    bundle = compile_demo(
        "training.steps=3",
        "checkpointing.steps=1",
        "checkpointing.limit=1",
        "validation.steps=4",
        "data.num_workers=0",
    )
    kept: list[Path] = []
    with _each_file_operation(bundle / "runs", tmp_path / "moments", kept):
        run = train_here(bundle)
    saved = 0
    for moment in kept:
        sound = [path for path in list_checkpoints(moment) if verify(path) is None]
        steps = [int(path.name.removeprefix("step-")) for path in sound]
        # What a kill at this moment would leave.
        assert max(steps, default=0) >= saved, sorted(path.name for path in moment.iterdir())
        saved = max(steps, default=0)
    assert saved == 3
    assert len(kept) > 30
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == ["step-00000003"]


@contextmanager
def _each_file_operation(runs: Path, copies: Path, kept: list[Path]) -> Iterator[None]:
    """Keeps a copy of the checkpoints as they are before each operation on a file."""
    folder = runs / "0001/checkpoints"
    listening = True

    def hear(event: str, _: tuple[Any, ...]) -> None:
        nonlocal listening
        writes = threading.current_thread().name.startswith("checkpoint")
        if not (listening and writes and event.startswith(("open", "os.", "shutil."))):
            return
        listening = False
        if folder.is_dir():
            kept.append(copies / str(len(kept)))
            shutil.copytree(folder, kept[-1])
        listening = True

    # There is no way to remove it; it hears nothing after this.
    sys.addaudithook(hear)
    try:
        yield
    finally:
        listening = False


@pytest.mark.train
def test_folders_of_the_users_are_neither_counted_nor_removed(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    bundle = compile_demo("checkpointing.steps=5", "checkpointing.limit=1")
    with pytest.raises(Stopped):
        train_here(bundle, stop=StopAfter(8))
    folder = bundle / "runs/0001/checkpoints"
    for name in ("checkpoint-old", "step-old", "step-00000005.bak", "0"):
        (folder / name).mkdir(parents=True)
        (folder / name / "mine").write_text("mine")
    train_here(bundle)
    assert {path.name for path in folder.iterdir()} == {
        "step-00000020",
        "checkpoint-old",
        "step-old",
        "step-00000005.bak",
        "0",
    }
    assert len(list(folder.glob("*/mine"))) == 4


@pytest.mark.train
@pytest.mark.parametrize(
    ("kind", "stored"),
    [("lora", torch.bfloat16), ("lora", torch.float32), ("sft", torch.bfloat16)],
)
def test_frozen_weights_are_in_the_training_type_however_they_are_stored(
    kind: TrainingType,
    stored: torch.dtype,
    own_model: Callable[[str, TrainingType], Path],
    compile_own: Callable[..., Path],
    train_here: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = own_model("cogvideox-5b", kind)
    base = CogVideoXTransformer3DModel.from_pretrained(folder / "model/transformer")
    base.to(stored).save_pretrained(folder / "model/transformer")
    loaded: list[Trainer] = []

    def seen(*arguments: Any) -> Trainer:
        loaded.append(load_trainer(*arguments))
        return loaded[-1]

    monkeypatch.setattr("cvbundle.training.train.load_trainer", seen)
    run = train_here(compile_own(folder, "training.mixed_precision=bf16"))
    (trainer,) = loaded
    types = {
        wanted: {
            p.dtype for p in trainer.model.transformer.parameters() if p.requires_grad is wanted
        }
        for wanted in (False, True)
    }
    # What is trained is in fp32: steps of a small rate are lost in bf16.
    assert types[True] == {torch.float32}
    assert types[False] == ({torch.bfloat16} if kind == "lora" else set())
    assert run.is_dir()


@pytest.mark.train
def test_validation_does_not_change_training_in_bf16(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    settings = (
        "training.mixed_precision=bf16",
        "training.steps=4",
        "checkpointing.steps=1",
        "lora.dropout=0.1",
        "data.caption_dropout=0.3",
    )
    often = train_here(compile_demo(*settings, "validation.steps=1"))
    never = train_here(compile_demo(*settings, "validation.steps=8"))
    assert len(list((often / "samples").glob("*.mp4"))) == 4
    assert not (never / "samples").exists()
    assert digest(adapter(often)) == digest(adapter(never))
    assert (often / "metrics.jsonl").read_bytes() == (never / "metrics.jsonl").read_bytes()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must fail, with nothing written, and says what it said."""

    def run(*arguments: object) -> str:
        store = tmp_path / "store"
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--out", str(store)])
        assert ended.value.code == 1
        assert not list(store.rglob("*.json"))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert not said.out
        return said.err

    return run


@pytest.mark.parametrize(
    ("setting", "rule", "hint"),
    [
        ("lora.target_modules=[to_q, to_query]", "lora-target-missing", "to_q"),
        ("lora.rank=0", "value-range", "lora.rank"),
        ("lr_scheduler.name=cosin", "value-choice", "cosine"),
        ("data.resolution=9x72x96", "resolution-multiple", "9x80x96"),
        ("data.resolution=10x64x96", "frames-vae", "9x64x96"),
        ("optimizer.name=adamx", "value-choice", "adam"),
        ("training.learning_rate=-1", "value-range", "learning_rate"),
        ("model.type=i2v", "task-matches-model", "t2v"),
        ("training.gradient_checkpointing=0", "value-type", "false"),
        ("training.gradient_checkpointing=no", "value-type", "false"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_encoded(
    setting: str,
    rule: str,
    hint: str,
    demo: Path,
    told: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    said = told("compile", demo / "spec.yaml", "--set", setting)
    assert f"[{rule}]" in said
    assert hint in said
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(("written", "value"), [("false", False), ("False", False), ("true", True)])
def test_a_flag_that_says_false_is_false(
    written: str, value: bool, compile_demo: CompileDemo
) -> None:
    bundle = compile_demo(f"training.gradient_checkpointing={written}")
    config = json.loads((bundle / "config.json").read_bytes())
    assert config["training"]["gradient_checkpointing"] is value


def test_a_blank_line_among_the_captions_leaves_every_other_caption_with_its_clip(
    own_demo: Path, tmp_path: Path
) -> None:
    (own_demo / "data/prompts.txt").write_text("Red.\n\nGreen.\nWhite.\n")
    bundle = compile_file(own_demo / "spec.yaml", tmp_path / "bundles").only.bundle
    samples = [
        json.loads(line) for line in (bundle.folder / "dataset.jsonl").read_text().splitlines()
    ]
    assert [(Path(sample["clip"]).stem, sample["caption"]) for sample in samples] == [
        ("red_right", "Red."),
        ("blue_down", ""),
        ("green_left", "Green."),
        ("white_up", "White."),
    ]
