"""Structure what a bundle's JSON files contain, strictly, with errors that name the value."""

from collections.abc import Mapping
from typing import Any, TypeVar

from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from cvbundle.files.json_objects import DamagedFile
from cvbundle.problems import dotted
from cvbundle.spec.converter import WrongType, converter, failures

T = TypeVar("T")


def structured(data: Mapping[str, Any], cls: type[T], place: str, advice: str) -> T:
    """The class that some data describes; `place` says where the data is.

    Raises:
        DamagedFile: a value is missing, unknown, or of another type; names the first.
    """
    try:
        return converter.structure(data, cls)
    except BaseValidationError as error:
        path, cause = next(failures(error))
        raise DamagedFile(f"{place}: {_words(dotted(path), cause)}: {advice}") from None


def _words(name: str, cause: BaseException) -> str:
    if isinstance(cause, KeyError):
        return f"{name} is missing"
    if isinstance(cause, ForbiddenExtraKeysError):
        inner = min(cause.extra_fields)
        return f"{name}.{inner}".lstrip(".") + " is not a field of this version"
    if isinstance(cause, WrongType):
        return f"{name} is not {cause.expected}"
    return f"{name}: {cause}"
