"""Import every module of rules, which declares them, and list them."""

from collections.abc import Mapping

import cvbundle.dataset.rules
import cvbundle.spec.rules  # noqa: F401
from cvbundle.problems import Rule, Severity, declared
from cvbundle.rules import (  # noqa: F401
    adapter,
    frames,
    inputs,
    launch,
    lists,
    optimizer,
    precision,
    references,
    resolution,
    schedule,
    validation,
    waivers,
)
from cvbundle.rules.rule import Check, checks


def all_rules() -> Mapping[str, Rule]:
    """Every rule by its id."""
    return declared()


def all_checks() -> tuple[Check, ...]:
    """Every check of a rule."""
    return checks()


def acceptable_rules() -> tuple[str, ...]:
    """The ids that `allow` may contain, sorted: those of warnings and waivable errors."""
    return tuple(
        sorted(rule.id for rule in all_rules().values() if rule.severity is not Severity.ERROR)
    )
