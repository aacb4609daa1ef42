"""Fix a spec: apply the replacements of its problems until there are none left."""

import stat
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from cvbundle.compiler.check import check_document
from cvbundle.files.durable import write_bytes
from cvbundle.problems import UserError
from cvbundle.spec.file import STDIN, read_file
from cvbundle.spec.fix import fixed
from cvbundle.spec.overrides import override
from cvbundle.spec.text.reader import read

_MAX_ROUNDS = 16


@frozen
class Fix:
    """A spec file's bytes before and after all replacements."""

    path: Path
    before: bytes
    after: bytes

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after

    def write(self) -> None:
        """Replace the file atomically by the fixed text, with the same permissions.

        Raises:
            UserError: the file was changed in the meantime.
        """
        target = self.path.resolve()
        if read_file(target).content != self.before:
            raise UserError(f"{self.path} was changed in the meantime: nothing is written")
        write_bytes(target, self.after, mode=stat.S_IMODE(target.stat().st_mode))


def plan_fix(path: Path, settings: Iterable[str] = ()) -> Fix:
    """The changes that `check --fix` would make to a spec file; nothing is written.

    A file that can't be read has no changes.

    Raises:
        UserError: the path is not a regular file.
    """
    if path == STDIN or (path.exists() and not path.is_file()):
        raise UserError(f"{path}: not a file that can be fixed")
    file = read_file(path)
    before = file.content
    after = before
    versions = {before}
    settings = tuple(settings)
    # A fixed value can reveal another problem, and of overlapping edits only one is applied.
    for _ in range(_MAX_ROUNDS):
        document = override(read(after, str(path)), settings)
        edited = fixed(after, check_document(document, file.base).problems, str(path))
        if edited in versions:
            break
        versions.add(edited)
        after = edited
    return Fix(path, before, after)
