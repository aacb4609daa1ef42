"""Compile a spec into a bundle: check everything, write everything, give it its name."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

import cvbundle
from cvbundle.bundle import layout
from cvbundle.bundle.code import training_code
from cvbundle.bundle.environment import lock, needed_distributions
from cvbundle.bundle.templates import accelerate_config, launch_script, render
from cvbundle.bundle.verify import sums_text
from cvbundle.dataset.layouts import list_entries
from cvbundle.dataset.manifest import Sample, Skipped, sample_line, skipped_line
from cvbundle.dataset.scan import scan
from cvbundle.digest import json_file, sha256_bytes
from cvbundle.durable import settle, temporary_folder, write_bytes
from cvbundle.model.architecture import architecture_data
from cvbundle.model.hub import resolve_commit
from cvbundle.model.identify import BaseModel
from cvbundle.model.pin import pin_folder
from cvbundle.problems import Place, Problem, ProblemsFound, Severity, UserError
from cvbundle.rules.check import Checked, accept, check_document
from cvbundle.spec.overrides import override, with_value
from cvbundle.spec.schema import Spec
from cvbundle.spec.source import Document, read
from cvbundle.spec.structure import plain

_LOCAL_FIELDS = (("model", "path"), ("data", "root"), ("output", "dir"))


@frozen
class Compiled:
    """A bundle that is in place."""

    bundle: Path
    digest: str
    """sha256 of its `SHA256SUMS`, in hex."""
    created: bool
    """False where the same bundle was there already."""
    warnings: tuple[Problem, ...]
    samples: int


def compile_file(
    path: Path,
    out: Path,
    *,
    settings: Iterable[str] = (),
    data_root: Path | None = None,
    model_path: str | None = None,
) -> Compiled:
    """Compile a spec file into a bundle below `out`; all or nothing is written.

    `settings` are `field=value` overrides; `data_root` and `model_path` say where the clips and the
    model are, relative to the current folder.

    Raises:
        ProblemsFound: the spec or the data can't be used.
        UserError: something on this machine is missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: name a spec file") from None
    document = override(read(content, str(path)), settings)
    if data_root is not None:
        document = _told(document, "data", "root", "--data-root", str(data_root.absolute()))
    if model_path is not None:
        folder = Path(model_path).expanduser()
        where = str(folder.absolute()) if folder.is_dir() else model_path
        document = _told(document, "model", "path", "--model-path", where)
    checked = check_document(document, path.parent)
    if checked.blocked or checked.model is None:
        raise ProblemsFound(checked.problems)
    return _compile(checked, checked.model, out, content)


def _told(document: Document, section: str, name: str, option: str, value: str) -> Document:
    place = Place(option, 1, 1, len(value), value)
    return with_value(document, (section, name), value, place, place)


def _compile(checked: Checked, model: BaseModel, out: Path, written: bytes) -> Compiled:
    spec, base = checked.spec, checked.base
    revision, record = _pin(spec, model)
    spec = evolve(spec, model=evolve(spec.model, revision=revision))
    paths = _paths(spec, base, model)
    code = training_code()
    requirements = lock(needed_distributions(code.packages, spec))
    with temporary_folder(out, "compiling") as folder:
        samples, warnings = _write_dataset(folder, checked)
        spec = _copy_images(folder, spec, base)
        (folder / layout.CONFIG).write_bytes(json_file(config_data(spec)))
        (folder / layout.MODEL).write_bytes(json_file(record))
        (folder / layout.REQUIREMENTS).write_bytes(requirements.encode())
        (folder / layout.ACCELERATE).write_bytes(accelerate_config(spec))
        (folder / layout.LAUNCH).write_bytes(launch_script(spec))
        (folder / layout.README).write_bytes(_readme(spec, samples))
        for name, source in code.files.items():
            target = folder / layout.CODE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source)
        (folder / layout.SUMS).write_bytes(sums_text(folder).encode())
        digest = sha256_bytes((folder / layout.SUMS).read_bytes())
        _make_read_only(folder)
        for name in layout.NOT_HASHED:
            (folder / name).mkdir()
        (folder / layout.PATHS).write_bytes(json_file(paths))
        (folder / layout.PROVENANCE).write_bytes(json_file(_provenance(checked, written)))
        final = out / digest[: layout.NAME_DIGITS]
        created = not final.is_dir() and settle(folder, final)
    if not created:
        # Where things are may have changed since; that is no part of the bundle.
        write_bytes(final / layout.PATHS, json_file(paths))
    found = tuple(problem for problem in checked.problems if not problem.blocks)
    return Compiled(final, digest, created, found + warnings, samples)


