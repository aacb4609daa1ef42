"""What a bundle is, in the figures that a person asks for first."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import NOTHING, frozen

from cvbundle.bundle import layout
from cvbundle.bundle.base_model import base_model
from cvbundle.bundle.measured import measured_steps
from cvbundle.bundle.places import bundle_runs
from cvbundle.bundle.results import Result, result_of
from cvbundle.bundle.runs import list_runs
from cvbundle.bundle.settings import read_spec
from cvbundle.bundle.verify import bundle_digest
from cvbundle.comparison.diff import settings
from cvbundle.model.identify import BaseModel
from cvbundle.model.memory import MemoryEstimate, estimate
from cvbundle.model.time import TrainingEstimate, estimate_training
from cvbundle.spec.fields import all_fields


@frozen
class Setting:
    """A setting of a bundle beside what it would be if nobody had said anything."""

    name: str
    value: Any
    default: Any

    @property
    def is_default(self) -> bool:
        """Whether it is as if nobody had said anything; never where something must be said."""
        return bool(self.value == self.default)


@frozen(kw_only=True)
class DataSummary:
    """The samples of a bundle together."""

    samples: int
    clips: int
    """Files: a clip can be in several samples."""
    bytes: int
    """Of the files."""
    seconds: float
    """Of video in the files."""
    sizes: Mapping[str, int]
    """How many clips there are of each height x width, the most first."""
    skipped: int


@frozen(kw_only=True)
class Description:
    """A bundle for a person."""

    bundle: Path
    digest: str
    name: str
    settings: tuple[Setting, ...]
    data: DataSummary
    model: Mapping[str, Any]
    memory: MemoryEstimate
    training: TrainingEstimate
    total_steps: int
    runs: tuple[Result, ...]


def describe(bundle: Path) -> Description:
    """Read all of a bundle that a person may want to know."""
    spec = read_spec(bundle)
    record = json.loads((bundle / layout.MODEL).read_bytes())
    model = base_model(bundle)
    data = _summary(bundle)
    files = record["files"]
    gpu = spec.launch.device
    earlier = () if gpu is None else measured_steps(bundle.parent, gpu)
    return Description(
        bundle=bundle,
        digest=bundle_digest(bundle),
        name=spec.name,
        settings=_settings(settings(bundle), model),
        data=data,
        model={
            "name": record["name"],
            "task": record["task"],
            "hub": record["hub"],
            "files": len(files),
            "bytes": sum(file["size"] for file in files),
        },
        memory=estimate(spec, model),
        training=estimate_training(spec, model.architecture, data.samples, earlier),
        total_steps=spec.total_steps(data.samples),
        runs=tuple(result_of(run) for run in list_runs(bundle_runs(bundle))),
    )


def _settings(values: Mapping[str, Any], model: BaseModel) -> tuple[Setting, ...]:
    by_model: dict[str, Any] = {
        "model.name": model.name,
        "model.type": model.task,
        "data.resolution": str(model.resolution),
        "training.mixed_precision": model.precision,
        "validation.fps": model.fps,
    }
    constant: dict[str, Any] = {
        field.name: _as_data(field.default)
        for field in all_fields()
        if field.default is not NOTHING and not field.is_section
    }
    listed = values["data.metadata"] is not None
    by_layout = {
        "data.caption_column": "caption" if listed else "prompts.txt",
        "data.video_column": "video" if listed else "videos.txt",
    }
    defaults = constant | by_model | by_layout
    return tuple(
        Setting(name, value, defaults.get(name))
        for name, value in sorted(values.items())
        if name != "cvbundle"
    )


def _as_data(value: Any) -> Any:
    """A default as JSON holds it."""
    return [_as_data(item) for item in value] if isinstance(value, tuple) else value


def _summary(bundle: Path) -> DataSummary:
    """The manifest in figures, a line at a time."""
    samples = size = 0
    seconds = 0.0
    sizes: Counter[str] = Counter()
    clips: set[str] = set()
    with (bundle / layout.DATASET).open("rb") as file:
        for line in file:
            row = json.loads(line)
            samples += 1
            if row["clip"] not in clips:
                clips.add(row["clip"])
                size += row["size"]
                seconds += row["duration"]
                sizes[f"{row['height']}x{row['width']}"] += 1
    skipped = bundle / layout.SKIPPED
    return DataSummary(
        samples=samples,
        clips=len(clips),
        bytes=size,
        seconds=round(seconds, 3),
        sizes=dict(sizes.most_common()),
        skipped=count_lines(skipped) if skipped.is_file() else 0,
    )


def count_lines(path: Path) -> int:
    """Lines of a text file."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
