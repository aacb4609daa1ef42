"""An archive that cvbundle wouldn't write is refused in one sentence and leaves nothing behind."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from backports import zstd

from cvbundle.archive.contents import HEADER, Part
from cvbundle.archive.pack import archive_bundle
from cvbundle.archive.unpack import unpack_archive
from cvbundle.compiler.build import compile_file
from cvbundle.problems import UserError


@frozen
class Entry:
    """A member to write, as wrong as a test needs it."""

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    extended: dict[str, str] | None = None


Entries = list[Entry]


@pytest.fixture(scope="session")
def honest(shared: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive of the demo's bundle."""
    store = tmp_path_factory.mktemp("store")
    bundle = compile_file(demo / "spec.yaml", store).only.bundle
    return Path(archive_bundle(bundle, store / "a.tar.zst").file).read_bytes()


def _entries(archive: bytes) -> Entries:
    with tarfile.open(fileobj=io.BytesIO(zstd.decompress(archive))) as tar:
        return [Entry(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]


def _tar(entries: Entries) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.size = entry.kind, entry.link, len(entry.content)
            info.pax_headers = entry.extended or {}
            tar.addfile(info, io.BytesIO(entry.content))
    return _ended(buffer.getvalue())


def _ended(tar: bytes) -> bytes:
    """With the two blocks of the end, and no more."""
    return tar.rstrip(b"\0") + bytes(-len(tar.rstrip(b"\0")) % 512 + 1024)


def _declared(entries: Entries, **other: Any) -> Entries:
    """With a first member that fits the others, but for what a test wants otherwise."""
    declared = json.loads(entries[0].content)
    declared["files"] = len(entries) - 1
    declared["bytes"] = sum(len(entry.content) for entry in entries[1:])
    content = json.dumps(declared | other).encode()
    return [evolve(entries[0], content=content), *entries[1:]]


def _top(entries: Entries) -> str:
    return entries[1].name.partition("/")[0]


def _with(*added: Entry, **declared: Any) -> Callable[[Entries], Entries]:
    """The honest members and some more; `@` stands for the bundle's folder."""

    def make(entries: Entries) -> Entries:
        top = _top(entries)
        more = [evolve(entry, name=entry.name.replace("@", top)) for entry in added]
        return _declared([*entries, *more], **declared)

    return make


def _changed(name: str, content: bytes) -> Callable[[Entries], Entries]:
    def make(entries: Entries) -> Entries:
        return _declared(
            [evolve(e, content=content) if e.name.endswith(name) else e for e in entries]
        )

    return make


def _without(name: str) -> Callable[[Entries], Entries]:
    return lambda entries: _declared([e for e in entries if not e.name.endswith(name)])


def _pipe(entries: Entries) -> Entries:
    return _declared([*entries, Entry(f"{_top(entries)}/pipe", kind=tarfile.FIFOTYPE)])


MEMBERS: dict[str, tuple[Callable[[Entries], Entries], str]] = {
    "an absolute path": (_with(Entry("/tmp/evil", b"x")), "absolute path"),
    "a drive": (_with(Entry("C:/evil", b"x")), "absolute path"),
    "a path that leads up": (_with(Entry("@/../../evil", b"x")), "leads out"),
    "a path that leads up from the start": (_with(Entry("../evil", b"x")), "leads out"),
    "a path with a dot": (_with(Entry("@/./evil", b"x")), "not a normalized path"),
    "a path with nothing in it": (_with(Entry("@//evil", b"x")), "not a normalized path"),
    "a path for Windows": (_with(Entry("@\\..\\evil", b"x")), "characters"),
    "a path that a terminal obeys": (_with(Entry("@/\x1b[2Jevil", b"x")), "characters"),
    "a path that is too long": (_with(Entry("@/" + "x" * 300, b"x")), "too long"),
    "a path that is too deep": (_with(Entry("@/" + "x/" * 1900 + "x", b"x")), "64 folders deep"),
    "a file that was hardly anything": (_with(Entry("@/spaces", b" " * (100 << 20))), "100 times"),
    "files without end": (
        _with(*(Entry(f"@/{number}") for number in range(3000))),
        "files in",
    ),
    "a symbolic link": (
        _with(Entry("@/link", kind=tarfile.SYMTYPE, link="/etc/passwd")),
        "a link",
    ),
    "a hard link": (_with(Entry("@/link", kind=tarfile.LNKTYPE, link="../../x")), "a link"),
    "a character device": (_with(Entry("@/zero", kind=tarfile.CHRTYPE)), "a device"),
    "a block device": (_with(Entry("@/disk", kind=tarfile.BLKTYPE)), "a device"),
    "a pipe": (_pipe, "a pipe"),
    "a folder": (_with(Entry("@/folder", kind=tarfile.DIRTYPE)), "a folder"),
    "a contiguous file": (_with(Entry("@/c", kind=tarfile.CONTTYPE)), "something other"),
    "a sparse file": (
        _with(Entry("@/sparse", b"x", extended={"GNU.sparse.realsize": "999999999999"})),
        "header",
    ),
    "an oversized header": (_with(Entry("@/x", extended={"comment": "x" * 99999})), "oversized"),
    "a member twice": (_with(Entry("@/config.json", b"{}")), "is repeated"),
    "names that differ in case": (_with(Entry("@/CONFIG.json", b"{}")), "same name"),
    "folders that differ in case": (_with(Entry("@/Code/x.py", b"")), "same name"),
    "names that differ in their Unicode form": (
        _with(Entry("@/\u00e9", b""), Entry("@/e\u0301", b"")),
        "same name",
    ),
    "a file that is a folder too": (_with(Entry("@/config.json/x", b"")), "is repeated"),
    "a folder that is a file too": (_with(Entry("@/code", b"")), "file and a folder"),
    "another bundle's folder": (_with(Entry("0123456789abcdef/x", b"")), "outside the bundle"),
    "more bytes than declared": (_with(Entry("@/more", b"x" * 99), bytes=5), "more than it"),
    "more files than declared": (_with(Entry("@/more"), files=2), "more than it declares"),
    "fewer bytes than declared": (_with(bytes=1 << 30), "less than it declares"),
    "more bytes than any disk has": (_with(bytes=1 << 60), "are free"),
    "a run that is not declared": (_with(Entry("@/runs/0001/run.json")), "not declare"),
    "a run that is none": (_with(Entry("@/runs/evil.sh"), **{"with": ["runs"]}), "not declare"),
    "paths of another machine": (_with(Entry("@/local/paths.json", b"{}")), "not declare"),
    "clips that are not declared": (_with(Entry("@/local/data/a.mp4", b"x")), "not declare"),
    "a model that is not declared": (
        _with(Entry("@/local/model/vae/config.json", b"{}"), **{"with": ["data"]}),
        "not declare",
    ),
    "a signature that is not declared": (_with(Entry("@/local/SHA256SUMS.sig")), "not declare"),
    "a provenance that is not declared": (
        _with(Entry("@/local/provenance.intoto.json", b"{}")),
        "not declare",
    ),
    "a file in place of the clips' folder": (
        _with(Entry("@/local/data", b"x"), **{"with": ["data"]}),
        "not declare",
    ),
    "something else in local": (
        _with(Entry("@/local/code/x.py", b"x"), **{"with": ["data", "model", "runs"]}),
        "not declare",
    ),
    "a pickle beside the model": (
        _with(Entry("@/local/model/evil.bin", b"x"), **{"with": ["model"]}),
        "a file that doesn't match the bundle",
    ),
    "a changed file": (_changed("/config.json", b"{}"), "config.json has other bytes"),
    "a missing file": (_without("/config.json"), "config.json is missing"),
    "an added file": (_with(Entry("@/code/evil.py", b"import os")), "code/evil.py was added"),
    "another bundle than declared": (_with(bundle="0" * 64), "outside the bundle"),
    "no first member": (lambda entries: entries[1:], "not an archive of a bundle"),
    "a first member that is no JSON": (
        lambda entries: [Entry(HEADER, b"{"), *entries[1:]],
        "does not declare its contents",
    ),
    "a first member of deep JSON": (
        lambda entries: [Entry(HEADER, b"[" * 4000), *entries[1:]],
        "does not declare its contents",
    ),
    "a count that is none": (_with(files=-1), "does not declare its contents"),
    "a format of the future": (_with(cvbundle_archive=2), "another format"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_hostile_members_are_refused(case: str, honest: bytes, tmp_path: Path) -> None:
    make, reason = MEMBERS[case]
    _refused(zstd.compress(_tar(make(_entries(honest)))), reason, tmp_path)


def _bomb() -> bytes:
    """100 GB of zeros where a member's header should be, in 4 bytes for each 128 KiB.

    Put together by hand (RFC 8878, 3.1.1.2: a block of one byte, repeated).
    """
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"A"
    return b"\x28\xb5\x2f\xfd" + b"\x00\x38" + block * (100 * 2**30 >> 17)


BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off in the middle": (lambda whole: whole[: len(whole) // 2], "is truncated"),
    "cut off by a byte": (lambda whole: whole[:-1], "is truncated"),
    "cut off after the header": (lambda whole: whole[:5], "is truncated"),
    "nothing at all": (lambda whole: b"", "is truncated"),
    "something behind it": (lambda whole: whole + b"x", "continues after its end"),
    "a second archive behind it": (lambda whole: whole + whole, "continues after its end"),
    "no zstandard": (lambda whole: zstd.decompress(whole), "is damaged"),
    "a flipped bit": (
        lambda whole: whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:],
        "",
    ),
    "another checksum": (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), "is damaged"),
    "a tar without an end": (
        lambda whole: zstd.compress(zstd.decompress(whole)[:-1024]),
        "is truncated",
    ),
    "a tar with something behind its end": (
        lambda whole: zstd.compress(zstd.decompress(whole) + b"x"),
        "continues after its end",
    ),
    "a tar with something in its padding": (
        lambda whole: zstd.compress(_padded(zstd.decompress(whole))),
        "has data in the padding",
    ),
    "a window larger than any archive needs": (
        # The window is the frame's second byte (RFC 8878, 3.1.1.1.2): 128 MiB.
        lambda whole: whole[:5] + b"\x88" + whole[6:],
        "is damaged",
    ),
    "a bomb": (lambda whole: _bomb(), "damaged header"),
}