def config_data(spec: Spec) -> dict[str, Any]:
    """`config.json`: every setting but those that say where something is on this machine."""
    data: dict[str, Any] = plain(spec)
    for section, name in _LOCAL_FIELDS:
        del data[section][name]
    return data


def _pin(spec: Spec, model: BaseModel) -> tuple[str | None, dict[str, Any]]:
    """The revision to write down, and `model.json`."""
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
    record["files"] = [asdict(file) for file in pin_folder(model.folder)]
    return None, record


def _paths(spec: Spec, base: Path, model: BaseModel) -> dict[str, str | None]:
    """`local/paths.json`: absolute, but for a hub id."""

    def absolute(path: str) -> str:
        return str((base / Path(path).expanduser()).absolute())

    return {
        "model.path": model.path if model.is_on_hub else absolute(spec.model.path),
        "data.root": absolute(spec.data.root),
        "output.dir": absolute(spec.output.dir) if spec.output.dir else None,
    }


def _write_dataset(folder: Path, checked: Checked) -> tuple[int, tuple[Problem, ...]]:
    """Open every clip and write the manifest; the number of samples, and the warnings.

    Raises:
        ProblemsFound: a clip can't be used.
    """
    data = checked.spec.data
    root = checked.base / Path(data.root).expanduser()
    listing = list_entries(data, root)
    problems = list(listing.problems)
    samples, skipped = 0, []
    with (folder / layout.DATASET).open("wb") as file:
        for row in scan(listing.entries, data, root):
            if isinstance(row, Sample):
                file.write(sample_line(row))
                samples += 1
            elif isinstance(row, Skipped):
                skipped.append(row)
            else:
                problems.append(row)
    if skipped:
        (folder / layout.SKIPPED).write_bytes(b"".join(map(skipped_line, skipped)))
    found = accept(problems, checked.spec)
    if not samples and not any(problem.blocks for problem in found):
        place = checked.document.place(("data", "root"))
        message = f"no clip of {root} is left to train on"
        found = (*found, Problem("clip-missing", Severity.ERROR, place, message, "add clips"))
    if any(problem.blocks for problem in found):
        raise ProblemsFound((*checked.problems, *found))
    return samples, found


def _copy_images(folder: Path, spec: Spec, base: Path) -> Spec:
    """Put the validation images into the bundle; the spec then names them there."""
    if spec.validation is None or not spec.validation.images:
        return spec
    (folder / layout.VALIDATION).mkdir()
    names = []
    for index, image in enumerate(spec.validation.images):
        source = base / Path(image).expanduser()
        name = f"{layout.VALIDATION}/{index:02d}{source.suffix.lower()}"
        try:
            shutil.copyfile(source, folder / name)
        except OSError as error:
            raise UserError(
                f"validation.images: {source} can't be read ({error.strerror})"
            ) from None
        names.append(name)
    return evolve(spec, validation=evolve(spec.validation, images=tuple(names)))


def _readme(spec: Spec, samples: int) -> bytes:
    steps = spec.total_steps(samples)
    length = f"{steps} steps"
    if spec.training.epochs is not None:
        length = f"{spec.training.epochs} epochs ({steps} steps)"
    return render("bundle-README.md", spec=spec, samples=samples, length=length)


def _make_read_only(folder: Path) -> None:
    """Take the right to write from everything that is hashed; modes are not part of the digest."""
    for path in folder.rglob("*"):
        executable = path.is_dir() or path.name == layout.LAUNCH
        path.chmod(0o555 if executable else 0o444)


def _provenance(checked: Checked, written: bytes) -> dict[str, Any]:
    """`local/provenance.json`: when, where and from what."""
    return {
        "compiled": datetime.now(UTC).isoformat(timespec="seconds"),
        "cvbundle": cvbundle.__version__,
        "python": sys.version.split()[0],
        "spec_file": str(Path(checked.document.file).absolute()),
        "spec": written.decode("utf-8-sig"),
        "git_commit": _git_commit(checked.base),
    }


def _git_commit(folder: Path) -> str | None:
    """The commit of the repository that the spec is in; `-dirty` with changes on top."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
