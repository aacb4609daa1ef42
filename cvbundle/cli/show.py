"""`cvbundle show`."""

import json
from collections.abc import Iterable, Sequence

import attrs
import click
from rich.console import Console
from rich.padding import Padding

from cvbundle.bundle.result import Result
from cvbundle.bundle.store import find_bundle
from cvbundle.cli._echo import echo
from cvbundle.cli._terminal import console, heading, plain, table
from cvbundle.cli._where import Text
from cvbundle.comparison.description import Description, Setting, describe
from cvbundle.model.memory import in_gib, render_estimate
from cvbundle.model.time import render_training

_SIZES = 5
"""Sizes of clips to show."""

SECTION = "Bundles"


@click.command("show")
@click.argument("bundle", type=Text())
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: str, as_json: bool) -> None:
    """Describe BUNDLE (a folder, or a prefix of its hash), unusual settings first."""
    description = describe(find_bundle(bundle))
    if as_json:
        echo(json.dumps(_as_data(description)))
    else:
        _show(description)


def _show(description: Description) -> None:
    out = console()
    out.print(heading(f"{description.name}  {description.bundle.name}"))
    changed = [setting for setting in description.settings if not setting.is_default]
    _show_settings(out, "settings that are not the default", changed, defaults=True)
    _show_data(out, description)
    if description.memory is not None:
        _part(
            out, "memory of one device, estimated", render_estimate(description.memory).splitlines()
        )
    if description.training is not None:
        _part(out, "training, estimated", render_training(description.training).splitlines())
    _show_measured(out, description.runs)
    _show_runs(out, description)
    rest = [setting for setting in description.settings if setting.is_default]
    _show_settings(out, "settings that are the default", rest, defaults=False)
    for reason in description.unreadable:
        echo(reason, err=True)


def _show_settings(
    out: Console, title: str, settings: Sequence[Setting], *, defaults: bool
) -> None:
    out.print()
    out.print(heading(title))
    rows = table("", "", "default" if defaults else "")
    for setting in settings:
        default = plain(setting.default, "dim") if defaults else ""
        rows.add_row(plain(setting.name), plain(setting.value), default)
    out.print(Padding(rows, (0, 0, 0, 2)))


def _show_data(out: Console, description: Description) -> None:
    data, model = description.data, description.model
    if data is not None:
        lines = [
            f"{data.samples:,} samples of {data.clips:,} clips, {data.seconds / 60:.1f} minutes, "
            f"{in_gib(data.bytes)}"
        ]
        if data.skipped:
            lines.append(f"{data.skipped:,} skipped: see skipped.jsonl")
        sizes = [f"{size} ({count:,})" for size, count in list(data.sizes.items())[:_SIZES]]
        more = len(data.sizes) - _SIZES
        lines.append(", ".join(sizes) + (f" and {more} other sizes" if more > 0 else ""))
        _part(out, "data", lines)
    if model is not None:
        source = f"{model.files} files of {in_gib(model.bytes)}, each by its sha256"
        if model.hub is not None:
            source = f"{model.hub.repository} at {model.hub.commit}"
        _part(out, "base model", [f"{model.name} ({model.task}): {source}"])


def _show_runs(out: Console, description: Description) -> None:
    runs = description.runs
    length = "" if description.total_steps is None else f" of {description.total_steps:,} steps"
    out.print()
    if not runs:
        out.print(heading(f"no run yet{length and ','}{length}"))
        return
    out.print(heading(f"runs{length}"))
    rows = table("", "status", ">steps", ">final loss", ">best loss", ">seconds", "result")
    for run in runs:
        digest = next(iter(run.digests.values()), None)
        rows.add_row(
            plain(run.run),
            plain(run.status),
            plain(f"{run.steps:,}"),
            plain(None if run.final_loss is None else f"{run.final_loss:.6g}"),
            plain(None if run.best_loss is None else f"{run.best_loss:.6g}"),
            plain(f"{run.seconds:,.0f}"),
            plain(digest and digest[:16]),
        )
    out.print(Padding(rows, (0, 0, 0, 2)))
    for run in runs:
        if run.reason is not None:
            out.print(plain(f"  {run.run} {run.status}: {run.reason}"))


def _show_measured(out: Console, runs: Sequence[Result]) -> None:
    """What runs measured, beside what was estimated."""
    lines = []
    for run in runs:
        if run.seconds_a_step is not None:
            lines.append(f"run {run.run}: {run.seconds_a_step:.3g} s a step")
        for phase, peak in run.peak_memory.items():
            held = f"{in_gib(peak['allocated'])}, {in_gib(peak['reserved'])} reserved"
            lines.append(f"run {run.run}: {phase} {held}")
    if lines:
        _part(out, "measured", lines)


def _part(out: Console, title: str, lines: Iterable[str]) -> None:
    out.print()
    out.print(heading(title))
    for line in lines:
        out.print(plain(f"  {line}"))


def _as_data(description: Description) -> dict[str, object]:
    training = description.training
    return {
        "bundle": str(description.bundle.folder),
        "hash": description.bundle.digest,
        "name": description.name,
        "settings": [
            attrs.asdict(setting) | {"is_default": setting.is_default}
            for setting in description.settings
        ],
        "data": description.data and attrs.asdict(description.data),
        "model": description.model and attrs.asdict(description.model),
        "memory": description.memory and attrs.asdict(description.memory),
        "training": training and attrs.asdict(training) | {"hours": training.hours},
        "total_steps": description.total_steps,
        "runs": [attrs.asdict(run) for run in description.runs],
        "unreadable": list(description.unreadable),
    }
