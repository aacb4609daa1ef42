"""Check a spec's dataset: its lists and, on request, every clip."""

import stat
from collections.abc import Iterator
from pathlib import Path as FilePath

from attrs import frozen

from cvbundle.dataset.captions import TokenLimit
from cvbundle.dataset.layouts import Listing, list_entries
from cvbundle.dataset.tables import NoColumn
from cvbundle.problems import Problem, UserError
from cvbundle.rules.document import Checked
from cvbundle.rules.lists import LISTS, leaves_root, list_fields
from cvbundle.spec.placed import problem_at
from cvbundle.spec.rules import VALUE_RANGE


@frozen
class DatasetCheck:
    """The result of checking a dataset's lists, and its clips if they were probed."""

    problems: tuple[Problem, ...]
    """In the order of the dataset."""
    samples: int | None = None
    """An upper bound until clips are probed, since some may be skipped; None if lists are wrong."""


def check_dataset(checked: Checked, *, open_clips: bool) -> DatasetCheck:
    """Check the dataset of a spec, unless the fields that locate it are invalid."""
    if not all(checked.is_valid(f"data.{name}") for name in ("root", *LISTS)):
        return DatasetCheck(())
    if any(leaves_root(getattr(checked.spec.data, name)) for name in list_fields(checked.spec)):
        return DatasetCheck(())  # already reported
    if no_lists := tuple(_no_lists(checked)):
        return DatasetCheck(no_lists)
    root = checked.base / FilePath(checked.spec.data.root).expanduser()
    opens = open_clips and checked.is_valid("data")
    try:
        limit = _token_limit(checked) if open_clips else None
    except UserError as error:
        at = ("model", "path")
        return DatasetCheck((problem_at(checked.document, VALUE_RANGE, at, str(error)),))
    try:
        listing = list_entries(checked.spec.data, root, limit=limit)
        opened = (
            _opened(checked, listing, root) if opens else DatasetCheck((), len(listing.entries))
        )
    except NoColumn as error:
        return DatasetCheck((_no_column(checked, error),))
    except (UserError, OSError) as error:
        text = str(error) if isinstance(error, UserError) else error.strerror or str(error)
        at = ("data", "root" if checked.spec.data.metadata is None else "metadata")
        return DatasetCheck((problem_at(checked.document, VALUE_RANGE, at, text),))
    problems = (*listing.problems, *opened.problems)
    wrong = any(problem.blocks for problem in problems)
    return DatasetCheck(problems, None if wrong else opened.samples)


def _no_lists(checked: Checked) -> Iterator[Problem]:
    """Problems with a root or lists that can't be read at all."""
    data, document = checked.spec.data, checked.document
    try:
        root = checked.base / FilePath(data.root).expanduser()
        if not root.is_dir():
            raise NotADirectoryError
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, or an unknown `~user`
        message, hint = f"{data.root} is not a folder", "write the path of the dataset's folder"
        yield problem_at(document, VALUE_RANGE, ("data", "root"), message, hint)
        return
    for field in list_fields(checked.spec):
        name = getattr(data, field)
        reason = _not_a_file(root / name)
        if reason is not None:
            hint = (
                f"write the path of a {_KIND.get(field, 'text file')} below data.root ({data.root})"
            )
            yield problem_at(document, VALUE_RANGE, ("data", field), f"{name} {reason}", hint)


def _no_column(checked: Checked, error: NoColumn) -> Problem:
    """The problem of a missing column, at the field that names it."""
    columns = [field for field in LISTS if field != "metadata"]
    field = next(name for name in columns if getattr(checked.spec.data, name) == error.column)
    hint = f"write the column's name in data.{field}"
    return problem_at(checked.document, VALUE_RANGE, ("data", field), str(error), hint)


_KIND = {"metadata": "table"}


def _not_a_file(path: FilePath) -> str | None:
    """Why a path is not a file; None if it is one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "doesn't exist"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    except ValueError:
        return "is not a path"
    if stat.S_ISREG(mode):
        return None
    return "is a folder" if stat.S_ISDIR(mode) else "is a device or a pipe"


def _opened(checked: Checked, listing: Listing, root: FilePath) -> DatasetCheck:
    """Probe the clips of a listing."""
    # Probing clips needs a video library, listing them doesn't.
    from cvbundle.dataset.manifest import Sample
    from cvbundle.dataset.probe import PROBE_VERSION
    from cvbundle.dataset.scan import scan
    from cvbundle.dataset.scan_cache import scan_cache

    problems, samples = [], 0
    with scan_cache(PROBE_VERSION) as cache:
        for row in scan(listing.entries, checked.spec.data, root, cache=cache):
            samples += isinstance(row, Sample)
            if isinstance(row, Problem):
                problems.append(row)
    return DatasetCheck(tuple(problems), samples)


def _token_limit(checked: Checked) -> TokenLimit | None:
    """The longest caption that the model accepts, by its own tokenizer if available."""
    from cvbundle.dataset.tokens import token_limit

    if checked.model is None:
        return None
    return token_limit(checked.model.prompt_tokens, checked.model.folder)


def undecodable_images(checked: Checked) -> Iterator[Problem]:
    """Problems with validation images that are files, but can't be decoded."""
    validation = checked.spec.validation
    if validation is None or not checked.is_valid("validation.images"):
        return
    from cvbundle.dataset.bad_clip import BadClip
    from cvbundle.dataset.images import probe_image

    for index, image in enumerate(validation.images):
        path = checked.base / FilePath(image).expanduser()
        if not path.is_file():
            continue  # already reported
        try:
            probe_image(path)
        except BadClip as error:
            at, hint = ("validation", "images", index), "write the path of an image"
            yield problem_at(checked.document, VALUE_RANGE, at, f"{image} {error.reason}", hint)
