"""A run of two hosts is that of one with as many processes, or ends on both with one sentence."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cvbundle.bundle.run import Run
from tests.training.conftest import CompileDemo, result
from tests.training.hosts import FIRST, Host, two_hosts, wait_until, why_not

Hosts = tuple[Host, Host]
Ended = tuple[int, str]
"""An exit code, and what was said."""

_DDP = ("launch.strategy=ddp", "launch.num_processes=2", "training.batch_size=1")
_LONG = (*_DDP, "training.steps=100000", "checkpointing.steps=20", "validation=null")
_TRACE = re.compile(r"Traceback|\[rank\d|gloo|c10d|RuntimeError|W\d{4} ")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts with a cable between them."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with two_hosts() as made:
        yield made


def _ends(*processes: "subprocess.Popen[str]") -> list[Ended]:
    ended = [(process.communicate()[1], process.returncode) for process in processes]
    for said, _ in ended:
        assert not _TRACE.search(said), said
    return [(code, said) for said, code in ended]


def _error(said: str) -> str:
    (sentence,) = (line for line in said.splitlines() if line.startswith("error: "))
    return sentence.removeprefix("error: ")


@pytest.mark.slow
@pytest.mark.train
def test_two_hosts_give_the_bytes_of_one_with_as_many_processes_though_one_is_late(
    hosts: Hosts, compile_demo: CompileDemo
) -> None:
    bundle = compile_demo(*_DDP)
    first = hosts[0].launch(bundle)
    time.sleep(3)
    second = hosts[1].launch(bundle)
    assert [code for code, _ in _ends(first, second)] == [0, 0]
    alone = hosts[0].launch(bundle, "--fresh", CVBUNDLE_NUM_MACHINES="1")
    assert [code for code, _ in _ends(alone)] == [0]
    together, single = bundle / "runs/0001", bundle / "runs/0002"
    assert result(together) == result(single)
    assert (together / "metrics.jsonl").read_bytes() == (single / "metrics.jsonl").read_bytes()


@pytest.mark.train
def test_another_bundle_there_is_refused_on_both_by_the_host_that_has_it(
    hosts: Hosts, compile_demo: CompileDemo
) -> None:
    one, other = compile_demo(*_DDP), compile_demo(*_DDP, "training.seed=43")
    for code, said in _ends(hosts[0].launch(one), hosts[1].launch(other)):
        assert code == 3
        assert _error(said) == (
            f"cvh2 has bundle {other.name}, and cvh1 has {one.name}: start the same bundle on "
            "every machine"
        )


@pytest.mark.train
def test_a_host_that_does_not_come_is_one_sentence_on_the_other(
    hosts: Hosts, compile_demo: CompileDemo
) -> None:
    bundle = compile_demo(*_DDP)
    for host, sentence in (
        (hosts[0], f"machine 1 of 2 did not come to cvh1 at {FIRST}:29500 within 1 s"),
        (hosts[1], f"the first machine can't be reached at {FIRST}:29500"),
    ):
        ((code, said),) = _ends(host.launch(bundle, CVBUNDLE_WAIT_S="1"))
        assert code == 3
        assert _error(said).startswith(sentence)


@pytest.mark.train
def test_a_port_in_use_is_one_sentence(hosts: Hosts, compile_demo: CompileDemo) -> None:
    bundle = compile_demo(*_DDP)
    server = "import socket, time; s = socket.create_server(('', 29500)); print(1); time.sleep(99)"
    taken = hosts[0].start([sys.executable, "-uc", server])
    assert taken.stdout is not None
    taken.stdout.readline()
    ((code, said),) = _ends(hosts[0].launch(bundle))
    taken.kill()
    taken.communicate()
    assert code == 3
    assert _error(said).startswith("port 29500 of cvh1 is in use by another process")


@pytest.mark.train
@pytest.mark.parametrize("number", [0, 1])
def test_a_host_that_is_stopped_while_it_waits_exits_with_130(
    number: int, hosts: Hosts, compile_demo: CompileDemo
) -> None:
    process = hosts[number].launch(compile_demo(*_DDP))
    assert process.stderr is not None
    assert "waits for" in process.stderr.readline()
    process.terminate()
    assert [code for code, _ in _ends(process)] == [130]


@pytest.mark.slow
@pytest.mark.train
def test_other_packages_there_are_refused_on_both_before_anything_is_trained(
    hosts: Hosts, compile_demo: CompileDemo, tmp_path: Path
) -> None:
    bundle = compile_demo(*_DDP)
    metadata = tmp_path / "packages/attrs-0.1.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: attrs\nVersion: 0.1\n")
    second = hosts[1].launch(bundle, PYTHONPATH=str(tmp_path / "packages"))
    for code, said in _ends(hosts[0].launch(bundle), second):
        assert code == 3
        assert re.match(
            r"cvh2 has attrs 0\.1, and cvh1 has attrs [\d.]+: pip install", _error(said)
        )
    assert not (bundle / "runs/0001").exists()


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("lacks", ["the model", "a clip", "weights"])
def test_other_data_there_is_said_on_both_by_the_host_that_has_it(
    lacks: str, hosts: Hosts, compile_demo: CompileDemo, own_demo: Path, tmp_path: Path
) -> None:
    bundle = compile_demo(*_DDP)
    data, model = own_demo / "data", own_demo / "model"
    if lacks == "the model":
        shutil.rmtree(model)
    elif lacks == "a clip":
        # The second one is the second process's.
        (data / "videos/blue_down.mp4").write_bytes(b"")
    else:
        weights = model / "transformer/diffusion_pytorch_model.safetensors"
        weights.unlink()
        weights.write_bytes(b"")
    second = hosts[1].launch(
        bundle,
        CVBUNDLE_DATA_ROOT=str(data),
        CVBUNDLE_MODEL_PATH=str(model),
        CVBUNDLE_CACHE=str(tmp_path / "cache2"),
    )
    first = hosts[0].launch(bundle, CVBUNDLE_CACHE=str(tmp_path / "cache1"))
    for code, said in _ends(first, second):
        assert code == 3
        assert _error(said).startswith("cvh2: ")
        assert str(own_demo) in said or "blue_down" in said


@pytest.mark.slow
@pytest.mark.train
def test_a_link_that_goes_down_ends_the_run_on_both_within_a_minute(
    hosts: Hosts, compile_demo: CompileDemo
) -> None:
    bundle = compile_demo(*_LONG)
    processes = [host.launch(bundle) for host in hosts]
    run = bundle / "runs/0001"
    wait_until(run / "checkpoints/step-00000020", *processes)
    hosts[1].cut_off()
    began = time.monotonic()
    (code, said), (other_code, other_said) = _ends(*processes)
    assert time.monotonic() - began < 60
    assert (code, other_code) == (3, 3)
    lost = r"{} has not been heard of for \d+ s: the machine or the network is down$"
    assert re.match(lost.format("cvh2"), _error(said))
    assert re.match(lost.format("cvh1"), _error(other_said))
    assert (Run(run).status, Run(run).reason) == ("failed", _error(said))
    assert (run / "checkpoints/step-00000020").is_dir()


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("victim", ["trainer", "launcher"])
def test_a_host_on_which_something_is_killed_is_named_on_the_other(
    victim: str, hosts: Hosts, compile_demo: CompileDemo
) -> None:
    bundle = compile_demo(*_LONG)
    first, second = (host.launch(bundle) for host in hosts)
    run = bundle / "runs/0001"
    wait_until(run / "checkpoints/step-00000020", first, second)
    launcher = psutil.Process(second.pid)
    (trainer,) = launcher.children()
    (trainer if victim == "trainer" else launcher).send_signal(signal.SIGKILL)
    (code, said), (other_code, other_said) = _ends(first, second)
    assert code == 3
    if victim == "launcher":
        assert other_code == -signal.SIGKILL
        assert _error(said) == "cvh2 is gone: its launcher has ended without a word"
    else:
        assert other_code == 3
        killed = "process 1 was killed by signal 9 (out of memory?)"
        assert _error(other_said).startswith(f"{killed}, on cvh2: run it again")
        assert _error(said) == f"cvh2: {killed}"
    assert (Run(run).status, Run(run).reason) == ("failed", _error(said))