def _padded(tar: bytes) -> bytes:
    """A byte that is not zero after the first member's last."""
    end = 512 + tar.index(b"}\n") - 512 + 2
    return tar[:end] + b"x" + tar[end + 1 :]


@pytest.mark.parametrize("case", BYTES)
def test_hostile_bytes_are_refused(case: str, honest: bytes, tmp_path: Path) -> None:
    make, reason = BYTES[case]
    _refused(make(honest), reason, tmp_path)


@pytest.mark.parametrize("part", ["data", "model"])
def test_a_file_that_the_bundle_does_not_name_is_refused(
    part: Part, demo: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    store = tmp_path_factory.mktemp("store")
    bundle = compile_file(demo / "spec.yaml", store).only.bundle
    whole = Path(archive_bundle(bundle, store / "a.tar.zst", [part]).file).read_bytes()
    extra = _with(Entry(f"@/local/{part}/more/x.bin", b"x"))(_entries(whole))
    reason = "contains 'more/x.bin', which the bundle does not name"
    _refused(zstd.compress(_tar(extra)), reason, tmp_path)


def test_more_files_than_the_disk_has_inodes_for_are_refused(
    honest: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = os.statvfs(tmp_path)

    class Nearly:
        """A disk with 20 inodes left."""

        f_files, f_favail = 1000, 20
        f_blocks, f_bfree = disk.f_blocks, disk.f_bfree
        f_bavail, f_frsize = disk.f_bavail, disk.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda _: Nearly)
    _refused(honest, "files, but only 20 inodes are free", tmp_path)


def test_the_honest_archive_is_accepted(honest: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "fine.tar.zst"
    archive.write_bytes(zstd.compress(_tar(_declared(_entries(honest)))))
    assert unpack_archive(archive, tmp_path / "store").created


def _refused(content: bytes, reason: str, folder: Path) -> None:
    archive = folder / "hostile.tar.zst"
    archive.write_bytes(content)
    with pytest.raises(UserError) as refused:
        unpack_archive(archive, folder / "store")
    sentence = str(refused.value)
    assert sentence.startswith(f"{archive} is refused: it ")
    assert reason in sentence
    assert "\n" not in sentence
    assert sentence.isprintable()
    assert [path.name for path in folder.iterdir()] == ["hostile.tar.zst"]


def test_an_archive_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere can't be read \(No such file"):
        unpack_archive(tmp_path / "nowhere", tmp_path / "store")
