"""Check a spec: from its text to a resolved spec and every problem in it."""

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

from attrs import evolve, frozen

from cvbundle.dataset.captions import TokenLimit
from cvbundle.dataset.layouts import list_entries
from cvbundle.model.hub import is_hub_id
from cvbundle.model.identify import BaseModel, identify, named
from cvbundle.problems import Path, Problem, Severity, UserError
from cvbundle.rules.every import all_rules
from cvbundle.rules.points import merged
from cvbundle.rules.rule import Finding, Rule, Subject
from cvbundle.spec.nearest import nearest
from cvbundle.spec.overrides import override
from cvbundle.spec.resolve import BY_MODEL, with_defaults, with_listed
from cvbundle.spec.schema import Spec
from cvbundle.spec.soundness import is_known, is_sound
from cvbundle.spec.source import MAX_BYTES, Document, read
from cvbundle.spec.structure import Structured, structure
from cvbundle.spec.sweep import Point, points

_NOT_THERE = "value-range"
"""The rule that a path breaks which leads nowhere."""


@frozen
class Checked:
    """A spec after every check that needs no clip to be opened.

    `problems` are in file order and without those that `allow` accepts. Where one of them blocks,
    `spec` may hold stand-ins and must not be used.
    """

    document: Document
    base: FilePath
    """The folder that the spec's paths are relative to."""
    spec: Spec
    model: BaseModel | None
    problems: tuple[Problem, ...]
    unsound: frozenset[Path] = frozenset()

    def sound(self, field: str) -> bool:
        """Whether a field, or a whole section, is what the spec says."""
        return is_sound(tuple(field.split(".")), self.unsound)

    @property
    def blocked(self) -> bool:
        """Whether nothing may be compiled."""
        return any(problem.blocks for problem in self.problems)


def check_file(
    path: FilePath, settings: Iterable[str] = (), *, open_clips: bool = False
) -> Checked:
    """Check a spec file and its dataset's lists; `settings` are `field=value` overrides.

    With `open_clips`, every clip is opened too.

    Raises:
        UserError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            # One more than is allowed: the reader refuses it, and no device file is read for ever.
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: name a spec file") from None
    return check_points(
        override(read(content, str(path)), settings), path.parent, open_clips=open_clips
    )


def check_points(document: Document, base: FilePath, *, open_clips: bool = False) -> Checked:
    """Check every point of a document's sweep, and the lists that each point's data names.

    What is returned is the first point with the problems of all of them, each once. A document
    without a sweep is its own only point.
    """
    checks: list[Checked] = []
    in_spec: list[tuple[Point, tuple[Problem, ...]]] = []
    in_data: list[tuple[Point, tuple[Problem, ...]]] = []
    listed: dict[object, tuple[Problem, ...]] = {}
    for point in points(document):
        checked = check_document(point.document, base)
        # Most sweeps leave the data alone: its lists are read, and its clips opened, once.
        told = (checked.spec.data, checked.spec.model, checked.unsound)
        if told not in listed:
            found = dataset_problems(checked, open_clips=open_clips)
            listed[told] = accept(found, checked.spec)
        found_here, found_there = _by_file(listed[told], document.file)
        checks.append(checked)
        in_spec.append((point, (*checked.problems, *found_here)))
        in_data.append((point, found_there))
    problems = (*in_order(merged(in_spec)), *merged(in_data))
    return evolve(checks[0], problems=problems)


def _by_file(
    problems: Iterable[Problem], file: str
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """The problems in a file, and those in others."""
    found = tuple(problems)
    return (
        tuple(problem for problem in found if problem.place.file == file),
        tuple(problem for problem in found if problem.place.file != file),
    )


def dataset_problems(checked: Checked, *, open_clips: bool) -> Iterator[Problem]:
    """What is wrong with a spec's dataset, in its order, as far as the spec says where it is."""
    data = checked.spec.data
    if not all(checked.sound(f"data.{name}") for name in ("root", *_LISTS)):
        return
    try:
        root = checked.base / FilePath(data.root).expanduser()
        named = _LISTS if root.is_dir() else ()
        no_lists = {name: why for name in named if (why := _no_list(root, getattr(data, name)))}
        for name, why in no_lists.items():
            at, hint = ("data", name), "name a file below data.root"
            yield _problem(_NOT_THERE, checked.document, at, why, hint)
        if no_lists:
            return
        limit = _token_limit(checked) if open_clips else None
        listing = list_entries(data, root, limit=limit)
    except (UserError, OSError, RuntimeError) as error:  # RuntimeError: the home of nobody
        yield _problem(_NOT_THERE, checked.document, ("data", "root"), _sentence(error), "")
        return
    yield from listing.problems
    if open_clips and checked.sound("data"):
        # Opening clips needs a video library, which listing them does not.
        from cvbundle.dataset.probe import PROBE_VERSION
        from cvbundle.dataset.scan import scan
        from cvbundle.dataset.scan_cache import scan_cache

        with scan_cache(PROBE_VERSION) as known:
            for row in scan(listing.entries, data, root, cache=known):
                if isinstance(row, Problem):
                    yield row


