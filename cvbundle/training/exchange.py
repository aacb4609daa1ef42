"""What all processes of a run compare before anything else: bundle, packages and device.

Every process contributes to the result. Another bundle, other packages or another kind of device in
one of them would change it, mostly without an error.
"""

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from importlib.metadata import version

from attrs import asdict, frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.packages import installed_version
from cvbundle.problems import UserError
from cvbundle.training.device import device_name, process_device
from cvbundle.training.group import Store
from cvbundle.training.launcher import HOST

_LOOK_S = 0.05
_WAIT = timedelta(minutes=10)
"""For the slowest process: reading a model's index on a cold disk takes minutes."""


def host() -> str:
    """The name of this machine in what the others receive."""
    return os.environ.get(HOST) or platform.node()


@frozen(kw_only=True)
class Introduction:
    """What decides a result and may differ between processes."""

    host: str
    bundle: str
    """The bundle's digest."""
    packages: dict[str, str]
    """Versions of what the bundle locks and of Python, as they are installed."""
    device: str
    failure: str | None = None
    """Why this process can't train."""


def introduction(bundle: Bundle, device: str, failure: str | None) -> Introduction:
    """How this process introduces itself."""
    packages = {name: installed_version(name) or "not installed" for name in bundle.requirements}
    # Its build (+cpu, +cu130) is no part of its version in a lock.
    packages |= {"python": platform.python_version(), "torch": version("torch")}
    try:
        kind = _device_kind(device)
    except UserError as error:
        kind, failure = device, failure or str(error)
    return Introduction(
        host=host(),
        bundle=bundle.digest,
        packages=packages,
        device=kind,
        failure=failure,
    )


def _device_kind(kind: str) -> str:
    device = process_device(kind)
    return f"cpu ({platform.machine()})" if kind == "cpu" else device_name(device)


def exchange(store: Store, world_size: int, own: Introduction) -> None:
    """Compare this process with all others.

    Raises:
        UserError: one of them can't train, or differs from the first; the same sentence in all.
    """
    store.set(_key(int(os.environ["RANK"])), json.dumps(asdict(own)))
    until = time.monotonic() + _WAIT.total_seconds()
    # Not `store.wait`, during which no signal is heard.
    while not store.check([_key(other) for other in range(world_size)]):
        if time.monotonic() > until:
            missing = [r for r in range(world_size) if not store.check([_key(r)])]
            raise UserError(f"process {missing[0]} did not come within {_WAIT}: see what it says")
        time.sleep(_LOOK_S)
    everyone = [Introduction(**json.loads(store.get(_key(r)))) for r in range(world_size)]
    reason = next(differences(everyone), None)
    if reason is not None:
        raise UserError(reason)


def _key(rank: int) -> str:
    return f"introduction/{rank}"


def differences(everyone: Sequence[Introduction]) -> Iterator[str]:
    """Why these processes can't train together, by the names of their machines."""
    first = everyone[0]
    several = len({each.host for each in everyone}) > 1
    for each in everyone:
        if each.failure is not None:
            yield f"{each.host}: {each.failure}" if several else each.failure
    for other in everyone:
        if other.bundle != first.bundle:
            yield (
                f"{other.host} has bundle {other.bundle[:16]}, and {first.host} has "
                f"{first.bundle[:16]}: start the same bundle on every machine"
            )
        names = [n for n in first.packages if other.packages.get(n) != first.packages[n]]
        if names:
            theirs = ", ".join(f"{name} {other.packages.get(name)}" for name in names[:3])
            ours = ", ".join(f"{name} {first.packages[name]}" for name in names[:3])
            yield (
                f"{other.host} has {theirs}, and {first.host} has {ours}: "
                "pip install -r requirements.txt on every machine"
            )
        if other.device != first.device:
            yield (
                f"{other.host} trains on {other.device}, and {first.host} on {first.device}: "
                "use machines of one kind"
            )
