"""A clip or image that can't be used."""

from typing import Literal

Fault = Literal["clip-unreadable", "clip-truncated", "clip-short"]
"""The id of the rule that a clip or image breaks; the trainer, which decodes, has no rules."""


class BadClip(Exception):
    """A clip that can't be used: the `rule` it breaks, and the reason.

    `lasting` is whether the same bytes will always be bad; false for a disk or network failure.
    """

    def __init__(self, rule: Fault, reason: str, lasting: bool = True) -> None:
        self.rule = rule
        self.reason = reason
        self.lasting = lasting
        super().__init__(rule, reason, lasting)

    def __str__(self) -> str:
        return self.reason
