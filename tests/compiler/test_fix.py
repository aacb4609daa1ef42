"""Fixing a spec terminates, and fixing it again changes nothing."""

from pathlib import Path

import pytest

from cvbundle.compiler.fix import plan_fix
from tests.spec.mutations import mutants


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """The path of a spec beside the validation images."""
    (tmp_path / "panda.png").write_bytes(b"")
    return tmp_path / "spec.yaml"


def test_fixing_a_mutated_spec_twice_changes_nothing_more(spec: Path) -> None:
    mended = 0
    for content in mutants(150, seed=11):
        spec.write_bytes(content)
        plan = plan_fix(spec)
        if plan.changes:
            mended += 1
            plan.write()
            assert not plan_fix(spec).changes
    assert mended > 5
