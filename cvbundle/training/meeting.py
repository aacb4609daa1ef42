"""How the machines of a run find each other: all of them connect to the first one.

The launchers do it, before anything heavy is imported. A machine that doesn't belong to the run is
refused with the reason, and a mistake on one that does ends all of them with the same sentence.

torch's own rendezvous does not serve: the `c10d` one waits for ever for what is of another run, and
both end in tracebacks where a machine is missing or a port is taken (torch 2.13.0,
distributed/elastic/rendezvous/).
"""

import errno
import selectors
import socket
import threading
import time

from attrs import asdict, frozen

from cvbundle.problems import UserError
from cvbundle.training.link import Link, Message
from cvbundle.training.machines import Machine, Place, missing, names, other_job, unfit
from cvbundle.training.watch import Peers

_LOOK_S = 0.2
"""Between two looks at whether to stop."""
_RETRY_S = 0.5
"""Between two attempts to reach the first machine."""
_CONNECT_S = 2.0


class Interrupted(Exception):
    """The run was asked to stop before it began."""


@frozen(kw_only=True)
class Meeting:
    """The machines of a run, once all of them are there."""

    peers: Peers
    store_port: int
    """Where the first machine's first process has the store of the process group."""
    own_address: str
    """The address of this machine by which the others reach it."""


def gather(own: Machine, place: Place, store_port: int, stop: threading.Event) -> Meeting:
    """The first machine waits for all others.

    Raises:
        UserError: the port is taken, a machine doesn't come, or one doesn't fit.
        Interrupted: `stop` was set.
    """
    others: dict[int, tuple[Machine, Link]] = {}
    strangers: list[Link] = []
    until = time.monotonic() + place.wait_s
    try:
        with _listening(own, place) as server, selectors.DefaultSelector() as selector:
            selector.register(server, selectors.EVENT_READ)
            while len(others) < own.machines - 1:
                if stop.is_set():
                    raise Interrupted
                if time.monotonic() > until:
                    raise UserError(missing(own, place, others))
                selector.select(_LOOK_S)
                strangers += _arrivals(server)
                strangers = [link for link in strangers if not _settled(own, link, others)]
                _forget_departed(others)
        called = names([own, *(machine for machine, _ in others.values())])
        for rank, (_, link) in others.items():
            link.send(
                {
                    "kind": "welcome",
                    "first": called[0],
                    "name": called[rank],
                    "store_port": store_port,
                }
            )
    except UserError as error:
        _end_all([link for _, link in others.values()], _refusal(str(error)))
        raise
    except Interrupted:
        _end_all([link for _, link in others.values()], {"kind": "interrupted"})
        raise
    finally:
        for link in strangers:
            link.close()
    links = {called[rank]: link for rank, (_, link) in sorted(others.items())}
    address = links[called[1]].own_address
    return Meeting(peers=Peers(called[0], links), store_port=store_port, own_address=address)


def join(own: Machine, place: Place, stop: threading.Event) -> Meeting:
    """Any other machine goes to the first one and waits until all have come.

    Raises:
        UserError: it can't be reached, or this machine doesn't belong there.
        Interrupted: `stop` was set here or on the first machine.
    """
    until = time.monotonic() + place.wait_s
    while True:
        link = _connected(place, until, stop)
        link.send({"kind": "hello", **asdict(own)})
        while link.is_open:
            for message in link.receive():
                if message.get("kind") == "welcome":
                    peers = Peers(message["name"], {message["first"]: link})
                    port, address = int(message["store_port"]), link.own_address
                    return Meeting(peers=peers, store_port=port, own_address=address)
                link.close()
                if message.get("kind") == "refused":
                    raise UserError(str(message["reason"]))
                if message.get("kind") == "interrupted":
                    raise Interrupted
            if stop.is_set():
                link.farewell({"kind": "interrupted"})
                raise Interrupted
            if time.monotonic() > until:
                link.close()
                raise UserError(
                    f"the first machine at {place} has not begun within {place.wait_s:g} s: see "
                    "what it waits for; CVBUNDLE_WAIT_S changes how long"
                )
            time.sleep(_LOOK_S / 4)
        # What answered is gone, or speaks another protocol.
        link.close()
        time.sleep(_RETRY_S)


def _listening(own: Machine, place: Place) -> socket.socket:
    try:
        server = listening(place.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UserError(
            f"port {place.port} of {own.host} is in use by another process, so the other machines "
            "can't come to it: set MAIN_PROCESS_PORT to a free one on every machine"
        ) from None
    server.setblocking(False)
    return server


def listening(port: int, address: str = "") -> socket.socket:
    """A socket to connect to; from everywhere by either kind of address, where none is given."""
    both = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server((address, port), family=family, dualstack_ipv6=both)


def _arrivals(server: socket.socket) -> list[Link]:
    try:
        return [Link(server.accept()[0])]
    except OSError:
        return []


def _settled(own: Machine, link: Link, others: dict[int, tuple[Machine, Link]]) -> bool:
    """Whether a link has introduced itself, or doesn't belong to cvbundle.

    Raises:
        UserError: it is a machine of this run that doesn't fit.
    """
    for message in link.receive():
        other = _introduced(message)
        if other is None:
            link.close()
            return True
        if other.job != own.job:
            link.farewell(_refusal(other_job(own, other)))
            return True
        taken = others.get(other.rank)
        reason = unfit(own, other, None if taken is None else taken[0])
        if reason is not None:
            link.farewell(_refusal(reason))
            raise UserError(reason)
        others[other.rank] = (other, link)
        return True
    return not link.is_open


def _introduced(message: Message) -> Machine | None:
    if message.pop("kind", None) != "hello":
        return None
    try:
        return Machine(**message)
    except TypeError:
        return None


def _forget_departed(others: dict[int, tuple[Machine, Link]]) -> None:
    """Forget machines that left before all were there: they may come back.

    Raises:
        Interrupted: one of them was asked to stop.
    """
    for rank, (_, link) in list(others.items()):
        if any(message.get("kind") == "interrupted" for message in link.receive()):
            del others[rank]
            link.close()
            raise Interrupted
        if not link.is_open:
            del others[rank]
            link.close()


def _refusal(reason: str) -> Message:
    return {"kind": "refused", "reason": reason}


def _end_all(links: list[Link], message: Message) -> None:
    for link in links:
        link.farewell(message)


def _connected(place: Place, until: float, stop: threading.Event) -> Link:
    """A link to the first machine, which may come later than this one."""
    while True:
        if stop.is_set():
            raise Interrupted
        try:
            return Link(socket.create_connection((place.address, place.port), timeout=_CONNECT_S))
        except OSError as error:
            if time.monotonic() > until:
                raise UserError(
                    f"the first machine can't be reached at {place} ({error.strerror or error}) "
                    f"since {place.wait_s:g} s: start launch.sh there with MACHINE_RANK 0, or "
                    "correct MAIN_PROCESS_IP; CVBUNDLE_WAIT_S changes how long the others wait"
                ) from None
        stop.wait(_RETRY_S)
