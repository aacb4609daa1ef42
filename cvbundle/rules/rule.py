"""Declare rules about a spec's values, each with a function that checks it."""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path as FilePath

from attrs import frozen

from cvbundle.model.identify import BaseModel
from cvbundle.problems import Path, Rule, Severity, UserError, declare
from cvbundle.spec.flow import flow
from cvbundle.spec.schema import Spec
from cvbundle.spec.text.document import Document


class Stage(Enum):
    """What has to be done before a rule can be checked."""

    RESOLVED = "resolved"
    """The spec has all its defaults, and its model is identified."""
    LISTED = "listed"
    """The dataset's lists were read."""
    SCANNED = "scanned"
    """Clips were opened, and so may images be."""


STEP_SIZE = (
    "training.batch_size",
    "training.gradient_accumulation_steps",
    "launch.num_processes",
)
"""The fields that determine the number of steps in an epoch."""


@frozen
class RunLength:
    """The number of optimizer steps of a run, and the field that determines it."""

    steps: int
    field: str
    text: str
    """For messages: `20`, `20 (5 epochs of 4 samples)`."""


@frozen
class Subject:
    """The spec that rules check, with its model."""

    spec: Spec
    model: BaseModel
    document: Document
    base: FilePath
    """The folder that the spec's paths are relative to."""
    samples: int | None = None
    """Upper bound of the dataset's samples; None if its lists can't be read or are wrong."""
    refused: Mapping[str, UserError] = {}
    """Why what a field names can't be used, by the field."""

    @property
    def run_length(self) -> RunLength | None:
        """None if unknown: epochs without a dataset, or both or neither of steps and epochs."""
        training = self.spec.training
        steps, epochs = training.steps, training.epochs
        if steps is not None:
            return None if epochs is not None else RunLength(steps, "training.steps", str(steps))
        if epochs is None or not self.samples:
            return None
        steps = self.spec.total_steps(self.samples)
        text = f"{steps} ({_counted(epochs, 'epoch')} of {_counted(self.samples, 'sample')})"
        return RunLength(steps, "training.epochs", text)

    def is_set(self, dotted: str) -> bool:
        """Whether the spec sets a field, so that it isn't a default."""
        return self.document.has(tuple(dotted.split(".")))

    def later(self, one: str, other: str) -> str:
        """The one of two fields that is later in the spec."""
        return max((one, other), key=self._position)

    def _position(self, dotted: str) -> tuple[bool, int, int]:
        place = self.document.place(tuple(dotted.split(".")))
        # Command-line options come after the spec.
        return place.file != self.document.file, place.line, place.column


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


@frozen
class Finding:
    """A violation of a rule; `at` is the field whose value has to change."""

    at: str
    message: str
    hint: str = ""
    """What to do; by default, to write the `replacement`."""
    index: int | None = None
    """The index of the item, if the field is a list."""
    at_key: bool = False
    """Whether the field itself should be removed."""
    replacement: str | None = None
    """The YAML text that replaces the value, if one does."""
    otherwise: str | None = None
    """A field that conflicts with `at`: its place is used if `at` is a default and it is not."""

    @classmethod
    def write(
        cls,
        at: str,
        message: str,
        value: object,
        *,
        index: int | None = None,
        otherwise: str | None = None,
    ) -> "Finding":
        """A finding that is fixed by writing one value."""
        return cls(at, message, index=index, replacement=flow(value), otherwise=otherwise)

    @property
    def path(self) -> Path:
        """The path of the value in the spec."""
        path: Path = tuple(self.at.split("."))
        return path if self.index is None else (*path, self.index)


Find = Callable[[Subject], Iterator[Finding]]
Example = Mapping[str, object]
"""Values by field, to set in a small valid spec."""


@frozen(kw_only=True)
class Constraint(Rule):
    """A rule about a spec's values, with an example that follows it and one that breaks it."""

    what: str
    """What it requires, in one sentence."""
    good: Example
    bad: Example


@frozen(kw_only=True)
class Check:
    """A function that finds violations of a rule."""

    rule: Rule
    find: Find
    reads: tuple[str, ...]
    """The fields that it reads: it doesn't run if one of them is invalid.

    `field[]` is a list or section whose parts are checked one by one, or not at all: an invalid
    part only suppresses the findings there.
    """
    needs_model: bool = False
    by_length: bool = False
    """Whether it depends on the run's length: by epochs, it runs once the samples are counted."""
    stage: Stage = Stage.RESOLVED


_checks: list[Check] = []


def rule(
    id: str,
    severity: Severity,
    *,
    why: str,
    source: str,
    reads: tuple[str, ...],
    good: Example,
    bad: Example,
    needs_model: bool = False,
    by_length: bool = False,
) -> Callable[[Find], Find]:
    """Declare a rule and the function that finds violations of it.

    The function's docstring states what the rule requires.
    """

    def register(find: Find) -> Find:
        what = " ".join((find.__doc__ or "").split())
        declared_rule = declare(
            Constraint(
                id=id, severity=severity, why=why, source=source, what=what, good=good, bad=bad
            )
        )
        return also(declared_rule, reads=reads, needs_model=needs_model, by_length=by_length)(find)

    return register


def also(
    rule: Rule,
    *,
    reads: tuple[str, ...],
    needs_model: bool = False,
    by_length: bool = False,
    stage: Stage = Stage.RESOLVED,
) -> Callable[[Find], Find]:
    """Register a function that finds violations of a rule that is already declared."""

    def register(find: Find) -> Find:
        _checks.append(
            Check(
                rule=rule,
                find=find,
                reads=reads,
                needs_model=needs_model,
                by_length=by_length,
                stage=stage,
            )
        )
        return find

    return register


def checks() -> tuple[Check, ...]:
    """The checks of the modules imported so far; `rules.every` imports all."""
    return tuple(_checks)
