"""How many processes a launch command starts, and how they share the model."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from cvbundle.spec.source import MAX_BYTES, read
from cvbundle.upstream.draft import Draft
from cvbundle.upstream.shell import Word, known_texts


@frozen(kw_only=True)
class Processes:
    """What the launch command decides."""

    strategy: str = "single"
    num_processes: int = 1
    num_machines: int = 1
    by_deepspeed: bool = False
    """DeepSpeed's own config names the optimizer and schedule, so the trainer's are not used."""


def read_launcher(words: Sequence[Word], folder: Path, draft: Draft) -> Processes:
    """What stands before `train.py`; a config file that it names is looked for from `folder`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("config_file", "num_processes", "num_machines", "nproc_per_node", "nnodes"):
        # accelerate takes both spellings.
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}")
    texts, lost = known_texts(words)
    for text in lost:
        draft.note(f"{text}: only running the script tells what this is; left out")
    try:
        given, _ = parser.parse_known_args(texts)
    except argparse.ArgumentError:
        given = argparse.Namespace(
            config_file=None,
            num_processes=None,
            num_machines=None,
            nproc_per_node=None,
            nnodes=None,
        )
    machines = _whole(given.num_machines or given.nnodes) or 1
    processes = _whole(given.num_processes) or machines * (_whole(given.nproc_per_node) or 0)
    if given.config_file:
        found = _config(folder / given.config_file, given.config_file, draft)
        if found is not None:
            return found if not processes else _with(found, processes, machines)
    if not processes:
        draft.note(
            "how many processes are started is decided on the machine: launch is one process; for "
            "N GPUs write strategy: ddp (or what your accelerate config says) and num_processes: N"
        )
        return Processes()
    strategy: str = "ddp" if processes > 1 else "single"
    return Processes(strategy=strategy, num_processes=processes, num_machines=machines)


def _with(found: Processes, processes: int, machines: int) -> Processes:
    return Processes(
        strategy=found.strategy,
        num_processes=processes,
        num_machines=max(found.num_machines, machines),
        by_deepspeed=found.by_deepspeed,
    )


def _config(path: Path, name: str, draft: Draft) -> Processes | None:
    data = _mapping(path)
    if data is None:
        draft.note(f"{name} can't be read from here: launch.strategy and num_processes are guesses")
        return None
    processes = _whole(data.get("num_processes")) or 1
    machines = _whole(data.get("num_machines")) or 1
    kind = str(data.get("distributed_type", "NO")).upper()
    strategy: str = "single"
    by_deepspeed = False
    if kind == "FSDP":
        strategy = "fsdp"
        if "offload_params: true" in str(data.get("fsdp_config")).lower():
            draft.note("FSDP's offload to the host has no counterpart; zero3-offload is nearest")
    elif kind == "DEEPSPEED":
        strategy, by_deepspeed = _deepspeed(data.get("deepspeed_config"), path.parent, draft)
    elif kind.startswith("MULTI") and processes > 1:
        strategy = "ddp"
    return Processes(
        strategy=strategy,
        num_processes=processes,
        num_machines=machines,
        by_deepspeed=by_deepspeed,
    )


def _deepspeed(config: object, folder: Path, draft: Draft) -> tuple[str, bool]:
    inline = config if isinstance(config, Mapping) else {}
    stage: object = inline.get("zero_stage")
    offloads = any(inline.get(f"offload_{what}_device") == "cpu" for what in ("optimizer", "param"))
    own_optimizer = False
    if isinstance(named := inline.get("deepspeed_config_file"), str):
        data = _mapping(folder / named)
        if data is None:
            draft.note(f"{named} can't be read from here: launch.strategy is a guess")
        else:
            zero = data.get("zero_optimization")
            zero = zero if isinstance(zero, Mapping) else {}
            stage = zero.get("stage")
            offloads = any(f"offload_{what}" in zero for what in ("optimizer", "param"))
            own_optimizer = "optimizer" in data
    if stage not in (2, 3, None):
        draft.note(f"ZeRO stage {stage} has no counterpart: launch.strategy is zero2, its nearest")
    if stage == 3:
        return ("zero3-offload" if offloads else "zero3"), own_optimizer
    return ("zero2-offload" if offloads else "zero2"), own_optimizer


def _mapping(path: Path) -> Mapping[str, object] | None:
    """A YAML or JSON file as data; None where there is none, or it isn't one."""
    try:
        with path.open("rb") as file:
            document = read(file.read(MAX_BYTES + 1), str(path))
    except (OSError, ValueError):
        return None
    return document.data if document.complete and document.data else None


def _whole(value: object) -> int:
    """A whole number above zero; 0 for what is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
