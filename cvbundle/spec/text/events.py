"""Parse a text into plain data with places, in one pass over PyYAML's events.

PyYAML implements YAML 1.1, and a spec uses the core schema of YAML 1.2: see `scalars`. Events are
used instead of nodes because composing nodes recurses: PyYAML's C loader crashes on 30,000 open
brackets.
"""

from collections.abc import Iterator
from typing import Any

import yaml
from attrs import Factory, define, evolve

from cvbundle.problems import Path, Place, Problem, Rule
from cvbundle.spec.rules import (
    KEY_DUPLICATE,
    VALUE_RANGE,
    VALUE_TYPE,
    YAML_AMBIGUOUS,
    YAML_UNSAFE,
)
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.lines import Lines
from cvbundle.spec.text.scalars import (
    ambiguity,
    not_a_number,
    plain_value,
    shortened,
    written_plainly,
)
from cvbundle.spec.text.syntax import syntax_problem

MAX_DEPTH = 64
MAX_VALUES = 5_000
"""Far more than a spec contains; bounds the time that a hostile file takes."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Stop(Exception):
    """The rest of the text can't be read."""


@define(eq=False, repr=False)
class _Open:
    """A mapping or sequence whose end has not been read."""

    path: Path
    target: dict[str, object] | list[object]
    start: Any
    kept: bool
    """Whether it becomes part of the data, as it does unless a key or value above was refused."""
    key: str | None = None
    key_kept: bool = True


