"""Write a clip."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

# The results of swscale's other paths depend on a picture's alignment in memory.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

# A constant quantizer and no lookahead: on small frames x264's lookahead reads past its picture,
# and with threads it isn't reproducible at all (libx264 of PyAV 18.1.0, executed).
_REPEATABLE = "threads=1:bframes=0:scenecut=0:weightp=0:mbtree=0:rc-lookahead=0"


def write_clip(
    path: Path, pictures: Iterable[NDArray[np.uint8]], fps: int, *, quantizer: int = 16
) -> None:
    """Write pictures [H, W, 3], RGB, as H.264 in mp4: the same bytes for the same pictures."""
    options = {"qp": str(quantizer), "x264-params": _REPEATABLE}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.pix_fmt = "yuv420p"
        reformatter = VideoReformatter()
        for picture in pictures:
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            planar = reformatter.reformat(frame, format="yuv420p", interpolation=_EXACT, threads=1)
            container.mux(stream.encode(planar))
        container.mux(stream.encode())
