"""Print problems."""

from collections.abc import Callable, Sequence

from cvbundle.cli._echo import echo
from cvbundle.problems import Problem, Severity, render_github, render_json, render_text


def report(problems: Sequence[Problem], style: str = "text") -> None:
    """Print problems as text to stderr, or as JSON or GitHub annotations to stdout."""
    if style == "json":
        echo(render_json(problems))
    elif style == "github":
        _each(problems, render_github, err=False)
    elif problems:
        _each(problems, render_text, err=True)
        echo(summary(problems), err=True)


def summary(problems: Sequence[Problem]) -> str:
    """The number of errors and warnings."""
    warnings = sum(problem.severity is Severity.WARNING for problem in problems)
    errors = len(problems) - warnings
    parts = [_counted(errors, "error"), _counted(warnings, "warning")]
    return ", ".join(part for part in parts if part)


def _each(problems: Sequence[Problem], render: Callable[[Problem], str], *, err: bool) -> None:
    for problem in problems:
        echo(render(problem), err=err)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}" if number else ""
