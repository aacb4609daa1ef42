"""Small specs to check rules on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvbundle.compiler.resolved import Resolved, resolve
from cvbundle.spec.schema import Spec
from cvbundle.spec.text.reader import read

VALID: dict[str, object] = {
    "cvbundle": 1,
    "name": "valid",
    "model.path": "THUDM/CogVideoX-2b",
    "data.root": "data",
    "training.steps": 1000,
}
"""A spec that breaks no rule, as values by field."""


def text_of(changes: Mapping[str, object]) -> str:
    """The valid spec with some fields changed, as YAML with one field a line."""
    tree: dict[str, Any] = {}
    for name, value in {**VALID, **changes}.items():
        *above, last = name.split(".")
        section = tree
        for step in above:
            section = section.setdefault(step, {})
        section[last] = value
    lines: list[str] = []
    _write(tree, 0, lines)
    return "\n".join(lines) + "\n"


def line_of(text: str, name: str) -> int:
    """The line, from 1, of a field in `text_of`."""
    depth = name.count(".")
    last = name.rpartition(".")[2]
    section = name.partition(".")[0]
    inside = depth == 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(" "):
            inside = depth == 0 or line == f"{section}:"
        if inside and line.startswith("  " * depth + f"{last}:"):
            return number
    raise LookupError(name)


def _write(tree: Mapping[str, Any], depth: int, lines: list[str]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict) and value and depth < 1:
            lines.append("  " * depth + f"{key}:")
            _write(value, depth + 1, lines)
        else:
            lines.append("  " * depth + f"{key}: {json.dumps(value)}")


BASE = Path(__file__).parent.parent / "data" / "images"
"""A folder with the validation images of these specs, and nothing else."""


def check_text(text: str | bytes, base: Path = BASE) -> Resolved:
    """The result of checking a spec's text, without its dataset."""
    content = text.encode() if isinstance(text, str) else text
    return resolve(read(content, "spec.yaml"), base)


def spec_of(changes: Mapping[str, object]) -> Spec:
    """The valid spec with some fields changed, resolved."""
    checked = check_text(text_of(changes))
    assert not checked.blocked, checked.problems
    return checked.spec
