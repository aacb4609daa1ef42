"""`cvbundle diff`."""

import json
from collections.abc import Sequence

import attrs
import click
from rich.console import Console
from rich.padding import Padding

from cvbundle.bundle.difference import Change
from cvbundle.bundle.result import Result
from cvbundle.cli._echo import echo
from cvbundle.cli._terminal import console, heading, plain, table
from cvbundle.cli._where import Text
from cvbundle.comparison.diff import Comparison, TextChange, compare_bundles
from cvbundle.comparison.manifests import DataDifference
from cvbundle.comparison.operands import Side

_SHOWN = 10
"""Samples of each kind to show."""
_CAPTION = 120
"""Characters of a caption, or of a list of frames, to show."""

SECTION = "Bundles"


@click.command("diff")
@click.argument("a", type=Text())
@click.argument("b", type=Text())
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(a: str, b: str, as_json: bool) -> int:
    """Show how B differs from A: each a bundle, an archive, or a spec.

    Exits with 0 if they are the same, with 1 if they differ.
    """
    comparison = compare_bundles(a, b)
    if as_json:
        echo(json.dumps(_as_data(comparison)))
    else:
        _show(comparison)
    return 0 if comparison.same else 1


def _show(comparison: Comparison) -> None:
    out = console()
    if comparison.same:
        out.print(heading(f"the same bundle: {comparison.before.bundle.name}"))
    else:
        out.print(plain(f"A {comparison.before.bundle.name} {comparison.before.name}", "red"))
        out.print(plain(f"B {comparison.after.bundle.name} {comparison.after.name}", "green"))
    _show_changes(out, "settings", comparison.settings)
    _show_data(out, comparison.data)
    _show_changes(out, "base model", comparison.weights)
    _show_changes(out, "packages", comparison.packages)
    _show_code(out, comparison.code)
    _show_changes(out, "other files", comparison.others)
    _show_results(out, comparison.results)
    if comparison.not_deterministic:
        out.print()
        out.print(
            f"training.deterministic is false in {' and '.join(comparison.not_deterministic)}: "
            "two runs of the same bundle can differ"
        )


def _show_changes(out: Console, title: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    out.print()
    out.print(heading(title))
    rows = table("", "A", "B")
    for change in changes:
        rows.add_row(plain(change.name), plain(change.before, "red"), plain(change.after, "green"))
    out.print(Padding(rows, (0, 0, 0, 2)))


def _show_data(out: Console, data: DataDifference) -> None:
    if data.same:
        return
    out.print()
    counts = f"{data.samples_before:,} -> {data.samples_after:,} samples"
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in data.kinds.most_common())
    parts = [f"{data.added:,} added"] if data.added else []
    parts += [f"{data.removed:,} removed"] if data.removed else []
    parts += [f"{data.changed:,} changed ({kinds})"] if data.changed else []
    parts += ["in another order"] if data.reordered else []
    out.print(heading(f"data: {counts}: {', '.join(parts)}"))
    for sign, style, count, clips in (
        ("+", "green", data.added, data.added_clips),
        ("-", "red", data.removed, data.removed_clips),
    ):
        for clip in clips[:_SHOWN]:
            out.print(plain(f"  {sign} {clip}", style))
        _show_more(out, count)
    for change in data.changes[:_SHOWN]:
        out.print(plain(f"  ~ {change.clip}: {', '.join(change.kinds)}", "yellow"))
        for name in ("caption", "chosen", "crop"):
            if name in change.fields:
                before, after = (str(value)[:_CAPTION] for value in change.fields[name])
                out.print(plain(f"      - {before}", "red"))
                out.print(plain(f"      + {after}", "green"))
    _show_more(out, data.changed)


def _show_more(out: Console, count: int) -> None:
    if count > _SHOWN:
        out.print(plain(f"    and {count - _SHOWN:,} more", "dim"))


def _show_code(out: Console, code: Sequence[TextChange]) -> None:
    if not code:
        return
    out.print()
    out.print(heading("code"))
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for change in code:
        for line in change.lines:
            out.print(plain(line.expandtabs(), styles.get(line[:1], "")), soft_wrap=True)


def _show_results(out: Console, results: tuple[Result | None, Result | None]) -> None:
    before, after = results
    if before is None and after is None:
        return
    out.print()
    out.print(heading("results of the latest run"))
    rows = table("", "A", "B")
    for name in ("run", "status", "steps", "final_loss", "best_loss", "seconds"):
        values = [getattr(result, name) if result else None for result in results]
        rows.add_row(plain(name.replace("_", " ")), plain(values[0]), plain(values[1]))
    names = {name: None for result in results if result for name in result.digests}
    for name in names:
        values = [result.digests.get(name) if result else None for result in results]
        style = "" if values[0] == values[1] else "yellow"
        short = [value[:16] if value else None for value in values]
        rows.add_row(plain(name), plain(short[0], style), plain(short[1], style))
    out.print(Padding(rows, (0, 0, 0, 2)))


def _as_data(comparison: Comparison) -> dict[str, object]:
    data = attrs.asdict(comparison.data)
    return {
        "same": comparison.same,
        "a": _side(comparison.before),
        "b": _side(comparison.after),
        "settings": [attrs.asdict(change) for change in comparison.settings],
        "data": data,
        "weights": [attrs.asdict(change) for change in comparison.weights],
        "packages": [attrs.asdict(change) for change in comparison.packages],
        "code": [attrs.asdict(change) for change in comparison.code],
        "others": [attrs.asdict(change) for change in comparison.others],
        "unpromised": list(comparison.not_deterministic),
        "results": [result and attrs.asdict(result) for result in comparison.results],
    }


def _side(side: Side) -> dict[str, str]:
    return {"name": side.name, "bundle": side.bundle.name}
