"""A clip is frames_by_probe as a full decode judges it, for every odd and broken file."""

import hashlib
import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

import av
import pytest
from av.container import InputContainer
from PIL import Image

from cvbundle.dataset import probe as probe_module
from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.decode import decode
from cvbundle.dataset.frames import Crop
from cvbundle.dataset.manifest import Sample
from cvbundle.dataset.probe import Depth, Facts, Probed, probe, probe_bytes
from tests.dataset.clips import make_clip, make_sound, picture, with_matrix, with_start

HORSE = (Path(__file__).parents[1] / "data" / "horse.mp4").read_bytes()


def frames_by_decoding(content: bytes) -> int | None:
    """The number of frames by a full decode; None if one is missing, damaged or undecodable."""
    try:
        with cast(InputContainer, av.open(io.BytesIO(content))) as container:
            stream = container.streams.video[0]
            # An avi counts repeated frames that it doesn't store.
            claimed = 0 if container.format.name == "avi" else stream.frames
            frames = [frame.is_corrupt for frame in container.decode(stream)]
        with cast(InputContainer, av.open(io.BytesIO(content))) as container:
            packets = [p for p in container.demux(video=0) if p.size]
    except (av.error.FFmpegError, IndexError):
        return None
    wanted = max(claimed, len(packets)) - sum(packet.is_discard for packet in packets)
    return len(frames) if frames and not any(frames) and len(frames) >= wanted else None


def frames_by_probe(content: bytes, depth: Depth = Depth.NEEDED) -> int | None:
    """The number of frames by `probe`; None if the clip is bad."""
    try:
        return probe_bytes(content, depth).facts.frames
    except BadClip:
        return None


def zeroed(start: float, length: int) -> bytes:
    """The real clip with `length` bytes zeroed from the fraction `start` of its media data."""
    media = HORSE.index(b"mdat") + 4
    at = media + int((len(HORSE) - media) * start)
    return HORSE[:at] + bytes(min(length, len(HORSE) - at)) + HORSE[at + length :]


def patched(content: bytes, box: bytes, offset: int, value: int) -> bytes:
    """An mp4 with a 32-bit number changed, `offset` bytes behind the version of a box."""
    at = content.index(box) + 8 + offset
    return content[:at] + value.to_bytes(4, "big") + content[at + 4 :]


def remuxed(content: bytes, container: str, *, drop: int = 0) -> bytes:
    """The packets of a clip in another container, without the first ones."""
    file = io.BytesIO()
    with (
        cast(InputContainer, av.open(io.BytesIO(content))) as source,
        av.open(file, "w", format=container) as output,
    ):
        stream = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and number >= drop:
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def cut(content: bytes | Callable[[], bytes], share: float) -> bytes:
    """The first part of a file."""
    whole = content if isinstance(content, bytes) else content()
    return whole[: min(int(len(whole) * share), len(whole) - 1)]


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(0)).save(file, "PNG")
    return file.getvalue()


