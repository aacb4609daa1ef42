"""`model.json`: the base model that a bundle pins."""

from attrs import frozen

from cvbundle.model.pin import ModelFile
from cvbundle.spec.tables.architecture import Architecture, Task


@frozen(kw_only=True)
class HubCommit:
    """A commit of a repository on the hub."""

    repository: str
    """`org/name`."""
    commit: str


@frozen(kw_only=True)
class ModelRecord:
    """The base model of a bundle, without its weights."""

    name: str
    """Of a row of the table of models, or `custom`."""
    task: Task
    architecture: Architecture
    files: tuple[ModelFile, ...]
    """Each file of the model by its sha256; empty if `hub` pins them."""
    hub: HubCommit | None
