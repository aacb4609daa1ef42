"""Check that a path is a file, and that a listed one is a file of the dataset."""

import os
import stat
import unicodedata
from pathlib import Path

from attrs import define, field

_BELOW_ROOT = "write a path below data.root"


def not_a_file(path: Path) -> str | None:
    """Why a path is not a file that can be read; None if it is one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "doesn't exist"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    except ValueError:  # a zero byte
        return "is not a path"
    if stat.S_ISREG(mode):
        return None
    return "is a folder" if stat.S_ISDIR(mode) else "is a device or a pipe"


@define(eq=False, repr=False)
class Finder:
    """Finds files below a dataset's root; symlinks are followed, but not out of it."""

    root: Path
    _real: str = field(init=False)
    _folders: dict[str, bool] = field(init=False, factory=dict)
    """Whether a folder's real path is below the root, cached for the files it contains."""

    def __attrs_post_init__(self) -> None:
        self._real = os.path.realpath(self.root)

    def problem(self, path: str, kind: str) -> tuple[str, str] | None:
        """Why a path is not a file of the dataset, with a hint; None if it is one.

        `kind` is what it should be: "clip" or "image".
        """
        if not path:
            return f"names no {kind}", _BELOW_ROOT
        if path.startswith("/") or ".." in path.split("/"):
            return f"{path} is outside the dataset", _BELOW_ROOT
        target = f"{self._real}/{path}"
        try:
            mode = os.lstat(target).st_mode
            is_link = stat.S_ISLNK(mode)
            if is_link:
                mode = os.stat(target).st_mode  # noqa: PTH116 (a Path costs ten times the call)
        except (OSError, ValueError):
            return f"{path} doesn't exist", self._hint(path)
        if not self._is_inside(target, is_link=is_link):
            return f"{path} is a symlink out of the dataset", "copy the file into data.root"
        if not stat.S_ISREG(mode):
            return f"{path} is not a file", "correct the list"
        return None

    def _is_inside(self, target: str, *, is_link: bool) -> bool:
        if is_link:
            return self._contains(os.path.realpath(target))
        folder = target.rpartition("/")[0]
        inside = self._folders.get(folder)
        if inside is None:
            inside = self._folders[folder] = self._contains(os.path.realpath(folder))
        return inside

    def _contains(self, real: str) -> bool:
        return os.path.commonpath((real, self._real)) == self._real

    def _hint(self, path: str) -> str:
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, path)
            try:
                if other != path and (self.root / other).is_file():
                    return f"a file whose name looks the same does: use Unicode form {form}"
            except (OSError, ValueError):
                break
        return "correct the list, or add the file"
