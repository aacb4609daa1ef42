"""The trackers that a spec names, through accelerate: TensorBoard, Weights & Biases and others."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from attrs import frozen

from cvbundle.bundle.layout import RUN_TRACKERS
from cvbundle.problems import UserError
from cvbundle.spec.schema import Tracking

_SHOWN = 8
"""Frames of a video that a tracker gets."""


@frozen
class Trackers:
    """Trackers that are open; none where the spec names none."""

    trackers: Sequence[GeneralTracker] = ()

    def log(self, points: Mapping[str, float | None], step: int) -> None:
        """Add a point at a step to each curve; a number that is None is left out."""
        present = {name: point for name, point in points.items() if point is not None}
        for tracker in self.trackers:
            tracker.log(present, step=step)

    def show(self, video: Path, prompt: str, step: int) -> None:
        """Add some frames of a video, evenly over its length, to the trackers that take images."""
        shows = [tracker for tracker in self.trackers if hasattr(tracker, "log_images")]
        if not shows:
            return
        import av

        with av.open(str(video)) as container:
            decoded = container.decode(video=0)
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
        chosen = np.linspace(0, len(frames) - 1, min(_SHOWN, len(frames))).round().astype(int)
        for tracker in shows:
            options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            images = {f"sample/{prompt[:80]}": frames[chosen]}
            tracker.log_images(images, step=step, **options)


NO_TRACKERS = Trackers()


def start_trackers(accelerator: Accelerator, tracking: Tracking, run: Path, done: int) -> Trackers:
    """Open a spec's trackers for a run of which `done` steps are done.

    Raises:
        UserError: a tracker's package is not installed.
    """
    if not tracking.report_to:
        return NO_TRACKERS
    missing = set(tracking.report_to) - {str(kind) for kind in accelerator.log_with}
    if missing:
        raise UserError(
            f"tracker {', '.join(sorted(missing))} is not installed: "
            "pip install it, or change tracking.report_to"
        )
    accelerator.project_configuration.logging_dir = str(run / RUN_TRACKERS)
    accelerator.init_trackers(
        tracking.project,
        # Points of an earlier attempt after the step that this one resumes from are dropped.
        init_kwargs={"tensorboard": {"purge_step": done + 1}},
    )
    return Trackers(tuple(accelerator.trackers))
