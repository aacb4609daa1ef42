"""Syntax errors of YAML as problems."""

import yaml

from cvbundle.problems import Place, Problem
from cvbundle.spec.rules import YAML_SYNTAX
from cvbundle.spec.text.lines import Lines

_NEEDS_QUOTES = frozenset("@`%|>&*!")
"""What begins a text only in quotes (yaml.org/spec/1.2.2, section 5.3)."""


def syntax_problem(error: yaml.YAMLError, lines: Lines) -> Problem:
    """The problem of a text that PyYAML can't parse."""
    if isinstance(error, yaml.reader.ReaderError):
        message = f"{_character(error.character)} is not allowed in YAML"
        return YAML_SYNTAX.problem(lines.at(error.position), message, "remove it")
    assert isinstance(error, yaml.MarkedYAMLError)
    mark = error.problem_mark or error.context_mark
    place = lines.error(mark) if mark else Place(lines.file, 1, 1)
    message = " ".join(str(part) for part in (error.context, error.problem) if part)
    return YAML_SYNTAX.problem(place, message, _advice(error, lines, place))


def _advice(error: yaml.MarkedYAMLError, lines: Lines, place: Place) -> str:
    """A hint by what stands at the error, and where that began: the message names a symptom."""
    here, began = error.problem_mark, error.context_mark
    character = lines.character(here) if here else ""
    opening = lines.character(began) if began else ""
    before = place.text[: place.column - 1]
    line = f" of line {began.line + 1}" if began else ""
    if "\t" in place.text[: place.column]:
        return "indent with spaces: YAML doesn't allow tabs here"
    if opening == '"' and here and "\\" in place.text[max(0, here.column - 2) : here.column + 1]:
        return "double the backslash, or use single quotes"
    if opening in ("'", '"'):
        return f"close the quote{line}"
    if opening in ("{", "["):
        return f"add a comma, or close the bracket{line}"
    if {character, opening} & _NEEDS_QUOTES:
        return "quote a text that begins with this character"
    if character == ":":
        return 'indent it like the lines around it, or quote a text that contains ": "'
    if began and not before.strip():
        return "indent it like the lines around it"
    return "not YAML from here on"


def _character(character: str | int) -> str:
    code = character if isinstance(character, int) else ord(character)
    return f"character U+{code:04X}"
