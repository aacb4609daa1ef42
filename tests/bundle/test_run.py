"""A run's files are read as they are, or refused with their place."""

import json
from pathlib import Path
from typing import Any

import pytest

from cvbundle.bundle.packages import Drift
from cvbundle.bundle.result import result_of
from cvbundle.bundle.run import Run, list_runs
from cvbundle.bundle.runs import choose_run, newest_run
from cvbundle.files.json_objects import DamagedFile
from cvbundle.problems import UserError

_RECORD = {
    "bundle": "93f0cdb0a4d12461",
    "status": "complete",
    "attempts": [
        {
            "started": "2026-01-01T00:00:00+00:00",
            "device_name": "NVIDIA H100",
            "world_size": 2,
            "packages": {"numpy": "2.4.6"},
            "drift": [{"package": "numpy", "locked": "2.4.6", "installed": None}],
            "later": "a field of a later version",
        }
    ],
    "phases": {"train": 2, "load": 0.5},
    "peak_memory": {"train": {"allocated": 1, "reserved": 2}},
    "digests": {"adapter/a.safetensors": "00"},
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose metrics are being written."""
    folder = tmp_path / "runs/0001"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(_RECORD))
    (folder / "metrics.jsonl").write_text('{"loss":0.75,"step":1}\n{"loss":0.5,"step":2}\n{"lo')
    return Run(folder)


def test_everything_in_a_record_has_a_type(run: Run) -> None:
    (attempt,) = run.attempts
    assert (attempt.device_name, attempt.world_size, attempt.stopped) == ("NVIDIA H100", 2, None)
    assert attempt.drift == (Drift("numpy", "2.4.6", None),)
    assert str(attempt.drift[0]) == "numpy: not installed instead of 2.4.6"
    assert run.record.phases == {"train": 2.0, "load": 0.5}
    assert (run.number, run.status, run.is_complete, run.adapter) == (1, "complete", True, None)


def test_drift_that_the_first_version_recorded_as_sentences_is_left_out(run: Run) -> None:
    attempts = [{"drift": ["numpy: 2.4.7 instead of 2.4.6"], "packages": {"numpy": "2.4.6"}}]
    (run.folder / "run.json").write_text(json.dumps({"attempts": attempts}))
    (attempt,) = run.attempts
    assert (attempt.drift, attempt.packages) == ((), {"numpy": "2.4.6"})


def test_rows_are_read_up_to_the_one_that_is_being_written(run: Run) -> None:
    assert [row["loss"] for row in run.metrics()] == [0.75, 0.5]
    assert run.last_metrics() == {"loss": 0.5, "step": 2}
    assert (result_of(run).steps, result_of(run).best_loss, result_of(run).seconds) == (2, 0.5, 2.5)


def test_a_run_that_has_not_started_is_new(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert (run.status, run.attempts, list(run.metrics()), run.last_metrics()) == (
        "new",
        (),
        [],
        None,
    )


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("", "not JSON"),
        ('{"status": "comp', "not JSON"),
        ("[]", "not a JSON object"),
        ({"status": 1}, "status is not text"),
        ({"attempts": "two"}, "attempts is not a list"),
        ({"attempts": [1]}, "attempts[0]"),
        ({"attempts": [{"threads": "1"}]}, "attempts[0].threads is not a whole number"),
        ({"attempts": [{"drift": [{"package": "x"}]}]}, "attempts[0].drift[0].locked is missing"),
        ({"phases": [1]}, "phases"),
        ({"phases": {"train": "1 s"}}, "is not a number"),
        ({"digests": {"a": 1}}, "is not text"),
    ],
)
def test_a_damaged_record_is_named(record: Any, words: str, run: Run) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    (run.folder / "run.json").write_text(text)
    with pytest.raises(DamagedFile) as refused:
        _ = run.record
    sentence = str(refused.value)
    assert sentence.startswith(f"{run.folder / 'run.json'}: ")
    assert words in sentence
    assert sentence.endswith("or begin another one with --fresh")


@pytest.mark.parametrize("line", ["{", "[1]", '{"loss": 1}', '{"step": "1"}'])
def test_a_damaged_row_is_named_by_its_line(line: str, run: Run) -> None:
    (run.folder / "metrics.jsonl").write_text(f'{{"step":1}}\n{line}\n{{"step":3}}\n')
    with pytest.raises(DamagedFile, match=r"metrics\.jsonl:2: "):
        list(run.metrics())


def test_a_damaged_last_row_is_named(run: Run) -> None:
    (run.folder / "metrics.jsonl").write_text('{"step":1}\n{\n')
    with pytest.raises(DamagedFile, match=r"metrics\.jsonl: "):
        run.last_metrics()


def test_runs_are_folders_with_a_number_oldest_first(tmp_path: Path) -> None:
    for name in ("0002", "10000", "0001", "notes", "03", "١٢٣٤"):
        (tmp_path / name).mkdir()
    (tmp_path / "0003").touch()
    assert [run.name for run in list_runs(tmp_path)] == ["0001", "0002", "10000"]
    assert newest_run(tmp_path).name == "10000"
    assert choose_run(tmp_path, "fresh").name == "10001"
    assert choose_run(tmp_path, "auto").name == "10001"
    with pytest.raises(UserError, match="has no run to resume"):
        choose_run(tmp_path / "elsewhere", "resume")
