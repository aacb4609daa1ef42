"""All rules: a module's rules are registered when it is imported."""

from collections.abc import Mapping

from cvbundle.problems import Severity
from cvbundle.rules import (  # noqa: F401
    adapter,
    dataset,
    frames,
    inputs,
    launch,
    optimizer,
    precision,
    reading,
    resolution,
    schedule,
)
from cvbundle.rules.rule import Rule, registered


def all_rules() -> Mapping[str, Rule]:
    """Every rule by its id."""
    return registered()


def acceptable_rules() -> tuple[str, ...]:
    """The ids that `allow` may name, by the alphabet: of warnings and waivable errors."""
    return tuple(
        sorted(rule.id for rule in all_rules().values() if rule.severity is not Severity.ERROR)
    )
