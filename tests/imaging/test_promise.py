import pytest

from patchseg.imaging.promise import box, element, missing_bytes


def mp4(*boxes):
    return b"".join((8 + len(content)).to_bytes(4, "big") + kind + content for kind, content in boxes)


def matroska(content, size=None):
    size = len(content).to_bytes(8, "big") if size is None else size
    return bytes.fromhex("1a45dfa3 83 000000 18538067") + bytes([size[0] | 1]) + size[1:] + content


def avi(content, counted=0):
    return b"RIFF" + (len(content) + 4 + counted).to_bytes(4, "little") + b"AVI " + content


WHOLE = {
    "mp4": mp4((b"ftyp", b"isom"), (b"mdat", bytes(30)), (b"moov", bytes(20))),
    "large box": mp4((b"ftyp", b"isom")) + b"\0\0\0\1mdat" + (16 + 30).to_bytes(8, "big") + bytes(30),
    "mkv": matroska(bytes(50)),
    "avi": avi(bytes(50)),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_video_lacks_nothing_and_of_a_cut_one_it_is_told_how_much(tmp_path, kind):
    for lost in (0, 1, 9, 20):
        (tmp_path / "a").write_bytes(WHOLE[kind][: len(WHOLE[kind]) - lost])
        # The size of a RIFF file may count its head of 8 bytes or not, so that less is sure.
        assert missing_bytes(tmp_path / "a") == (max(0, lost - 8) if kind == "avi" else lost)


@pytest.mark.parametrize(
    "content",
    [
        mp4((b"ftyp", b"isom")) + b"\0\0\0\0mdat" + bytes(99),  # to the end, wherever that is
        mp4((b"ftyp", b"isom")) + b"\0\0\0\3free",  # shorter than its head
        mp4((b"ftyp", b"isom")) + b"\xff\0\0\0\xff\xff\xff\xff",  # no box
        mp4((b"ftyp", b"isom")) + b"\xff\xff\xff",
        mp4((b"ftyp", b"isom")) + b"\0\0\0\1mdat",
        matroska(bytes(9), size=b"\xff" * 8),  # as of a recording that goes on
        matroska(bytes(9)) + b"\xff" * 9,
        bytes.fromhex("1a45dfa3 83 000000 18538067 01 00"),
        bytes.fromhex("1a45dfa3 00 000000 18538067 01 00"),
        avi(bytes(9), counted=8),
        avi(bytes(9)) + b"RIFF",
        b"",
    ],
)
def test_what_does_not_say_where_it_ends_or_goes_on_behind_its_end_is_not_doubted(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert missing_bytes(tmp_path / "a") == 0


def test_lengths_count_their_own_head():
    assert box(b"\0\0\0\x08free") == 8
    assert box(b"\0\0\0\x07free") == 0
    assert box(b"\0\0\0\1mdat" + (2**40).to_bytes(8, "big")) == 2**40
    # RFC 8794, section 4: two bytes with 14 bits of size, and four bytes of the name before them.
    assert element(bytes.fromhex("1a45dfa3 7ffe")) == 6 + 2**14 - 2
    assert element(bytes.fromhex("1a45dfa3 7fff")) == 0
