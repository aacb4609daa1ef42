"""What is to be trained, from a bundle and the places on this machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.bundle.layout import CONFIG, DATASET, MODEL
from cvbundle.bundle.places import local_paths, with_local_settings
from cvbundle.dataset.manifest import Sample, read_samples
from cvbundle.model.config_files import architecture_data, read_architecture
from cvbundle.model.hub import first_line, hub_errors, snapshot
from cvbundle.model.pin import ModelFile, blob_names
from cvbundle.problems import UserError
from cvbundle.spec.converter import structure_config
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture


@frozen(kw_only=True)
class Job:
    """A bundle's training, with every path and process decided."""

    bundle: Path
    spec: Spec
    samples: tuple[Sample, ...]
    architecture: Architecture
    model_folder: Path
    model_files: tuple[ModelFile, ...]
    """What identifies the weights: by sha256, or by the hub cache's blob names."""
    hub_commit: str | None
    data_root: Path
    run: Path
    device: str
    """Its type: `cpu`, `cuda` or another one that torch knows."""
    world_size: int
    """Processes that train, on all machines."""

    @property
    def accumulation(self) -> int:
        """Batches of each process to an optimizer step: the global batch is the bundle's."""
        return self.spec.global_batch // (self.world_size * self.spec.training.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.spec.total_steps(len(self.samples))


def read_job(bundle: Path, run: Path, device: str, world_size: int) -> Job:
    """Read a bundle, and where its model and data are: `local/paths.json`, or the environment.

    Raises:
        UserError: a place is unknown or holds something else than the bundle names.
    """
    paths = local_paths(bundle)
    config = json.loads((bundle / CONFIG).read_bytes())
    model_path, data_root = paths.get("model.path"), paths.get("data.root")
    if not model_path or not data_root:
        raise UserError(
            "where the model and the clips are is not known: "
            "set CVBUNDLE_MODEL_PATH and CVBUNDLE_DATA_ROOT"
        )
    spec = structure_config(with_local_settings(config, bundle))
    record = json.loads((bundle / MODEL).read_bytes())
    folder, files, commit = _model(record, model_path)
    architecture = read_architecture(folder)
    _check_architecture(architecture, record["architecture"], folder)
    samples = tuple(read_samples(bundle / DATASET))
    _check_world(spec, world_size)
    return Job(
        bundle=bundle,
        spec=spec,
        samples=samples,
        architecture=architecture,
        model_folder=folder,
        model_files=files,
        hub_commit=commit,
        data_root=Path(data_root).expanduser(),
        run=run,
        device=device,
        world_size=world_size,
    )


def _model(record: Mapping[str, Any], path: str) -> tuple[Path, tuple[ModelFile, ...], str | None]:
    hub = record["hub"]
    folder = Path(path).expanduser()
    if hub is None:
        if not folder.is_dir():
            raise UserError(f"{path} is no folder: set CVBUNDLE_MODEL_PATH to the model's")
        return folder, tuple(ModelFile(**file) for file in record["files"]), None
    repository, commit = hub["repository"], hub["commit"]
    found = snapshot(repository, commit) or _downloaded(repository, commit)
    return found, blob_names(found), commit


def _downloaded(repository: str, commit: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=commit))
    except hub_errors() as error:
        raise UserError(
            f"{repository} can't be downloaded ({first_line(error)}): "
            f"run `hf download {repository} --revision {commit}` where there is a network"
        ) from None


def _check_architecture(found: Architecture, pinned: Mapping[str, Any], folder: Path) -> None:
    """The weights at hand are of the model that was checked; its sample sizes may be newer."""

    def bare(data: Mapping[str, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(data))
        for name in ("sample_height", "sample_width", "sample_frames"):
            plain["transformer"].pop(name)
        return plain

    if bare(architecture_data(found)) != bare(pinned):
        raise UserError(f"{folder} holds another architecture than the bundle's model.json")


def _check_world(spec: Spec, world_size: int) -> None:
    if spec.global_batch % (world_size * spec.training.batch_size):
        raise UserError(
            f"a global batch of {spec.global_batch} can't be split over {world_size} processes of "
            f"{spec.training.batch_size}: choose a divisor of "
            f"{spec.global_batch // spec.training.batch_size} processes"
        )
