"""Two manifests are compared by sample, in any order and with any repeats."""

import json
import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cvbundle.comparison.manifests import DataDifference, compare_manifests


def _row(clip: object, **fields: Any) -> dict[str, Any]:
    return {"clip": f"{clip}.mp4", "caption": "a horse", "digest": "0", "fps": "8"} | fields


def _compare(
    folder: Path, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> DataDifference:
    paths = []
    for name, rows in (("before", before), ("after", after)):
        paths.append(folder / name)
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return compare_manifests(*paths)


def test_equal_manifests_are_the_same(tmp_path: Path) -> None:
    rows = [_row(number) for number in range(9)]
    difference = _compare(tmp_path, rows, rows)
    assert difference.same
    assert (difference.samples_before, difference.samples_after) == (9, 9)


def test_an_inserted_sample_is_the_only_difference(tmp_path: Path) -> None:
    rows = [_row(number) for number in range(9)]
    difference = _compare(tmp_path, rows, [_row("new"), *rows])
    assert (difference.added, difference.removed, difference.changed, difference.reordered) == (
        1,
        0,
        0,
        False,
    )
    assert difference.added_clips == ["new.mp4"]


def test_removed_samples_are_named(tmp_path: Path) -> None:
    rows = [_row(number) for number in range(9)]
    difference = _compare(tmp_path, rows, rows[:3] + rows[5:])
    assert difference.removed_clips == ["3.mp4", "4.mp4"]
    assert (difference.added, difference.changed, difference.reordered) == (0, 0, False)


def test_changed_fields_of_a_sample_are_named(tmp_path: Path) -> None:
    before = [_row(number, chosen=[0, 1]) for number in range(4)]
    after = [dict(row) for row in before]
    after[0]["caption"] = "a dog"
    after[1]["chosen"] = [0, 2]
    # Other bytes bring other facts with them.
    after[2] |= {"digest": "1", "fps": "16"}
    difference = _compare(tmp_path, before, after)
    assert [change.kinds for change in difference.changes] == [
        ("caption",),
        ("frames",),
        ("bytes",),
    ]
    assert difference.changes[0].fields == {"caption": ("a horse", "a dog")}
    assert difference.changed == 3


def test_another_order_is_a_difference(tmp_path: Path) -> None:
    rows = [_row(number) for number in range(9)]
    difference = _compare(tmp_path, rows, [rows[1], rows[0], *rows[2:]])
    assert difference.reordered
    assert not difference.same
    assert (difference.added, difference.removed, difference.changed) == (0, 0, 0)


def test_several_samples_of_one_clip_are_compared_separately(tmp_path: Path) -> None:
    before = [_row(0, caption="one"), _row(0, caption="two"), _row(0, caption="two")]
    difference = _compare(tmp_path, before, [*before[:2], _row(0, caption="three")])
    assert difference.changed == 1
    assert difference.changes[0].fields == {"caption": ("two", "three")}


def test_all_differences_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    difference = _compare(tmp_path, [], [_row(number) for number in range(1500)])
    assert difference.added == 1500
    assert len(difference.added_clips) == 1000


_EDITS = st.lists(st.tuples(st.sampled_from("ardx"), st.integers(0, 30)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(_EDITS, st.integers(0, 9))
def test_any_edits_are_counted(
    tmp_path_factory: Any, edits: list[tuple[str, int]], seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    before = [_row(number) for number in range(30)]
    after: list[dict[str, Any]] = [dict(row) for row in before]
    touched: dict[int, str] = {}
    for kind, number in edits:
        if kind in "rx" and number < 30:
            touched.setdefault(number, kind)
    kept = []
    for number, row in enumerate(after):
        if touched.get(number) == "x":
            row["caption"] = "another"
        if touched.get(number) != "r":
            kept.append(row)
    new = [number for kind, number in edits if kind == "a"]
    for count, number in enumerate(new):
        kept.insert(random.Random(seed).randint(0, min(number, len(kept))), _row(f"new{count}"))
    difference = _compare(folder, before, kept)
    kinds = list(touched.values())
    assert (difference.added, difference.removed, difference.changed) == (
        len(new),
        kinds.count("r"),
        kinds.count("x"),
    )
    assert not difference.reordered
