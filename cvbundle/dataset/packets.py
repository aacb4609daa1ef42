"""What a clip's container says about its video stream: read without decoding anything."""

from fractions import Fraction
from typing import BinaryIO

from attrs import frozen
from av.packet import Packet
from av.video.stream import VideoStream

from cvbundle.dataset.container import Opened, container_format, open_clip
from cvbundle.dataset.nal import Look, NalFormat, look_at, nal_format

# FFmpeg otherwise decodes up to twenty frames just to open a file.
_NO_DECODING = {"skip_frame": "all", "threads": "1"}
# In an mp4 or mov the header says it all; elsewhere the frame rate must be told from the packets.
_HEADER_ONLY = _NO_DECODING | {"probesize": "32"}


@frozen(kw_only=True)
class Packets:
    """A stream's packets and what the container claims about them."""

    codec: str
    parameters: bytes
    """The codec's own header."""
    height: int
    width: int
    """Pixels as the container says; the codec may say otherwise."""
    aspect: Fraction | None
    rate: Fraction | None
    time_base: Fraction
    times: tuple[int, ...]
    """When each packet is shown, in units of `time_base`, in that order."""
    end: int
    """When the last one is no longer shown."""
    present: int
    claimed: int
    """Frames that the container has, and says it has; 0 where it says nothing."""
    one_frame_each: bool
    """Whether every packet must give a frame."""
    looks: Look


def read_packets(file: BinaryIO, head: bytes) -> Packets:
    """Read a clip that begins with `head`.

    Raises:
        BadClip: it is no clip, or has no video.
    """
    file.seek(0)
    container = container_format(head)
    options = _HEADER_ONLY if container == "mov" else _NO_DECODING
    with open_clip(file, head, options) as opened:
        return _read(opened, container or "")


def _read(opened: Opened, container: str) -> Packets:
    stream = opened.stream
    context = stream.codec_context
    parameters = context.extradata or b""
    # The cheap judgement needs one container's promise: a packet is a frame, in a known order.
    nal = nal_format(context.name, parameters) if container == "mov" else None
    looks = Look.SOUND if nal else Look.ODD
    shown: list[tuple[int, int]] = []
    present = 0
    for packet in opened.container.demux(stream):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None and not packet.size:
            continue
        if nal is not None:
            looks = max(looks, _look(packet, nal, first=not present))
        present += 1
        if not packet.is_discard:
            shown.append((len(shown) if time is None else time, packet.duration or 0))
    shown.sort()
    end = sum(shown[-1]) if shown else 0
    claimed = 0
    if container == "mov":
        claimed = len(stream.index_entries)
    elif container == "avi":
        # An avi counts the frames that only repeat the one before, and leaves them out.
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
        looks=looks,
    )


def _look(packet: "Packet[VideoStream]", nal: NalFormat, *, first: bool) -> Look:
    if packet.is_corrupt or (packet.is_keyframe and packet.has_sidedata("new_extradata")):
        return Look.ODD
    return look_at(bytes(packet), nal, first=first)
