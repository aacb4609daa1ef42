"""Read a spec's text, or a single value, into plain data with places."""

from cvbundle.problems import Place, Problem
from cvbundle.spec.rules import YAML_UNSAFE
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.events import EventReader
from cvbundle.spec.text.lines import Lines

MAX_BYTES = 1 << 20


def read(content: bytes, file: str) -> Document:
    """Parse a spec's bytes; errors are problems in the result and never raised."""
    text, refusal = _decoded(content, file)
    if refusal is not None:
        return Document(file, {}, {}, {}, (refusal,), frozenset({()}))
    return EventReader(Lines(file, text)).read()


def _decoded(content: bytes, file: str) -> tuple[str, Problem | None]:
    if len(content) > MAX_BYTES:
        size = f"{len(content):,} bytes, more than {MAX_BYTES:,}"
        return "", _unreadable(Place(file, 1, 1), size, "is this the right file?")
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        return "", _unreadable(Place(file, line, column), message, "save the file as UTF-8")


def _unreadable(place: Place, message: str, hint: str) -> Problem:
    return YAML_UNSAFE.problem(place, message, hint)


def read_scalar(text: str) -> object:
    """Parse a value from the command line by the rules of a spec.

    Raises:
        ValueError: the text is not one plain value; the message says why.
    """
    document = read(f"value: {text}".encode(), "--set")
    if document.problems:
        raise ValueError(document.problems[0].message)
    if set(document.data) != {"value"}:
        raise ValueError("more than one value")
    return document.data["value"]
