"""A bundle: a folder, and what is in its files."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from attrs import field, frozen

from cvbundle.bundle import layout
from cvbundle.bundle.local_settings import Value, local_settings
from cvbundle.bundle.model_record import ModelRecord
from cvbundle.bundle.records import structured
from cvbundle.bundle.requirements import read_requirements
from cvbundle.bundle.run import Run, list_runs
from cvbundle.dataset.manifest import Sample, Skipped, read_samples, read_skipped
from cvbundle.files.digest import sha256_file
from cvbundle.files.expand import expanded
from cvbundle.files.json_objects import read_object, unreadable
from cvbundle.spec.schema import Spec


def _path(folder: str | PathLike[str]) -> Path:
    return Path(folder)


@frozen
class Bundle(PathLike[str]):
    """A bundle's folder; each file in it is read when it is first needed, and once.

    A file that is missing, cut off or of another version of cvbundle is a `DamagedFile` where it is
    used. Nothing here compares files with their digests: see `cvbundle.bundle.verify`.
    """

    folder: Path = field(converter=_path)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    @cached_property
    def name(self) -> str:
        """The name of its folder: the first digits of its digest."""
        return self.folder.resolve().name

    @cached_property
    def digest(self) -> str:
        """The sha256 of `SHA256SUMS`, in hex."""
        try:
            return sha256_file(self.folder / layout.SUMS)
        except OSError as error:
            raise unreadable(self.folder / layout.SUMS, error, self._advice) from None

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The settings as `config.json` has them, whichever version wrote it."""
        return self._object(layout.CONFIG)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The same settings by their dotted names, such as `training.learning_rate`."""
        return flat(self.config)

    @property
    def spec(self) -> Spec:
        """The settings with those of this machine; `-` for a path that is unknown here.

        Structured anew at each use, since the environment can change.

        Raises:
            DamagedFile: `config.json` isn't a config of this version.
            UserError: an environment variable has a value that its field can't have.
        """
        config = {k: dict(v) if isinstance(v, dict) else v for k, v in self.config.items()}
        local = dict(self.local_settings)
        local["model.path"] = self.model_path or "-"
        local["data.root"] = local["data.root"] or "-"
        for name, value in local.items():
            section, _, inner = name.partition(".")
            if value is not None and isinstance(config.get(section), dict):
                config[section][inner] = value
        return structured(config, Spec, str(self.folder / layout.CONFIG), self._advice)

    @cached_property
    def model_data(self) -> Mapping[str, Any]:
        """`model.json`, whichever version wrote it."""
        return self._object(layout.MODEL)

    @cached_property
    def model(self) -> ModelRecord:
        """The base model that it pins."""
        place = str(self.folder / layout.MODEL)
        return structured(self.model_data, ModelRecord, place, self._advice)

    def samples(self) -> Iterator[Sample]:
        """The samples to train on, in order; read anew by each call."""
        return read_samples(self.folder / layout.DATASET, self._advice)

    @cached_property
    def sample_count(self) -> int:
        """How many samples there are, without reading what they are."""
        path = self.folder / layout.DATASET
        try:
            with path.open("rb") as file:
                return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        except OSError as error:
            raise unreadable(path, error, self._advice) from None

    def skipped(self) -> Iterator[Skipped]:
        """The samples that were left out, in order; read anew by each call."""
        return read_skipped(self.folder / layout.SKIPPED, self._advice)

    @cached_property
    def requirements(self) -> Mapping[str, str]:
        """Distribution to version, as locked.

        Raises:
            UserError: `requirements.txt` has more than exact versions.
        """
        return read_requirements(self.folder)

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """When, where and from which spec it was compiled; empty if it was compiled elsewhere."""
        return self._local_object(layout.PROVENANCE)

    @cached_property
    def hub_blobs(self) -> Mapping[str, Any]:
        """The hub cache's blob names of the model's files, by path; empty if not recorded."""
        return self._local_object(layout.BLOBS)

    @property
    def local_settings(self) -> Mapping[str, Value]:
        """The settings of this machine now, by their dotted names, such as `output.dir`.

        Raises:
            UserError: an environment variable has a value that its field can't have.
        """
        return local_settings(self._recorded_paths, str(self.folder / layout.PATHS))

    @cached_property
    def _recorded_paths(self) -> Mapping[str, Any]:
        return self._local_object(layout.PATHS)

    @property
    def model_path(self) -> str | None:
        """The folder of the base model on this machine, or its hub id; None if unknown."""
        path = self.local_settings["model.path"]
        if path is not None:
            return str(path)
        hub = self.model_data.get("hub")
        return str(hub["repository"]) if isinstance(hub, dict) and "repository" in hub else None

    @property
    def data_root(self) -> Path | None:
        """The folder of the clips on this machine; None if unknown."""
        path = self.local_settings["data.root"]
        return None if path is None else expanded(str(path))

    @property
    def runs_folder(self) -> Path:
        """The folder of its runs on this machine: in the bundle, or below `output.dir`."""
        output = self.local_settings["output.dir"]
        return self.folder / layout.RUNS if output is None else expanded(str(output)) / self.name

    @property
    def num_machines(self) -> int:
        """How many machines train it together."""
        return int(self.local_settings["launch.num_machines"] or 1)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its runs as they are now, oldest first."""
        return list_runs(self.runs_folder)

    @property
    def _advice(self) -> str:
        return (
            f"`cvbundle verify {self.folder}` says whether the bundle is damaged; if not, another "
            "version of cvbundle compiled it"
        )

    def _object(self, name: str) -> dict[str, Any]:
        try:
            return read_object(self.folder / name, self._advice)
        except FileNotFoundError as error:
            raise unreadable(self.folder / name, error, self._advice) from None

    def _local_object(self, name: str) -> dict[str, Any]:
        """A file that the digest doesn't cover, and that can be missing."""
        try:
            return read_object(self.folder / name, "remove it, or unpack or compile it again")
        except FileNotFoundError:
            return {}


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """Nested data by dotted names."""
    return dict(_flat(data, ""))


def _flat(data: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
