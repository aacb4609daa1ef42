"""Resolve a document: find its model, fill in the defaults, and check what needs no dataset."""

from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath

from attrs import evolve, frozen

from cvbundle.compiler.points import in_order
from cvbundle.model.identify import BaseModel, identify, named
from cvbundle.problems import Path, Problem, Severity, UserError
from cvbundle.rules.every import all_checks
from cvbundle.rules.findings import violations
from cvbundle.rules.rule import STEP_SIZE, Check, Stage, Subject
from cvbundle.spec.resolve import BY_MODEL, canonical, with_defaults, with_listed
from cvbundle.spec.schema import Spec
from cvbundle.spec.structure import structure
from cvbundle.spec.text.document import Document
from cvbundle.spec.validity import is_valid


@frozen
class Resolved:
    """A spec with every setting, and what is wrong with it by itself.

    If a problem blocks, `spec` may contain stand-ins and must not be used.
    """

    document: Document
    base: FilePath
    """The folder that the spec's paths are relative to."""
    spec: Spec
    model: BaseModel | None
    invalid: frozenset[Path]
    """The paths whose values are stand-ins."""
    problems: tuple[Problem, ...] = ()
    """In the order of the text, without those that `allow` accepts."""

    def is_valid(self, field: str) -> bool:
        """Whether a field, or a whole section, has the spec's own values."""
        return is_valid(tuple(field.split(".")), self.invalid)

    @property
    def blocked(self) -> bool:
        """Whether a problem forbids compiling."""
        return any(problem.blocks for problem in self.problems)

    def unaccepted(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """The problems that `allow` doesn't accept.

        If it may be in a part of the text that can't be read, only those that it could not accept.
        """
        unread = not (self.document.complete or self.is_valid("allow"))
        return tuple(
            problem
            for problem in problems
            if problem.severity is Severity.ERROR or not (unread or problem.rule in self.spec.allow)
        )

    def violations(
        self,
        stage: Stage,
        *,
        samples: int | None = None,
        refused: Mapping[str, UserError] | None = None,
    ) -> tuple[Problem, ...]:
        """The problems that the rules of a stage find, accepted ones too."""
        checks = [check for check in all_checks() if check.stage is stage]
        return self._violations(checks, samples, refused or {})

    def length_violations(self, samples: int | None) -> tuple[Problem, ...]:
        """Problems with the length of a run by epochs; one by steps needs no number of samples."""
        training = self.spec.training
        by_epochs = training.steps is None and training.epochs is not None
        if samples is None or not by_epochs or not all(map(self.is_valid, STEP_SIZE)):
            return ()
        return self._violations([check for check in all_checks() if check.by_length], samples, {})

    def _violations(
        self, checks: Iterable[Check], samples: int | None, refused: Mapping[str, UserError]
    ) -> tuple[Problem, ...]:
        # Rules without `needs_model` don't read it.
        model: BaseModel = self.model  # type: ignore[assignment]
        subject = Subject(self.spec, model, self.document, self.base, samples, refused)
        with_model = self.model is not None
        return tuple(violations(checks, subject, self.invalid, with_model=with_model))


def resolve(document: Document, base: FilePath) -> Resolved:
    """Resolve a document; its paths are relative to `base`."""
    refused: dict[str, UserError] = {}
    model = _model(document, base, refused)
    data = document.data
    for name in ("prompts", "images"):
        try:
            data = with_listed(data, base, name)
        except UserError as error:
            refused[f"validation.{name}"] = error
    by_model = _defaults(model)
    data = with_defaults(data, by_model)
    unknown = {path for path in BY_MODEL if path not in by_model and _is_absent(data, path)}
    unknown.update(tuple(field.split(".")) for field in refused)
    structured = structure(document, data, unknown=frozenset(unknown))
    resolved = Resolved(document, base, structured.spec, model, structured.invalid)
    problems = (
        *document.problems,
        *structured.problems,
        *resolved.violations(Stage.RESOLVED, refused=refused),
    )
    unaccepted = resolved.unaccepted(problems)
    # Only now: a canonical list has no repeated items that a rule could find.
    spec = canonical(structured.spec)
    return evolve(resolved, spec=spec, problems=in_order(unaccepted, document.file))


def _model(document: Document, base: FilePath, refused: dict[str, UserError]) -> BaseModel | None:
    section = document.data.get("model")
    if not isinstance(section, Mapping):
        return None
    path, revision, name = (section.get(key) for key in ("path", "revision", "name"))
    if not isinstance(path, str) or not path:
        return named(name) if isinstance(name, str) else None
    try:
        return identify(
            path,
            base,
            revision=revision if isinstance(revision, str) else None,
            name=name if isinstance(name, str) else None,
        )
    except UserError as error:
        refused["model.path"] = error
        return None


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


def _is_absent(data: Mapping[str, object], path: Path) -> bool:
    section = data.get(str(path[0]))
    return isinstance(section, Mapping) and section.get(str(path[1])) is None
