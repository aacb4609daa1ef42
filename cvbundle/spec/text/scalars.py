"""Plain scalars by the core schema of YAML 1.2 (yaml.org/spec/1.2.2, section 10.3.2)."""

import re

MAX_DIGITS = 20
"""2^64 - 1, the largest seed, has twenty."""
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


def ambiguity(text: str) -> str | None:
    """How YAML 1.1 and 1.2 differ on a plain scalar; None if they agree on its value."""
    if text[:1] not in "+-.0123456789":
        return None
    return next((reading for pattern, reading in _AMBIGUOUS if pattern.fullmatch(text)), None)


def written_plainly(text: str) -> str:
    """The probable number, in a form that both versions read the same."""
    digits = text.replace("_", "").lstrip("+")
    digits = digits.lstrip("0") if not digits.startswith(("0x", "0o", "0b", "0.")) else digits
    return digits if _INT.fullmatch(digits) or _FLOAT.fullmatch(digits) else "plain digits"


def not_a_number(text: str) -> str | None:
    """Why a number can't be used; None if it can, or the scalar is no number."""
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


def plain_value(text: str) -> object:
    """The value of a scalar without quotes."""
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


def shortened(text: str) -> str:
    """A scalar as shown in a message."""
    return text if len(text) <= _MAX_NUMBER else f"{text[:_MAX_NUMBER]}…"
