"""Bundles that are damaged, or of another version of cvbundle, are shown as far as they can be."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cvbundle.bundle.bundle import Bundle
from cvbundle.comparison.description import describe
from cvbundle.comparison.diff import compare
from cvbundle.comparison.listing import list_store
from cvbundle.comparison.operands import Side
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.files.json_objects import DamagedFile


def _add(path: Path, **values: Any) -> None:
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _cvbundle(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cvbundle.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def later(compiled: Compiled) -> Bundle:
    """A bundle whose settings and model have fields that this version doesn't have."""
    _add(compiled.bundle.folder / "config.json", speed={"limit": 3})
    _add(compiled.bundle.folder / "model.json", quantization="int4")
    return compiled.bundle


def test_a_bundle_of_a_later_version_is_listed(later: Bundle) -> None:
    (listed,) = list_store(later.folder.parent)
    assert (listed.name, listed.model, listed.samples) == (
        "demo-cogvideox-2b-lora",
        "cogvideox-2b",
        4,
    )
    assert listed.status == "not run"


def test_a_bundle_of_a_later_version_is_described_as_far_as_it_can_be_read(later: Bundle) -> None:
    described = describe(later)
    assert {each.name: each.value for each in described.settings}["speed.limit"] == 3
    assert described.data is not None
    assert described.data.samples == 4
    assert (described.model, described.memory, described.total_steps) == (None, None, None)
    assert [reason.partition(":")[0] for reason in described.unreadable] == [
        str(later.folder / "model.json"),
        str(later.folder / "config.json"),
    ]
    shown = _cvbundle("show", later)
    assert shown.returncode == 0
    assert "speed.limit" in shown.stdout
    assert "speed is not a field of this version" in shown.stderr
    assert json.loads(_cvbundle("show", later, "--json").stdout)["memory"] is None


def test_a_bundle_of_a_later_version_is_compared(later: Bundle, demo: Path, tmp_path: Path) -> None:
    own = compile_file(demo / "spec.yaml", tmp_path / "own").only.bundle
    comparison = compare(Side("A", own, ()), Side("B", later, ()))
    assert [(each.name, each.after) for each in comparison.settings] == [("speed.limit", 3)]
    assert [(each.name, each.after) for each in comparison.weights] == [("quantization", "int4")]
    assert comparison.data.same


def test_a_damaged_run_is_named_and_the_rest_is_shown(compiled: Compiled) -> None:
    for name, text in (("0001", '{"status": "complete"}'), ("0002", "{")):
        (compiled.bundle.folder / "runs" / name).mkdir()
        (compiled.bundle.folder / "runs" / name / "run.json").write_text(text)
    described = describe(compiled.bundle)
    assert [run.run for run in described.runs] == ["0001"]
    assert "runs/0002/run.json" in described.unreadable[0]
    (listed,) = list_store(compiled.bundle.folder.parent)
    assert listed.status == "damaged"


@pytest.mark.parametrize("line", ["{", "[]", '{"clip": 1}'])
def test_a_damaged_manifest_can_not_be_compared(
    line: str, compiled: Compiled, tmp_path: Path
) -> None:
    manifest = compiled.bundle.folder / "dataset.jsonl"
    before = Side("A", compiled.bundle, ())
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset.jsonl").write_text(manifest.read_text() + line + "\n")
    for name in ("config.json", "model.json", "requirements.txt"):
        (other / name).write_bytes((compiled.bundle.folder / name).read_bytes())
    with pytest.raises(DamagedFile, match=r"dataset\.jsonl, byte \d+: "):
        compare(before, Side("B", Bundle(other), ()))
    (other / "dataset.jsonl").unlink()
    with pytest.raises(DamagedFile, match=r"other/dataset\.jsonl can't be read"):
        compare(before, Side("B", Bundle(other), ()))


def test_a_bundle_without_settings_is_one_sentence(compiled: Compiled) -> None:
    (compiled.bundle.folder / "config.json").unlink()
    shown = _cvbundle("show", compiled.bundle)
    assert shown.returncode == 1
    (sentence,) = shown.stderr.splitlines()
    assert sentence.startswith(f"error: {compiled.bundle.folder / 'config.json'} can't be read")
