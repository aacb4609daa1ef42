"""Structure plain data into a `Spec`, with every error as a problem at its place."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import frozen
from cattrs.errors import BaseValidationError

from cvbundle.problems import Path, Problem, dotted
from cvbundle.spec.about import is_section, section_class
from cvbundle.spec.converter import converter, failures
from cvbundle.spec.schema import Spec
from cvbundle.spec.stand_in import copied, stand_in
from cvbundle.spec.text.document import Document
from cvbundle.spec.validity import is_valid

_MAX_ROUNDS = 8


@frozen
class Structured:
    """A spec and its problems.

    Fields in `invalid`, and all below them, have stand-ins for missing or wrong values.
    """

    spec: Spec
    problems: tuple[Problem, ...]
    invalid: frozenset[Path]

    def is_valid(self, path: Path) -> bool:
        """Whether the value at `path`, and all below it, is the spec's own."""
        return is_valid(path, self.invalid)


def structure(
    document: Document, data: Mapping[str, object], *, unknown: frozenset[Path] = frozenset()
) -> Structured:
    """Make a spec of `data`, which is `document.data` with defaults filled in.

    Fields in `unknown` have no value for a reason that is reported elsewhere; they get stand-ins
    without another problem.
    """
    invalid = set(unknown | document.invalid)
    if not document.complete:
        invalid.update(_absent(document, Spec, ()))
    problems: list[Problem] = []
    remaining = copied(data)
    for path in sorted(invalid, key=len):
        stand_in(remaining, path)
    for _ in range(_MAX_ROUNDS):
        try:
            spec = converter.structure(remaining, Spec)
        except BaseValidationError as error:
            # What words a failure is not needed by a spec that has none.
            from cvbundle.spec.failures import places_of, problems_of

            for path, cause in failures(error):
                problems.extend(problems_of(document, path, cause, invalid))
                for bad in places_of(path, cause):
                    invalid.add(bad)
                    stand_in(remaining, bad)
        else:
            return Structured(spec, tuple(problems), frozenset(invalid))
    raise AssertionError(f"no stand-ins found for {sorted(map(dotted, invalid))}")


def _absent(document: Document, cls: Any, path: Path) -> Iterator[Path]:
    """The fields that are not set in an incomplete document, and might have been further on.

    A section that ended before the place where the text breaks off has no more fields. The one just
    before it may be meant to go on: a wrong indentation looks like its end.
    """
    for name, attribute in attrs.fields_dict(cls).items():
        inner, at = section_class(attribute.type), (*path, name)
        if not document.has(at):
            yield at
        elif is_section(inner) and not is_valid(at, document.invalid):
            yield from _absent(document, inner, at)
