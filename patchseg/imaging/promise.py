"""How many bytes a video file promises: MP4, Matroska and AVI say at their start where they end, and decoders pass over it.

Of a file that was cut off, most decoders give the frames that are left and say nothing, so this is asked before they are.
Sources: ISO/IEC 14496-12, section 4.2; RFC 8794, sections 4 to 6; RFC 9559; Microsoft's RIFF.
"""

from pathlib import Path

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: Path) -> int:
    """Return how many bytes a video lacks at its end; 0 where it is whole, or does not say how long it is."""
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith(b"RIFF"):
            # Some writers count the header of 8 bytes, others do not; further parts follow in files beyond 1 GB.
            return max(0, int.from_bytes(head[4:8], "little") - size)
        length = element if head.startswith(_EBML) else box
        while end < size:
            file.seek(end)
            step = length(file.read(16))
            if not step:
                return 0
            end += step
    return end - size


def element(head: bytes) -> int:
    """Return the length of an outermost element of Matroska, its head included; 0 where it is unknown or no such.

    Args:
        head: Its first 16 bytes, or fewer at the end of the file.

    >>> element(bytes.fromhex("1a45dfa3 a3")), element(bytes.fromhex("18538067 4123"))
    (40, 297)
    >>> element(bytes.fromhex("18538067 01ffffffffffffff")), element(b"rest")
    (0, 0)
    """
    if not head.startswith((_EBML, _SEGMENT)) or len(head) < 5 or not head[4]:
        return 0
    width = 9 - head[4].bit_length()  # zeros before the first one say how many bytes follow
    unknown = (1 << 7 * width) - 1
    value = int.from_bytes(head[4 : 4 + width], "big") & unknown
    return 4 + width + value if value != unknown and len(head) >= 4 + width else 0


def box(head: bytes) -> int:
    r"""Return the length of an outermost box of MP4 and QuickTime; 0 where it reaches to the end, or is no box.

    Args:
        head: Its first 16 bytes, or fewer at the end of the file.

    >>> box(b"\0\0\0\x20ftypisom"), box(b"\0\0\0\1mdat\0\0\0\1\0\0\0\0") == 2**32
    (32, True)
    >>> box(b"\0\0\0\0mdat"), box(b"\0\0\0\x20\0\0\0\0")
    (0, 0)
    """
    if len(head) < 8 or not head[4:8].isalnum():
        return 0
    length, least = int.from_bytes(head[:4], "big"), 8
    if length == 1:
        length, least = int.from_bytes(head[8:16], "big"), 16
    return length if length >= least else 0