def _token_limit(checked: Checked) -> TokenLimit | None:
    """The longest caption that the model takes, counted by its own tokenizer if it is here."""
    from cvbundle.dataset.tokens import token_limit

    if checked.model is None:
        return None
    return token_limit(checked.model.prompt_tokens, checked.model.folder)


_LISTS = ("metadata", "caption_column", "video_column", "image_column")


def _no_list(root: FilePath, name: str | None) -> str | None:
    """Why what a field names can't be read at all; a column's name is no file, and not judged."""
    if name is None:
        return None
    try:
        mode = (root / name).stat().st_mode
    except OSError:
        return None
    except ValueError:  # a zero byte
        return "this is not a path"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return f"{name} is a device or a pipe, not a list"


def check_document(document: Document, base: FilePath) -> Checked:
    """Check a spec that is read; its paths are relative to `base`."""
    problems = list(document.problems)
    model, trouble = _model(document, base)
    data = document.data
    unknown: set[Path] = set()
    if model is not None and not model.is_on_hub:
        problems.extend(_revision_of_folder(document))
    if trouble is not None:
        problems.append(trouble)
        unknown.add(trouble.path)
    for name in ("prompts", "images"):
        try:
            data = with_listed(data, base, name)
        except UserError as error:
            path = ("validation", name)
            hint = "write a list, or the path of a text file"
            problems.append(_problem(_NOT_THERE, document, path, str(error), hint))
            unknown.add(path)
    by_model = _defaults(model)
    data = with_defaults(data, by_model)
    unknown.update(path for path in BY_MODEL if path not in by_model and _absent(data, path))
    structured = structure(document, data, unknown=frozenset(unknown))
    problems.extend(structured.problems)
    if () not in document.unsound:
        problems.extend(_broken(structured, model, document))
        problems.extend(_misallowed(structured, document))
    accepted = frozenset(structured.spec.allow)
    if not document.complete and not structured.sound(("allow",)):
        # Whether these are accepted stands in what could not be read.
        problems = [problem for problem in problems if problem.severity is Severity.ERROR]
    return Checked(
        document,
        base,
        structured.spec,
        model,
        tuple(in_order(problem for problem in problems if not _waived(problem, accepted))),
        structured.unsound,
    )


def accept(problems: Iterable[Problem], spec: Spec) -> tuple[Problem, ...]:
    """The problems that the spec's `allow` does not accept."""
    accepted = frozenset(spec.allow)
    return tuple(problem for problem in problems if not _waived(problem, accepted))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """File order."""
    return sorted(problems, key=lambda problem: (problem.place.line, problem.place.column))


def _waived(problem: Problem, accepted: frozenset[str]) -> bool:
    return problem.rule in accepted and problem.severity is not Severity.ERROR


def _model(document: Document, base: FilePath) -> tuple[BaseModel | None, Problem | None]:
    section = document.data.get("model")
    if not isinstance(section, Mapping):
        return None, None
    path, revision, name = (section.get(key) for key in ("path", "revision", "name"))
    if not isinstance(path, str) or not path:
        return named(name) if isinstance(name, str) else None, None
    try:
        return identify(
            path,
            base,
            revision=revision if isinstance(revision, str) else None,
            name=name if isinstance(name, str) else None,
        ), None
    except UserError as error:
        at = ("model", "path")
        hint = "" if is_hub_id(path) else "write a hub id, or a folder in diffusers layout"
        return None, _problem(_NOT_THERE, document, at, str(error), hint)


