"""A spec's text as plain data, with the place of each value and key."""

from collections.abc import Mapping

from attrs import frozen

from cvbundle.problems import Path, Place, Problem


@frozen
class Document:
    """A spec as plain data, with the place of each value and key.

    `invalid` contains the paths whose value was refused while reading. They are absent from `data`
    but not unset. If the text could not be read to its end (`complete` is false), this is true of
    every absent path.
    """

    file: str
    data: dict[str, object]
    values: dict[Path, Place]
    keys: dict[Path, Place]
    problems: tuple[Problem, ...] = ()
    invalid: frozenset[Path] = frozenset()
    complete: bool = True

    def place(self, path: Path) -> Place:
        """The place of a value, or of the nearest enclosing section if it is missing."""
        if path in self.values:
            return self.values[path]
        if path and isinstance(path[-1], int):
            return self.place(path[:-1])
        return self.section(path[:-1])

    def section(self, path: Path) -> Place:
        """The place of a section's key; line 1 for the top level."""
        while path:
            if path in self.keys:
                return self.keys[path]
            if path in self.values:
                return self.values[path]
            path = path[:-1]
        return self.top()

    def top(self) -> Place:
        """The first line."""
        return self.values.get((), Place(self.file, 1, 1))

    def at(self, path: Path) -> object:
        """The value at a path; None if there is none."""
        value: object = self.data
        for step in path:
            if isinstance(value, Mapping) and isinstance(step, str):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def has(self, path: Path) -> bool:
        """Whether the spec sets this path."""
        return path in self.values
