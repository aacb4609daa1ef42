"""Detect truncated files from a few headers, without decoding.

Sources: ISO/IEC 14496-12, 4.2 (boxes); RFC 8794 (EBML) and RFC 9559 (Matroska); Microsoft's AVI
RIFF file reference; GIF89a specification.
"""

from typing import BinaryIO

# The top-level boxes of an mp4 or mov; anything else is trailing garbage, which players ignore.
_TOP_BOXES = frozenset(
    b"ftyp moov mdat free skip wide uuid meta moof mfra sidx ssix styp udta pdin emsg prft".split()
)
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675


def stated_size(file: BinaryIO, size: int, container: str) -> int:
    """The size of a file, in bytes, by its own headers: more than `size` if it was truncated.

    Args:
        file: the file; its position afterwards is undefined.
        size: its actual size in bytes.
        container: FFmpeg's name for the format.
    """
    match container:
        case "mov":
            return max((end for _, _, end in boxes(file, size)), default=0)
        case "matroska":
            return _matroska(file, size)
        case "avi":
            return _riff(file, size)
        case _:
            return _gif(file, size)


def boxes(file: BinaryIO, size: int) -> list[tuple[bytes, int, int]]:
    """The top-level boxes of an mp4 or mov: type, start and end, which may be past the file's."""
    found = []
    start = 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind not in _TOP_BOXES:
            break
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - start
        if length < 8:
            break
        found.append((kind, start, start + length))
        start += length
    return found


def _matroska(file: BinaryIO, size: int) -> int:
    start = 0
    while start < size:
        file.seek(start)
        header = file.read(12)
        identity = _vint_length(header[0])
        if identity > 4 or len(header) <= identity:
            return start + 1 + identity if identity <= 4 else start
        length = _vint_length(header[identity])
        if length > 8:
            return start
        if len(header) < identity + length:
            return start + identity + length
        digits = header[identity : identity + length]
        value = int.from_bytes(digits, "big") & ((1 << 7 * length) - 1)
        start += identity + length
        if value == (1 << 7 * length) - 1:
            # Unknown size, as in a live recording: read its children instead.
            if int.from_bytes(header[:identity], "big") not in (_SEGMENT, _CLUSTER):
                return start
        else:
            start += value
    return start


def _vint_length(first: int) -> int:
    return 9 - first.bit_length()


def _riff(file: BinaryIO, size: int) -> int:
    start = 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(8)
        if header[:4] != b"RIFF":
            break
        start += 8 + int.from_bytes(header[4:8], "little")
    return start


def _gif(file: BinaryIO, size: int) -> int:
    file.seek(10)
    packed = file.read(1)
    start = 13 + _table(packed)
    while start < size:
        file.seek(start)
        kind = file.read(1)
        if kind == b";":
            return start + 1
        if kind == b"!":
            start += 2
        elif kind == b",":
            file.seek(start + 9)
            start += 11 + _table(file.read(1))
        else:
            # Garbage where a block should be: left to the decoder.
            return start
        file.seek(start)
        while block := file.read(1):
            start += 1 + block[0]
            if not block[0]:
                break
            file.seek(start)
    return start + 1


def _table(packed: bytes) -> int:
    """Bytes of the colour table declared by a byte of flags."""
    return 3 * 2 ** ((packed[0] & 7) + 1) if packed and packed[0] & 0x80 else 0
