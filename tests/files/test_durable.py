"""Files and folders appear whole or not at all, and nothing stays of what was killed."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.files import durable, locks
from cvbundle.files.durable import new_file, new_large_file, settle, temporary_folder

_FILL = """
import os, sys, pathlib
from cvbundle.files.durable import temporary_folder
with temporary_folder(pathlib.Path(sys.argv[1]), "filling") as folder:
    (folder / "half").write_text("half")
    (folder / "half").chmod(0o444)
    folder.chmod(0o555)
    print(folder, flush=True)
    sys.stdin.read()
"""


def _filling(parent: Path) -> "tuple[subprocess.Popen[str], Path]":
    """A process that fills a folder, and the folder."""
    command = [sys.executable, "-c", _FILL, str(parent)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().rstrip("\n"))


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_fills_is_not(
    tmp_path: Path,
) -> None:
    killed, left = _filling(tmp_path)
    living, filled = _filling(tmp_path)
    killed.kill()
    killed.communicate()
    assert (left / "half").is_file()
    with temporary_folder(tmp_path, "filling"):
        assert not left.parent.exists()
        assert (filled / "half").is_file()
    living.communicate()
    assert living.returncode == 0
    assert not list(tmp_path.iterdir())


def test_what_has_another_label_or_no_lock_is_left_alone(tmp_path: Path) -> None:
    for name in (".other.x.tmp", ".filling.x.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / ".other.x.tmp/.lock").touch()
    with temporary_folder(tmp_path, "filling"):
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_was_taken_for_abandoned_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the making of a folder and its lock another process may sweep it away."""
    take = locks.take
    swept: list[Path] = []

    def swept_first(path: Path, *, create: bool = True) -> locks.Lock | None:
        lock = take(path, create=create)
        if not swept:
            swept.append(path.parent)
            durable.remove_tree(path.parent)
        return lock

    monkeypatch.setattr(locks, "take", swept_first)
    with temporary_folder(tmp_path, "filling") as folder:
        assert folder.parent != swept[0]
        assert folder.is_dir()


def test_a_disk_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(locks, "take", none)
    with temporary_folder(tmp_path, "filling") as folder:
        (folder / "here").touch()
        assert settle(folder, tmp_path / "done")
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_a_large_file_that_was_not_finished_goes_with_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".a.tar.x.tmp"
    left.mkdir()
    (left / ".lock").touch()
    (left / "a.tar").write_bytes(b"half")
    with new_large_file(tmp_path / "a.tar") as file:
        file.write(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    assert (tmp_path / "a.tar").read_bytes() == b"whole"


def test_an_error_names_the_file_that_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as file, new_file(tmp_path / "no folder/file"):
        pass
    assert file.value.filename == str(tmp_path / "no folder/file")
    (tmp_path / "not a folder").touch()
    with (
        pytest.raises(OSError, match="exists") as folder,
        temporary_folder(tmp_path / "not a folder", "filling"),
    ):
        pass
    assert folder.value.filename == str(tmp_path / "not a folder")


def test_a_full_disk_names_the_file_or_the_folder(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space") as file, new_file(tmp_path / "file"):
        raise full
    assert file.value.filename == str(tmp_path / "file")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space") as folder, temporary_folder(tmp_path, "filling"):
        raise full
    assert folder.value.filename == str(tmp_path)
    assert not list(tmp_path.iterdir())
