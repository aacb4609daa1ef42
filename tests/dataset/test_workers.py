"""A file may harm the process that decodes it, and nothing else."""

import os
import signal
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest

from cvbundle.dataset import limits
from cvbundle.dataset import workers as workers_module
from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.images import ImageFile, open_image
from cvbundle.dataset.probe import PROBE_VERSION, Depth, Probed, probe_bytes
from cvbundle.dataset.probing import File, ProbeResult, ProbeTask
from cvbundle.dataset.workers import workers
from cvbundle.files.identity import identity_of
from cvbundle.problems import UserError
from tests.dataset.clips import make_clip
from tests.dataset.test_probe import png


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF of a stated size whose frames each change one pixel."""
    frame = b"\x21\xf9\x04\x00\x0a\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00"
    return (
        b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\x80\x00\x00\x00\x00\x00\xff\xff\xff"
        + (frame + b"\x02\x02\x44\x01\x00") * frames
        + b";"
    )


def overstated_index(frames: int) -> bytes:
    """An mp4 of 2 kB whose index states that it has `frames` samples of a byte."""
    content = bytearray(make_clip())
    sizes, chunks, times = (content.find(kind) for kind in (b"stsz", b"stsc", b"stts"))
    content[sizes + 8 : sizes + 16] = struct.pack(">II", 1, frames)
    content[chunks + 16 : chunks + 20] = struct.pack(">I", frames)
    content[times + 12 : times + 16] = struct.pack(">I", frames)
    return bytes(content)


def probed(*contents: bytes, folder: Path) -> list[ProbeResult]:
    """The results of one worker for files of these contents."""
    paths = [folder / f"{number}.mp4" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    task = ProbeTask(
        tuple(File(str(path)) for path in paths),
        tuple(identity_of(path.stat()) for path in paths),
        Depth.NEEDED,
        PROBE_VERSION,
    )
    with workers(1) as pool:
        return pool.submit(lambda _: [], task).result()


def test_a_worker_says_what_the_probe_says(tmp_path: Path) -> None:
    clip, bad = probed(make_clip(), b"text", folder=tmp_path)
    assert clip == probe_bytes(make_clip())
    assert isinstance(bad, BadClip)
    assert (bad.rule, bad.lasting) == ("clip-unreadable", True)


def test_frames_of_too_many_pixels_are_refused_before_they_are_allocated() -> None:
    """Each frame of this GIF of 204 bytes would take a GiB."""
    with pytest.raises(BadClip, match="is of 16000x16000 pixels; at most 35,389,440"):
        probe_bytes(gif(16000, 16000, 5))


def test_a_stream_that_grows_beyond_the_limit_is_refused_by_its_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The container states a small size: what FFmpeg itself refuses."""
    monkeypatch.setattr("cvbundle.dataset.packets.MAX_PIXELS", 1 << 40)
    with pytest.raises(BadClip, match="can't be decoded"):
        probe_bytes(gif(16000, 16000, 1))


def test_a_file_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_SECONDS", 0.0)
    monkeypatch.setattr(limits, "_SECONDS_PER_MIB", 0.0)
    with pytest.raises(BadClip, match="takes more than 0 s of CPU time") as raised:
        probe_bytes(gif(2000, 2000, 40))
    assert not raised.value.lasting


def test_large_files_may_take_longer() -> None:
    assert limits.cpu_seconds(0) < 5
    assert limits.cpu_seconds(100 << 20) > 6000


def test_what_a_file_allocates_is_limited(tmp_path: Path) -> None:
    """Its index would take 3.5 GiB in this process."""
    bomb, clip = probed(overstated_index(50_000_000), make_clip(), folder=tmp_path)
    assert isinstance(bomb, BadClip)
    assert isinstance(clip, Probed)
    # ru_maxrss is in KiB, of the largest child of this process so far.
    code = textwrap.dedent(f"""
        import resource, subprocess, sys
        from cvbundle.processes.interpreters import module_command
        line = '["{tmp_path}/0.mp4", false, [1, 1, 1, 1], "needed"]\\n'
        subprocess.run(module_command("cvbundle.dataset.worker"), input=line.encode(), check=True)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    """)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(answer.stdout.split()[-1]) < (limits.MEMORY_BYTES + (128 << 20)) >> 10


def _replace_worker(monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """Have workers do something to themselves with files of four bytes."""
    code = textwrap.dedent(f"""
        import os, signal, time
        from cvbundle.dataset import limits, worker
        probe = worker.probe_file
        limits._SECONDS = 0.0

        def changed(file, identity, depth):
            if identity[0] == 4:
                {action}
            return probe(file, identity, depth)

        worker.probe_file = changed
        worker.main()
    """)
    monkeypatch.setattr(workers_module, "module_command", lambda _: [sys.executable, "-c", code])


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11 (Segmentation fault)"),
        ("signal.raise_signal(signal.SIGKILL)", "killed by signal 9"),
        ("while True: pass", "takes more than 4 s of CPU time"),
    ],
)
def test_a_file_that_ends_its_worker_is_a_problem_of_that_file_alone(
    action: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace_worker(monkeypatch, action)
    before, bad, after = probed(make_clip(), b"evil", make_clip(), folder=tmp_path)
    assert isinstance(bad, BadClip)
    assert reason in bad.reason
    assert not bad.lasting
    assert before == after == probe_bytes(make_clip())


def test_a_worker_that_cannot_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "module_command", lambda _: [sys.executable, "-c", "1 / 0"])
    with pytest.raises(UserError, match=r"exit code 1: try .* -c"):
        probed(make_clip(), folder=tmp_path)


def test_workers_ignore_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal sends it to every process; the parent ends its workers in order."""
    _replace_worker(monkeypatch, "os.kill(os.getpid(), signal.SIGINT)")
    (bad,) = probed(b"evil", folder=tmp_path)
    assert isinstance(bad, BadClip)
    assert bad.reason.startswith("is not a video file")


def test_known_image_formats_are_opened_and_no_others(tmp_path: Path) -> None:
    assert open_image(png()).format == "PNG"
    marker = tmp_path / "executed"
    postscript = f"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 9 9
%%EndComments
({marker}) (w) file closefile
showpage
%%EOF
"""
    with pytest.raises(BadClip, match=r"is not an image \(PNG, JPEG, WEBP, BMP, TIFF\)"):
        open_image(postscript.encode())
    for content in (b"DDS " + bytes(200), b"BLP2" + bytes(200), b"\0\0\0 ftypavif" + bytes(200)):
        with pytest.raises(BadClip, match="is not an image"):
            open_image(content)
    assert not marker.exists()


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 9000, 9000, 1, 0, 0, 0, 0)
    with pytest.raises(BadClip, match="is of 9000x9000 pixels"):
        open_image(_png(header))


def _png(header: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    pixels = zlib.compress(bytes(1126) * 9000)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_an_image_is_probed_by_a_worker_too(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(png())
    identity = identity_of(path.stat())
    task = ProbeTask((File(str(path), is_image=True),), (identity,), Depth.NEEDED, PROBE_VERSION)
    with workers(1) as pool:
        (result,) = pool.submit(lambda _: [], task).result()
    assert isinstance(result, ImageFile)
    assert result.size == os.stat(path).st_size == identity[0]  # noqa: PTH116
    assert signal.getsignal(signal.SIGXCPU) == signal.SIG_DFL
