"""Read and write a zstandard-compressed tar of regular files, reproducibly and strictly.

`tar --zstd -x` can read it. The reader trusts nothing: it buffers at most a MiB, accepts only
regular files, and requires every byte up to the end and none after it.
"""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from attrs import define, field, frozen
from backports.zstd import (
    CompressionParameter,
    DecompressionParameter,
    ZstdDecompressor,
    ZstdError,
    ZstdFile,
)

from cvbundle.problems import CvbundleError

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_CHUNK_BYTES = 1 << 20
"""Bytes of a member that are buffered."""
_EXTENDED_LIMIT = 1 << 14
"""Bytes of an extended header (POSIX pax), which contains a name, or a size above 8 GiB."""
_LEVEL = 3
"""zstandard's default: large files (clips, weights) hardly compress at any level."""
_EXPANSION, _SMALL_BYTES = 100, 1 << 26
"""An archive may expand to so many times its size, and a small one to so many bytes: manifests
shrink to a tenth, clips and weights hardly."""
_BYTES_PER_FILE, _FEW_FILES = 256, 1000
"""Likewise for files: a clip of less than that, header included, doesn't exist."""
_WINDOW_LOG = 23
"""Memory for decompression, as a power of two: 8 MiB, which every decompressor allows."""

_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a pipe",
}


class Refused(CvbundleError):
    """An archive isn't what `TarWriter` writes; the message is the reason, starting with a verb."""


@frozen
class Member:
    """A regular file of an archive."""

    name: str
    size: int
    """Bytes."""


class TarWriter:
    """Writes regular files with fixed owner, time and mode; `close` ends the archive."""

    def __init__(self, file: BinaryIO) -> None:
        options: dict[int, int] = {
            CompressionParameter.compression_level: _LEVEL,
            CompressionParameter.window_log: _WINDOW_LOG - 2,
            CompressionParameter.checksum_flag: 1,
        }
        self._stream = ZstdFile(file, "wb", options=options)

    def write(self, member: Member, chunks: Iterator[bytes], *, executable: bool = False) -> None:
        """Add a file with the content `chunks`.

        Raises:
            ValueError: they have more or fewer bytes than the member's size.
        """
        info = tarfile.TarInfo(member.name)
        info.size = member.size
        info.mode = 0o755 if executable else 0o644
        self._stream.write(info.tobuf(tarfile.PAX_FORMAT))
        written = 0
        for chunk in chunks:
            written += len(chunk)
            if written > member.size:
                break
            self._stream.write(chunk)
        if written != member.size:
            raise ValueError(member.name)
        self._stream.write(bytes(-member.size % _BLOCK))

    def close(self) -> None:
        """Write the end of the archive; the underlying file stays open."""
        self._stream.write(_END)
        self._stream.close()


@define
class TarReader:
    """Reads the output of `TarWriter`: a member, all of its chunks, the next member."""

    _file: BinaryIO
    _decompressor: ZstdDecompressor = field(init=False)
    _buffer: bytearray = field(init=False, factory=bytearray)
    _taken: int = field(init=False, default=0)
    """Bytes of the archive so far."""
    _given: int = field(init=False, default=0)
    """Bytes that they expanded to."""
    _members: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        limits: dict[int, int] = {DecompressionParameter.window_log_max: _WINDOW_LOG}
        self._decompressor = ZstdDecompressor(options=limits)

    def next_member(self) -> Member | None:
        """The next file; None at the end of the stream.

        Raises:
            Refused: the member is not a regular file, there are too many for the archive's size, or
                the stream is damaged.
        """
        self._members += 1
        if self._members > _FEW_FILES + self._taken // _BYTES_PER_FILE:
            raise Refused(f"contains {self._members:,} files in {self._taken:,} bytes")
        header = self._header()
        extended: dict[str, str] = {}
        if header is not None and header.type == tarfile.XHDTYPE:
            extended = self._extended(header.size)
            header = self._header()
            if header is None:
                raise Refused("ends within a header")
        if header is None:
            self._finish()
            return None
        name = extended.get("path", header.name)
        if header.type != tarfile.REGTYPE:
            kind = _KINDS.get(header.type, "something other than regular files")
            raise Refused(f"contains {kind} ({name!r})")
        size = _whole(extended["size"]) if "size" in extended else header.size
        if size < 0:
            raise Refused(f"gives {name!r} a negative size")
        return Member(name, size)

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The bytes of the current member, all of which must be consumed.

        Raises:
            Refused: the stream is damaged.
        """
        left = member.size
        while left:
            chunk = self._read(min(left, _CHUNK_BYTES))
            left -= len(chunk)
            yield chunk
        if any(self._read(-member.size % _BLOCK)):
            raise Refused(f"has data in the padding after {member.name!r}")

    def _header(self) -> tarfile.TarInfo | None:
        block = self._read(_BLOCK)
        if not any(block):
            if any(self._read(_BLOCK)):
                raise Refused("continues after its end")
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError):
            raise Refused("has a damaged header") from None

    def _extended(self, size: int) -> dict[str, str]:
        """The records of an extended header: `<length> <key>=<value>\\n` each."""
        if not 0 < size <= _EXTENDED_LIMIT:
            raise Refused("has an oversized header")
        content = self._read(size)
        self._read(-size % _BLOCK)
        records: dict[str, str] = {}
        while content:
            number, _, rest = content.partition(b" ")
            length = _whole(number[:8].decode("ascii", "replace"))
            record, end = content[len(number) + 1 : length - 1], content[length - 1 : length]
            key, equals, value = record.decode("utf-8", "surrogateescape").partition("=")
            if not rest or end != b"\n" or not equals or key in records:
                raise Refused("has a damaged header")
            if key not in ("path", "size"):
                raise Refused(f"has a header that cvbundle never writes ({key[:40]!r})")
            records[key] = value
            content = content[length:]
        return records

    def _read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        while len(self._buffer) < count:
            if self._decompressor.eof:
                raise Refused("is truncated")
            self._buffer += self._more(_CHUNK_BYTES)
        content = bytes(self._buffer[:count])
        del self._buffer[:count]
        return content

    def _more(self, limit: int) -> bytes:
        chunk = b""
        if self._decompressor.needs_input:
            chunk = self._file.read(1 << 16)
            if not chunk:
                raise Refused("is truncated")
        try:
            more = self._decompressor.decompress(chunk, max_length=limit)
        except ZstdError:
            raise Refused("is damaged, or not a zstandard file") from None
        self._taken += len(chunk)
        self._given += len(more)
        if self._given > _SMALL_BYTES + _EXPANSION * self._taken:
            raise Refused(f"expands to more than {_EXPANSION} times its size")
        return more

    def _finish(self) -> None:
        """Raise `Refused` unless the stream ends here."""
        while not self._buffer and not self._decompressor.eof:
            self._buffer += self._more(1)
        if self._buffer or self._decompressor.unused_data or self._file.read(1):
            raise Refused("continues after its end")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise Refused("has a damaged header")
    return int(text)
