"""Compile a spec into bundles: check everything, write everything, then move it into place.

A spec gives one bundle, or one for each point of its sweep; all of them appear, or none.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from attrs import evolve, frozen

from cvbundle.bundle import layout
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.measured_steps import measured_steps
from cvbundle.bundle.packages import lock, needed_distributions
from cvbundle.bundle.sharing import SharedFiles, share_file
from cvbundle.bundle.store import is_bundle, staging
from cvbundle.bundle.verify import require_verified, sums_of, sums_text
from cvbundle.compiler.check import Checked, Experiment, open_spec
from cvbundle.compiler.code import Code, training_code
from cvbundle.compiler.contents import (
    ModelRecords,
    config_data,
    copy_images,
    hub_blobs,
    local_settings,
    provenance,
)
from cvbundle.compiler.rendered import accelerate_config, launch_script, readme
from cvbundle.compiler.scanning import Manifest, Scanning, scan_document
from cvbundle.files.digest import json_file, sha256_bytes
from cvbundle.files.durable import settle, write_bytes
from cvbundle.files.expand import expanded
from cvbundle.model.identify import BaseModel
from cvbundle.model.memory import MemoryEstimate, estimate
from cvbundle.model.time import MeasuredStep, TrainingEstimate, estimate_training
from cvbundle.problems import Problem, ProblemsFound, UserError
from cvbundle.spec.tables.gpus import GPUS


@frozen(kw_only=True)
class Compiled:
    """A compiled bundle."""

    bundle: Bundle
    digest: str
    """sha256 of its `SHA256SUMS`, in hex."""
    created: bool
    """False if the same bundle already existed."""
    point: str
    """The point of the sweep; empty without a sweep."""
    samples: int
    memory: MemoryEstimate
    training: TrainingEstimate


@frozen
class Compilation:
    """The result of compiling a spec."""

    bundles: tuple[Compiled, ...]
    """In the order of the sweep's points; one without a sweep."""
    warnings: tuple[Problem, ...]

    @property
    def only(self) -> Compiled:
        """The bundle of a spec without a sweep."""
        (bundle,) = self.bundles
        return bundle


def compile_file(
    path: Path,
    out: Path,
    *,
    settings: Iterable[str] = (),
    data_root: Path | None = None,
    model_path: str | None = None,
    scanning: Scanning | None = None,
) -> Compilation:
    """Compile a spec file into bundles below `out`.

    Args:
        path: the spec.
        out: the store of bundles.
        settings: `field=value` overrides.
        data_root: the folder of the clips, relative to the current folder.
        model_path: the folder of the model, likewise, or its hub id.
        scanning: how clips are scanned, and whether cached results are used.

    Raises:
        ProblemsFound: the spec or the data can't be used.
        UserError: something on this machine is missing.
    """
    scanning = scanning or Scanning()
    file = open_spec(path, settings, data_root=data_root, model_path=model_path)
    out = expanded(out)
    with _staging(out) as folders:
        manifests = folders / "manifests"
        manifests.mkdir()
        checked = scan_document(file.document, file.base, manifests, scanning)
        if checked.blocked:
            raise ProblemsFound(checked.problems)
        written = provenance(file.document.file, file.base, file.content)
        materials = _Materials(
            code=training_code(),
            models=ModelRecords(rehash=scanning.rehash),
            shared=SharedFiles(out),
            provenance=json_file(written),
            lock=cache(lock),
            earlier=cache(lambda gpu: () if gpu is None else measured_steps(out, GPUS[gpu])),
        )
        return Compilation(_compiled(checked, folders, out, materials), checked.problems)


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder of the store to make bundles in; a new store that stays empty is removed again."""
    is_new = not out.exists()
    try:
        with staging(out, "compiling") as folders:
            yield folders
    finally:
        if is_new:
            # It isn't empty if anything was compiled.
            with suppress(OSError):
                out.rmdir()


@frozen(kw_only=True)
class _Materials:
    """What all bundles of a compilation share."""

    code: Code
    models: ModelRecords
    shared: SharedFiles
    provenance: bytes
    lock: Callable[[tuple[str, ...]], str]
    """Cached."""
    earlier: Callable[[str | None], tuple[MeasuredStep, ...]]
    """What the store's runs measured on a device by its name; cached."""


@frozen
class _Staged:
    """A bundle that is complete, and not in the store yet."""

    experiment: Experiment
    folder: Path
    digest: str


