"""Two hosts on this machine: network namespaces with a cable between them, and names of their own.

What they say to each other stays in there. `ip netns exec` would hide more than the network, so
processes go in with nsenter, and have their host's name from a UTS namespace.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

FIRST = "10.77.0.11"
"""The address of the first host."""


@frozen
class Host:
    """One of the two."""

    number: int
    namespace: str

    @property
    def name(self) -> str:
        """Its host name."""
        return f"cvh{self.number + 1}"

    def start(
        self, command: list[str], environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command on this host; it is the process's own pid that is returned."""
        inside = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "-u", "bash", "-c"]
        return subprocess.Popen(
            [*inside, f'hostname {self.name}; exec "$@"', "-", *command],
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def launch(
        self, bundle: Path, *options: str, processes: int = 2, **settings: str
    ) -> "subprocess.Popen[str]":
        """Start a bundle's own `launch.sh` as one of two machines."""
        environment = {
            "PYTHON": sys.executable,
            "CVBUNDLE_DEVICE": "cpu",
            "CVBUNDLE_NUM_PROCESSES": str(processes),
            "CVBUNDLE_NUM_MACHINES": "2",
            "MACHINE_RANK": str(self.number),
            "MAIN_PROCESS_IP": FIRST,
            **settings,
        }
        return self.start(["bash", str(bundle / "launch.sh"), *options], environment)

    def cut_off(self) -> None:
        """Pull the cable."""
        _ip("-n", self.namespace, "link", "set", "eth0", "down")


def why_not() -> str | None:
    """Why there can't be two hosts here; None where there can."""
    missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} of iproute2 and util-linux is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"cvt{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made here: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return None


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts, gone with the block."""
    hosts = tuple(Host(number, f"cv{os.getpid()}h{number}") for number in (0, 1))
    first, second = hosts
    try:
        for host in hosts:
            _ip("netns", "add", host.namespace)
        _ip(
            *("link", "add", "eth0", "netns", first.namespace, "type", "veth"),
            *("peer", "name", "eth0", "netns", second.namespace),
        )
        for host in hosts:
            address = f"10.77.0.1{host.number + 1}/24"
            _ip("-n", host.namespace, "addr", "add", address, "dev", "eth0")
            for link in ("eth0", "lo"):
                _ip("-n", host.namespace, "link", "set", link, "up")
        yield first, second
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.namespace], check=False, capture_output=True)


def wait_until(there: Path, *running: "subprocess.Popen[str]") -> None:
    """Wait for a file that processes will make, as long as all of them run."""
    while not there.exists():
        for process in running:
            if process.poll() is not None:
                raise AssertionError(process.communicate())
        time.sleep(0.02)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
