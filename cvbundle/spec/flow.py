"""Values as YAML text on one line, to be written into a spec."""

import json
import re
from collections.abc import Mapping, Sequence

from cvbundle.spec.source import read_scalar

# What may stand unquoted anywhere, in a flow list too.
_PLAIN = re.compile(r"[A-Za-z0-9_./~+-][A-Za-z0-9_./+-]*")


def flow(value: object) -> str:
    """YAML text that `source.read` reads back as this value.

    Raises:
        TypeError: the value is none that a spec can hold.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{flow(str(k))}: {flow(v)}' for k, v in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(flow, value))}]"
    raise TypeError(f"{type(value).__name__} can't stand in a spec")


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and _reads_as(value):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    # JSON leaves these as they are, but YAML doesn't print them or ends a line there.
    return "".join(c if c.isprintable() else _escape(c) for c in quoted)


def _reads_as(value: str) -> bool:
    try:
        return read_scalar(value) == value
    except ValueError:
        return False


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
