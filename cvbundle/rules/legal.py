"""Suggest the nearest resolution that a model accepts."""

from cvbundle.model.identify import BaseModel
from cvbundle.spec.schema import Resolution


def nearest_legal(size: Resolution, model: BaseModel) -> Resolution:
    """The nearest resolution that breaks no rule, so that one replacement fixes all problems."""
    transformer = model.architecture.transformer
    if transformer.use_learned_positional_embeddings:
        return model.resolution
    size = _frames_first(size, model)
    stride = model.architecture.vae.temporal_compression_ratio
    frames = size.frames
    if (frames - 1) % stride:
        frames = nearest_frames(frames, 2 * stride)
    if model.card and model.card.one_size:
        return Resolution(frames, model.resolution.height, model.resolution.width)
    unit = model.architecture.pixels_per_patch
    height, width = _nearest(size.height, unit), _nearest(size.width, unit)
    if limit := model.architecture.grid_limit:
        highest, widest = limit[0] * unit, limit[1] * unit
        if width <= highest and height <= widest and (height > highest or width > widest):
            height, width = width, height
        height, width = min(height, highest), min(width, widest)
    return Resolution(frames, height, width)


def nearest_frames(frames: int, stride: int) -> int:
    """The number `stride` k + 1 nearest to `frames`; the larger one if two are equally near."""
    return max(0, (2 * (frames - 1) + stride) // (2 * stride)) * stride + 1


def _frames_first(size: Resolution, model: BaseModel) -> Resolution:
    """The size with frames first if it was written as `480x720x49` or `720x480x49`."""
    stride = model.architecture.vae.temporal_compression_ratio
    unit = model.architecture.pixels_per_patch
    sides = sorted((size.frames, size.height))
    is_last = (size.frames - 1) % stride and (size.width - 1) % stride == 0
    if is_last and size.width < sides[0] and not any(side % unit for side in sides):
        return Resolution(size.width, *sides)
    return size


def _nearest(value: int, unit: int) -> int:
    return max(1, (2 * value + unit) // (2 * unit)) * unit
