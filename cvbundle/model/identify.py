"""Which model a spec means, from its folder's config files or the catalog."""

from pathlib import Path

from attrs import frozen

from cvbundle.model.architecture import Architecture, read_architecture
from cvbundle.model.catalog import Card, card, card_like, card_of_hub_id, task_of
from cvbundle.model.hub import cached_commit, is_hub_id, snapshot
from cvbundle.problems import UserError
from cvbundle.spec.schema import ModelName, Precision, Resolution, Task


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

    @property
    def is_on_hub(self) -> bool:
        """Whether the path is a hub id, so that a commit pins it."""
        return is_hub_id(self.path) and self.folder != Path(self.path)

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

    Without a `name` from the spec, it is told by its config files or hub id.

    Raises:
        UserError: there is no such folder, or its config files aren't those of a CogVideoX.
    """
    folder = base / Path(path).expanduser()
    if not folder.is_dir():
        if not is_hub_id(path):
            raise UserError(f"{path} is neither a folder here nor a hub id (org/name)")
        commit = cached_commit(path, revision)
        cached = snapshot(path, commit) if commit else None
        if cached is None:
            return _from_catalog(path, name)
        folder = cached
    architecture = read_architecture(folder)
    found = card(name) if name and name != "custom" else None
    if name is None:
        found = card_like(architecture)
    return BaseModel(
        path=path,
        folder=folder,
        name=found.name if found else "custom",
        task=task_of(architecture.transformer),
        card=found,
        architecture=architecture,
    )


def _from_catalog(path: str, name: str | None) -> BaseModel:
    known = card_of_hub_id(path)
    if known is None and name:
        known = card(name)
    if known is None:
        raise UserError(
            f"{path} is not one of the five CogVideoX models and not in the hub cache here; "
            "download it, or write model.name"
        )
    return BaseModel(
        path=path,
        folder=None,
        name=known.name,
        task=task_of(known.architecture.transformer),
        card=known,
        architecture=known.architecture,
    )
