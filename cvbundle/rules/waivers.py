"""The rule about `allow`."""

from collections.abc import Iterator

from cvbundle.problems import Severity, declared
from cvbundle.rules.rule import Finding, Subject, also
from cvbundle.spec.nearest import nearest
from cvbundle.spec.rules import VALUE_CHOICE


@also(VALUE_CHOICE, reads=("allow[]",))
def misallowed(subject: Subject) -> Iterator[Finding]:
    """Each entry of `allow` is a rule that can be accepted."""
    rules = declared()
    acceptable = [id for id, rule in rules.items() if rule.severity is not Severity.ERROR]
    for index, name in enumerate(subject.spec.allow):
        if name not in rules:
            near = nearest(name, acceptable)
            hint = "" if near else "cvbundle explain lists all rules"
            yield Finding("allow", f"{name} is not a rule", hint, index=index, replacement=near)
        elif rules[name].severity is Severity.ERROR:
            message = f"{name} is an error that can't be accepted"
            yield Finding("allow", message, rules[name].why, index=index)