def _revision_of_folder(document: Document) -> Iterator[Problem]:
    at = ("model", "revision")
    section = document.data.get("model")
    if isinstance(section, Mapping) and section.get("revision") is not None:
        message = "model.revision means nothing for a folder: its files are pinned by their digests"
        place = document.section(at)
        yield Problem("revision-of-folder", Severity.ERROR, place, message, "remove it", at)


def _defaults(model: BaseModel | None) -> dict[Path, object]:
    if model is None:
        return {}
    return {
        ("model", "name"): model.name,
        ("model", "type"): model.task,
        ("data", "resolution"): str(model.resolution),
        ("training", "mixed_precision"): model.precision,
        ("validation", "fps"): model.fps,
    }


def _absent(data: Mapping[str, object], path: Path) -> bool:
    section = data.get(str(path[0]))
    return isinstance(section, Mapping) and section.get(str(path[1])) is None


def _broken(
    structured: Structured, model: BaseModel | None, document: Document
) -> Iterator[Problem]:
    for rule in all_rules().values():
        if rule.check is None or (rule.needs_model and model is None):
            continue
        if not all(_known(structured, name) for name in rule.reads):
            continue
        # Rules that need no model don't look at it.
        subject = Subject(structured.spec, model, document)  # type: ignore[arg-type]
        for finding in rule.check(subject):
            if is_known(finding.path, structured.unsound):
                yield _from_finding(rule, finding, document)


def _known(structured: Structured, reads: str) -> bool:
    """Whether a field is what the spec says; of a list `field[]`, whether it is a list at all."""
    path = _path(reads.removesuffix("[]"))
    if not reads.endswith("[]"):
        return structured.sound(path)
    return is_known(path, structured.unsound)


def _from_finding(rule: Rule, finding: Finding, document: Document) -> Problem:
    path, hint, replacement = finding.path, finding.hint, finding.replacement
    place = document.place(path)
    if not document.has(path):
        replacement = None
    if not document.has(path) and not document.has(path[:2]):
        if hint.startswith("write "):
            hint = f"write {path[-1]}: {hint.removeprefix('write ')}"
        if finding.otherwise and document.has(other := _path(finding.otherwise)):
            hint = hint.replace(f"write {path[-1]}", f"write {finding.at}")
            path, place = other, document.place(other)
    elif finding.at_key:
        place = document.section(path)
    if not place.whole:
        replacement = None
    if rule.severity is Severity.WAIVABLE:
        hint = f"{hint}, or allow: [{rule.id}]" if hint else f"or write allow: [{rule.id}]"
    return Problem(rule.id, rule.severity, place, finding.message, hint, path, replacement)


def _path(dotted: str) -> Path:
    return tuple(dotted.split("."))


def _misallowed(structured: Structured, document: Document) -> Iterator[Problem]:
    """Entries of `allow` that are no rule, or one that can't be accepted."""
    rules = all_rules()
    acceptable = [id for id, rule in rules.items() if rule.severity is not Severity.ERROR]
    for index, name in enumerate(structured.spec.allow):
        path: Path = ("allow", index)
        if not is_known(path, structured.unsound):
            continue
        if name not in rules:
            message, near = f"{name} is not a rule", nearest(name, acceptable)
            hint = f"write {near}" if near else "cvbundle explain lists all rules"
            yield _problem("value-choice", document, path, message, hint, near)
        elif rules[name].severity is Severity.ERROR:
            message = f"{name} is an error that can't be accepted"
            yield _problem("value-choice", document, path, message, rules[name].why)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def _problem(
    rule: str,
    document: Document,
    path: Path,
    message: str,
    hint: str,
    replacement: str | None = None,
) -> Problem:
    place = document.place(path)
    return Problem(rule, Severity.ERROR, place, message, hint, path, replacement)
