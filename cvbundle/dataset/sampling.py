"""Make a sample of an entry and its probed clip, or report why there is none."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import attrs
from attrs import define

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.entries import Entry
from cvbundle.dataset.frames import Crop, choose_frames, crop_box
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.manifest import Image, Sample, Skipped
from cvbundle.dataset.probe import Facts, Probed
from cvbundle.dataset.rules import (
    CLIP_ASPECT,
    CLIP_DAMAGED,
    CLIP_DUPLICATE,
    CLIP_FPS,
    CLIP_SHORT,
    CLIP_UPSCALED,
    FAULTS,
)
from cvbundle.problems import Problem, Rule
from cvbundle.spec.schema import Data

Row = Sample | Skipped | Problem

_EXTREME = 2
"""The ratio of a clip's and its sample's aspect ratios from which there is a warning."""

# Most clips of a dataset have the same length and size.
_chosen = lru_cache(maxsize=4096)(choose_frames)
_crop = lru_cache(maxsize=4096)(crop_box)


@define
class Sampler:
    """Makes samples of entries in order, comparing each with those before it."""

    entries: Sequence[Entry]
    data: Data
    _first: dict[int, int] = attrs.field(init=False, factory=dict)
    """The first entry with each digest, keyed by 16 hex digits of it to save memory."""
    _fps: str = attrs.field(init=False, default="")
    _is_mixed: bool = attrs.field(init=False, default=False)

    def rows(
        self, index: int, entry: Entry, clip: Probed | BadClip, image: ImageFile | BadClip | None
    ) -> list[Row]:
        """An entry's warnings, then its sample; or why it has none."""
        data, size = self.data, self.data.resolution
        if isinstance(clip, BadClip):
            return [_bad(entry, entry.clip, clip, data)]
        if isinstance(image, BadClip):
            return [_bad(entry, entry.image or "", image, data)]
        facts = clip.facts
        if facts.frames < size.frames and data.short_clips != "repeat_last":
            short = BadClip("clip-short", f"has {facts.frames} frames, {size.frames} are needed")
            return [_bad(entry, entry.clip, short, data)]
        crop = _crop(facts.height, facts.width, size.height, size.width, data.fit)
        sample = Sample(
            clip=entry.clip,
            digest=clip.digest,
            size=clip.size,
            codec=facts.codec,
            frames=facts.frames,
            fps=facts.fps,
            duration=facts.duration,
            height=facts.height,
            width=facts.width,
            rotation=facts.rotation,
            mirrored=facts.mirrored,
            variable=facts.variable,
            chosen=_chosen(facts.frames, size.frames, data.frame_sampling),
            crop=crop,
            caption=entry.caption,
            image=_image(entry, image),
        )
        return [*self._warnings(index, entry, clip, crop), sample]

    def _warnings(self, index: int, entry: Entry, clip: Probed, crop: Crop) -> Iterator[Problem]:
        first = self._first.setdefault(int(clip.digest[:16], 16), index)
        if first != index:
            other = self.entries[first]
            where = f"is the same file as {other.clip}, entry {other.number}"
            yield _warning(CLIP_DUPLICATE, entry, where, "remove one of them")
        yield from _size_warnings(entry, clip.facts, crop, self.data)
        if clip.facts.suspicion:
            hint = "look at it, or encode it again"
            yield _warning(CLIP_DAMAGED, entry, clip.facts.suspicion, hint)
        fps = clip.facts.fps
        self._fps = self._fps or fps
        if fps != self._fps and not self._is_mixed:
            self._is_mixed = True
            message = f"has {fps} frames a second, those before it {self._fps}"
            yield _warning(CLIP_FPS, entry, message, "convert all clips to one rate")


def _size_warnings(entry: Entry, facts: Facts, crop: Crop, data: Data) -> Iterator[Problem]:
    height, width = data.resolution.height, data.resolution.width
    source, target = f"is {facts.height}x{facts.width}", f"{height}x{width}"
    if crop.height < height or crop.width < width:
        message = f"{source}: {crop.height}x{crop.width} of it is upscaled to {target}"
        yield _warning(CLIP_UPSCALED, entry, message, "use larger clips or a lower resolution")
    clip_aspect, sample_aspect = facts.width * height, width * facts.height
    if clip_aspect >= _EXTREME * sample_aspect or sample_aspect >= _EXTREME * clip_aspect:
        change = "cropped away" if data.fit == "crop" else "distorted"
        message = f"{source}: half of it or more is {change} for {target}"
        yield _warning(CLIP_ASPECT, entry, message, "remove it, or crop it yourself")


def _image(entry: Entry, file: ImageFile | None) -> Image | None:
    if file is None or entry.image is None:
        return None
    return Image(path=entry.image, digest=file.digest, size=file.size)


def _warning(rule: Rule, entry: Entry, message: str, hint: str) -> Problem:
    hint = f"{hint}, or allow: [{rule.id}]"
    return rule.problem(entry.place, f"{entry.clip} {message}", hint)


def _bad(entry: Entry, name: str, error: BadClip, data: Data) -> Skipped | Problem:
    """A file that can't be used: skipped or a problem, as set in the spec."""
    message = f"{name} {error.reason}"
    rule = FAULTS[error.rule]
    if not error.lasting:
        # A temporary failure must not change the training set.
        hint = "make sure that the file can be read and doesn't change, then run again"
        return rule.problem(entry.place, message, hint)
    short = rule is CLIP_SHORT
    if (data.short_clips if short else data.bad_samples) == "skip":
        reason = error.reason if name == entry.clip else f"its image {message}"
        return Skipped(number=entry.number, clip=entry.clip, rule=rule.id, reason=reason)
    field = "short_clips" if short else "bad_samples"
    hint = f"repair or remove it, or write data.{field}: skip"
    return rule.problem(entry.place, message, hint)
