"""Generate docs/spec.md and docs/rules.md from the texts of `explain`.

`python -m cvbundle.authoring.docs` writes them; a test fails if they are out of date.
"""

from pathlib import Path

import cvbundle
from cvbundle.authoring.explain import (
    every_rule,
    examples,
    inner_fields,
    severity_text,
    spec_fields,
    what,
)
from cvbundle.files.durable import write_bytes
from cvbundle.problems import Rule
from cvbundle.spec.fields import Field
from cvbundle.spec.flow import flow

_SPEC_HEAD = """\
# The spec

Every field of a spec, generated from the code by `python -m cvbundle.authoring.docs`, as shown by
`cvbundle explain FIELD`. A spec is one YAML file (1.2, core schema). Types are strict: no
`"5"` for 5, no 1.7 for 1, no bare word for a list. Paths are relative to the spec's folder. Fields
marked † say where something is on this machine: they are not part of what a bundle's hash is of.

`cvbundle init` writes a starter spec, `cvbundle check` reports all problems of a spec, and
`cvbundle schema > spec.schema.json` writes the schema that editors use to complete a spec that
begins with `# yaml-language-server: $schema=spec.schema.json`.
"""
_RULES_HEAD = """\
# The rules

Every rule of `cvbundle check` and `cvbundle compile`, generated from the code by
`python -m cvbundle.authoring.docs`; `cvbundle explain RULE` shows the same. An error stops a
compile; some errors can be accepted with `allow`, which the bundle records. A warning stops
nothing. The examples are run as tests.
"""


def spec_markdown() -> str:
    """docs/spec.md."""
    fields = spec_fields()
    top = [field for field in fields if len(field.path) == 1 and not field.is_section]
    parts = [_SPEC_HEAD, "## Top level\n", _table(top)]
    for section in fields:
        if section.is_section:
            note = "Required. " if section.required else ""
            parts.append(f"## `{section.name}`\n\n{note}{section.about.doc}\n")
            parts.append(_table(inner_fields(section)))
    return "\n".join(parts)


def rules_markdown() -> str:
    """docs/rules.md."""
    return "\n".join([_RULES_HEAD, *(_rule(rule) for rule in every_rule())])


def write(folder: Path) -> None:
    """Write both files into a folder."""
    write_bytes(folder / "spec.md", spec_markdown().encode())
    write_bytes(folder / "rules.md", rules_markdown().encode())


def _table(fields: list[Field] | tuple[Field, ...]) -> str:
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    rows += [f"| {' | '.join(map(_cell, _row(field)))} |" for field in fields]
    return "\n".join(rows) + "\n"


def _row(field: Field) -> tuple[str, str, str, str]:
    mark = " †" if field.about.local else ""
    text = field.about.doc
    # Choices or a default make an example unnecessary.
    if field.about.example not in (None, field.default) and not field.choices:
        text += f" Example: `{flow(field.about.example)}`."
    default = "required" if field.required else field.about.default or f"`{field.default_text}`"
    if field.is_section:
        default = default.replace("``", "see there")
    return f"`{field.name}`{mark}", field.kind, default, text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rule(rule: Rule) -> str:
    good, bad = examples(rule)
    requirement = what(rule)
    lines = [f"## `{rule.id}`\n", f"*{severity_text(rule).capitalize()}.*\n"]
    if requirement != rule.why:
        lines.append(f"{requirement}\n")
    lines.append(f"Why: {rule.why}\n")
    lines.append(f"Source: {rule.source}.\n")
    if good and bad:
        lines.append(f"```yaml\n# right\n{good}\n# wrong\n{bad}\n```\n")
    return "\n".join(lines)


if __name__ == "__main__":
    write(Path(cvbundle.__file__).parent.parent / "docs")