def odd_files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names of odd and broken files, each with a function that makes it."""
    for tenths in (1, 3, 5, 7, 10, 20, 50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 850, 900):
        yield f"cut {tenths / 10}%", partial(cut, HORSE, 1 - tenths / 1000)
    yield "one byte missing", lambda: HORSE[:-1]
    yield "only the first bytes", lambda: HORSE[:40]
    for start in (0.001, 0.2, 0.45, 0.7, 0.999):
        for length in (8, 64, 4000):
            yield f"{length} zeros at {start}", partial(zeroed, start, length)
    yield "index zeroed", lambda: HORSE[:60] + bytes(600) + HORSE[660:]
    yield "index at the end", make_clip
    yield "index at the end, cut", lambda: make_clip()[:-100]
    pieces = {"movflags": "frag_keyframe+empty_moov"}
    yield "fragmented", lambda: make_clip(options={"g": "3"}, muxer=pieces)
    yield "fragmented, cut", lambda: make_clip(options={"g": "3"}, muxer=pieces)[:-200]
    yield "edit list begins later", lambda: with_start(make_clip(), 3 * 2048)
    yield "edit list ends earlier", lambda: patched(make_clip(), b"elst", 4, 500)
    yield "rotated", lambda: with_matrix(make_clip(), (0, 1, -1, 0))
    yield "mirrored", lambda: with_matrix(make_clip(), (-1, 0, 0, 1))
    yield "variable rate", lambda: make_clip(6, times=[0, 1, 2, 5, 6, 9])
    yield "odd size", lambda: make_clip(3, height=65, width=97, pixel_format="yuv444p")
    yield "one frame", lambda: make_clip(1)
    wide = Fraction(4, 3)
    yield "wide pixels", lambda: make_clip(aspect=wide)
    yield "pixels wide by the codec alone", lambda: make_clip(aspect=wide).replace(b"pasp", b"free")
    yield "sound only", make_sound
    yield "sound too", lambda: make_clip(sound=True)
    yield "sound too, cut", lambda: make_clip(sound=True)[:-2000]
    yield "text", lambda: b"A horse runs.\n" * 100
    yield "playlist", lambda: b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"
    yield "empty sample", lambda: patched(make_clip(), b"stsz", 8 + 4 * 4, 0)
    yield "more samples than data", lambda: patched(make_clip(), b"stsz", 8 + 4 * 8, 5000)
    yield "begins between keyframes", lambda: remuxed(make_clip(), "mp4", drop=1)
    for container, codec in (
        ("mov", "libx264"),
        ("matroska", "libx264"),
        ("webm", "libvpx-vp9"),
        ("webm", "libsvtav1"),
        ("avi", "mpeg4"),
        ("avi", "libx264"),
        ("mp4", "libx265"),
        ("mp4", "mpeg4"),
        ("gif", "gif"),
    ):
        make = partial(make_clip, container=container, codec=codec)
        yield f"{codec} in {container}", make
        yield f"{codec} in {container}, cut", partial(cut, make, 0.8)
    yield (
        "avi with repeated frames",
        lambda: make_clip(6, times=[0, 1, 2, 5, 6, 9], container="avi", codec="mpeg4"),
    )
    yield "interlaced", lambda: make_clip(options={"x264-params": "interlaced=1"})
    yield "several slices", lambda: make_clip(options={"slices": "4"})
    yield "open groups", lambda: make_clip(20, options={"x264-params": "open-gop=1:keyint=5"})
    yield "trailing rubbish", lambda: HORSE + b"rubbish after the end"


ODD = dict(odd_files())


def test_at_least_forty_odd_files_are_tried() -> None:
    assert len(ODD) >= 40


def truth(name: str) -> int | None:
    """The result of a full decode; for a truncated file, compared with that of the whole one."""
    found = frames_by_decoding(ODD[name]())
    whole = name.removesuffix(", cut")
    return found if whole == name or found == frames_by_decoding(ODD[whole]()) else None


@pytest.mark.parametrize("name", ODD)
def test_the_probe_of_an_odd_file_agrees_with_a_full_decode(name: str) -> None:
    content = ODD[name]()
    assert frames_by_probe(content) == truth(name)
    assert frames_by_probe(content, Depth.FULL) == truth(name)


def test_an_intact_mp4_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(probe_module, "decode_all", never)
    assert probe_bytes(HORSE).facts.frames == 25


@pytest.mark.parametrize("name", [name for name in ODD if truth(name)])
def test_the_quick_probe_equals_the_full_one(name: str) -> None:
    content = ODD[name]()
    assert probe_bytes(content) == probe_bytes(content, Depth.FULL)


@pytest.mark.parametrize(
    ("name", "rule", "reason"),
    [
        ("cut 0.1%", "clip-truncated", r"is truncated: \d+ of \d+ bytes are present"),
        ("one byte missing", "clip-truncated", "67209 of 67210 bytes"),
        ("only the first bytes", "clip-truncated", "is truncated"),
        ("index at the end, cut", "clip-truncated", "is truncated"),
        ("fragmented, cut", "clip-truncated", "is truncated"),
        ("sound too, cut", "clip-truncated", "is truncated"),
        ("libvpx-vp9 in webm, cut", "clip-truncated", "is truncated"),
        ("libx264 in matroska, cut", "clip-truncated", "is truncated"),
        ("mpeg4 in avi, cut", "clip-truncated", "is truncated"),
        ("gif in gif, cut", "clip-truncated", "is truncated"),
        ("empty sample", "clip-truncated", "has 8 of the 9 frames in its index"),
        ("64 zeros at 0.2", "clip-unreadable", "is damaged"),
        ("sound only", "clip-unreadable", "has no video stream"),
        ("text", "clip-unreadable", r"is not a video file \(mp4, mov, mkv, webm, avi, gif\)"),
        ("playlist", "clip-unreadable", "is not a video file"),
        ("index zeroed", "clip-unreadable", "has no video stream"),
    ],
)
def test_a_broken_clip_is_reported_by_its_rule(name: str, rule: str, reason: str) -> None:
    with pytest.raises(BadClip, match=reason) as caught:
        probe_bytes(ODD[name]())
    assert caught.value.rule == rule


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.touch()
    with pytest.raises(BadClip, match="is empty"):
        probe(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadClip, match="can't be read"):
        probe(tmp_path / "gone.mp4")
    with pytest.raises(BadClip, match="can't be read"):
        probe(tmp_path)


def test_an_image_is_not_a_clip() -> None:
    with pytest.raises(BadClip, match="is not a video file"):
        probe_bytes(png())


def test_a_codec_without_a_decoder_is_named() -> None:
    with pytest.raises(BadClip, match="a codec that FFmpeg has no decoder for"):
        probe_bytes(make_clip().replace(b"avc1\0\0\0\0", b"zzzz\0\0\0\0"))


def test_a_title_in_an_unknown_encoding_is_ignored() -> None:
    assert frames_by_probe(HORSE.replace(b"Lavf", b"L\xff\xfef")) == 25


def test_a_clip_without_frames_is_named() -> None:
    content = make_clip(muxer={"movflags": "frag_keyframe+empty_moov"})
    with pytest.raises(BadClip, match="has no frame"):
        probe_bytes(content[: content.index(b"moof") - 4])


def test_cover_art_is_not_a_video_stream() -> None:
    file = io.BytesIO()
    with (
        cast(InputContainer, av.open(io.BytesIO(make_sound()))) as source,
        av.open(file, "w", format="mp4") as output,
    ):
        sound = output.add_stream_from_template(source.streams.audio[0])
        cover = output.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 64, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        output.mux(cover.encode(None))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                output.mux(packet)
    with pytest.raises(BadClip, match="has no video stream"):
        probe_bytes(file.getvalue())


def test_a_probe_returns_the_clips_properties() -> None:
    assert probe_bytes(HORSE) == Probed(
        hashlib.sha256(HORSE).hexdigest(),
        67210,
        Facts(
            codec="h264",
            frames=25,
            fps="8",
            duration=3.125,
            height=240,
            width=360,
            rotation=0,
            mirrored=False,
            variable=False,
        ),
    )


def test_the_frame_rate_is_a_fraction() -> None:
    assert probe_bytes(make_clip(rate=Fraction(30000, 1001))).facts.fps == "30000/1001"
    content = make_clip(container="matroska", rate=Fraction(24000, 1001))
    assert probe_bytes(content).facts.fps == "24000/1001"


def test_a_variable_rate_is_detected_and_rounded_times_are_not() -> None:
    assert probe_bytes(make_clip(6, times=[0, 1, 2, 5, 6, 9])).facts.variable
    assert not probe_bytes(make_clip(30, container="matroska", rate=24)).facts.variable
    assert not probe_bytes(make_clip()).facts.variable


def test_the_size_is_the_displayed_size() -> None:
    turned = probe_bytes(with_matrix(make_clip(), (0, 1, -1, 0))).facts
    assert (turned.height, turned.width, turned.rotation) == (96, 64, 270)
    wide = probe_bytes(make_clip(aspect=Fraction(4, 3))).facts
    assert (wide.height, wide.width) == (64, 128)
    assert probe_bytes(with_matrix(make_clip(), (-1, 0, 0, 1))).facts.mirrored


def test_a_size_stated_only_by_the_codec_is_found() -> None:
    content = bytearray(make_clip())
    at = content.index(b"avc1", content.index(b"stsd")) + 28
    content[at : at + 4] = bytes([0, 200, 0, 100])
    probed = probe_bytes(bytes(content))
    assert probed == probe_bytes(bytes(content), Depth.FULL)
    assert probed.facts.height == 64


def test_a_skewed_clip_is_refused() -> None:
    content = with_matrix(make_clip(), (1, 1, -1, 1))
    with pytest.raises(BadClip, match="multiple of 90"):
        probe_bytes(content)


def test_frames_of_different_sizes_are_refused() -> None:
    small, large = make_clip(3, container="h264"), make_clip(3, height=96, container="h264")
    file = io.BytesIO()
    with (
        cast(InputContainer, av.open(io.BytesIO(small + large), format="h264")) as source,
        av.open(file, "w", format="matroska") as output,
    ):
        stream = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.pts = packet.dts = number * 100
                packet.stream = stream
                output.mux(packet)
    with pytest.raises(BadClip, match="changes its size at frame 4"):
        probe_bytes(file.getvalue())


def test_a_clip_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(HORSE)
    read = probe_module.probe_bytes

    def then_written(content: bytes, depth: Depth) -> Probed:
        path.write_bytes(HORSE + b"more")
        return read(content, depth)

    monkeypatch.setattr(probe_module, "probe_bytes", then_written)
    with pytest.raises(BadClip, match="changed while it was read"):
        probe(path)


def test_a_large_file_is_probed_without_loading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(HORSE)
    monkeypatch.setattr(probe_module, "_IN_MEMORY", 1000)
    assert probe(path) == probe_bytes(HORSE)


@pytest.mark.parametrize("place", [83, 99, 107, 115, 185])
def test_damage_that_the_decoder_does_not_report_is_suspected(place: int) -> None:
    content = zeroed(place / 200, 40)
    assert frames_by_decoding(content) == 25
    assert "no encoder writes" in probe_bytes(content).facts.suspicion


def test_zeros_anywhere_in_the_pictures_are_detected() -> None:
    for place in range(4, 200, 7):
        content = zeroed(place / 200, 40)
        assert frames_by_probe(content) is None or probe_bytes(content).facts.suspicion


@pytest.mark.parametrize("name", [name for name in ODD if truth(name)])
def test_an_accepted_clip_is_decoded_as_it_was_probed(name: str) -> None:
    """Training gets the probed size and every counted frame."""
    content = ODD[name]()
    seen = probe_bytes(content)
    facts = seen.facts
    sample = Sample(
        clip=name,
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
        chosen=tuple(range(facts.frames)),
        crop=Crop(0, 0, facts.height, facts.width),
        caption="",
    )
    assert decode(content, sample, 16, 16).shape == (facts.frames, 16, 16, 3)
