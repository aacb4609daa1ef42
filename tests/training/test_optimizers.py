"""The optimizer that was asked for, its state through a stop, and rates by optimizer step."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from cvbundle.problems import UserError
from cvbundle.spec.converter import structure_config
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.optimizers import OPTIMIZERS
from cvbundle.training.optimizers import make_optimizer, make_schedule, take_cores
from cvbundle.training.processes import Stopped
from tests.rules.specs import spec_of
from tests.training.conftest import CompileDemo, StopAfter, Train, adapter, digest


def _spec(bundle: Path) -> Spec:
    config = json.loads((bundle / "config.json").read_bytes())
    config["model"]["path"] = config["data"]["root"] = "-"
    return structure_config(config)


@pytest.mark.train
@pytest.mark.parametrize("name", ["adam", "adamw8bit", "prodigy", "came"])
def test_its_state_goes_on_after_a_stop(
    name: str, compile_demo: CompileDemo, train_here: Train
) -> None:
    rate = {"adam": "1e-3", "adamw8bit": "1e-3", "prodigy": "1.0", "came": "1e-4"}[name]
    bundle = compile_demo(
        f"optimizer.name={name}",
        f"training.learning_rate={rate}",
        # Weights of a smaller adapter are too few for 8 bits.
        "lora.rank=64",
        "training.steps=8",
        "checkpointing.steps=8",
        "validation.steps=8",
    )
    whole = train_here(bundle)
    with pytest.raises(Stopped):
        train_here(bundle, "fresh", StopAfter(4))
    run = train_here(bundle)
    assert run != whole
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert digest(adapter(run)) == digest(adapter(whole))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", "AdamW"), ("adam", "Adam"), ("prodigy", "Prodigy"), ("came", "CAME")],
)
def test_it_is_the_one_that_was_asked_for(name: str, kind: str, compile_demo: CompileDemo) -> None:
    spec = _spec(compile_demo(f"optimizer.name={name}", "optimizer.weight_decay=0.5"))
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = make_optimizer([weight], spec, torch.device("cpu"))
    assert type(optimizer).__name__ == kind
    (group,) = optimizer.param_groups
    assert group["lr"] == spec.training.learning_rate
    assert group["weight_decay"] == 0.5
    assert tuple(group["betas"][:2]) == (0.9, 0.95)


def test_one_whose_package_is_missing_is_named_and_no_other_is_taken(
    compile_demo: CompileDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec(compile_demo("optimizer.name=prodigy"))
    monkeypatch.setitem(__import__("sys").modules, "prodigyopt", None)
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(UserError, match="optimizer prodigy needs a package"):
        make_optimizer([weight], spec, torch.device("cpu"))


_SCHEDULES = (
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
)


@pytest.mark.parametrize("name", _SCHEDULES)
def test_a_schedule_that_goes_on_has_the_rates_of_one_that_never_stopped(
    name: str, compile_demo: CompileDemo
) -> None:
    spec = _spec(compile_demo(f"lr_scheduler.name={name}", "lr_scheduler.warmup_steps=5"))

    def rates(done: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        schedule = make_schedule(optimizer, spec, 20, done)
        found = []
        for _ in range(done, 20):
            found.append(float(optimizer.param_groups[0]["lr"]))
            assert schedule.get_last_lr() == [found[-1]]
            optimizer.step()
            schedule.step()
        return found

    whole = rates(0)
    assert len(whole) == 20
    assert rates(7) == whole[7:]
    assert rates(19) == whole[19:]


def test_warmup_and_cosine_count_optimizer_steps(compile_demo: CompileDemo) -> None:
    spec = _spec(
        compile_demo(
            "lr_scheduler.name=cosine",
            "lr_scheduler.warmup_steps=5",
            "training.gradient_accumulation_steps=4",
            "launch.strategy=ddp",
            "launch.num_processes=2",
        )
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = make_schedule(optimizer, spec, 20, 0)
    for step in range(20):
        warm = step / 5
        cool = 0.5 * (1 + math.cos(math.pi * 0.5 * 2 * (step - 5) / 15))
        assert schedule.get_last_lr()[0] == pytest.approx(warm if step < 5 else cool)
        optimizer.step()
        schedule.step()


def test_an_update_in_host_memory_has_its_share_of_the_cores_and_nothing_else_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class _Seen(torch.optim.SGD):
        """Notes the threads of each update."""

        threads: list[int]

        def step(self, closure: Any = None) -> Any:
            """Notes, and updates nothing."""
            self.threads.append(torch.get_num_threads())

    monkeypatch.setattr("psutil.Process.cpu_affinity", lambda _: list(range(6)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        optimizer = _Seen([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        optimizer.threads = []
        take_cores(optimizer)
        optimizer.step()
        assert optimizer.threads == [3]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(own)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_its_state_has_the_bytes_of_its_row(name: str) -> None:
    """The memory estimate and the size of a checkpoint count on them."""
    spec = spec_of({"optimizer.name": name, "training.learning_rate": 1.0})
    weight = torch.nn.Parameter(torch.ones(512, 512))
    weight.grad = torch.ones_like(weight)
    optimizer = make_optimizer([weight], spec, torch.device("cpu"))
    optimizer.step()
    state = [leaf for leaf in optimizer.state[weight].values() if isinstance(leaf, torch.Tensor)]
    stored = sum(leaf.numel() * leaf.element_size() for leaf in state)
    assert stored / weight.numel() == pytest.approx(OPTIMIZERS[name].state_bytes, rel=0.05)
