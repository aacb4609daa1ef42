"""A connection between the launchers of two machines: messages as JSON, one a line."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

_LARGEST = 1 << 16
"""Bytes of a message; what sends a longer one speaks something else."""
_FAREWELL_S = 2.0
"""How long it is waited until the other side has read the last message."""

Message = dict[str, Any]


class Link:
    """One end of a connection; nothing here waits but `farewell`."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._received = b""
        self._unsent = b""
        self._read: list[Message] = []
        self.is_open = True
        """Whether the other side may still say something."""
        self.heard = time.monotonic()
        """When the other side last said something."""

    @property
    def own_address(self) -> str:
        """The address of this machine by which the other one is reached."""
        return str(self._connection.getsockname()[0]).removeprefix("::ffff:")

    def fileno(self) -> int:
        """For `select`."""
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """Send a message, as far as the connection takes it at once; the rest with the next one."""
        self._unsent += json.dumps(message).encode() + b"\n"
        try:
            self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = b""

    def receive(self) -> Iterator[Message]:
        """The messages that have come, each once; `is_open` says whether more may come."""
        while self.is_open:
            try:
                part = self._connection.recv(_LARGEST)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            self._received += part
            self.is_open = bool(part)
        *lines, self._received = self._received.split(b"\n")
        if len(self._received) > _LARGEST:
            self.is_open = False
        if lines:
            self.heard = time.monotonic()
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict):
                self._read.append(message)
            else:
                self.is_open = False
        while self._read:
            yield self._read.pop(0)

    def close(self) -> None:
        """Close the connection at once."""
        self._connection.close()

    def farewell(self, message: Message) -> None:
        """Send a last message, and close once it was read.

        What is closed with something unread in it is reset, and a reset discards what the other
        side has not read yet (RFC 1122, 4.2.2.13).
        """
        self.send(message)
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(_FAREWELL_S)
            while self._connection.recv(_LARGEST):
                pass
        except OSError:
            pass
        self._connection.close()
