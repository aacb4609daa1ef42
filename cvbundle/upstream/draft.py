"""A spec that is being written from something else: its values, and what could not be kept."""

import re
from collections.abc import Iterator
from textwrap import wrap

from attrs import define, field

from cvbundle.spec.fields import all_fields
from cvbundle.spec.flow import flow

_WIDTH = 100


def slug(text: str) -> str:
    """A spec's name from any text."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63] or "converted"


@define
class Draft:
    """Values for fields, with comments where there is something to say, and notes on the rest."""

    origin: str
    """What it is made from, for a person."""
    values: dict[str, tuple[object, str]] = field(factory=dict)
    notes: list[str] = field(factory=list)

    def put(self, name: str, value: object, comment: str = "") -> None:
        """Write a value into a field."""
        self.values[name] = (value, comment)

    def note(self, text: str) -> None:
        """Say what has no counterpart, or another meaning."""
        # A comment ends where a line does, and YAML has more line ends than a terminal shows.
        self.notes.append("".join(c if c.isprintable() else "\ufffd" for c in text))

    def value(self, name: str) -> object:
        """What a field has been given, or None."""
        return self.values.get(name, (None, ""))[0]

    def text(self) -> str:
        """The spec, its fields in the order of the documentation, the notes as comments above."""
        return "\n".join([*self._head(), *self._body()]) + "\n"

    def _head(self) -> Iterator[str]:
        yield f"# Made by cvbundle init from {slug(self.origin)}."
        if self.notes:
            yield "# What has no counterpart, or another meaning here:"
        for note in self.notes:
            first, rest = "#   - ", "#     "
            yield from wrap(note, _WIDTH, initial_indent=first, subsequent_indent=rest)
        yield ""

    def _body(self) -> Iterator[str]:
        section = ""
        for known in all_fields():
            if known.name not in self.values:
                continue
            above, _, last = known.name.rpartition(".")
            if above != section:
                yield ""
                yield f"{above}:"
                section = above
            value, comment = self.values[known.name]
            indent = "  " if above else ""
            line = f"{indent}{last}: {flow(value)}"
            if comment and len(line) + len(comment) + 4 > _WIDTH:
                yield from wrap(
                    comment, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
                )
            elif comment:
                line = f"{line}  # {comment}"
            yield line
