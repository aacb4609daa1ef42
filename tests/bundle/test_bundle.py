"""A bundle's files are read as they are, or refused with their place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvbundle.bundle.bundle import Bundle
from cvbundle.files.digest import sha256_file
from cvbundle.files.json_objects import DamagedFile
from cvbundle.problems import CvbundleError, ProblemsFound, UserError

_READERS: dict[str, Callable[[Bundle], object]] = {
    "config.json": lambda bundle: bundle.spec,
    "model.json": lambda bundle: bundle.model,
    "dataset.jsonl": lambda bundle: list(bundle.samples()),
    "skipped.jsonl": lambda bundle: list(bundle.skipped()),
    "local/paths.json": lambda bundle: bundle.local_settings,
    "local/provenance.json": lambda bundle: bundle.provenance,
    "local/blobs.json": lambda bundle: bundle.hub_blobs,
    "SHA256SUMS": lambda bundle: bundle.digest,
}


def _change(path: Path, keys: tuple[str, ...], value: Any = None) -> None:
    """Replace a value in a JSON file, or in its first line; remove it if the new one is None."""
    first, *others = (
        path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    )
    data = json.loads(first)
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    if value is None:
        del inner[keys[-1]]
    path.write_text("\n".join([json.dumps(data), *others, ""]))


def test_everything_in_a_bundle_has_a_type(bundle: Bundle) -> None:
    assert bundle.name == bundle.digest[:16]
    assert bundle.digest == sha256_file(bundle.folder / "SHA256SUMS")
    assert bundle.spec.training.learning_rate == bundle.settings["training.learning_rate"]
    assert (bundle.model.name, bundle.model.task, bundle.model.hub) == ("cogvideox-2b", "t2v", None)
    assert bundle.model.architecture.transformer.patch_size == 2
    assert {"vae", "transformer"} <= {file.path.split("/")[0] for file in bundle.model.files}
    assert [sample.frames for sample in bundle.samples()] == [17, 17, 17, 17]
    assert (bundle.sample_count, list(bundle.skipped()), bundle.runs) == (4, [], ())
    assert "torch" in bundle.requirements
    assert bundle.provenance["spec"]


def test_a_bundle_of_another_folder_is_another_bundle(bundle: Bundle, original: Bundle) -> None:
    assert bundle == Bundle(str(bundle.folder))
    assert bundle != original
    assert Path(bundle) == bundle.folder


def test_each_file_is_read_once(bundle: Bundle) -> None:
    before = bundle.config, bundle.model, bundle.digest
    for name in ("config.json", "model.json", "SHA256SUMS"):
        (bundle.folder / name).write_text("{")
    assert (bundle.config, bundle.model, bundle.digest) == before


def test_runs_are_read_as_they_are_now(bundle: Bundle) -> None:
    for number in (1, 2):
        (bundle.folder / f"runs/{number:04d}").mkdir()
        assert [run.number for run in bundle.runs][-1] == number


@pytest.mark.parametrize("name", sorted(set(_READERS) - {"SHA256SUMS"}))
@pytest.mark.parametrize(
    "content", [b"", b'{"name": "to', b"[1, 2]\n", b"\xff\n", b"[" * 9999 + b"\n"]
)
def test_a_file_that_is_cut_off_or_not_json_is_named(
    name: str, content: bytes, bundle: Bundle
) -> None:
    (bundle.folder / name).write_bytes(content)
    if not content and name.endswith(".jsonl"):
        assert _READERS[name](bundle) == []
        return
    with pytest.raises(DamagedFile) as refused:
        _READERS[name](bundle)
    sentence = str(refused.value)
    assert sentence.startswith(str(bundle.folder / name))
    assert "JSON" in sentence or "cut off" in sentence
    assert "cvbundle verify" in sentence or "remove it" in sentence


@pytest.mark.parametrize("name", ["config.json", "model.json", "dataset.jsonl", "SHA256SUMS"])
def test_a_missing_file_is_named(name: str, bundle: Bundle) -> None:
    (bundle.folder / name).unlink()
    with pytest.raises(DamagedFile, match=rf"{name} can't be read \(No such file.*: `cvbundle"):
        _READERS[name](bundle)


@pytest.mark.parametrize("name", ["local/paths.json", "local/provenance.json", "skipped.jsonl"])
def test_optional_files_may_be_missing(name: str, bundle: Bundle) -> None:
    (bundle.folder / name).unlink(missing_ok=True)
    _READERS[name](bundle)


@pytest.mark.parametrize(
    ("name", "keys", "value", "words"),
    [
        ("config.json", ("training", "seed"), "42", "training.seed is not a whole number"),
        ("config.json", ("training", "seed"), -1, "training.seed: must be >= 0, not -1"),
        ("config.json", ("training", "speed"), 2, "training.speed is not a field of this version"),
        ("config.json", ("extra",), 2, "extra is not a field of this version"),
        ("config.json", ("training",), 3, "training is not a section"),
        ("config.json", ("name",), None, "name is missing"),
        ("model.json", ("files",), "none", "files is not a list"),
        ("model.json", ("hub",), {"repository": "a/b"}, "hub.commit is missing"),
        ("model.json", ("task",), "v2v", "task"),
        ("model.json", ("architecture", "vae", "slices"), 1, "architecture.vae.slices is not a"),
        ("model.json", ("architecture", "vae", "scaling_factor"), "1", "is not a number"),
        ("dataset.jsonl", ("size",), "9", ":1: size is not a whole number"),
        ("dataset.jsonl", ("fps",), 8, ":1: fps is not text"),
        ("dataset.jsonl", ("clip",), None, ":1: clip is missing"),
        ("dataset.jsonl", ("speed",), 2, ":1: speed is not a field of this version"),
        ("dataset.jsonl", ("crop",), [0, 0, 8], ":1: crop has 3 numbers instead of 4"),
        ("dataset.jsonl", ("chosen",), [0, "1"], ":1: chosen has something other than whole"),
        ("dataset.jsonl", ("image",), "first.png", ":1: image is not an object"),
        ("dataset.jsonl", ("image",), {"path": "a"}, ":1: digest is missing"),
        ("local/paths.json", ("data.root",), 7, "data.root is not text: set CVBUNDLE_DATA_ROOT"),
    ],
)
def test_a_value_of_another_type_or_version_is_named(
    name: str, keys: tuple[str, ...], value: Any, words: str, bundle: Bundle
) -> None:
    _change(bundle.folder / name, keys, value)
    with pytest.raises(DamagedFile) as refused:
        _READERS[name](bundle)
    assert str(refused.value).startswith(str(bundle.folder / name))
    assert words in str(refused.value)


def test_settings_of_another_version_are_available_as_data(bundle: Bundle) -> None:
    _change(bundle.folder / "config.json", ("training", "speed"), 2)
    assert bundle.settings["training.speed"] == 2


def test_every_error_for_users_has_one_base() -> None:
    for error in (UserError, ProblemsFound, DamagedFile):
        assert issubclass(error, CvbundleError)
