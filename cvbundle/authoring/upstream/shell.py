"""Parse the arguments that a launch script passes to the trainer, without running it.

Supports what launch scripts consist of: assignments, arrays, quotes, comments, continued lines.
Python's `shlex` handles neither arrays nor line ends, and reads a `#` inside a word as a comment.
"""

import re
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from cvbundle.problems import UserError

_TOKEN = re.compile(
    r"""
    (?P<blank> (?: [^\S\n] | \\(?:\r?\n|\Z) )+ )
  | (?P<comment> \#[^\n]* )
  | (?P<newline> \n )
  | (?P<operator> [();&|<>] )
  | (?P<word> (?:
        \$\((?: [^()] | \([^()]*\) )*\)
      | [^\s'"\\();&|<>]
      | \\[^\r\n]
      | '[^']*'
      | "(?: [^"\\] | \\. )*"
    )+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_PIECE = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^'"\\]+""", re.DOTALL)
_EXPANSION = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ARRAY = re.compile(r'"?\$\{(\w+)\[[@*]\]\}"?')
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?=)(.*)", re.DOTALL)
_DECLARES = frozenset(("export", "declare", "local", "readonly", "typeset"))


@frozen
class Word:
    """One argument."""

    text: str
    resolved: bool = True
    """Whether the text is what the program gets; false if that is only known at run time."""


@frozen
class Launch:
    """One command that runs a Python program."""

    launcher: tuple[Word, ...]
    """The words before the program: `accelerate launch --config_file …`."""
    program: str
    arguments: tuple[Word, ...]


def read_launches(text: str) -> tuple[Launch, ...]:
    """Every command that runs a `.py` file, in order, with arrays and variables expanded.

    Raises:
        UserError: a quote is not closed.
    """
    return tuple(launch for words in _commands(text) for launch in _launch(words))


def resolved_texts(words: Iterable[Word]) -> tuple[list[str], list[str]]:
    """The texts of words, and those of options whose value is only known at run time."""
    resolved: list[str] = []
    unresolved: list[str] = []
    for word in words:
        if word.resolved:
            resolved.append(word.text)
        elif resolved and resolved[-1].startswith("--") and "=" not in resolved[-1]:
            unresolved.append(f"{resolved.pop()} {word.text}")
        else:
            unresolved.append(word.text)
    return resolved, unresolved


def _launch(words: list[Word]) -> Iterator[Launch]:
    for index, word in enumerate(words):
        if word.text.endswith(".py") and not word.text.startswith("-"):
            yield Launch(tuple(words[:index]), word.text, tuple(words[index + 1 :]))
            return


def _commands(text: str) -> Iterator[list[Word]]:
    """The words of each command, with variables expanded."""
    scope = _Scope()
    pending: list[Word] = []
    for raw in _statements(text):
        words = scope.assigned(raw)
        # A line that begins with an option continues the previous command: a comment or an empty
        # line between them is a common mistake.
        if words and words[0].text.startswith("--"):
            pending += words
            continue
        if pending:
            yield pending
        pending = words
    if pending:
        yield pending


@define
class _Scope:
    """The variables and arrays assigned so far."""

    variables: dict[str, Word] = field(factory=dict)
    arrays: dict[str, list[Word]] = field(factory=dict)

    def assigned(self, raw: list[str]) -> list[Word]:
        """The words of a command; assignments before it, or alone, are recorded."""
        index = 0
        while index < len(raw):
            match = _ASSIGNMENT.fullmatch(raw[index])
            if match is None and raw[index] not in _DECLARES:
                break
            index += 1
            if match is None:
                continue
            name, sign, value = match.groups()
            if value == "" and raw[index : index + 1] == ["("]:
                end = raw.index(")", index) if ")" in raw[index:] else len(raw)
                items = [word for item in raw[index + 1 : end] for word in self.words(item)]
                if sign == "=":
                    self.arrays[name] = []
                self.arrays.setdefault(name, []).extend(items)
                index = end + 1
            else:
                self.variables[name] = self.word(value)
        return [word for item in raw[index:] for word in self.words(item)]

    def words(self, raw: str) -> list[Word]:
        """The words that a word of the text expands to: several for an array."""
        array = _ARRAY.fullmatch(raw)
        if array is not None:
            return self.arrays.get(array[1], [Word(raw.strip('"'), resolved=False)])
        return [self.word(raw)]

    def word(self, raw: str) -> Word:
        """A word without its quotes."""
        text, resolved = "", True
        for piece in _PIECE.findall(raw):
            if piece.startswith("'"):
                text += piece[1:-1]
            elif piece.startswith("\\"):
                text += piece[1:]
            elif piece.startswith('"'):
                inner, inner_resolved = self._expanded(piece[1:-1])
                text += re.sub(r'\\(["\\$`])', r"\1", inner)
                resolved &= inner_resolved
            else:
                inner, inner_resolved = self._expanded(piece)
                text += inner
                resolved &= inner_resolved
        return Word(text, resolved)

    def _expanded(self, text: str) -> tuple[str, bool]:
        resolved = True

        def value(match: re.Match[str]) -> str:
            nonlocal resolved
            word = self.variables.get(match[1] or match[2])
            resolved &= word is not None and word.resolved
            return match[0] if word is None else word.text

        expanded = _EXPANSION.sub(value, text)
        rest = _EXPANSION.sub("", text).replace("\\$", "").replace("\\`", "")
        return expanded, resolved and "$" not in rest and "`" not in rest


def _statements(text: str) -> Iterator[list[str]]:
    """The words of each statement as written; the parentheses of arrays are words too."""
    words: list[str] = []
    in_array = False
    for kind, token in _tokens(text):
        if kind == "word":
            words.append(token)
        elif token == "(" and words and words[-1].endswith("=") and not in_array:
            in_array = True
            words.append(token)
        elif token == ")" and in_array:
            in_array = False
            words.append(token)
        elif kind in ("newline", "operator") and not in_array and words:
            yield words
            words = []
    if words:
        yield words


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise UserError(f"line {line}: a quote is not closed, so the script can't be read")
        position = match.end()
        assert match.lastgroup is not None
        yield match.lastgroup, match[0]
