"""Convert another trainer's launch script or config to an equivalent spec."""

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from cvbundle.authoring.upstream.cogkit import draft_config
from cvbundle.authoring.upstream.draft import Draft, slug
from cvbundle.authoring.upstream.launcher import read_launcher
from cvbundle.authoring.upstream.shell import Launch, read_launches
from cvbundle.authoring.upstream.trainer import draft_arguments
from cvbundle.problems import UserError
from cvbundle.spec.text.reader import MAX_BYTES, read


@frozen
class Converted:
    """The text of a spec, and notes on what has no counterpart in it."""

    text: str
    notes: tuple[str, ...]


def convert_file(path: Path) -> Converted:
    """Convert a launch script of zai-org/CogVideo or CogKit, or a YAML config of CogKit.

    Scripts are parsed, never run. The result may have problems, which `cvbundle check` reports.

    Raises:
        UserError: the file can't be read, or is none of these.
        ProblemsFound: the config is not YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}: give the path of a launch script or config"
        ) from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: more than {MAX_BYTES:,} bytes: not a launch script")
    draft = Draft(path.name)
    draft.put("cvbundle", 1)
    draft.put("name", slug(path.stem))
    try:
        _FORMATS.get(path.suffix.lower(), _draft_script)(content, path, draft)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for name in ("model.path", "data.root", "output.dir"):
        _note_relative(draft, name)
    return Converted(draft.text(), tuple(draft.notes))


def _draft_script(content: bytes, path: Path, draft: Draft) -> None:
    launch = _chosen(read_launches(_decoded(content)), draft)
    draft_arguments(launch.arguments, read_launcher(launch.launcher, path.parent, draft), draft)


def _draft_yaml(content: bytes, path: Path, draft: Draft) -> None:
    draft_config(read(content, str(path)), draft)


_FORMATS: Mapping[str, Callable[[bytes, Path, Draft], None]] = {
    ".yaml": _draft_yaml,
    ".yml": _draft_yaml,
}
"""What converts a file, by its suffix; other files are scripts."""


def _chosen(launches: tuple[Launch, ...], draft: Draft) -> Launch:
    """The launch to convert: the first with a `--model_path`."""
    training = [
        launch
        for launch in launches
        if any(word.text.partition("=")[0] == "--model_path" for word in launch.arguments)
    ]
    if not training:
        raise UserError(
            "no launch of train.py with a --model_path: only zai-org/CogVideo's "
            "finetune/train.py and CogKit are supported"
        )
    if len(training) > 1:
        draft.note(f"the script launches {len(training)} runs: this is the first")
    return training[0]


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("not UTF-8 text") from None


def _note_relative(draft: Draft, name: str) -> None:
    value = draft.value(name)
    if isinstance(value, str) and value.startswith("."):
        draft.note(f"{name} {value}: relative to the spec's folder, not to where the script ran")
