"""The machines of a run: how each introduces itself, and why one doesn't belong."""

from collections import Counter
from collections.abc import Collection, Iterable

from attrs import field, frozen
from attrs.validators import instance_of


@frozen(kw_only=True)
class Machine:
    """A machine as it introduces itself."""

    host: str = field(validator=instance_of(str))
    job: str = field(validator=instance_of(str))
    """Distinguishes two runs of one bundle; empty if it isn't set."""
    bundle: str = field(validator=instance_of(str))
    """The bundle's digest."""
    rank: int = field(validator=instance_of(int))
    machines: int = field(validator=instance_of(int))
    processes: int = field(validator=instance_of(int))
    """On all machines."""


@frozen(kw_only=True)
class Place:
    """Where the machines meet, and how long they wait for each other."""

    address: str
    port: int
    wait_s: float

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


def names(machines: Iterable[Machine]) -> dict[int, str]:
    """A name for each machine by its rank: its host, if no other machine has the same."""
    hosts = {machine.rank: machine.host for machine in machines}
    several = {host for host, count in Counter(hosts.values()).items() if count > 1}
    return {
        rank: f"{host} (machine {rank})" if host in several else host
        for rank, host in hosts.items()
    }


def other_job(own: Machine, other: Machine) -> str:
    """That a machine of another job came to the first machine of this one."""
    return (
        f"{own.host} is the first machine of {_job(own.job)} and {other.host} is of "
        f"{_job(other.job)}: give each job a MAIN_PROCESS_PORT of its own"
    )


def _job(job: str) -> str:
    return f"job {job}" if job else "no job"


def unfit(first: Machine, other: Machine, taken: Machine | None) -> str | None:
    """Why a machine can't train with the first one; None where it can.

    `taken` is the machine that has come as the same one already.
    """
    if other.bundle != first.bundle:
        return (
            f"{other.host} has bundle {other.bundle[:16]}, and {first.host} has "
            f"{first.bundle[:16]}: start the same bundle on every machine"
        )
    if (other.machines, other.processes) != (first.machines, first.processes):
        return (
            f"{other.host} counts {other.processes} processes on {other.machines} machines, and "
            f"{first.host} {first.processes} on {first.machines}: set CVBUNDLE_NUM_PROCESSES and "
            "CVBUNDLE_NUM_MACHINES to the same everywhere"
        )
    if taken is not None or not 0 < other.rank < first.machines:
        who = taken.host if taken is not None else first.host if other.rank == 0 else "no machine"
        return (
            f"{other.host} comes as machine {other.rank}, which {who} is: set MACHINE_RANK to 0 "
            f"on {first.host} and to another number below {first.machines} on each other machine"
        )
    return None


def missing(own: Machine, place: Place, others: Collection[int]) -> str:
    """That machines did not come in time: all but the first one's and the ranks of `others`."""
    ranks = [str(rank) for rank in range(1, own.machines) if rank not in others]
    several = len(ranks) > 1
    return (
        f"machine{'s' if several else ''} {', '.join(ranks)} of {own.machines} did not come to "
        f"{own.host} at {place} within {place.wait_s:g} s: start launch.sh there with "
        f"MACHINE_RANK {' and '.join(ranks)}; CVBUNDLE_WAIT_S changes how long the others wait"
    )