@define(eq=False, repr=False)
class EventReader:
    """Reads one text; its problems are collected."""

    lines: Lines
    data: dict[str, object] = Factory(dict)
    values: dict[Path, Place] = Factory(dict)
    keys: dict[Path, Place] = Factory(dict)
    problems: list[Problem] = Factory(list)
    invalid: set[Path] = Factory(set)
    stack: list[_Open] = Factory(list)
    last: Path = ()
    complete: bool = True

    def _document(self) -> Document:
        return Document(
            self.lines.file,
            self.data,
            self.values,
            self.keys,
            tuple(self.problems),
            frozenset(self.invalid),
            self.complete,
        )

    def read(self) -> Document:
        """The document; errors are problems in it and never raised."""
        try:
            self._events()
        except _Stop:
            self._stopped_early()
        except yaml.YAMLError as error:
            self.problems.append(syntax_problem(error, self.lines))
            self._stopped_early()
        return self._document()

    def _stopped_early(self) -> None:
        """Mark the document as incomplete, and everything that was still open as invalid."""
        self.complete = False
        # If a bracket or quote is missing, the last value includes the text after it.
        self.invalid.add(self.last)
        for still_open in self.stack:
            if isinstance(still_open.target, list):
                self.invalid.add(still_open.path)
            elif still_open.key is not None:
                self.invalid.add((*still_open.path, still_open.key))

    def _events(self) -> None:
        documents = 0
        for number, event in enumerate(_parsed(self.lines.text)):
            if number > 2 * MAX_VALUES:
                place = self._place(event)
                self._unsafe(place, f"more than {MAX_VALUES:,} values", "is this the right file?")
                raise _Stop
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.MappingStartEvent):
                self._opened(event, {})
            elif isinstance(event, yaml.SequenceStartEvent):
                self._opened(event, [])
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._closed(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    place = self._place(event)
                    self._unsafe(place, "a second document begins here", "one spec is one document")
                    return
        if not documents:
            self._no_sections(Place(self.lines.file, 1, 1), "the file is empty")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = self._place(event)
        if not self.stack:
            self._no_sections(place, "the spec is a single value")
        elif self._at_key():
            self._key(event, place)
        else:
            path = self._path()
            kept = self._is_kept(event, path, place)
            value = event.value if event.style else self._plain(event.value, path, place)
            self._put(path, place, value, kept and path not in self.invalid)

    def _plain(self, text: str, path: Path, place: Place) -> object:
        if reading := ambiguity(text):
            short = shortened(text)
            hint = f'write {written_plainly(short)}, or "{short}" for text'
            self._problem(YAML_AMBIGUOUS, place, f"{short} is {reading}", hint, path)
            self.invalid.add(path)
        elif message := not_a_number(text):
            self._problem(VALUE_RANGE, place, message, "write a finite number", path)
            self.invalid.add(path)
        else:
            return plain_value(text)
        return None

    def _key(self, event: yaml.ScalarEvent, place: Place) -> None:
        top = self.stack[-1]
        path = (*top.path, event.value)
        top.key_kept = self._is_kept(event, path, place)
        top.key = event.value
        if top.key_kept and path in self.keys:
            first = self.keys[path].line
            message = f"{event.value} is repeated in this section (first on line {first})"
            self._problem(KEY_DUPLICATE, place, message, "remove one of them", path)
            top.key_kept = False
        elif top.key_kept:
            self.keys[path] = place

    def _opened(
        self, event: yaml.CollectionStartEvent, target: dict[str, object] | list[object]
    ) -> None:
        place = self._place(event)
        if len(self.stack) >= MAX_DEPTH:
            self._unsafe(place, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
            raise _Stop
        path: Path = ()
        if self.stack:
            if self._at_key():
                self._unsafe(place, "a key is a list or a section", "a key is one plain word")
                raise _Stop
            path = self._path()
            kept = self._is_kept(event, path, place)
            self._put(path, evolve(place, whole=False), target, kept)
        elif isinstance(target, list):
            self._no_sections(place, "the spec is a list")
            raise _Stop
        else:
            kept = self._is_kept(event, path, place)
            self.data = target
            self.values[()] = self.lines.spot(0, 0)
        self.stack.append(_Open(path, target, event.start_mark, kept))

    def _closed(self, event: Any) -> None:
        done = self.stack.pop()
        if self.stack and done.kept and event.end_mark.line == done.start.line:
            self.values[done.path] = self.lines.span(done.start, event.end_mark)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._place(event)
        if not self.stack or self._at_key():
            self._unsafe(place, f"alias *{event.anchor} is refused", "write the key out")
            raise _Stop
        path = self._path()
        self._refuse(path, place, f"alias *{event.anchor}", "write the value out")
        self._put(path, place, None, kept=False)

    def _at_key(self) -> bool:
        """Whether the next event is a key."""
        top = self.stack[-1]
        return isinstance(top.target, dict) and top.key is None

    def _path(self) -> Path:
        """The path of the next value."""
        top = self.stack[-1]
        if isinstance(top.target, list):
            return (*top.path, len(top.target))
        assert top.key is not None
        return (*top.path, top.key)

    def _is_kept(self, event: Any, path: Path, place: Place) -> bool:
        """Whether a value becomes part of the data; anchors and tags are refused."""
        if event.anchor:
            self._refuse(
                path, place, f"anchor &{event.anchor}", "write the value out where it is used"
            )
        elif event.tag:
            self._refuse(path, place, f"tag {event.tag}", "remove the tag")
        else:
            top = self.stack[-1] if self.stack else None
            return top is None or (top.kept and (top.key is None or top.key_kept))
        return False

    def _put(self, path: Path, place: Place, value: object, kept: bool) -> None:
        top = self.stack[-1]
        self.last = path
        if isinstance(top.target, list):
            top.target.append(value)
        else:
            assert top.key is not None
            if kept:
                top.target[top.key] = value
            top.key = None
        if kept or path in self.invalid:
            self.values.setdefault(path, place)

    def _place(self, event: yaml.Event) -> Place:
        # An event of a text has both marks; one that is made by hand may lack them.
        assert event.start_mark is not None
        assert event.end_mark is not None
        return self.lines.span(event.start_mark, event.end_mark)

    def _refuse(self, path: Path, place: Place, what: str, hint: str) -> None:
        self._unsafe(place, f"{what} is refused", hint, path)
        self.invalid.add(path)

    def _unsafe(self, place: Place, message: str, hint: str, path: Path = ()) -> None:
        self._problem(YAML_UNSAFE, place, message, hint, path)

    def _problem(self, rule: Rule, place: Place, message: str, hint: str, path: Path = ()) -> None:
        self.problems.append(rule.problem(place, message, hint, path))

    def _no_sections(self, place: Place, message: str) -> None:
        self._problem(VALUE_TYPE, place, message, "write sections: cvbundle, name, model, data, …")
        self.invalid.add(())


def _parsed(text: str) -> Iterator[yaml.Event]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()
