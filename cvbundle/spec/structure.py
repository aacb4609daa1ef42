"""Plain data to a `Spec`, with every failure turned into a problem at its place."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import frozen
from cattrs.errors import BaseValidationError

from cvbundle.problems import Path, Problem, dotted
from cvbundle.spec.about import is_section, section_class
from cvbundle.spec.converter import converter
from cvbundle.spec.failures import failures, places_of, problems_of
from cvbundle.spec.schema import Spec
from cvbundle.spec.soundness import is_sound
from cvbundle.spec.source import Document
from cvbundle.spec.stand_in import copied, stand_in

_MAX_ROUNDS = 8


@frozen
class Structured:
    """A spec, and how far it can be trusted.

    Fields in `unsound` (and all below them) hold stand-ins for what was missing or wrong.
    """

    spec: Spec
    problems: tuple[Problem, ...]
    unsound: frozenset[Path]

    def sound(self, path: Path) -> bool:
        """Whether the value at `path`, and all of it, is what the spec says."""
        return is_sound(path, self.unsound)


def structure(
    document: Document, data: Mapping[str, object], *, unknown: frozenset[Path] = frozenset()
) -> Structured:
    """Make a spec of `data`, which is `document.data` with defaults filled in.

    Fields in `unknown` could not be decided for a reason that is reported elsewhere: they get
    stand-ins without a problem of their own.
    """
    unsound = set(unknown | document.unsound)
    if not document.complete:
        unsound.update(_absent(document, Spec, ()))
    problems: list[Problem] = []
    remaining = copied(data)
    for path in sorted(unsound, key=len):
        stand_in(remaining, path)
    for _ in range(_MAX_ROUNDS):
        try:
            spec = converter.structure(remaining, Spec)
        except BaseValidationError as error:
            for path, cause in failures(error, ()):
                problems.extend(problems_of(document, path, cause, unsound))
                for bad in places_of(path, cause):
                    unsound.add(bad)
                    stand_in(remaining, bad)
        else:
            return Structured(spec, tuple(problems), frozenset(unsound))
    raise AssertionError(f"no stand-ins found for {sorted(map(dotted, unsound))}")


def _absent(document: Document, cls: Any, path: Path) -> Iterator[Path]:
    """The fields that a document says nothing of, and so may have said had it been read whole."""
    for name, attribute in attrs.fields_dict(cls).items():
        inner, at = section_class(attribute.type), (*path, name)
        if not document.has(at):
            yield at
        elif is_section(inner):
            yield from _absent(document, inner, at)
