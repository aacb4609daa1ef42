"""Read a container's information about its video stream, without decoding."""

from fractions import Fraction
from typing import BinaryIO

from attrs import frozen
from av.packet import Packet
from av.video.stream import VideoStream

from cvbundle.dataset.container import Opened, container_format, open_clip
from cvbundle.dataset.limits import MAX_PIXELS, CpuTime, too_large
from cvbundle.dataset.nal import Condition, NalFormat, inspect_packet, nal_format

# FFmpeg otherwise decodes up to twenty frames just to open a file.
# The size that a file states is reported, however large it is; nothing of it is allocated.
_NO_DECODING = {"skip_frame": "all", "threads": "1", "max_pixels": str(2**31 - 1)}
# The header of an mp4 or mov is complete; elsewhere the frame rate comes from the packets.
_HEADER_ONLY = _NO_DECODING | {"probesize": "32"}


@frozen(kw_only=True)
class Packets:
    """A stream's packets and what the container states about them."""

    codec: str
    parameters: bytes
    """The codec's own header."""
    height: int
    width: int
    """Pixels as stated by the container; the codec may state otherwise."""
    aspect: Fraction | None
    rate: Fraction | None
    time_base: Fraction
    times: tuple[int, ...]
    """When each packet is shown, in units of `time_base`, in that order."""
    end: int
    """When the last one ends, in units of `time_base`."""
    present: int
    claimed: int
    """Frames present in the container, and frames stated by it; 0 if not stated."""
    one_frame_each: bool
    """Whether every packet must decode to a frame."""
    condition: Condition


def read_packets(file: BinaryIO, head: bytes, time: CpuTime) -> Packets:
    """Read a clip that begins with `head`.

    Raises:
        BadClip: the file is not a clip, has no video, states frames of too many pixels, or takes
            too long.
    """
    file.seek(0)
    container = container_format(head)
    options = _HEADER_ONLY if container == "mov" else _NO_DECODING
    with open_clip(file, head, options) as opened:
        return _read(opened, container or "", time)


def _read(opened: Opened, container: str, time: CpuTime) -> Packets:
    stream = opened.stream
    context = stream.codec_context
    if context.height * context.width > MAX_PIXELS:
        raise too_large(context.height, context.width)
    parameters = context.extradata or b""
    # Only mp4 and mov guarantee that a packet is a frame, in a known order.
    nal = nal_format(context.name, parameters) if container == "mov" else None
    condition = Condition.INTACT if nal else Condition.UNCLEAR
    shown: list[tuple[int, int]] = []
    present = 0
    for packet in opened.container.demux(stream):
        time.check()
        shown_at = packet.pts if packet.pts is not None else packet.dts
        if shown_at is None and not packet.size:
            continue
        if nal is not None:
            condition = max(condition, _condition(packet, nal, first=not present))
        present += 1
        if not packet.is_discard:
            shown.append((len(shown) if shown_at is None else shown_at, packet.duration or 0))
    shown.sort()
    end = sum(shown[-1]) if shown else 0
    claimed = 0
    if container == "mov":
        claimed = len(stream.index_entries)
    elif container == "avi":
        # An avi counts frames that repeat the one before, but doesn't store them.
        present, claimed = end, stream.frames
    return Packets(
        codec=context.name,
        parameters=parameters,
        height=context.height,
        width=context.width,
        aspect=stream.sample_aspect_ratio,
        rate=stream.average_rate or stream.guessed_rate,
        time_base=stream.time_base or Fraction(1),
        times=tuple(time for time, _ in shown),
        end=end,
        present=present,
        claimed=claimed,
        one_frame_each=container == "mov",
        condition=condition,
    )


def _condition(packet: "Packet[VideoStream]", nal: NalFormat, *, first: bool) -> Condition:
    if packet.is_corrupt or (packet.is_keyframe and packet.has_sidedata("new_extradata")):
        return Condition.UNCLEAR
    return inspect_packet(bytes(packet), nal, first=first)
