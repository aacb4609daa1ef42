"""Read the number of processes and the strategy from a launch command."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from cvbundle.authoring.upstream.draft import Draft
from cvbundle.authoring.upstream.shell import Word, resolved_texts
from cvbundle.spec.text.reader import MAX_BYTES, read


@frozen(kw_only=True)
class Processes:
    """The processes of a launch command."""

    strategy: str = "single"
    num_processes: int = 1
    num_machines: int = 1
    by_deepspeed: bool = False
    """Whether DeepSpeed's own config sets the optimizer and schedule, overriding the trainer's."""


def read_launcher(words: Sequence[Word], folder: Path, draft: Draft) -> Processes:
    """Read the words before `train.py`; the path of a config file is relative to `folder`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("config_file", "num_processes", "num_machines", "nproc_per_node", "nnodes"):
        # accelerate accepts both spellings.
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}")
    texts, unresolved = resolved_texts(words)
    for text in unresolved:
        draft.note(f"{text}: the value is only known when the script runs; omitted")
    try:
        options, _ = parser.parse_known_args(texts)
    except argparse.ArgumentError:
        options = argparse.Namespace(
            config_file=None,
            num_processes=None,
            num_machines=None,
            nproc_per_node=None,
            nnodes=None,
        )
    machines = _count(options.num_machines or options.nnodes) or 1
    processes = _count(options.num_processes) or machines * (_count(options.nproc_per_node) or 0)
    if options.config_file:
        config = _config(folder / options.config_file, options.config_file, draft)
        if config is not None:
            return config if not processes else _with(config, processes, machines)
    if not processes:
        draft.note(
            "the script doesn't set the number of processes: launch is one process; for N GPUs "
            "write num_processes: N and strategy: ddp, or the strategy of your accelerate config"
        )
        return Processes()
    strategy: str = "ddp" if processes > 1 else "single"
    return Processes(strategy=strategy, num_processes=processes, num_machines=machines)


def _with(config: Processes, processes: int, machines: int) -> Processes:
    return Processes(
        strategy=config.strategy,
        num_processes=processes,
        num_machines=max(config.num_machines, machines),
        by_deepspeed=config.by_deepspeed,
    )


def _config(path: Path, name: str, draft: Draft) -> Processes | None:
    data = _mapping(path)
    if data is None:
        draft.note(f"{name} can't be read: launch.strategy and num_processes are guesses")
        return None
    processes = _count(data.get("num_processes")) or 1
    machines = _count(data.get("num_machines")) or 1
    kind = str(data.get("distributed_type", "NO")).upper()
    strategy: str = "single"
    by_deepspeed = False
    if kind == "FSDP":
        strategy = "fsdp"
        if "offload_params: true" in str(data.get("fsdp_config")).lower():
            draft.note("FSDP offload to the host has no counterpart; zero3-offload is closest")
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
    if isinstance(name := inline.get("deepspeed_config_file"), str):
        data = _mapping(folder / name)
        if data is None:
            draft.note(f"{name} can't be read: launch.strategy is a guess")
        else:
            zero = data.get("zero_optimization")
            zero = zero if isinstance(zero, Mapping) else {}
            stage = zero.get("stage")
            offloads = any(f"offload_{what}" in zero for what in ("optimizer", "param"))
            own_optimizer = "optimizer" in data
    if stage not in (2, 3, None):
        draft.note(f"ZeRO stage {stage} has no counterpart: launch.strategy is zero2, the closest")
    if stage == 3:
        return ("zero3-offload" if offloads else "zero3"), own_optimizer
    return ("zero2-offload" if offloads else "zero2"), own_optimizer


def _mapping(path: Path) -> Mapping[str, object] | None:
    """A YAML or JSON file as data; None if it doesn't exist or isn't a mapping."""
    try:
        with path.open("rb") as file:
            document = read(file.read(MAX_BYTES + 1), str(path))
    except (OSError, ValueError):
        return None
    return document.data if document.complete and document.data else None


def _count(value: object) -> int:
    """A positive whole number; 0 for anything else."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
