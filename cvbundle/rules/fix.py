"""Mend a spec: write what hints offer, until they offer nothing more."""

import stat
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from cvbundle.durable import write_bytes
from cvbundle.problems import UserError
from cvbundle.rules.check import check_points
from cvbundle.spec.file import STDIN, read_file
from cvbundle.spec.fix import fixed
from cvbundle.spec.overrides import override
from cvbundle.spec.source import read

_MAX_ROUNDS = 16


@frozen
class Fix:
    """A spec file's bytes as they are, and as they would be with every offered value written."""

    path: Path
    before: bytes
    after: bytes

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after

    def write(self) -> None:
        """Put the mended text in place of the file, whole, with the permissions it had.

        Raises:
            UserError: the file is no longer what was mended.
        """
        target = self.path.resolve()
        if read_file(target).content != self.before:
            raise UserError(f"{self.path} was changed meanwhile; nothing is written")
        write_bytes(target, self.after, mode=stat.S_IMODE(target.stat().st_mode))


def plan_fix(path: Path, settings: Iterable[str] = ()) -> Fix:
    """What `check --fix` would write into a spec file; nothing is written.

    One that can't be read has nothing to be mended.

    Raises:
        UserError: it is a pipe, or no file at all.
    """
    if path == STDIN or (path.exists() and not path.is_file()):
        raise UserError(f"{path}: not a file that can be mended")
    file = read_file(path)
    before = file.content
    after = before
    seen = {before}
    settings = tuple(settings)
    # One mended value can bring out the next problem, and of two for one place one is mended.
    for _ in range(_MAX_ROUNDS):
        document = override(read(after, str(path)), settings)
        mended = fixed(after, check_points(document, file.base).problems, str(path))
        if mended in seen:
            break
        seen.add(mended)
        after = mended
    return Fix(path, before, after)
