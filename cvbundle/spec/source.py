"""Parse a spec's text into plain data with places, in one pass over PyYAML's events.

PyYAML implements YAML 1.1; a spec uses the YAML 1.2 core schema, so scalars are resolved here
(yaml.org/spec/1.2.2, section 10.3.2). Events are used instead of nodes because composing nodes
recurses: PyYAML's C loader crashes on 30,000 open brackets.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from attrs import Factory, define, evolve, frozen

from cvbundle.problems import Path, Place, Problem, Rule
from cvbundle.spec.rules import (
    KEY_DUPLICATE,
    VALUE_RANGE,
    VALUE_TYPE,
    YAML_AMBIGUOUS,
    YAML_SYNTAX,
    YAML_UNSAFE,
)

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_DIGITS = 20
"""2^64 - 1, the largest seed, has twenty."""
MAX_VALUES = 5_000
"""Far more than a spec contains; bounds the time that a hostile file takes."""
_MAX_NUMBER = 64

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_AMBIGUOUS = (
    (re.compile(r"[-+]?0[0-9]+"), "octal in YAML 1.1, decimal in YAML 1.2"),
    (re.compile(r"0o[0-7]+"), "text in YAML 1.1, octal in YAML 1.2"),
    (re.compile(r"[-+]?0b[01_]+"), "binary in YAML 1.1, text in YAML 1.2"),
    (
        re.compile(
            r"[-+]?(?=[0-9a-fA-Fx.]*_)(?:0x[0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?)"
        ),
        "a number in YAML 1.1, text in YAML 1.2",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"),
        "a base-60 number in YAML 1.1, text in YAML 1.2",
    ),
)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def read(content: bytes, file: str) -> Document:
    """Parse a spec's bytes; errors are problems in the result and never raised."""
    text, refusal = _decoded(content, file)
    if refusal is not None:
        return Document(file, {}, {}, {}, (refusal,), frozenset({()}))
    reader = _Reader(file, text)
    reader.read()
    return reader.document()


def _decoded(content: bytes, file: str) -> tuple[str, Problem | None]:
    if len(content) > MAX_BYTES:
        size = f"{len(content):,} bytes, more than {MAX_BYTES:,}"
        return "", _unreadable(Place(file, 1, 1), size, "is this the right file?")
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        return "", _unreadable(Place(file, line, column), message, "save the file as UTF-8")


def _unreadable(place: Place, message: str, hint: str) -> Problem:
    return YAML_UNSAFE.problem(place, message, hint)


class _Stop(Exception):
    """The rest of the text can't be read."""


@define
class _Open:
    """A mapping or sequence whose end has not been read."""

    path: Path
    target: dict[str, object] | list[object]
    start: Any
    kept: bool
    """Whether it becomes part of the data, as it does unless a key or value above was refused."""
    key: str | None = None
    key_kept: bool = True


