"""Describe a bundle by the figures that a person asks for first."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from attrs import NOTHING, frozen

from cvbundle.bundle.base_model import base_model
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.measured_steps import measured_steps
from cvbundle.bundle.model_record import HubCommit, ModelRecord
from cvbundle.bundle.result import Result, result_of
from cvbundle.files.json_objects import DamagedFile
from cvbundle.model.identify import BaseModel
from cvbundle.model.memory import MemoryEstimate, estimate
from cvbundle.model.time import TrainingEstimate, estimate_training
from cvbundle.spec.fields import all_fields

T = TypeVar("T")


@frozen
class Setting:
    """A setting of a bundle, and its default."""

    name: str
    value: Any
    default: Any
    """None if there is none, or if the bundle's model isn't one of this version."""

    @property
    def is_default(self) -> bool:
        """Whether it has its default; false for a field without one."""
        return bool(self.value == self.default)


@frozen(kw_only=True)
class DataSummary:
    """The samples of a bundle together."""

    samples: int
    clips: int
    """Files; several samples can be of one clip."""
    bytes: int
    """Of the files."""
    seconds: float
    """Of video in the files."""
    sizes: Mapping[str, int]
    """The number of clips by height x width, the most frequent first."""
    skipped: int


@frozen(kw_only=True)
class ModelSummary:
    """The base model of a bundle."""

    name: str
    task: str
    hub: HubCommit | None
    files: int
    """Pinned by their digests."""
    bytes: int


@frozen(kw_only=True)
class Description:
    """A bundle for a person. None is what this version can't read; `unreadable` says why."""

    bundle: Bundle
    name: str
    settings: tuple[Setting, ...]
    data: DataSummary | None = None
    model: ModelSummary | None = None
    memory: MemoryEstimate | None = None
    training: TrainingEstimate | None = None
    total_steps: int | None = None
    runs: tuple[Result, ...] = ()
    unreadable: tuple[str, ...] = ()


def describe(bundle: Bundle) -> Description:
    """Describe a bundle as far as this version can read it.

    Raises:
        DamagedFile: `config.json` can't be read at all.
    """
    reasons: list[str] = []
    record = _read(lambda: bundle.model, reasons)
    model = None if record is None else base_model(record)
    spec = _read(lambda: bundle.spec, reasons)
    data = _read(lambda: _summary(bundle), reasons)
    results = [_read(partial(result_of, run), reasons) for run in bundle.runs]
    memory = training = total_steps = None
    if spec is not None and data is not None:
        total_steps = spec.total_steps(data.samples)
        if model is not None:
            gpu = spec.launch.device
            earlier = () if gpu is None else measured_steps(bundle.folder.parent, gpu)
            memory = estimate(spec, model)
            training = estimate_training(spec, model.architecture, data.samples, earlier)
    return Description(
        bundle=bundle,
        name=str(bundle.settings.get("name")),
        settings=_settings(bundle.settings, model),
        data=data,
        model=None if record is None else _model(record),
        memory=memory,
        training=training,
        total_steps=total_steps,
        runs=tuple(result for result in results if result is not None),
        unreadable=tuple(dict.fromkeys(reasons)),
    )


def _read(read: Callable[[], T], reasons: list[str]) -> T | None:
    """What `read` returns; None, with the reason added, if a file can't be read."""
    try:
        return read()
    except DamagedFile as error:
        reasons.append(str(error))
        return None


def _model(record: ModelRecord) -> ModelSummary:
    return ModelSummary(
        name=record.name,
        task=record.task,
        hub=record.hub,
        files=len(record.files),
        bytes=sum(file.size for file in record.files),
    )


def _settings(values: Mapping[str, Any], model: BaseModel | None) -> tuple[Setting, ...]:
    defaults: dict[str, Any] = {
        field.name: _as_json(field.default)
        for field in all_fields()
        if field.default is not NOTHING and not field.is_section
    }
    if model is not None:
        defaults |= {
            "model.name": model.name,
            "model.type": model.task,
            "data.resolution": str(model.resolution),
            "training.mixed_precision": model.precision,
            "validation.fps": model.fps,
        }
    has_table = values.get("data.metadata") is not None
    defaults |= {
        "data.caption_column": "caption" if has_table else "prompts.txt",
        "data.video_column": "video" if has_table else "videos.txt",
    }
    return tuple(
        Setting(name, value, defaults.get(name))
        for name, value in sorted(values.items())
        if name != "cvbundle"
    )


def _as_json(value: Any) -> Any:
    """A default as JSON has it."""
    return [_as_json(item) for item in value] if isinstance(value, tuple) else value


def _summary(bundle: Bundle) -> DataSummary:
    """The manifest in figures, a line at a time."""
    samples = size = 0
    seconds = 0.0
    sizes: Counter[str] = Counter()
    clips: set[str] = set()
    for sample in bundle.samples():
        samples += 1
        if sample.clip not in clips:
            clips.add(sample.clip)
            size += sample.size
            seconds += sample.duration
            sizes[f"{sample.height}x{sample.width}"] += 1
    return DataSummary(
        samples=samples,
        clips=len(clips),
        bytes=size,
        seconds=round(seconds, 3),
        sizes=dict(sizes.most_common()),
        skipped=sum(1 for _ in bundle.skipped()),
    )
