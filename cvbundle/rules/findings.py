"""Check a spec's values, and turn what the rules find into problems at their places."""

from collections.abc import Iterable, Iterator

from cvbundle.problems import Path, Problem, Rule, Severity
from cvbundle.rules.rule import Check, Finding, Subject
from cvbundle.spec.text.document import Document
from cvbundle.spec.validity import is_outside, is_valid


def violations(
    checks: Iterable[Check], subject: Subject, invalid: frozenset[Path], *, with_model: bool
) -> Iterator[Problem]:
    """The problems of a spec whose `invalid` paths have stand-ins for values.

    A check is left out if it reads one of these, or needs the model and there is none. A field in
    `subject.refused` is invalid for no other reason, and so is reported.
    """
    reported = {_path(field) for field in subject.refused}
    for check in checks:
        if check.needs_model and not with_model:
            continue
        if not all(is_usable(name, invalid) for name in check.reads):
            continue
        for finding in check.find(subject):
            if is_outside(finding.path, invalid - reported):
                yield _from_finding(check.rule, finding, subject.document)


def is_usable(reads: str, invalid: frozenset[Path]) -> bool:
    """Whether a field is valid; for `field[]`, its parts may be invalid."""
    path = _path(reads.removesuffix("[]"))
    return is_outside(path, invalid) if reads.endswith("[]") else is_valid(path, invalid)


def _from_finding(rule: Rule, finding: Finding, document: Document) -> Problem:
    path = finding.path
    name = finding.at.rpartition(".")[2] if document.has(_path(finding.at)[:-1]) else finding.at
    is_set = document.has(path)
    is_default = not (is_set or document.has(_path(finding.at)))
    if is_default and finding.otherwise and document.has(other := _path(finding.otherwise)):
        path, name = other, finding.at
    place = document.section(path) if finding.at_key else document.place(path)
    hint = finding.hint
    if not hint and finding.replacement is not None:
        hint = _what_to_write(finding, name, is_set=is_set)
    if rule.severity is Severity.WAIVABLE:
        hint = f"{hint}, or allow: [{rule.id}]" if hint else f"or write allow: [{rule.id}]"
    replacement = finding.replacement if is_set and place.whole else None
    return rule.problem(place, finding.message, hint, path, replacement)


def _what_to_write(finding: Finding, name: str, *, is_set: bool) -> str:
    if is_set:
        return f"write {finding.replacement}"
    if finding.index is not None:
        return f"write {finding.replacement} in {name}"
    return f"write {name}: {finding.replacement}"


def _path(dotted: str) -> Path:
    return tuple(dotted.split("."))
