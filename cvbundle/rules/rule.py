"""A rule about what a spec says: a function, and what it looks at."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath

from attrs import frozen

from cvbundle.model.identify import BaseModel
from cvbundle.problems import Path, Rule, Severity, declare
from cvbundle.spec.flow import flow
from cvbundle.spec.schema import Spec
from cvbundle.spec.source import Document


@frozen
class RunLength:
    """How many optimizer steps a run has, and what says so."""

    steps: int
    field: str
    told: str
    """For a message: `20`, `20 (5 epochs of 4 samples)`."""


@frozen
class Subject:
    """What the rules of a spec look at."""

    spec: Spec
    model: BaseModel
    document: Document
    base: FilePath
    """The folder that the spec's paths are relative to."""
    samples: int | None = None
    """Of the dataset, at most; None while its lists are not read."""

    @property
    def run_length(self) -> RunLength | None:
        """None where it isn't known: by epochs without a dataset, or by both or neither."""
        training = self.spec.training
        steps, epochs = training.steps, training.epochs
        if steps is not None:
            return None if epochs is not None else RunLength(steps, "training.steps", str(steps))
        if epochs is None or not self.samples:
            return None
        steps = self.spec.total_steps(self.samples)
        told = f"{steps} ({_counted(epochs, 'epoch')} of {_counted(self.samples, 'sample')})"
        return RunLength(steps, "training.epochs", told)

    def given(self, dotted: str) -> bool:
        """Whether the spec itself says something there, so that it isn't a default."""
        return self.document.has(tuple(dotted.split(".")))

    def later(self, one: str, other: str) -> str:
        """Of two fields, the one that stands later in the spec."""
        return max((one, other), key=self._position)

    def _position(self, dotted: str) -> tuple[bool, int, int]:
        place = self.document.place(tuple(dotted.split(".")))
        # What is given as an option comes after what is written.
        return place.file != self.document.file, place.line, place.column


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


@frozen
class Finding:
    """A rule is broken; `at` is the field whose value would have to change."""

    at: str
    message: str
    hint: str = ""
    index: int | None = None
    """Which item, where the field is a list."""
    at_key: bool = False
    """The field should not be there at all."""
    replacement: str | None = None
    """The YAML text to write there instead, where it is one."""
    otherwise: str | None = None
    """A field that conflicts with `at`: the place where `at` is a default and this one is not."""

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
        """A finding that is mended by writing one value."""
        text = flow(value)
        return cls(at, message, f"write {text}", index=index, replacement=text, otherwise=otherwise)

    @property
    def path(self) -> Path:
        """Where the value stands in the spec."""
        path: Path = tuple(self.at.split("."))
        return path if self.index is None else (*path, self.index)


Find = Callable[[Subject], Iterator[Finding]]
Example = Mapping[str, object]
"""Fields to values, over a small sound spec."""


@frozen(kw_only=True)
class Constraint(Rule):
    """A rule about what a spec says, with a spec that keeps to it and one that breaks it."""

    what: str
    """What it asks for, in one sentence."""
    good: Example
    bad: Example


@frozen(kw_only=True)
class Check:
    """A function that finds where a spec breaks a rule."""

    rule: Rule
    find: Find
    reads: tuple[str, ...]
    """The fields it looks at: it is left out where one of them is not known.

    `field[]` is a list or section of which the parts are looked at by themselves, or not at all:
    one that is not known leaves out no more than what is found there.
    """
    needs_model: bool = False
    by_length: bool = False
    """It looks at the run's length: by epochs, it is checked once the samples are counted."""


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
    """Declare a rule and the function that finds where a spec breaks it.

    The function's docstring says what the rule asks for.
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
    rule: Rule, *, reads: tuple[str, ...], needs_model: bool = False, by_length: bool = False
) -> Callable[[Find], Find]:
    """Register a function that finds where a spec breaks a rule that is declared already."""

    def register(find: Find) -> Find:
        _checks.append(
            Check(rule=rule, find=find, reads=reads, needs_model=needs_model, by_length=by_length)
        )
        return find

    return register


def checks() -> tuple[Check, ...]:
    """The checks of the modules that have been imported; `rules.every` imports all."""
    return tuple(_checks)
