"""The results of probing files as text, for the cache and for worker processes."""

import json
from functools import lru_cache

from attrs import asdict

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.probe import Facts, Probed
from cvbundle.dataset.probing import ProbeResult


def result_as_text(result: ProbeResult) -> tuple[str, str]:
    """Digest and properties: a JSON object for a clip, a list if it is bad, null for an image."""
    match result:
        case BadClip():
            return "", json.dumps([result.rule, result.reason, result.lasting])
        case ImageFile():
            return result.digest, "null"
        case _:
            return result.digest, json.dumps(asdict(result.facts))


def result_from_text(digest: str, size: int, properties: str) -> ProbeResult:
    """The result of a file of `size` bytes."""
    read = _read(properties)
    if read is None:
        return ImageFile(digest, size)
    return read if isinstance(read, BadClip) else Probed(digest, size, read)


# Most clips of a dataset have the same properties.
@lru_cache(maxsize=4096)
def _read(properties: str) -> Facts | BadClip | None:
    data = json.loads(properties)
    if data is None:
        return None
    if isinstance(data, list):
        rule, reason, lasting = data
        return BadClip(rule, reason, lasting)
    return Facts(**data)
