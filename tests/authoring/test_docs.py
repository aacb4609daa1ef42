"""The documentation says what the code says."""

from pathlib import Path

import pytest

from cvbundle.authoring.docs import rules_markdown, spec_markdown, write

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "text"), [("spec.md", spec_markdown()), ("rules.md", rules_markdown())]
)
def test_the_documentation_is_what_the_code_says_now(name: str, text: str) -> None:
    """`python -m cvbundle.authoring.docs` writes it."""
    assert (DOCS / name).read_text("utf-8") == text


def test_both_files_are_written(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"spec.md", "rules.md"}
