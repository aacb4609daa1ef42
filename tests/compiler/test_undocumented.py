"""The trainer's copy of a spec's classes is decided by what they do, not by what explains them."""

import ast
import subprocess
import sys
from pathlib import Path

import cvbundle
from cvbundle.compiler.undocumented import without_words

_CLASS = '''\
"""A section."""

from attrs import field, frozen

from cvbundle.spec.about import about


# A comment — kept.
@frozen
class Section:
    """Docstrings stay."""

    sizes: tuple[int, ...] = field(
        default=(1,),  # dropped
        validator=each(
            1, "a,  b", [2, 3]
        ),
        metadata=about(
            "Sizes, in Å.",
            [1],
            default="by model",
            local="CVBUNDLE_SIZES",
            elsewhere=("size",),
        ),
    )
    other: int = 3
'''


def _bare(source: str) -> str:
    return without_words(source.encode(), ast.parse(source)).decode()


def test_a_field_keeps_all_but_its_words() -> None:
    before, _, after = _CLASS.partition("    sizes")
    *_, last = after.partition("    other")
    field = (
        '    sizes: tuple[int, ...] = field(default=(1,), validator=each(1, "a,  b", [2, 3]), '
        'metadata=about("", None, local="CVBUNDLE_SIZES"))\n'
    )
    assert _bare(_CLASS) == f"{before}{field}    other{last}"


def test_modules_without_documented_fields_are_copied_as_they_are() -> None:
    source = _CLASS.replace("cvbundle.spec.about", "elsewhere.words")
    assert _bare(source) == source


def test_the_spec_is_read_the_same_without_its_words(tmp_path: Path) -> None:
    """Limits, defaults, types and environment variables are those of the classes with words."""
    code = (
        "import attrs\n"
        "from cvbundle.spec.about import is_section, section_class\n"
        "from cvbundle.spec.local_fields import local_fields\n"
        "from cvbundle.spec.schema import Spec\n"
        "def walk(cls):\n"
        "    for a in attrs.fields(cls):\n"
        "        print(cls.__name__, a.name, a.type, a.default, a.validator)\n"
        "        if is_section(section_class(a.type)):\n"
        "            walk(section_class(a.type))\n"
        "walk(Spec)\n"
        "print(local_fields())\n"
    )
    root = Path(cvbundle.__file__).parent.parent
    for path in (root / "cvbundle").rglob("*.py"):
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        source = path.read_bytes()
        copy.write_bytes(without_words(source, ast.parse(source)))
    assert 'about("", None' in (tmp_path / "cvbundle/spec/schema/spec.py").read_text()
    with_words, without = (
        subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        for folder in (root, tmp_path)
    )
    assert "CVBUNDLE_NUM_MACHINES" in without
    assert without == with_words
