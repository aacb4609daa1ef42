"""What becomes of an entry whose clip was opened: a sample, or what is wrong with it."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import attrs
from attrs import define

from cvbundle.dataset.container import BadClip
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
)
from cvbundle.problems import Problem, Rule
from cvbundle.spec.schema import Data

Row = Sample | Skipped | Problem

_EXTREME = 2
"""How many times wider or higher a clip may be than its sample, by their aspect ratios."""

# Most clips of a dataset have the same length and size.
_chosen = lru_cache(maxsize=4096)(choose_frames)
_crop = lru_cache(maxsize=4096)(crop_box)


@define
class Sampler:
    """Makes samples of entries, one after another, and compares each with those before it."""

    entries: Sequence[Entry]
    data: Data
    _first: dict[int, int] = attrs.field(init=False, factory=dict)
    """Half a digest to the entry that had it first: whole ones would be the most of the memory."""
    _fps: str = attrs.field(init=False, default="")
    _is_mixed: bool = attrs.field(init=False, default=False)

    def rows(
        self, index: int, entry: Entry, seen: Probed | BadClip, image: ImageFile | BadClip | None
    ) -> list[Row]:
        """An entry's warnings, then its sample; or why it has none."""
        data, size = self.data, self.data.resolution
        if isinstance(seen, BadClip):
            return [_bad(entry, entry.clip, seen, data)]
        if isinstance(image, BadClip):
            return [_bad(entry, entry.image or "", image, data)]
        facts = seen.facts
        if facts.frames < size.frames and data.short_clips != "repeat_last":
            short = BadClip(CLIP_SHORT, f"has {facts.frames} frames, {size.frames} are wanted")
            return [_bad(entry, entry.clip, short, data)]
        crop = _crop(facts.height, facts.width, size.height, size.width, data.fit)
        sample = Sample(
            clip=entry.clip,
            digest=seen.digest,
            size=seen.size,
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
        return [*self._warnings(index, entry, seen, crop), sample]

    def _warnings(self, index: int, entry: Entry, seen: Probed, crop: Crop) -> Iterator[Problem]:
        first = self._first.setdefault(int(seen.digest[:16], 16), index)
        if first != index:
            other = self.entries[first]
            where = f"is the same file as {other.clip}, entry {other.number}"
            yield _warning(CLIP_DUPLICATE, entry, where, "leave one out")
        yield from _about_size(entry, seen.facts, crop, self.data)
        if seen.facts.suspicion:
            hint = "make it again, or look at it"
            yield _warning(CLIP_DAMAGED, entry, seen.facts.suspicion, hint)
        fps = seen.facts.fps
        self._fps = self._fps or fps
        if fps != self._fps and not self._is_mixed:
            self._is_mixed = True
            what = f"has {fps} frames a second, those before it {self._fps}"
            yield _warning(CLIP_FPS, entry, what, "bring all clips to one rate")


def _about_size(entry: Entry, facts: Facts, crop: Crop, data: Data) -> Iterator[Problem]:
    height, width = data.resolution.height, data.resolution.width
    shown, wanted = f"is {facts.height}x{facts.width}", f"{height}x{width}"
    if crop.height < height or crop.width < width:
        what = f"{shown}: {crop.height}x{crop.width} of it is enlarged to {wanted}"
        yield _warning(CLIP_UPSCALED, entry, what, "use larger clips or less resolution")
    ours, theirs = facts.width * height, width * facts.height
    if ours >= _EXTREME * theirs or theirs >= _EXTREME * ours:
        done = "cut away" if data.fit == "crop" else "distorted"
        what = f"{shown}: half of it or more is {done} for {wanted}"
        yield _warning(CLIP_ASPECT, entry, what, "leave it out, or cut it yourself")


def _image(entry: Entry, file: ImageFile | None) -> Image | None:
    if file is None or entry.image is None:
        return None
    return Image(path=entry.image, digest=file.digest, size=file.size)


def _warning(rule: Rule, entry: Entry, what: str, hint: str) -> Problem:
    message = f"{entry.clip} {what}"
    return rule.problem(entry.place, message, f"{hint}, or allow: [{rule.id}]")


def _bad(entry: Entry, name: str, error: BadClip, data: Data) -> Skipped | Problem:
    """A file that can't be used: left out, or a problem, as the spec wants it."""
    message = f"{name} {error.reason}"
    if not error.lasting:
        # What failed only now must not decide what is trained on.
        hint = "see that the file can be read and stays as it is, then run again"
        return error.rule.problem(entry.place, message, hint)
    short = error.rule == CLIP_SHORT
    if (data.short_clips if short else data.bad_samples) == "skip":
        reason = error.reason if name == entry.clip else f"its image {message}"
        return Skipped(number=entry.number, clip=entry.clip, rule=error.rule.id, reason=reason)
    field = "short_clips" if short else "bad_samples"
    hint = f"mend or remove it, or write data.{field}: skip"
    return error.rule.problem(entry.place, message, hint)
