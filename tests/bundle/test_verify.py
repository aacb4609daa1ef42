"""Any change of a bundle or its inputs is detected."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import REQUIRED, SUMS
from cvbundle.bundle.verify import differences, hashed_files, parse_sums
from cvbundle.compiler.build import Compiled
from cvbundle.execution.launch import RunOptions, plan_launch
from cvbundle.execution.verification import verify_bundle
from cvbundle.problems import UserError
from tests.bundle.reseal import plant, sealed

FLIPS = 2000


def _sentences(bundle: Bundle) -> list[str]:
    return [str(difference) for difference in differences(bundle)]


def _writable(bundle: Path) -> None:
    for path in (bundle, *bundle.rglob("*")):
        path.chmod(0o755)


def _flips(bundle: Path, count: int) -> list[tuple[Path, int]]:
    """Random bits, each bit of all hashed files as likely as any other."""
    files = [bundle / name for name in hashed_files(bundle)]
    sizes = [path.stat().st_size * 8 for path in files]
    chance = random.Random(0)
    chosen = chance.choices(files, weights=sizes, k=count)
    return [(path, chance.randrange(path.stat().st_size * 8)) for path in chosen]


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def test_any_flipped_bit_is_detected(compiled: Compiled) -> None:
    bundle = compiled.bundle
    _writable(bundle.folder)
    for path, bit in _flips(bundle.folder, FLIPS):
        _flip(path, bit)
        name = path.relative_to(bundle).as_posix()
        assert _sentences(bundle) == [f"{name} has other bytes"], bit
        _flip(path, bit)
    assert not list(differences(bundle))


def test_any_flipped_bit_of_the_sums_is_detected(compiled: Compiled) -> None:
    sums = compiled.bundle.folder / SUMS
    sums.chmod(0o644)
    chance = random.Random(1)
    for _ in range(100):
        bit = chance.randrange(sums.stat().st_size * 8)
        _flip(sums, bit)
        assert _sentences(compiled.bundle)[0].startswith("the folder is named "), bit
        _flip(sums, bit)


def test_a_renamed_bundle_is_told_its_digest(compiled: Compiled) -> None:
    renamed = compiled.bundle.folder.rename(compiled.bundle.folder.with_name("copy"))
    name = compiled.bundle.name
    assert _sentences(Bundle(renamed)) == [
        f"the folder is named copy, and contains bundle {name}, which is whole: "
        f"if that is the one you mean, rename the folder to {name}"
    ]
    (renamed / "more").touch()
    assert _sentences(Bundle(renamed)) == [
        f"the folder is named copy, its digest is {name}",
        "more was added",
    ]


def test_a_flipped_bit_fails_sha256sum_and_stops_a_run(compiled: Compiled) -> None:
    bundle = compiled.bundle
    _writable(bundle.folder)
    command = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    for path, bit in _flips(bundle.folder, 30):
        _flip(path, bit)
        result = subprocess.run(command, cwd=bundle, capture_output=True, check=False)
        assert result.returncode == 1, (path, bit)
        with pytest.raises(UserError, match="is not what was compiled"):
            plan_launch(bundle)
        _flip(path, bit)


def test_added_folders_links_and_pipes_are_named(compiled: Compiled) -> None:
    bundle = compiled.bundle
    _writable(bundle.folder)
    (bundle.folder / "code/more").mkdir()
    (bundle.folder / "link").symlink_to("/")
    (bundle.folder / "model.json").unlink()
    os.mkfifo(bundle.folder / "model.json")
    assert _sentences(bundle) == [
        "code/more/ was added",
        "link was added",
        "model.json is not a file",
    ]


def test_a_link_to_the_same_bytes_is_named(compiled: Compiled, tmp_path: Path) -> None:
    """Whoever can write where it leads could change the bundle after it was verified."""
    folder = compiled.bundle.folder
    _writable(folder)
    (folder / "launch.sh").rename(tmp_path / "launch.sh")
    (folder / "launch.sh").symlink_to(tmp_path / "launch.sh")
    assert _sentences(compiled.bundle) == ["launch.sh is a link"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a", "a"], "is not sorted, or lists 'a' twice"),
        (["b", "a"], "is not sorted"),
        (["a", ""], "has a line that is not a digest and a path"),
    ],
)
def test_sums_that_list_a_path_twice_or_out_of_order_are_refused(
    lines: list[str], words: str
) -> None:
    content = "".join(f"{'0' * 64}  {name}\n" for name in lines).encode()
    with pytest.raises(UserError, match=words):
        parse_sums(content, SUMS)
    assert parse_sums(content[: content.index(b"\n") + 1], SUMS) == {lines[0]: "0" * 64}


def test_a_bundle_whose_sums_list_a_path_twice_differs(compiled: Compiled) -> None:
    sums = compiled.bundle.folder / SUMS
    sums.chmod(0o644)
    first, *others = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join([first, first, *others]))
    digest = Bundle(compiled.bundle.folder).digest
    renamed = Bundle(compiled.bundle.folder.rename(compiled.bundle.folder.with_name(digest[:16])))
    (sentence,) = _sentences(renamed)
    assert sentence.startswith("SHA256SUMS is not sorted, or lists 'README.md' twice")


def test_local_files_and_runs_may_change(compiled: Compiled) -> None:
    (compiled.bundle.folder / "runs/notes").write_text("mine")
    shutil.rmtree(compiled.bundle.folder / "local")
    assert not list(differences(compiled.bundle))


def test_clips_and_weights_are_verified(
    compiled: Compiled, own_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_DATA_ROOT", str(own_demo / "data"))
    monkeypatch.setenv("CVBUNDLE_MODEL_PATH", str(own_demo / "model"))
    assert verify_bundle(compiled.bundle).verified
    clips = own_demo / "data/videos"
    _flip(clips / "red_right.mp4", 999)
    (clips / "blue_down.mp4").unlink()
    (clips / "white_up.mp4").write_bytes(b"")
    weights = own_demo / "model/vae/diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    result = verify_bundle(compiled.bundle)
    assert not result.verified
    assert result.files == ()
    assert result.clips is not None
    assert {(each.path, each.kind) for each in result.clips} == {
        ("videos/blue_down.mp4", "missing"),
        ("videos/red_right.mp4", "bytes"),
        ("videos/white_up.mp4", "size"),
    }
    assert [str(each) for each in result.weights or ()] == [
        "vae/diffusion_pytorch_model.safetensors has other bytes"
    ]
    left_out = verify_bundle(compiled.bundle, clips=False, weights=False)
    assert left_out.verified
    assert left_out.clips is None
    assert left_out.weights is None


def test_clips_and_weights_that_cannot_be_located_are_reported(compiled: Compiled) -> None:
    shutil.rmtree(compiled.bundle.folder / "local")
    result = verify_bundle(compiled.bundle)
    assert result.verified
    assert result.clips is None
    assert len(result.unknown) == 2
    assert "CVBUNDLE_DATA_ROOT" in result.unknown[0]


@pytest.mark.parametrize(
    "name",
    [
        "venv.py",
        "sitecustomize.py",
        "torch/__init__.py",
        "pyvenv.cfg",
        "evil.pth",
        "launch",
        "bin/python",
        "uv.toml",
        ".git/config",
        "code/evil.pth",
        "code/evil.so",
        "code/cvbundle/evil.pyc",
        "code/cvbundle/.hidden.py",
        "validation/evil.py",
        "validation/00/evil.png",
        "runs.py",
        "locals/paths.json",
        "README.MD",
    ],
)
def test_a_file_that_no_bundle_has_is_refused_even_if_the_sums_list_it(
    name: str, compiled: Compiled
) -> None:
    plant(compiled.bundle.folder, name)
    bundle = sealed(compiled.bundle.folder)
    assert _sentences(Bundle(bundle)) == [f"{name} is not a file of a bundle"]
    with pytest.raises(UserError, match="is not a file of a bundle"):
        plan_launch(Bundle(bundle), RunOptions(trust=True))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file_is_named_even_if_the_sums_omit_it(name: str, compiled: Compiled) -> None:
    compiled.bundle.folder.chmod(0o755)
    (compiled.bundle.folder / name).unlink()
    bundle = sealed(compiled.bundle.folder)
    assert _sentences(Bundle(bundle)) == [f"SHA256SUMS does not list {name}"]
