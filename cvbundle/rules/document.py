"""Check a parsed spec, without its dataset."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

from attrs import frozen

from cvbundle.model.catalog import hub_id_like
from cvbundle.model.hub import is_hub_id
from cvbundle.model.identify import BaseModel, identify, named
from cvbundle.problems import Path, Problem, Rule, Severity, UserError
from cvbundle.rules.every import all_checks
from cvbundle.rules.rule import Check, Finding, Subject
from cvbundle.spec.flow import flow
from cvbundle.spec.placed import problem_at
from cvbundle.spec.resolve import BY_MODEL, canonical, with_defaults, with_listed
from cvbundle.spec.rules import VALUE_RANGE
from cvbundle.spec.schema import Spec
from cvbundle.spec.source import Document
from cvbundle.spec.structure import structure
from cvbundle.spec.validity import is_outside, is_valid


@frozen
class Checked:
    """A spec after every check that doesn't probe clips.

    `problems` are in file order, without those that `allow` accepts. If one of them blocks, `spec`
    may contain stand-ins and must not be used.
    """

    document: Document
    base: FilePath
    """The folder that the spec's paths are relative to."""
    spec: Spec
    model: BaseModel | None
    problems: tuple[Problem, ...]
    invalid: frozenset[Path] = frozenset()

    def is_valid(self, field: str) -> bool:
        """Whether a field, or a whole section, has the spec's own values."""
        return is_valid(tuple(field.split(".")), self.invalid)

    @property
    def blocked(self) -> bool:
        """Whether a problem forbids compiling."""
        return any(problem.blocks for problem in self.problems)


def check_document(document: Document, base: FilePath) -> Checked:
    """Check a parsed spec; its paths are relative to `base`."""
    problems = list(document.problems)
    model, model_problem = _model(document, base)
    data = document.data
    unknown: set[Path] = set()
    if model_problem is not None:
        problems.append(model_problem)
        unknown.add(model_problem.path)
    for name in ("prompts", "images"):
        try:
            data = with_listed(data, base, name)
        except UserError as error:
            path = ("validation", name)
            hint, replacement = _list_hint(name, document.at(path))
            problems.append(problem_at(document, VALUE_RANGE, path, str(error), hint, replacement))
            unknown.add(path)
    by_model = _defaults(model)
    data = with_defaults(data, by_model)
    unknown.update(path for path in BY_MODEL if path not in by_model and _absent(data, path))
    structured = structure(document, data, unknown=frozenset(unknown))
    problems.extend(structured.problems)
    if () not in document.invalid:
        subject = _subject(structured.spec, model, document, base)
        problems.extend(
            _violations(all_checks(), subject, structured.invalid, with_model=model is not None)
        )
    accepted = frozenset(structured.spec.allow)
    if not document.complete and not structured.is_valid(("allow",)):
        # `allow` may be in the part that could not be read.
        problems = [problem for problem in problems if problem.severity is Severity.ERROR]
    return Checked(
        document,
        base,
        canonical(structured.spec),
        model,
        tuple(in_order(problem for problem in problems if not _waived(problem, accepted))),
        structured.invalid,
    )


def _list_hint(name: str, written: object) -> tuple[str, str | None]:
    """Hint and replacement for a value that isn't the path of a text file.

    It may be a single item: prompts contain spaces, which few paths do, and images have suffixes.
    """
    item = None
    if isinstance(written, str):
        is_image = name == "images" and FilePath(written).suffix not in ("", ".txt")
        item = flow([written]) if " " in written or is_image else None
    return f"write {item or 'a list'}, or the path of a text file", item


def length_problems(checked: Checked, samples: int) -> tuple[Problem, ...]:
    """Problems with the length of a run by epochs; that of a run by steps is already checked."""
    document, training = checked.document, checked.spec.training
    by_epochs = training.steps is None and training.epochs is not None
    if not (by_epochs and document.complete and all(map(checked.is_valid, _STEP_SIZE))):
        return ()
    subject = _subject(checked.spec, checked.model, document, checked.base, samples)
    checks = [check for check in all_checks() if check.by_length]
    with_model = checked.model is not None
    problems = _violations(checks, subject, checked.invalid, with_model=with_model)
    return accept(problems, checked.spec)


_STEP_SIZE = (
    "training.epochs",
    "training.steps",
    "training.batch_size",
    "training.gradient_accumulation_steps",
    "launch.num_processes",
)
"""The fields that determine the number of steps in an epoch."""


def _subject(
    spec: Spec,
    model: BaseModel | None,
    document: Document,
    base: FilePath,
    samples: int | None = None,
) -> Subject:
    # Rules without `needs_model` don't read it.
    return Subject(spec, model, document, base, samples)  # type: ignore[arg-type]


def accept(problems: Iterable[Problem], spec: Spec) -> tuple[Problem, ...]:
    """The problems that the spec's `allow` does not accept."""
    accepted = frozenset(spec.allow)
    return tuple(problem for problem in problems if not _waived(problem, accepted))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in file order, then those of command-line options."""

    def position(problem: Problem) -> tuple[bool, int, int]:
        place = problem.place
        return place.file.startswith("--"), place.line, place.column

    return sorted(problems, key=position)


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
        near = hub_id_like(path)
        hint = "" if is_hub_id(path) else "write a hub id, or a folder in diffusers layout"
        hint = f"write {near}" if near else hint
        return None, problem_at(document, VALUE_RANGE, at, str(error), hint, near)


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


def _violations(
    checks: Iterable[Check], subject: Subject, invalid: frozenset[Path], *, with_model: bool
) -> Iterator[Problem]:
    for check in checks:
        if check.needs_model and not with_model:
            continue
        if not all(_is_usable(name, invalid) for name in check.reads):
            continue
        for finding in check.find(subject):
            if is_outside(finding.path, invalid):
                yield _from_finding(check.rule, finding, subject.document)


def _is_usable(reads: str, invalid: frozenset[Path]) -> bool:
    """Whether a field is valid; for `field[]`, its items may be invalid."""
    path = _path(reads.removesuffix("[]"))
    return is_outside(path, invalid) if reads.endswith("[]") else is_valid(path, invalid)


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
    return rule.problem(place, finding.message, hint, path, replacement)


def _path(dotted: str) -> Path:
    return tuple(dotted.split("."))
