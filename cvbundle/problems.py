"""Problems of a spec or a dataset, as data, and their output formats."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

from attrs import field, frozen

Path = tuple[str | int, ...]
"""The path of a value in a spec: keys and indices from the top."""


class Severity(Enum):
    """How much a problem matters: `WAIVABLE` ones are errors that `allow` can accept."""

    ERROR = "error"
    WAIVABLE = "waivable"
    WARNING = "warning"


@frozen
class Place:
    """A span of one line of a text: `line` and `column` count from 1, in characters."""

    file: str
    line: int
    column: int
    width: int = 1
    text: str = field(default="", repr=False)
    """The whole line, for the excerpt; empty if there is none."""
    whole: bool = True
    """Whether the span covers the whole value: false if that has several lines, or is empty."""


@frozen
class Problem:
    """One mistake: which rule it breaks, where, and what to write instead."""

    rule: str
    severity: Severity
    place: Place
    message: str
    hint: str = ""
    path: Path = ()
    replacement: str | None = None
    """YAML text that fixes the problem if written over the place; None if there is none."""

    @property
    def blocks(self) -> bool:
        """Whether this problem forbids compiling."""
        return self.severity is not Severity.WARNING


@frozen(kw_only=True)
class Rule:
    """A rule about a spec or a dataset, with its severity and reason."""

    id: str
    severity: Severity
    why: str
    source: str
    """Where the reason can be looked up."""

    def problem(
        self,
        place: Place,
        message: str,
        hint: str = "",
        path: Path = (),
        replacement: str | None = None,
    ) -> Problem:
        """A violation of this rule at a place."""
        return Problem(self.id, self.severity, place, message, hint, path, replacement)


R = TypeVar("R", bound=Rule)

_declared: dict[str, Rule] = {}


def declare(rule: R) -> R:
    """Add a rule to those returned by `declared`."""
    assert rule.id not in _declared, rule.id
    _declared[rule.id] = rule
    return rule


def declared() -> Mapping[str, Rule]:
    """The rules of the modules imported so far, by id."""
    return _declared


class CvbundleError(Exception):
    """The base of every error that cvbundle raises for its users to catch."""

    details: tuple[str, ...] = ()
    """Lines to show before the message, such as an excerpt."""


class ProblemsFound(CvbundleError):
    """A spec or dataset can't be used; carries all of its problems, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{len(self.problems)} problems")


class UserError(CvbundleError):
    """An error that the user can fix; its message is the one sentence to show."""


def dotted(path: Path) -> str:
    """`("lora", "target_modules", 1)` as text: `lora.target_modules[1]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def render_text(problem: Problem) -> str:
    """The problem in the format of compilers: place, rule, message, and the line."""
    place = problem.place
    kind = "warning" if problem.severity is Severity.WARNING else "error"
    head = (
        f"{printable(place.file)}:{place.line}:{place.column}: {kind}[{problem.rule}]: "
        f"{printable(problem.message)}"
    )
    hint = printable(problem.hint)
    if not place.text.strip():
        return f"{head}\n    {hint}" if hint else head
    number = f"{place.line:>5}"
    text, start, stop = _window(place)
    marks = " " * start + "^" * max(1, stop - start)
    under = f"{marks} {hint}" if hint else marks
    return f"{head}\n{number} | {text}\n{' ' * len(number)} | {under}"


_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""They show a text in another order than it has: trojansource.codes."""


def printable(text: str, keep: str = "") -> str:
    """The text with what would do something to a terminal escaped, but for the characters to keep.

    These are control characters, ends of lines, halves of characters, and changes of direction.
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if _acts(c) and c not in keep else c for c in text
    )


def _acts(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Zl", "Zp") or character in _BIDIRECTIONAL


def _window(place: Place, size: int = 160) -> tuple[str, int, int]:
    """At most `size` characters of the line around the place, and the place's span in them."""
    line = place.text
    start = min(place.column - 1, len(line))
    stop = min(start + place.width, len(line))
    left = 0 if len(line) <= size else max(0, start - size // 2)
    text = "".join(c if c.isprintable() else " " for c in line[left : left + size])
    return text.rstrip(), start - left, min(stop - left, size)


def render_json(problems: Iterable[Problem]) -> str:
    """A JSON list of problems, for programs."""
    return json.dumps([_as_data(problem) for problem in problems], indent=2)


def _as_data(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": dotted(problem.path),
        "rule": problem.rule,
        "severity": problem.severity.value,
        "message": problem.message,
        "hint": problem.hint,
    }


def render_github(problem: Problem) -> str:
    """The problem as a GitHub workflow annotation.

    Source: docs.github.com, "Workflow commands for GitHub Actions", setting an error message.
    """
    kind = "warning" if problem.severity is Severity.WARNING else "error"
    place = problem.place
    text = f"{problem.message}: {problem.hint}" if problem.hint else problem.message
    end = place.column + max(1, place.width) - 1
    properties = {
        "file": place.file,
        "line": place.line,
        "col": place.column,
        "endColumn": end,
        "title": problem.rule,
    }
    listed = ",".join(f"{key}={_escaped(str(value), ',:')}" for key, value in properties.items())
    return f"::{kind} {listed}::{_escaped(text)}"


def _escaped(text: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
