"""Rules that what a spec names can be used: the model, the lists, and text files of prompts."""

from collections.abc import Iterator
from pathlib import Path

from cvbundle.dataset.rules import CLIP_MISSING
from cvbundle.dataset.tables import NoColumn, NotAFile
from cvbundle.model.catalog import hub_id_like
from cvbundle.model.hub import is_hub_id
from cvbundle.rules.rule import Finding, Stage, Subject, also
from cvbundle.spec.flow import flow
from cvbundle.spec.rules import VALUE_RANGE


@also(VALUE_RANGE, reads=("model[]",))
def unidentified_model(subject: Subject) -> Iterator[Finding]:
    """The base model is one of the five, by its hub id or its config files."""
    error = subject.refused.get("model.path")
    if error is None:
        return
    path = str(subject.document.at(("model", "path")))
    near = hub_id_like(path)
    hint = "" if near or is_hub_id(path) else "write a hub id, or a folder in diffusers layout"
    yield Finding("model.path", str(error), hint, replacement=near)


@also(VALUE_RANGE, reads=("validation[]",))
def unreadable_texts(subject: Subject) -> Iterator[Finding]:
    """A text file of prompts or images can be read."""
    for name in ("prompts", "images"):
        at = f"validation.{name}"
        if at in subject.refused:
            item = _single_item(name, subject.document.at(("validation", name)))
            hint = f"write {item or 'a list'}, or the path of a text file"
            yield Finding(at, str(subject.refused[at]), hint, replacement=item)


def _single_item(name: str, written: object) -> str | None:
    """The list that a text may have been meant as: few paths contain spaces, images have suffixes.

    None if it was meant as the path of a list.
    """
    if not isinstance(written, str):
        return None
    is_image = name == "images" and Path(written).suffix not in ("", ".txt")
    return flow([written]) if " " in written or is_image else None


@also(VALUE_RANGE, reads=("data[]",), stage=Stage.LISTED)
def unreadable_lists(subject: Subject) -> Iterator[Finding]:
    """The dataset's folder is one, and each of its lists can be read."""
    for at, error in subject.refused.items():
        if not at.startswith("data."):
            continue
        hint = ""
        if at == "data.root":
            hint = "write the path of the dataset's folder"
        elif isinstance(error, NoColumn):
            hint = f"write the column's name in {at}"
        elif isinstance(error, NotAFile):
            kind = "table" if at == "data.metadata" else "text file"
            hint = f"write the path of a {kind} below data.root ({subject.spec.data.root})"
        yield Finding(at, str(error), hint)


@also(VALUE_RANGE, reads=("model.path",), stage=Stage.SCANNED)
def unreadable_tokenizer(subject: Subject) -> Iterator[Finding]:
    """The model's tokenizer, which counts the tokens of captions, can be read."""
    error = subject.refused.get("model.path")
    if error is not None:
        yield Finding("model.path", str(error))


@also(CLIP_MISSING, reads=("data.root",), stage=Stage.LISTED)
def no_clips(subject: Subject) -> Iterator[Finding]:
    """At least one clip is left to train on."""
    if subject.samples == 0:
        message = f"no clip of {subject.spec.data.root} is left to train on"
        yield Finding("data.root", message, "add clips")
