"""Which model a spec means, from its folder's config files or the catalog."""

from pathlib import Path

from attrs import frozen

from cvbundle.model.architecture import Architecture, has_config_files, read_architecture
from cvbundle.model.catalog import Card, card, card_like, card_of_hub_id, task_of
from cvbundle.model.hub import cached_commit, is_hub_id, snapshot
from cvbundle.problems import UserError
from cvbundle.spec.schema import ModelName, Precision, Resolution, Task, is_revision


@frozen(kw_only=True)
class BaseModel:
    """The model that a spec names, as far as files and the catalog tell without weights."""

    path: str
    folder: Path | None
    """Where its files are, if they are on this machine."""
    name: ModelName
    task: Task
    card: Card | None
    architecture: Architecture
    is_on_hub: bool
    """Whether the path is a hub id, so that a commit pins it."""

    @property
    def precision(self) -> Precision:
        """What it should be trained in."""
        return self.card.precision if self.card else "bf16"

    @property
    def resolution(self) -> Resolution:
        """What its own config says it was trained at."""
        transformer = self.architecture.transformer
        factor = self.architecture.vae.spatial_compression_ratio
        # 300x300 stands in old configs of the 1.5 models for "any size".
        if self.card and transformer.sample_height == transformer.sample_width == 300:
            return self.card.resolution
        return Resolution(
            transformer.sample_frames,
            transformer.sample_height * factor,
            transformer.sample_width * factor,
        )

    @property
    def fps(self) -> int:
        """Frames per second of what it makes."""
        return self.card.fps if self.card else 8

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the longest prompt it was made for."""
        longest = self.architecture.transformer.max_text_seq_length
        return min(longest, self.card.prompt_tokens) if self.card else longest


def identify(path: str, base: Path, *, revision: str | None, name: str | None) -> BaseModel:
    """Find out which model `path` is; a relative folder is taken from `base`.

    A `revision` or `name` that can be none is passed over. Without a name, the model is told by its
    config files or hub id.

    Raises:
        UserError: there is no such folder, or its config files aren't those of a CogVideoX.
    """
    if name is not None and name != "custom" and card(name) is None:
        name = None
    folder = _folder(path, base)
    if folder is not None:
        return _in_folder(path, folder, name, is_on_hub=False)
    if not is_hub_id(path):
        raise UserError(f"{path} is neither a folder here nor a hub id (org/name)")
    if revision is not None and not is_revision(revision):
        revision = None
    commit = cached_commit(path, revision)
    cached = snapshot(path, commit) if commit else None
    # A download that was broken off tells less than the catalog.
    if cached is not None and has_config_files(cached):
        return _in_folder(path, cached, name, is_on_hub=True)
    return _from_catalog(path, revision, name)


def named(name: str) -> BaseModel | None:
    """The model of the catalog with this name, for a spec that doesn't say where its model is."""
    known = card(name)
    return None if known is None else _from_catalog(known.hub_ids[0], None, name)


def _folder(path: str, base: Path) -> Path | None:
    """The folder that a path means, if it is one."""
    try:
        folder = base / Path(path).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # a name that is too long, the home of nobody
        return None


def _card(name: str) -> Card | None:
    return None if name == "custom" else card(name)


def _in_folder(path: str, folder: Path, name: str | None, *, is_on_hub: bool) -> BaseModel:
    architecture = read_architecture(folder)
    known = _card(name) if name else card_like(architecture)
    return _model(path, folder, known, architecture, is_on_hub=is_on_hub)


def _model(
    path: str,
    folder: Path | None,
    known: Card | None,
    architecture: Architecture,
    *,
    is_on_hub: bool,
) -> BaseModel:
    return BaseModel(
        path=path,
        folder=folder,
        name=known.name if known else "custom",
        task=task_of(architecture.transformer),
        card=known,
        architecture=architecture,
        is_on_hub=is_on_hub,
    )


def _from_catalog(path: str, revision: str | None, name: str | None) -> BaseModel:
    known = card_of_hub_id(path) or (card(name) if name else None)
    if known is None:
        raise UserError(
            f"{path} is not one of the five CogVideoX models and not in the hub cache here; "
            "download it, or write model.name"
        )
    architecture = known.at_revision(revision)
    used = _card(name) if name else known
    return _model(path, None, used, architecture, is_on_hub=True)
