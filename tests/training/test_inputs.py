"""A run trains on what its bundle names, or says what is not so."""

import json
import shutil
from pathlib import Path

import pytest

from cvbundle.compiler.build import compile_file
from cvbundle.problems import UserError
from cvbundle.training.processes import Stopped
from tests.conftest import COMMIT
from tests.training.conftest import CompileDemo, StopAfter, Train, adapter, digest


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)


@pytest.fixture
def own_bundle(own_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of a demo that a test may change, and a cache with nothing in it."""
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    settings = ["tracking.report_to=[]", "checkpointing.limit=null"]
    return compile_file(
        own_demo / "spec.yaml", tmp_path / "bundles", settings=settings
    ).only.bundle.folder


@pytest.mark.train
def test_a_clip_that_changed_since_is_named(
    own_bundle: Path, own_demo: Path, train_here: Train
) -> None:
    videos = own_demo / "data/videos"
    shutil.copy(videos / "blue_down.mp4", videos / "red_right.mp4")
    with pytest.raises(UserError, match=r"red_right\.mp4 has changed since"):
        train_here(own_bundle)


@pytest.mark.train
@pytest.mark.parametrize("part", ["vae", "transformer"])
def test_weights_that_changed_since_are_named(
    part: str, own_bundle: Path, own_demo: Path, train_here: Train
) -> None:
    _flip_a_byte(own_demo / f"model/{part}/diffusion_pytorch_model.safetensors")
    with pytest.raises(UserError, match=rf"{part}/diffusion_pytorch_model.safetensors has other"):
        train_here(own_bundle)


@pytest.mark.train
def test_a_damaged_cache_entry_is_removed_and_made_anew(
    own_bundle: Path, train_here: Train, tmp_path: Path
) -> None:
    first = train_here(own_bundle)
    clips = sorted((tmp_path / "cache").rglob("*.safetensors"), key=lambda p: p.stat().st_size)
    _flip_a_byte(clips[-1])
    with pytest.raises(UserError, match="was damaged and is removed: run again"):
        train_here(own_bundle, "fresh")
    again = train_here(own_bundle)
    assert digest(adapter(again)) == digest(adapter(first))


@pytest.mark.train
def test_a_truncated_cache_entry_counts_as_missing(
    own_bundle: Path, train_here: Train, tmp_path: Path
) -> None:
    first = train_here(own_bundle)
    for entry in (tmp_path / "cache").rglob("*.safetensors"):
        content = entry.read_bytes()
        entry.write_bytes(content[: len(content) // 2])
    again = train_here(own_bundle, "fresh")
    assert digest(adapter(again)) == digest(adapter(first))


@pytest.mark.train
def test_a_renamed_clip_is_not_encoded_again(
    own_bundle: Path, own_demo: Path, train_here: Train, tmp_path: Path
) -> None:
    train_here(own_bundle)
    before = {path.name for path in (tmp_path / "cache").rglob("*.safetensors")}
    videos = own_demo / "data/videos"
    (videos / "red_right.mp4").rename(videos / "renamed.mp4")
    listed = own_demo / "data/videos.txt"
    listed.write_text(listed.read_text().replace("red_right", "renamed"))
    settings = ["tracking.report_to=[]"]
    other = compile_file(
        own_demo / "spec.yaml", tmp_path / "bundles", settings=settings
    ).only.bundle
    assert other.folder != own_bundle
    train_here(other)
    assert {path.name for path in (tmp_path / "cache").rglob("*.safetensors")} == before


@pytest.mark.train
def test_two_clips_of_one_name_in_two_folders_do_not_meet(
    own_demo: Path, train_here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    data = own_demo / "data"
    for folder, clip in (("a", "red_right"), ("b", "blue_down")):
        (data / folder).mkdir()
        shutil.copy(data / f"videos/{clip}.mp4", data / folder / "clip.mp4")
    (data / "videos.txt").write_text("a/clip.mp4\nb/clip.mp4\n")
    (data / "prompts.txt").write_text("Red.\nBlue.\n")
    settings = ["tracking.report_to=[]"]
    bundle = compile_file(
        own_demo / "spec.yaml", tmp_path / "bundles", settings=settings
    ).only.bundle
    train_here(bundle)
    sizes = [path.stat().st_size for path in (tmp_path / "cache").rglob("*.safetensors")]
    clips = [size for size in sizes if size == max(sizes)]
    assert len(clips) == 2


@pytest.mark.train
def test_a_checkpoint_with_a_flipped_byte_is_refused_by_name_and_the_one_before_is_used(
    own_bundle: Path, train_here: Train
) -> None:
    whole = train_here(own_bundle)
    with pytest.raises(Stopped):
        train_here(own_bundle, "fresh", StopAfter(13))
    run = own_bundle / "runs/0002"
    newest = sorted((run / "checkpoints").iterdir())[-1]
    assert newest.name > "step-00000010"
    _flip_a_byte(newest / "optimizer.safetensors")
    assert train_here(own_bundle) == run
    assert f"checkpoint {newest.name} is not used: optimizer" in (run / "log.txt").read_text()
    assert digest(adapter(run)) == digest(adapter(whole))


@pytest.mark.train
def test_only_the_newest_checkpoints_are_kept(compile_demo: CompileDemo, train_here: Train) -> None:
    run = train_here(compile_demo("checkpointing.steps=5", "checkpointing.limit=2"))
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == ["step-00000015", "step-00000020"]


@pytest.mark.train
def test_a_folder_of_the_users_beside_the_checkpoints_is_left_alone(
    own_bundle: Path, train_here: Train
) -> None:
    with pytest.raises(Stopped):
        train_here(own_bundle, stop=StopAfter(3))
    kept = own_bundle / "runs/0001/checkpoints/checkpoint-old"
    kept.mkdir(parents=True)
    train_here(own_bundle)
    assert kept.is_dir()


@pytest.mark.train
def test_nothing_is_written_into_the_bundles_code(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    bundle = compile_demo()
    before = sorted(path for path in bundle.rglob("*") if "runs" not in path.parts)
    train_here(bundle)
    assert sorted(path for path in bundle.rglob("*") if "runs" not in path.parts) == before


@pytest.mark.train
def test_fp16_on_a_cpu_is_refused_before_anything_is_loaded(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        train_here(compile_demo("training.mixed_precision=fp16"))


@pytest.mark.train
def test_a_run_that_failed_says_why(own_bundle: Path, own_demo: Path, train_here: Train) -> None:
    (own_demo / "data/videos/red_right.mp4").unlink()
    with pytest.raises(UserError):
        train_here(own_bundle)
    record = json.loads((own_bundle / "runs/0001/run.json").read_bytes())
    assert record["status"] == "failed"
    assert "red_right.mp4" in record["attempts"][-1]["reason"]


@pytest.mark.train
def test_a_model_in_the_hubs_cache_trains_as_the_same_folder_does(
    hub_demo: Path, tmp_path: Path, compile_demo: CompileDemo, train_here: Train
) -> None:
    settings = ["tracking.report_to=[]"]
    hub = compile_file(hub_demo / "spec.yaml", tmp_path / "hub", settings=settings).only.bundle
    run, local = train_here(hub), train_here(compile_demo())
    assert digest(adapter(run)) == digest(adapter(local))


@pytest.mark.train
def test_a_hub_model_that_is_not_here_says_how_to_bring_it(
    hub_demo: Path, tmp_path: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compile_file(hub_demo / "spec.yaml", tmp_path / "hub").only.bundle
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=f"hf download THUDM/CogVideoX-2b --revision {COMMIT}"):
        train_here(bundle)


@pytest.mark.train
def test_runs_go_where_the_spec_says(own_demo: Path, tmp_path: Path, train_here: Train) -> None:
    settings = ["tracking.report_to=[]", f"output.dir={tmp_path}/results"]
    bundle = compile_file(own_demo / "spec.yaml", tmp_path / "bundles", settings=settings).only
    assert train_here(bundle.bundle) == tmp_path / "results" / bundle.bundle.name / "0001"
