"""The launchers of a run's machines watch over each other while their processes train.

Each is linked to the first machine's, and says every few seconds that it is there. The training
processes have no part in it: a long step, a long encode or a busy GPU can't be taken for a machine
that is gone, and a machine that is gone is noticed long before the process group gives up on it.
"""

import time
from collections.abc import Mapping

from attrs import asdict, frozen

from cvbundle.training.link import Link, Message

BEAT_S = 5.0
"""How often a machine says that it is there."""
SILENCE_S = 30.0
"""After how long a machine that says nothing counts as gone."""


@frozen(kw_only=True)
class Ended:
    """A machine's part of the run has come to an end, or the machine has."""

    host: str
    code: int | None
    """The exit code; None where the machine is gone."""
    reason: str

    @property
    def sentence(self) -> str:
        """What happened there."""
        return f"{self.host} {self.reason}" if self.code is None else f"{self.host}: {self.reason}"


class Peers:
    """The machines that this one is linked to: all others for the first one, else the first."""

    def __init__(self, name: str, links: Mapping[str, Link]) -> None:
        self.name = name
        """What the others call this machine."""
        self._links = dict(links)
        self._beaten = time.monotonic()
        self._has_told = False

    def look(self) -> Ended | None:
        """Say that this machine is there; what is the matter with another one, if something is."""
        now = time.monotonic()
        if now - self._beaten >= BEAT_S:
            self._beaten = now
            for link in self._links.values():
                link.send({"kind": "beat"})
        for host, link in list(self._links.items()):
            for message in link.receive():
                ended = _ended(message)
                if ended is None:
                    continue
                if ended.host == host:
                    self._leave(host)
                if ended.code != 0:
                    self._pass_on(ended)
                    return ended
            if host in self._links and (reason := _lost(link)) is not None:
                ended = Ended(host=host, code=None, reason=reason)
                self._leave(host)
                self._pass_on(ended)
                return ended
        return None

    def tell(self, code: int, reason: str) -> None:
        """Tell, once, how this machine's part ends: others need not wait for it any more."""
        if not self._has_told:
            self._has_told = True
            self._pass_on(Ended(host=self.name, code=code, reason=reason))

    def leave(self, code: int, reason: str) -> None:
        """This machine's part has ended; the others hear it before this returns."""
        message = _message(Ended(host=self.name, code=code, reason=reason))
        while self._links:
            self._links.popitem()[1].farewell(message)

    def _pass_on(self, ended: Ended) -> None:
        for link in self._links.values():
            link.send(_message(ended))

    def _leave(self, host: str) -> None:
        self._links.pop(host).close()


def _message(ended: Ended) -> Message:
    return {"kind": "end", **asdict(ended)}


def _ended(message: Message) -> Ended | None:
    if message.get("kind") != "end":
        return None
    return Ended(host=message["host"], code=message["code"], reason=message["reason"])


def _lost(link: Link) -> str | None:
    """Why nothing more is to be expected of a machine; None where it is there."""
    if not link.is_open:
        return "is gone: its launcher has ended without a word"
    silent = time.monotonic() - link.heard
    if silent > SILENCE_S:
        return f"has not been heard of for {silent:.0f} s: the machine or the network is down"
    return None
