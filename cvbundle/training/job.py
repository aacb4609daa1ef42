"""What to train, from a bundle and the paths on this machine."""

from pathlib import Path

from attrs import evolve, frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.model_record import ModelRecord
from cvbundle.dataset.manifest import Sample
from cvbundle.model.config_files import read_architecture
from cvbundle.model.hub import first_line, hub_errors, snapshot
from cvbundle.model.pin import ModelFile, blob_names
from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture


@frozen(kw_only=True)
class Job:
    """A bundle's training, with every path and process decided."""

    bundle: Bundle
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


def read_job(bundle: Bundle, run: Path, device: str, world_size: int) -> Job:
    """Read a bundle, and where its model and data are: `local/paths.json`, or the environment.

    Raises:
        UserError: a place is unknown or holds something else than the bundle names.
    """
    model_path, data_root = bundle.model_path, bundle.data_root
    if model_path is None or data_root is None:
        raise UserError(
            "the folders of the base model and the clips are unknown: "
            "set CVBUNDLE_MODEL_PATH and CVBUNDLE_DATA_ROOT"
        )
    spec = bundle.spec
    folder, files, commit = _model(bundle.model, model_path)
    architecture = read_architecture(folder)
    _check_architecture(architecture, bundle.model.architecture, folder)
    samples = tuple(bundle.samples())
    _check_world(spec, world_size)
    return Job(
        bundle=bundle,
        spec=spec,
        samples=samples,
        architecture=architecture,
        model_folder=folder,
        model_files=files,
        hub_commit=commit,
        data_root=data_root,
        run=run,
        device=device,
        world_size=world_size,
    )


def _model(record: ModelRecord, path: str) -> tuple[Path, tuple[ModelFile, ...], str | None]:
    hub = record.hub
    folder = Path(path).expanduser()
    if hub is None:
        if not folder.is_dir():
            raise UserError(f"{path} is not a folder: set CVBUNDLE_MODEL_PATH to the base model's")
        return folder, record.files, None
    present = snapshot(hub.repository, hub.commit) or _downloaded(hub.repository, hub.commit)
    return present, blob_names(present), hub.commit


def _downloaded(repository: str, commit: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=commit))
    except hub_errors() as error:
        raise UserError(
            f"{repository} can't be downloaded ({first_line(error)}): "
            f"run `hf download {repository} --revision {commit}` where there is a network"
        ) from None


def _check_architecture(present: Architecture, pinned: Architecture, folder: Path) -> None:
    """The weights at hand are of the model that was checked; its sample sizes may be newer."""
    sizes = {
        name: getattr(pinned.transformer, name)
        for name in ("sample_height", "sample_width", "sample_frames")
    }
    if evolve(present, transformer=evolve(present.transformer, **sizes)) != pinned:
        raise UserError(f"{folder} holds another architecture than the bundle's model.json")


def _check_world(spec: Spec, world_size: int) -> None:
    if spec.global_batch % (world_size * spec.training.batch_size):
        raise UserError(
            f"a global batch of {spec.global_batch} can't be split over {world_size} processes of "
            f"{spec.training.batch_size}: choose a divisor of "
            f"{spec.global_batch // spec.training.batch_size} processes"
        )
