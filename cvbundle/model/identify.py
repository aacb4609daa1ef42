"""Identify a spec's base model, from its folder's config files or the catalog."""

from pathlib import Path

from attrs import frozen

from cvbundle.model.catalog import card_like, card_of_hub_id
from cvbundle.model.config_files import has_config_files, read_architecture
from cvbundle.model.hub import cached_commit, is_hub_id, snapshot
from cvbundle.problems import UserError
from cvbundle.spec.schema import Resolution, is_revision
from cvbundle.spec.tables.architecture import Architecture, Task
from cvbundle.spec.tables.models import CUSTOM, MODELS, Card, Precision


@frozen(kw_only=True)
class BaseModel:
    """A spec's base model, without its weights."""

    path: str
    folder: Path | None
    """The folder of its files, if they are on this machine."""
    name: str
    task: Task
    card: Card | None
    architecture: Architecture
    is_on_hub: bool
    """Whether the path is a hub id, pinned by a commit."""

    @property
    def precision(self) -> Precision:
        """The precision to train it in."""
        return self.card.precision if self.card else "bf16"

    @property
    def resolution(self) -> Resolution:
        """The resolution that it was trained at, by its own config."""
        transformer = self.architecture.transformer
        factor = self.architecture.vae.spatial_compression_ratio
        # 300x300 means "any size" in old configs of the 1.5 models.
        if self.card and transformer.sample_height == transformer.sample_width == 300:
            return self.card.resolution
        return Resolution(
            transformer.sample_frames,
            transformer.sample_height * factor,
            transformer.sample_width * factor,
        )

    @property
    def fps(self) -> int:
        """Frames per second of its videos."""
        return self.card.fps if self.card else 8

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the longest prompt that it was trained on."""
        longest = self.architecture.transformer.max_text_seq_length
        return min(longest, self.card.prompt_tokens) if self.card else longest


def identify(path: str, base: Path, *, revision: str | None, name: str | None) -> BaseModel:
    """Identify the model at `path`; a relative folder is relative to `base`.

    An invalid `revision` or `name` is ignored. Without a name, the model is identified by its
    config files or hub id.

    Raises:
        UserError: there is no such folder, or its config files aren't those of a CogVideoX model.
    """
    if name is not None and name not in (*MODELS, CUSTOM):
        name = None
    folder = _folder(path, base)
    if folder is not None:
        return _in_folder(path, folder, name, is_on_hub=False)
    if not is_hub_id(path):
        raise UserError(f"{path} is neither a folder nor a hub id (org/name)")
    if revision is not None and not is_revision(revision):
        revision = None
    commit = cached_commit(path, revision)
    cached = snapshot(path, commit) if commit else None
    # An interrupted download is less complete than the catalog.
    if cached is not None and has_config_files(cached):
        return _in_folder(path, cached, name, is_on_hub=True)
    return _from_catalog(path, revision, name)


def named(name: str) -> BaseModel | None:
    """The model of the catalog with this name, for a spec without a model path."""
    known = MODELS.get(name)
    return None if known is None else _from_catalog(known.hub_ids[0], None, name)


def _folder(path: str, base: Path) -> Path | None:
    """The folder at a path; None if it isn't one."""
    try:
        folder = base / Path(path).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # a name that is too long, or an unknown `~user`
        return None


def _card(name: str) -> Card | None:
    return MODELS.get(name)


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
        name=known.name if known else CUSTOM,
        task=architecture.transformer.task,
        card=known,
        architecture=architecture,
        is_on_hub=is_on_hub,
    )


def _from_catalog(path: str, revision: str | None, name: str | None) -> BaseModel:
    known = card_of_hub_id(path) or (MODELS.get(name) if name else None)
    if known is None:
        raise UserError(
            f"{path} is not a hub id of {', '.join(MODELS)}, and not in the local hub cache; "
            "download it, or write model.name"
        )
    architecture = known.at_revision(revision)
    used = _card(name) if name else known
    return _model(path, None, used, architecture, is_on_hub=True)
