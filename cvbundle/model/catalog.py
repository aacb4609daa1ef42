"""Find a model in the table by its hub id or its architecture."""

from cvbundle.spec.nearest import nearest
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.spec.tables.models import MODELS, Card


def card_of_hub_id(repository: str) -> Card | None:
    """The card of a model by its hub id, ignoring case."""
    hub_id = repository.lower()
    return next((card for card in MODELS.values() if hub_id in map(str.lower, card.hub_ids)), None)


def hub_id_like(path: str) -> str | None:
    """The hub id that was probably meant by a URL, a name without an owner, or a misspelt id.

    None for what looks like a folder, and for other owners' models.
    """
    if path.startswith(("/", ".", "~")):
        return None
    address = path.rstrip("/").removeprefix("https://").removeprefix("huggingface.co/")
    owner, _, name = address.rpartition("/")
    ids = {
        id.rpartition("/")[2].lower(): id
        for card in MODELS.values()
        for id in reversed(card.hub_ids)
    }
    owners = {id.partition("/")[0].lower() for card in MODELS.values() for id in card.hub_ids}
    if owner.lower() not in {"", *owners}:
        return None
    prefixes = [known for known in ids if name.lower().startswith(known)]
    near = max(prefixes, key=len, default=None) or nearest(name, ids, cutoff=0.9)
    return ids[near] if near else None


def card_like(architecture: Architecture) -> Card | None:
    """The card of the model with this architecture, apart from depth and width."""
    return next(
        (
            card
            for card in MODELS.values()
            if card.architecture.transformer.has_traits_of(architecture.transformer)
        ),
        None,
    )
