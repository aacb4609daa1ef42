"""Another trainer's launch script or config as a spec of the same meaning."""

from pathlib import Path

from attrs import frozen

from cvbundle.problems import UserError
from cvbundle.spec.source import MAX_BYTES, read
from cvbundle.upstream.cogkit import draft_config
from cvbundle.upstream.draft import Draft, slug
from cvbundle.upstream.launcher import read_launcher
from cvbundle.upstream.shell import Launch, read_launches
from cvbundle.upstream.trainer import draft_arguments


@frozen
class Converted:
    """A spec's text, and what in the original has no counterpart in it."""

    text: str
    notes: tuple[str, ...]


def convert_file(path: Path) -> Converted:
    """Read a launch script of zai-org/CogVideo or CogKit, or a YAML config of CogKit.

    Nothing of a script is run. The result is a draft like any spec: `check` says what is wrong.

    Raises:
        UserError: the file can't be read, or is neither.
        ProblemsFound: a config that isn't YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: name a launch script or config") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: more than {MAX_BYTES:,} bytes: not a launch script")
    draft = Draft(path.name)
    draft.put("cvbundle", 1)
    draft.put("name", slug(path.stem))
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            draft_config(read(content, str(path)), draft)
        else:
            _draft_script(_decoded(content), path.parent, draft)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for name in ("model.path", "data.root", "output.dir"):
        _note_relative(draft, name)
    return Converted(draft.text(), tuple(draft.notes))


def _draft_script(text: str, folder: Path, draft: Draft) -> None:
    launch = _chosen(read_launches(text), draft)
    draft_arguments(launch.arguments, read_launcher(launch.launcher, folder, draft), draft)


def _chosen(launches: tuple[Launch, ...], draft: Draft) -> Launch:
    """The launch to convert: the first that names a model."""
    training = [
        launch
        for launch in launches
        if any(word.text.partition("=")[0] == "--model_path" for word in launch.arguments)
    ]
    if not training:
        raise UserError(
            "no launch of train.py with a --model_path: only zai-org/CogVideo's "
            "finetune/train.py and CogKit are read"
        )
    if len(training) > 1:
        draft.note(f"the script starts {len(training)} trainings: this is the first")
    return training[0]


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("not UTF-8 text") from None


def _note_relative(draft: Draft, name: str) -> None:
    value = draft.value(name)
    if isinstance(value, str) and value.startswith("."):
        draft.note(f"{name} {value}: seen from the spec's folder, not from where the script ran")