def _compiled(
    checked: Checked, folders: Path, out: Path, materials: _Materials
) -> tuple[Compiled, ...]:
    """Write the bundle of each experiment, then move all of them into the store."""
    staged: list[_Staged] = []
    for number, experiment in enumerate(checked.experiments):
        folder = folders / str(number)
        folder.mkdir()
        bundle = _Staged(experiment, folder, _write(folder, experiment, materials))
        _refuse_duplicate(bundle, staged)
        staged.append(bundle)
    return tuple(_settled(bundle, out, materials) for bundle in staged)


def _refuse_duplicate(bundle: _Staged, staged: list[_Staged]) -> None:
    """Raise `UserError` if another point of the sweep gives the same bundle."""
    for other in staged:
        if bundle.digest == other.digest:
            one, two = other.experiment.point.name, bundle.experiment.point.name
            raise UserError(f"sweep: {one} and {two} give the same bundle: remove one of them")


def _model(experiment: Experiment) -> BaseModel:
    assert experiment.resolved.model is not None
    return experiment.resolved.model


def _manifest(experiment: Experiment) -> Manifest:
    assert experiment.manifest is not None
    return experiment.manifest


def _write(folder: Path, experiment: Experiment, materials: _Materials) -> str:
    """Fill a bundle's folder and return its digest."""
    code, model, manifest = materials.code, _model(experiment), _manifest(experiment)
    spec, base = experiment.resolved.spec, experiment.resolved.base
    revision, record = materials.models.of(spec, model)
    spec = evolve(spec, model=evolve(spec.model, revision=revision))
    spec = copy_images(folder, spec, base)
    digests = {
        name: digest
        for name, digest in manifest.digests.items()
        if share_file(manifest.dataset.with_name(name), folder / name)
    }
    requirements = materials.lock(needed_distributions(code.packages, spec))
    files = {
        layout.CONFIG: json_file(config_data(spec)),
        layout.MODEL: json_file(record),
        layout.REQUIREMENTS: requirements.encode(),
        layout.ACCELERATE: accelerate_config(spec),
        layout.LAUNCH: launch_script(spec),
        layout.README: readme(spec, manifest.samples),
        **{f"{layout.CODE}/{name}": source for name, source in code.files.items()},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    sums = sums_of(folder, digests)
    (folder / layout.SUMS).write_bytes(sums_text(sums).encode())
    materials.shared.share(folder, sums)
    _make_read_only(folder)
    for name in layout.NOT_HASHED:
        (folder / name).mkdir()
    (folder / layout.PATHS).write_bytes(json_file(local_settings(spec, base, model)))
    blobs = hub_blobs(revision, model)
    if blobs is not None:
        (folder / layout.BLOBS).write_bytes(json_file(blobs))
    (folder / layout.PROVENANCE).write_bytes(materials.provenance)
    return sha256_bytes((folder / layout.SUMS).read_bytes())


def _settled(staged: _Staged, out: Path, materials: _Materials) -> Compiled:
    """Move a finished folder into place, or keep the bundle that already exists."""
    experiment, folder = staged.experiment, staged.folder
    spec, model = experiment.resolved.spec, _model(experiment)
    samples = _manifest(experiment).samples
    final = out / staged.digest[: layout.NAME_DIGITS]
    paths = (folder / layout.PATHS).read_bytes()
    created = not is_bundle(final) and settle(folder, final)
    if not created:
        require_verified(Bundle(final))
        _update_paths(final, paths)
    earlier = materials.earlier(spec.launch.gpu)
    return Compiled(
        bundle=Bundle(final),
        digest=staged.digest,
        created=created,
        point=experiment.point.name,
        samples=samples,
        memory=estimate(spec, model),
        training=estimate_training(spec, model.architecture, samples, earlier),
    )


def _update_paths(bundle: Path, paths: bytes) -> None:
    """Update the local paths of an existing bundle, which are not part of its hash."""
    path = bundle / layout.PATHS
    if path.is_file() and path.read_bytes() == paths:
        return
    try:
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, paths)
    except OSError as error:
        raise UserError(
            f"{bundle} already exists, and its paths of clips and model can't be updated "
            f"({error.strerror}): set CVBUNDLE_DATA_ROOT and CVBUNDLE_MODEL_PATH to run it"
        ) from None


def _make_read_only(folder: Path) -> None:
    """Make all hashed files and folders read-only; modes are not part of the digest."""
    for path in folder.rglob("*"):
        executable = path.is_dir() or path.name == layout.LAUNCH
        path.chmod(0o555 if executable else 0o444)
