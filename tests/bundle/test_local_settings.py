"""Local settings aren't part of a bundle's digest, and can be changed when it is run."""

import json
import re
from pathlib import Path

import pytest

from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.problems import UserError
from cvbundle.spec.local_fields import local_fields

_TWO = ["launch.strategy=ddp", "launch.num_processes=2"]


def test_the_number_of_machines_does_not_change_the_digest(demo: Path, tmp_path: Path) -> None:
    one = compile_file(demo / "spec.yaml", tmp_path / "one", settings=_TWO).only
    settings = [*_TWO, "launch.num_machines=2", "launch.gpu_memory_gib=24"]
    two = compile_file(demo / "spec.yaml", tmp_path / "two", settings=settings).only
    assert one.digest == two.digest
    assert (one.bundle.num_machines, two.bundle.num_machines) == (1, 2)
    assert two.bundle.spec.launch.num_machines == 2
    assert two.bundle.spec.launch.gpu_memory_gib == 24


def test_the_config_has_no_local_settings(compiled: Compiled) -> None:
    config = json.loads((compiled.bundle.folder / "config.json").read_bytes())
    for field in local_fields():
        section, name = field.path
        assert name not in config[section]
    recorded = json.loads((compiled.bundle.folder / "local/paths.json").read_bytes())
    assert set(recorded) == {field.name for field in local_fields()}


def test_the_environment_overrides_recorded_settings(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_NUM_MACHINES", "3")
    monkeypatch.setenv("CVBUNDLE_DATA_ROOT", "/elsewhere")
    settings = compiled.bundle.local_settings
    assert (settings["launch.num_machines"], settings["data.root"]) == (3, "/elsewhere")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", ">= 1"), ("-1", ">= 1"), ("two", "a whole number"), ("1.5", "a whole number")],
)
def test_an_invalid_number_of_machines_is_refused(
    text: str, expected: str, compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_NUM_MACHINES", text)
    sentence = f"CVBUNDLE_NUM_MACHINES must be {expected}, not {text}"
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        _ = compiled.bundle.num_machines
