"""A scan on a cluster gives the same manifest as on one machine."""

import os
import signal
import sys
from pathlib import Path

import dask.config
import pytest
from distributed import LocalCluster

from cvbundle.dataset.cluster import cluster
from cvbundle.dataset.progress import NoProgress
from cvbundle.dataset.scan import scan
from cvbundle.dataset.writing import write_manifest
from cvbundle.problems import UserError
from tests.dataset.test_scan import dataset, numbered


class KillOne(NoProgress):
    """Kills a worker process after the first result."""

    def __init__(self, process: int) -> None:
        self.process: int | None = process

    def advance(self, files: int, size: int) -> None:
        if self.process is not None and files:
            os.kill(self.process, signal.SIGKILL)
            self.process = None


def test_a_killed_cluster_worker_does_not_change_the_manifest(
    tmp_path: Path,
) -> None:
    clips = {f"bad{n}.mp4": b"text" for n in range(3)} | numbered(200)
    entries, data, root = dataset(tmp_path, clips, bad_samples="skip")
    serial, spread = tmp_path / "serial", tmp_path / "spread"
    for folder in (serial, spread):
        folder.mkdir()
    expected = write_manifest(
        scan(entries, data, root), serial / "dataset.jsonl", serial / "skipped.jsonl"
    )
    # A worker that is gone is waited for half a minute otherwise.
    patience = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with (
        patience,
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            scheduler_port=0,
        ) as local,
    ):
        victim = KillOne(next(iter(local.workers.values())).pid)
        with cluster(local.scheduler_address) as prober:
            rows = scan(entries, data, root, prober=prober, progress=victim)
            found = write_manifest(rows, spread / "dataset.jsonl", spread / "skipped.jsonl")
        assert victim.process is None
    assert found == expected
    for name in ("dataset.jsonl", "skipped.jsonl"):
        assert (spread / name).read_bytes() == (serial / name).read_bytes()


def test_an_unreachable_scheduler_is_one_sentence() -> None:
    with (
        pytest.raises(UserError, match="can't reach a Dask scheduler"),
        cluster("tcp://127.0.0.1:9", timeout_s=0.5),
    ):
        pass


def test_an_invalid_address_is_one_sentence() -> None:
    with (
        pytest.raises(UserError, match="can't reach a Dask scheduler"),
        cluster("nonsense://x", timeout_s=0.5),
    ):
        pass


def test_without_dask_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UserError, match=r"pip install 'cvbundle\[dask\]'"),
        cluster("tcp://127.0.0.1:9"),
    ):
        pass
