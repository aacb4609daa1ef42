"""A run writes into its own folder and the cache, and talks to nobody."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.compiler.build import compile_file

_CALLS = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
_WRITES = re.compile(
    r"^\d+ +(?P<call>\w+)\(.*?\"(?P<path>[^\"]+)\".*?(?P<flags>O_[A-Z_|]+)?.* = (?P<result>-?\d+)"
)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace isn't installed")
def test_a_run_writes_nowhere_else_and_connects_to_nothing(demo: Path, tmp_path: Path) -> None:
    bundle = compile_file(demo / "spec.yaml", tmp_path / "store").only.bundle.folder
    places = {name: tmp_path / name for name in ("cache", "tmp", "home", "here")}
    for place in places.values():
        place.mkdir()
    log = tmp_path / "strace.log"
    trace = f"trace=connect,{_CALLS}truncate,unlink,unlinkat"
    command = ["strace", "-f", "-qq", "-s", "4096", "-e", trace, "-o", str(log)]
    environment = {
        **os.environ,
        "CVBUNDLE_CACHE": str(places["cache"]),
        "TMPDIR": str(places["tmp"]),
        "HOME": str(places["home"]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    run = [sys.executable, "-P", "-m", "cvbundle.cli", "run", str(bundle)]
    result = subprocess.run(
        [*command, *run], env=environment, cwd=places["here"], capture_output=True, text=True
    )
    if "PTRACE" in result.stderr:
        pytest.skip("this machine lets no process be traced")
    assert result.returncode == 0, result.stderr
    lines = log.read_text(errors="replace").splitlines()
    assert [line for line in lines if "connect(" in line and "AF_INET" in line] == []
    allowed = (bundle / "runs", bundle / "local", places["cache"], places["tmp"])
    written = set()
    for line in lines:
        match = _WRITES.match(line)
        if match is None or "connect(" in line or int(match["result"]) < 0:
            continue
        is_open = match["call"] in ("open", "openat")
        if is_open and not re.search("O_WRONLY|O_RDWR|O_CREAT", line):
            continue
        written.add(match["path"])
    assert any(path.startswith(str(bundle / "runs")) for path in written)
    elsewhere = {
        path
        for path in written
        if path.startswith("/")
        and not path.startswith(("/dev/", "/proc/"))
        and not any(path.startswith(str(place)) for place in allowed)
    }
    assert elsewhere == set()
    assert not list(places["here"].iterdir())
    assert not list(places["home"].iterdir())
