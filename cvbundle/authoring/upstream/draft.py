"""A draft of a converted spec: its values, and notes on what has no counterpart."""

import re
from collections.abc import Iterator
from textwrap import wrap

from attrs import define, field

from cvbundle.spec.fields import all_fields
from cvbundle.spec.flow import flow

_WIDTH = 100


def slug(text: str) -> str:
    """A valid name of a spec from any text."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63] or "converted"


@define
class Draft:
    """Values of fields, some with comments, and notes."""

    origin: str
    """The name of the converted file."""
    values: dict[str, tuple[object, str]] = field(factory=dict)
    notes: list[str] = field(factory=list)

    def put(self, name: str, value: object, comment: str = "") -> None:
        """Set the value of a field."""
        self.values[name] = (value, comment)

    def note(self, text: str) -> None:
        """Add a note on something that has no counterpart or another meaning."""
        # A line end would end the comment, and YAML has more of them than "\n".
        self.notes.append("".join(c if c.isprintable() else "\ufffd" for c in text))

    def value(self, name: str) -> object:
        """The value of a field, or None."""
        return self.values.get(name, (None, ""))[0]

    def text(self) -> str:
        """The spec with its fields in documented order, below the notes as comments."""
        return "\n".join([*self._head(), *self._body()]) + "\n"

    def _head(self) -> Iterator[str]:
        yield f"# Made by cvbundle init from {slug(self.origin)}."
        if self.notes:
            yield "# Settings without a counterpart, or with another meaning here:"
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