@define
class _Reader:
    file: str
    text: str
    data: dict[str, object] = Factory(dict)
    values: dict[Path, Place] = Factory(dict)
    keys: dict[Path, Place] = Factory(dict)
    problems: list[Problem] = Factory(list)
    invalid: set[Path] = Factory(set)
    stack: list[_Open] = Factory(list)
    lines: list[str] = Factory(list)
    lengths: dict[int, int] = Factory(dict)
    last: Path = ()
    complete: bool = True

    def document(self) -> Document:
        return Document(
            self.file,
            self.data,
            self.values,
            self.keys,
            tuple(self.problems),
            frozenset(self.invalid),
            self.complete,
        )

    def read(self) -> None:
        # libyaml ends lines at these, and so must the excerpts.
        self.lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", self.text)
        try:
            self._events()
        except _Stop:
            self._stopped_early()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self._mark(mark.line, mark.column) if mark else Place(self.file, 1, 1)
            message = " ".join(str(part) for part in (error.context, error.problem) if part)
            self._problem(YAML_SYNTAX, place, message, self._advice(place, error))
            self._stopped_early()
        except yaml.reader.ReaderError as error:
            place = self._spot(*self._position(error.position))
            message = f"{_character(error.character)} is not allowed in YAML"
            self._problem(YAML_SYNTAX, place, message, "remove it")
            self._stopped_early()

    def _advice(self, place: Place, error: yaml.MarkedYAMLError) -> str:
        """A hint for a syntax error: the parser's message names a symptom, not the cause."""
        context, message = str(error.context), f"{error.context} {error.problem}"
        origin = f" of line {error.context_mark.line + 1}" if error.context_mark else ""
        here = place.text[place.column - 1 :]
        if "\t" in place.text[: place.column]:
            return "indent with spaces: YAML doesn't allow tabs here"
        if "alias" in message or here[:1] in ("@", "`", "%", "|", ">", "&", "!"):
            return "quote a text that begins with this character"
        if "mapping values are not allowed" in message:
            return 'indent it like the lines around it, or quote a text that contains ": "'
        if "unknown escape character" in message:
            return "double the backslash, or use single quotes"
        if "quoted scalar" in context:
            return f"close the quote{origin}"
        if "flow mapping" in context or "flow sequence" in context:
            return f"add a comma, or close the bracket{origin}"
        if "expected <block end>" in message:
            return "indent it like the lines around it"
        return "not YAML from here on"

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
        for number, event in enumerate(_parsed(self.text)):
            if number > 2 * MAX_VALUES:
                place = self._place(event.start_mark, event.end_mark)
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
                    place = self._place(event.start_mark, event.end_mark)
                    self._unsafe(place, "a second document begins here", "one spec is one document")
                    return
        if not documents:
            self._no_sections(Place(self.file, 1, 1), "the file is empty")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = self._place(event.start_mark, event.end_mark)
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
        if reading := _ambiguity(text):
            short = text if len(text) <= _MAX_NUMBER else f"{text[:_MAX_NUMBER]}…"
            hint = f'write {_plain_digits(short)}, or "{short}" for text'
            self._problem(YAML_AMBIGUOUS, place, f"{short} is {reading}", hint, path)
            self.invalid.add(path)
        elif message := _no_number(text):
            self._problem(VALUE_RANGE, place, message, "write a finite number", path)
            self.invalid.add(path)
        else:
            return _core(text)
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
        place = self._place(event.start_mark, event.end_mark)
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
            self.values[()] = self._spot(0, 0)
        self.stack.append(_Open(path, target, event.start_mark, kept))

    def _closed(self, event: Any) -> None:
        done = self.stack.pop()
        if self.stack and done.kept and event.end_mark.line == done.start.line:
            self.values[done.path] = self._place(done.start, event.end_mark)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._place(event.start_mark, event.end_mark)
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

    def _place(self, start: Any, end: Any) -> Place:
        one_line = end.line == start.line
        width = end.column - start.column if one_line else MAX_BYTES
        return self._spot(start.line, start.column, width, whole=one_line and width > 0)

    def _spot(self, line: int, column: int, width: int = 1, *, whole: bool = False) -> Place:
        text = self.lines[line] if line < len(self.lines) else ""
        if line not in self.lengths:
            self.lengths[line] = len(text.rstrip())
        width = max(1, min(width, self.lengths[line] - column))
        return Place(self.file, line + 1, column + 1, width, text, whole)

    def _mark(self, line: int, column: int) -> Place:
        """The place of an error; the end of the text for an error after all of it."""
        here = self.lines[line][column:] if line < len(self.lines) else ""
        if not any(text.strip() for text in (here, *self.lines[line + 1 :])):
            written = [number for number, text in enumerate(self.lines) if text.strip()]
            line = written[-1] if written else 0
            column = len(self.lines[line].rstrip())
        return self._spot(line, column)

    def _position(self, offset: int) -> tuple[int, int]:
        before = self.text[:offset]
        return before.count("\n"), len(before) - (before.rfind("\n") + 1)


def _parsed(text: str) -> Iterator[yaml.Event]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _character(character: str | int) -> str:
    code = character if isinstance(character, int) else ord(character)
    return f"character U+{code:04X}"


def _ambiguity(text: str) -> str | None:
    """How YAML 1.1 and 1.2 differ on a plain scalar; None if they agree on its value."""
    if text[:1] not in "+-.0123456789":
        return None
    return next((reading for pattern, reading in _AMBIGUOUS if pattern.fullmatch(text)), None)


def _plain_digits(text: str) -> str:
    """The probable number, in a form that both versions read the same."""
    digits = text.replace("_", "").lstrip("+")
    digits = digits.lstrip("0") if not digits.startswith(("0x", "0o", "0b", "0.")) else digits
    return digits if _INT.fullmatch(digits) or _FLOAT.fullmatch(digits) else "plain digits"


def _no_number(text: str) -> str | None:
    if _NOT_FINITE.fullmatch(text):
        return f"{text} is not a finite number"
    if text[:1] not in "+-.0123456789":
        return None
    if (_INT.fullmatch(text) or _HEX.fullmatch(text)) and len(text) > MAX_DIGITS:
        return f"a whole number of {len(text)} digits"
    if len(text) > _MAX_NUMBER and _FLOAT.fullmatch(text):
        return f"a number of {len(text)} digits"
    if _FLOAT.fullmatch(text) and abs(float(text)) == float("inf"):
        return f"{text[:MAX_DIGITS]} is too large for a number"
    return None


def _core(text: str) -> object:
    """A plain scalar by the YAML 1.2 core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] in "+-.0123456789":
        if _INT.fullmatch(text):
            return int(text)
        if _HEX.fullmatch(text):
            return int(text, 16)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def read_scalar(text: str) -> object:
    """Parse a value from the command line by the rules of a spec.

    Raises:
        ValueError: the text is not one plain value; the message says why.
    """
    document = read(f"value: {text}".encode(), "--set")
    if document.problems:
        raise ValueError(document.problems[0].message)
    if set(document.data) != {"value"}:
        raise ValueError("more than one value")
    return document.data["value"]
