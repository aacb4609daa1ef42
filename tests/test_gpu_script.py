"""`just gpu`, as far as a machine without a GPU can show it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from benchmarks.gpu_report import Check, Measurement, Report, file_name, render
from benchmarks.gpu_runs import Trainer, result
from cvbundle.compiler.build import Compiled

_REPORT = Report(
    machine=(("device", "NVIDIA H100 80GB HBM3"), ("torch", "2.13.0")),
    checks=(
        Check("2b lora, tiny", "passed", "to the same bytes"),
        Check("two processes", "skipped", "there is one | GPU\nhere"),
    ),
    measurements=(
        Measurement("memory: train", 8.0, 9.0, "GiB"),
        Measurement("time of a step", None, 1.5, "s"),
    ),
)


def test_a_report_is_a_page_of_tables() -> None:
    assert render(_REPORT, "NVIDIA H100 80GB HBM3") == (
        "# NVIDIA H100 80GB HBM3\n"
        "\n"
        "Written by `just gpu`.\n"
        "\n"
        "| machine |  |\n"
        "|---|---|\n"
        "| device | NVIDIA H100 80GB HBM3 |\n"
        "| torch | 2.13.0 |\n"
        "\n"
        "| check | outcome |  |\n"
        "|---|---|---|\n"
        "| 2b lora, tiny | passed | to the same bytes |\n"
        "| two processes | skipped | there is one \\| GPU here |\n"
        "\n"
        "| of 2b at its real size | estimate | measured | measured / estimate |\n"
        "|---|---|---|---|\n"
        "| memory: train | 8.00 GiB | 9.00 GiB | 1.12 |\n"
        "| time of a step | - | 1.50 s | - |\n"
    )


def test_a_failed_check_fails_the_report_and_a_skipped_one_does_not() -> None:
    assert not _REPORT.failed
    assert evolve(_REPORT, checks=(*_REPORT.checks, Check("x", "failed"))).failed


def test_a_report_is_named_for_its_device() -> None:
    assert file_name("NVIDIA GeForce RTX 4090") == "nvidia-geforce-rtx-4090.md"


def _script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is an NVIDIA GPU")
def test_without_a_gpu_it_says_so_in_a_sentence() -> None:
    done = _script()
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no NVIDIA GPU to try" in done.stderr.splitlines()[-1]


_STUB = """\
import json, os, pathlib, signal, sys, time
bundle = pathlib.Path(sys.argv[sys.argv.index("--bundle") + 1])
runs = sorted((bundle / "runs").iterdir())
if "--fresh" in sys.argv or not runs:
    run = bundle / "runs" / f"{len(runs) + 1:04d}"
    (run / "checkpoints/step-00000003").mkdir(parents=True)
    if len(runs) == 1:
        print("waiting for its end", flush=True)
        time.sleep(60)
else:
    run = runs[-1]
(run / "metrics.jsonl").write_text('{"step":1}\\n{"step":2}\\n')
record = {"status": "complete", "digests": {"a": "b"}, "phases": {"train": 5.0}}
if run.name == "0002":
    record |= {"seconds_a_step": 1.5, "peak_memory": {"train": {"reserved": 7, "allocated": 6}}}
(run / "run.json").write_text(json.dumps(record))
print("done")
"""
"""Stands for `python -m cvbundle.training`: its second run waits until it is ended."""


def test_a_run_is_ended_at_its_checkpoint_and_gone_on_with(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    (tmp_path / "stub.py").write_text(_STUB)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/stub.py" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    log = tmp_path / "log"
    trainer = Trainer(
        bundle=compiled.bundle.folder, device="cpu", cache=tmp_path / "cache", log=log
    )
    whole = trainer.train(fresh=True)
    assert (whole.code, whole.said, whole.held) == (0, "done", None)
    assert whole.seconds_a_step == 2.5
    ended = trainer.train(fresh=True, until=3)
    assert ended.code != 0
    assert ended.said == "waiting for its end"
    resumed = trainer.train()
    assert whole.run is not None
    assert resumed.run is not None
    assert resumed.run.folder.name == "0002"
    assert (resumed.reserved("train"), resumed.reserved("load")) == (7, None)
    assert resumed.seconds_a_step == 1.5
    assert result(resumed.run) == result(whole.run)
    (resumed.run.folder / "metrics.jsonl").write_text(json.dumps({"step": 1}))
    assert result(resumed.run) != result(whole.run)


@pytest.mark.slow
def test_it_goes_all_the_way_on_a_cpu_with_a_tiny_model(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    done = _script(
        *("--device", "cpu", "--tiny", "--model", "cogvideox-2b", "--out", str(report)),
        *("--work", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(report)
    rows = [line.split(" | ")[:2] for line in report.read_text().splitlines() if "skipped" in line]
    assert [row[0] for row in rows] == ["| tests", "| 2b at its real size"]
    assert report.read_text().count("| passed |") == 3
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
