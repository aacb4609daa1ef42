"""The contents of a bundle's files that are derived from its spec and model."""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

import cvbundle
from cvbundle.bundle import layout
from cvbundle.compiler.commit import spec_commit
from cvbundle.files.expand import expanded
from cvbundle.model.config_files import architecture_data
from cvbundle.model.hub import resolve_commit, snapshot
from cvbundle.model.identify import BaseModel
from cvbundle.model.pin import blob_names, pin_folder
from cvbundle.problems import UserError
from cvbundle.spec.converter import plain
from cvbundle.spec.local_fields import local_fields
from cvbundle.spec.schema import Spec


def config_data(spec: Spec) -> dict[str, Any]:
    """`config.json`: every setting but those that are about this machine."""
    data: dict[str, Any] = plain(spec)
    for field in local_fields():
        section, name = field.path
        del data[section][name]
    return data


class ModelRecords:
    """Pins each model of a compilation once: the points of a sweep usually share one."""

    def __init__(self, *, rehash: bool) -> None:
        self._rehash = rehash
        self._made: dict[object, tuple[str | None, dict[str, Any]]] = {}

    def of(self, spec: Spec, model: BaseModel) -> tuple[str | None, dict[str, Any]]:
        """The revision to record, and the data of `model.json`."""
        key = (model.path, model.folder, model.name, spec.model.revision)
        if key not in self._made:
            self._made[key] = _model_record(spec, model, rehash=self._rehash)
        return self._made[key]


def _model_record(
    spec: Spec, model: BaseModel, *, rehash: bool
) -> tuple[str | None, dict[str, Any]]:
    record: dict[str, Any] = {
        "architecture": architecture_data(model.architecture),
        "files": [],
        "hub": None,
        "name": model.name,
        "task": model.task,
    }
    if model.is_on_hub:
        commit = resolve_commit(model.path, spec.model.revision)
        record["hub"] = {"commit": commit, "repository": model.path}
        return commit, record
    assert model.folder is not None
    record["files"] = [asdict(file) for file in pin_folder(model.folder, rehash=rehash)]
    return None, record


def local_settings(spec: Spec, base: Path, model: BaseModel) -> dict[str, Any]:
    """`local/paths.json`: paths are absolute, but for a hub id; `base` is the spec's folder."""
    data: dict[str, Any] = plain(spec)
    settings = {}
    for field in local_fields():
        section, name = field.path
        value = data[section][name]
        is_path = field.is_path and value is not None
        settings[field.name] = str((base / expanded(value)).absolute()) if is_path else value
    return settings | ({"model.path": model.path} if model.is_on_hub else {})


def hub_blobs(commit: str | None, model: BaseModel) -> dict[str, str] | None:
    """`local/blobs.json`: the hub cache's blob names of a model's files; None if incomplete."""
    folder = snapshot(model.path, commit) if model.is_on_hub and commit is not None else None
    if folder is None:
        return None
    try:
        return {file.path: file.sha256 for file in blob_names(folder)}
    except UserError:
        return None


def copy_images(folder: Path, spec: Spec, base: Path) -> Spec:
    """Copy the validation images into the bundle, and return the spec with their new paths."""
    if spec.validation is None or not spec.validation.images:
        return spec
    (folder / layout.VALIDATION).mkdir()
    names = []
    for index, image in enumerate(spec.validation.images):
        source = base / expanded(image)
        name = f"{layout.VALIDATION}/{index:02d}{source.suffix.lower()}"
        shutil.copyfile(source, folder / name)
        names.append(name)
    return evolve(spec, validation=evolve(spec.validation, images=tuple(names)))


def provenance(spec_file: str, base: Path, written: bytes) -> dict[str, Any]:
    """`local/provenance.json`: when, where and from which spec the bundle was compiled."""
    return {
        "compiled": datetime.now(UTC).isoformat(timespec="seconds"),
        "cvbundle": cvbundle.__version__,
        "python": sys.version.split()[0],
        "spec_file": str(Path(spec_file).absolute()),
        "spec": written.decode("utf-8-sig"),
        "git_commit": spec_commit(base),
    }
