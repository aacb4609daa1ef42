"""Fill in the defaults that depend on the model or on other fields, before structuring."""

from collections.abc import Mapping
from pathlib import Path as FilePath
from pathlib import PurePosixPath
from typing import Any, cast

from attrs import evolve

from cvbundle.problems import Path, UserError
from cvbundle.spec.schema import Spec

BY_MODEL: tuple[Path, ...] = (
    ("model", "name"),
    ("model", "type"),
    ("data", "resolution"),
    ("training", "mixed_precision"),
    ("validation", "fps"),
)
"""The fields whose default depends on the model."""
_MAX_LIST_BYTES = 1 << 20


def with_defaults(data: Mapping[str, object], by_model: Mapping[Path, object]) -> dict[str, object]:
    """A copy of the spec's data with every default that isn't a constant.

    Fields of `BY_MODEL` that are not in `by_model` stay missing. Required sections are not added,
    except `training`.
    """
    filled = {name: _section(value) for name, value in data.items()}
    filled.setdefault("training", {})
    for (section, name), value in by_model.items():
        _default(filled, section, name, value)  # type: ignore[arg-type]
    with_table = _get(filled, "data", "metadata") is not None
    _default(filled, "data", "caption_column", "caption" if with_table else "prompts.txt")
    _default(filled, "data", "video_column", "video" if with_table else "videos.txt")
    for name in _LISTS if not with_table else ("metadata",):
        _normalize(filled, name)
    kind = _get(filled, "training", "type")
    if filled.get("lora") is None:
        filled["lora"] = None if kind == "sft" else {}
    return filled


_LISTS = ("caption_column", "video_column", "image_column")
"""The fields of `data` that are paths, unless they name columns of a table."""


def _normalize(data: Mapping[str, object], name: str) -> None:
    """Normalize a path below the dataset: `./prompts.txt` is `prompts.txt`."""
    section = data.get("data")
    if isinstance(section, dict) and isinstance(written := section.get(name), str) and written:
        section[name] = str(PurePosixPath(written))


def canonical(spec: Spec) -> Spec:
    """The spec with unordered lists sorted, so that equal specs have equal hashes."""
    tracking = evolve(spec.tracking, report_to=tuple(sorted(set(spec.tracking.report_to))))
    return evolve(spec, tracking=tracking, allow=tuple(sorted(set(spec.allow))))


def with_listed(data: Mapping[str, object], base: FilePath, field: str) -> dict[str, object]:
    """A copy of the data in which a text file named by `validation.<field>` is read into a list.

    Raises:
        UserError: the file can't be read, or is empty.
    """
    section = data.get("validation")
    name = section.get(field) if isinstance(section, Mapping) else None
    if not isinstance(name, str):
        return dict(data)
    try:
        path = base / FilePath(name).expanduser()
        if path.exists() and not (path.is_file() and path.stat().st_size <= _MAX_LIST_BYTES):
            raise UserError(f"{name} is not a text file")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"{name} can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8 text") from None
    except (ValueError, RuntimeError):  # a zero byte, or `~user` without such a user
        raise UserError(f"{name} is not a path") from None
    entries = [line.strip() for line in text.split("\n") if line.strip()]
    if not entries:
        raise UserError(f"{name} is empty")
    return {**data, "validation": {**cast(Mapping[str, object], section), field: entries}}


def _section(value: object) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _get(data: Mapping[str, object], section: str, name: str) -> object:
    fields = data.get(section)
    return fields.get(name) if isinstance(fields, Mapping) else None


def _default(data: Mapping[str, object], section: str, name: str, value: object) -> None:
    fields = data.get(section)
    # `model.name: null` means "inferred".
    unset = isinstance(fields, dict) and (
        name not in fields or ((section, name) == ("model", "name") and fields[name] is None)
    )
    if unset:
        cast(dict[str, object], fields)[name] = value
