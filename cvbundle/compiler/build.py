"""Compile a spec into bundles: check everything, write everything, then move it into place.

A spec gives one bundle, or one for each point of its sweep; all of them appear, or none.
"""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from attrs import evolve, frozen

from cvbundle.bundle import layout
from cvbundle.bundle.environment import lock, needed_distributions
from cvbundle.bundle.measured import measured_steps
from cvbundle.bundle.sharing import SharedFiles, share_file
from cvbundle.bundle.store import is_bundle, staging
from cvbundle.bundle.verify import require_verified, sums_of, sums_text
from cvbundle.compiler.code import Code, training_code
from cvbundle.compiler.contents import (
    ModelRecords,
    config_data,
    copy_images,
    hub_blobs,
    local_settings,
    provenance,
)
from cvbundle.compiler.manifests import Manifest, Manifests, Scanning
from cvbundle.compiler.rendered import accelerate_config, launch_script, readme
from cvbundle.files.digest import json_file, sha256_bytes
from cvbundle.files.durable import settle, write_bytes
from cvbundle.files.expand import expanded
from cvbundle.model.identify import BaseModel
from cvbundle.model.memory import MemoryEstimate, estimate
from cvbundle.model.time import MeasuredStep, TrainingEstimate, estimate_training
from cvbundle.problems import Place, Problem, ProblemsFound, UserError
from cvbundle.rules.check import Checked, check_document, in_order
from cvbundle.rules.points import merged
from cvbundle.spec.file import read_file
from cvbundle.spec.overrides import override, with_value
from cvbundle.spec.source import Document
from cvbundle.spec.sweep import Point, points
from cvbundle.spec.tables.gpus import GPUS


@frozen(kw_only=True)
class Compiled:
    """A compiled bundle."""

    bundle: Path
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
    file = read_file(path)
    document = override(file.document, settings)
    if data_root is not None:
        document = _with_path(
            document, "data", "root", "--data-root", str(expanded(data_root).absolute())
        )
    if model_path is not None:
        folder = expanded(model_path)
        where = str(folder.absolute()) if folder.is_dir() else model_path
        document = _with_path(document, "model", "path", "--model-path", where)
    out = expanded(out)
    checked = [(point, check_document(point.document, file.base)) for point in points(document)]
    problems = tuple(in_order(merged([(point, each.problems) for point, each in checked])))
    if any(problem.blocks for problem in problems):
        raise ProblemsFound(problems)
    return _compile(checked, problems, out, file.content, scanning or Scanning())


def _with_path(document: Document, section: str, name: str, option: str, value: str) -> Document:
    place = Place(option, 1, 1, len(value), value)
    return with_value(document, (section, name), value, place, place)


@frozen(kw_only=True)
class _Materials:
    """What all bundles of a compilation share."""

    code: Code
    manifests: Manifests
    models: ModelRecords
    shared: SharedFiles
    provenance: bytes
    lock: Callable[[tuple[str, ...]], str]
    """Cached."""
    earlier: Callable[[str | None], tuple[MeasuredStep, ...]]
    """What the store's runs measured on a device by its name; cached."""


def _compile(
    checked: list[tuple[Point, Checked]],
    warnings: tuple[Problem, ...],
    out: Path,
    written: bytes,
    scanning: Scanning,
) -> Compilation:
    _, first = checked[0]
    told = provenance(first.document.file, first.base, written)
    with staging(out, "compiling") as folders:
        (folders / "manifests").mkdir()
        materials = _Materials(
            code=training_code(),
            manifests=Manifests(folders / "manifests", scanning),
            models=ModelRecords(rehash=scanning.rehash),
            shared=SharedFiles(out),
            provenance=json_file(told),
            lock=cache(lock),
            earlier=cache(lambda gpu: () if gpu is None else measured_steps(out, GPUS[gpu])),
        )
        staged: list[tuple[Point, Checked, Manifest, Path, str]] = []
        for number, (point, each) in enumerate(checked):
            manifest = materials.manifests.of(each, warnings)
            folder = folders / str(number)
            folder.mkdir()
            digest = _write(folder, each, manifest, materials)
            _refuse_duplicate(point, digest, staged)
            staged.append((point, each, manifest, folder, digest))
        bundles = tuple(
            _settled(
                folder,
                Compiled(
                    bundle=out / digest[: layout.NAME_DIGITS],
                    digest=digest,
                    created=True,
                    point=point.name,
                    samples=manifest.samples,
                    memory=estimate(each.spec, _model(each)),
                    training=estimate_training(
                        each.spec,
                        _model(each).architecture,
                        manifest.samples,
                        materials.earlier(each.spec.launch.gpu),
                    ),
                ),
            )
            for point, each, manifest, folder, digest in staged
        )
    return Compilation(bundles, (*warnings, *materials.manifests.warnings))


def _refuse_duplicate(
    point: Point, digest: str, staged: list[tuple[Point, Checked, Manifest, Path, str]]
) -> None:
    """Raise `UserError` if another point of the sweep gives the same bundle."""
    for other, _, _, _, other_digest in staged:
        if digest == other_digest:
            raise UserError(
                f"sweep: {other.name} and {point.name} give the same bundle: remove one of them"
            )


def _model(checked: Checked) -> BaseModel:
    assert checked.model is not None
    return checked.model


def _write(folder: Path, checked: Checked, manifest: Manifest, materials: _Materials) -> str:
    """Fill a bundle's folder and return its digest."""
    code, model = materials.code, _model(checked)
    revision, record = materials.models.of(checked.spec, model)
    spec = evolve(checked.spec, model=evolve(checked.spec.model, revision=revision))
    spec = copy_images(folder, spec, checked.base)
    known = {
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
    sums = sums_of(folder, known)
    (folder / layout.SUMS).write_bytes(sums_text(sums).encode())
    materials.shared.share(folder, sums)
    _make_read_only(folder)
    for name in layout.NOT_HASHED:
        (folder / name).mkdir()
    (folder / layout.PATHS).write_bytes(json_file(local_settings(spec, checked.base, model)))
    blobs = hub_blobs(revision, model)
    if blobs is not None:
        (folder / layout.BLOBS).write_bytes(json_file(blobs))
    (folder / layout.PROVENANCE).write_bytes(materials.provenance)
    return sha256_bytes((folder / layout.SUMS).read_bytes())


def _settled(folder: Path, compiled: Compiled) -> Compiled:
    """Move a finished folder into place, or keep the bundle that already exists."""
    final = compiled.bundle
    paths = (folder / layout.PATHS).read_bytes()
    if not is_bundle(final) and settle(folder, final):
        return compiled
    require_verified(final)
    _update_paths(final, paths)
    return evolve(compiled, created=False)


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
