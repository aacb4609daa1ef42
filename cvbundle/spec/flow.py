"""Write values as YAML on one line."""

import json
import re
from collections.abc import Mapping, Sequence

from cvbundle.spec.text.reader import read_scalar

# Text that needs no quotes anywhere, even in a flow list.
_PLAIN = re.compile(r"[A-Za-z0-9_./~+-][A-Za-z0-9_./+-]*")


def flow(value: object) -> str:
    """YAML text that `read` reads back as this value.

    Raises:
        TypeError: a spec can't contain the value.
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
    raise TypeError(f"a spec can't contain a {type(value).__name__}")


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and _reads_as(value):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    # JSON leaves these unescaped, but YAML doesn't allow them or ends a line there.
    return "".join(c if c.isprintable() else _escape(c) for c in quoted)


def _reads_as(value: str) -> bool:
    try:
        return read_scalar(value) == value
    except ValueError:
        return False


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
